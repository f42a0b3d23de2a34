//! Fields that may be set but not chosen: those that may say what the agent does anyway, and those that come later.

use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::node::Value;
use crate::decode::problem::Problem;

impl Fields<'_> {
    /// A field that may say nothing but what the agent does anyway.
    pub(crate) fn only_flag(&self, name: &'static str, only: bool) {
        let text = if only { "true" } else { "false" };
        self.only(name, text, |value| *value == Value::Bool(only) || matches!(value, Value::Text(t) if t == text));
    }

    /// The same for an enumeration, of which `number` is the supported value.
    pub(crate) fn only_choice(&self, name: &'static str, only: &'static str, number: i128) {
        self.only(name, only, |value| match value {
            Value::Text(text) => text.eq_ignore_ascii_case(only),
            value => *value == Value::Int(number),
        });
    }

    /// The same for text, which may also be empty.
    pub(crate) fn only_text(&self, name: &'static str, only: &'static str) {
        self.only(name, only, |value| matches!(value, Value::Text(text) if text == only || text.is_empty()));
    }

    fn only(&self, name: &'static str, only: &'static str, is: impl FnOnce(&Value) -> bool) {
        if let Some(at) = self.get(name, &Kind::Only(only))
            && !is(&at.node.value)
        {
            at.report(Problem::Only { only, found: at.node.value.brief() });
        }
    }

    /// A field that is known and may not be set, with the reason.
    pub(crate) fn refuse(&self, name: &'static str, why: &'static str) {
        if let Some(at) = self.get(name, &Kind::Refused(why)) {
            at.report(Problem::Refused(why));
        }
    }
}
