//! The reference of supported fields, recorded while the decoders run over a configuration that uses all of them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::decode::kind::Kind;

type Messages = BTreeMap<&'static str, Vec<(&'static str, Kind)>>;

thread_local! {
    static RECORDED: RefCell<Messages> = RefCell::default();
}

/// Notes that a decoder of `message` asked for a field.
pub(crate) fn record(message: &'static str, field: &'static str, kind: &Kind) {
    RECORDED.with_borrow_mut(|messages| {
        let fields = messages.entry(message).or_default();
        if !fields.iter().any(|(name, _)| *name == field) {
            fields.push((field, kind.clone()));
        }
    });
}
