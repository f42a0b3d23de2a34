//! Names and addresses that may stand only once.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::decode::at::At;
use crate::decode::place::Place;
use crate::decode::problem::Problem;

/// The values of one kind seen so far.
#[derive(Debug)]
pub(crate) struct Unique {
    what: &'static str,
    seen: RefCell<HashMap<String, Place>>,
}

impl Unique {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, seen: RefCell::default() }
    }

    /// Remembers that `value` stands at `at`; reports, and answers false, if it did already elsewhere.
    pub(crate) fn claim(&self, value: String, at: &At<'_>) -> bool {
        let mut seen = self.seen.borrow_mut();
        if let Some(first) = seen.get(&value) {
            at.report(Problem::Taken { what: self.what, name: value, first: first.clone() });
            return false;
        }
        seen.insert(value, at.place());
        true
    }

    pub(crate) fn contains(&self, value: &str) -> bool {
        self.seen.borrow().contains_key(value)
    }
}
