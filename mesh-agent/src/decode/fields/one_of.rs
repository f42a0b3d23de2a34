//! Alternatives: fields of which at most one may be set (protobuf's `oneof`).

use crate::decode::fields::Fields;
use crate::decode::node::Value;
use crate::decode::problem::Problem;

/// What [`Fields::one_of`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OneOf {
    /// This one is set.
    Set(&'static str),
    /// None is.
    Unset,
    /// Something is wrong, and was reported.
    Wrong,
}

impl Fields<'_> {
    /// Which one of several fields is set; more than one is an error. `refused` are alternatives that may not be set.
    pub(crate) fn one_of(&self, names: &[&'static str], refused: &[(&'static str, &'static str)]) -> OneOf {
        let is_set = |name: &&'static str| self.find(name).is_some_and(|entry| entry.value.value != Value::Null);
        for (name, why) in refused {
            self.refuse(name, why);
        }
        let mut set = names.iter().copied().chain(refused.iter().map(|(name, _)| *name)).filter(is_set);
        match (set.next(), set.next()) {
            (Some(first), Some(second)) => {
                self.at.report(Problem::Both(first, second));
                OneOf::Wrong
            }
            (Some(name), None) if names.contains(&name) => OneOf::Set(name),
            (Some(_), None) => OneOf::Wrong,
            (None, _) => OneOf::Unset,
        }
    }

    /// The same, and an error if none is set.
    pub(crate) fn require_one_of(
        &self,
        names: &[&'static str],
        refused: &[(&'static str, &'static str)],
    ) -> Option<&'static str> {
        match self.one_of(names, refused) {
            OneOf::Set(name) => Some(name),
            OneOf::Wrong => None,
            OneOf::Unset if names.len() == 1 => {
                self.missing(names[0]);
                None
            }
            OneOf::Unset => {
                self.at.report(Problem::NoneOf(names.to_vec()));
                None
            }
        }
    }
}
