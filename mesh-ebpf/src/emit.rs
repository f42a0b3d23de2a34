//! How a decision ends: a failure turned into a verdict, and everything counted.

use mesh_common::counter::Counter;
use mesh_common::decide::{Failure, Question, Verdict, Way, decide};
use mesh_common::workload::Workload;

use crate::maps::COUNTERS;

/// One more of these.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    add(counter, 1);
}

/// So many more of these.
#[inline(always)]
pub(crate) fn add(counter: Counter, more: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter.index()) {
        // SAFETY: the slot belongs to this CPU and the map's values are never freed.
        unsafe { *value += more };
    }
}

/// The verdict of what was tried, counted.
#[inline(always)]
pub(crate) fn settle(workload: &Workload, way: Way, outcome: Result<Verdict, Failure>) -> Verdict {
    let verdict = match outcome {
        Ok(verdict) => verdict,
        Err(failure) => {
            count(failure.counter());
            decide(workload, Question::Failed(way, failure))
        }
    };
    count(verdict.counter(way));
    verdict
}
