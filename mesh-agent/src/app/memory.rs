//! Gives back the memory that a burst of connections took.
//!
//! glibc returns only what is free at the end of a heap. Thousands of connections leave holes below the few allocations that
//! live on, and the process keeps all of it. `malloc_trim` gives the holes back too. It holds up whoever allocates meanwhile, so
//! it is called after a burst only, and rarely.
#![allow(unsafe_code, reason = "no safe crate offers malloc_trim")]

use std::time::{Duration, Instant};

/// So many connections fewer than at the peak are worth the walk through the heap.
const WORTH: u64 = 512;
/// A number that still falls faster than this per call has not settled: better wait, and give all back at once.
const FALLING: u64 = 64;
/// Time between two walks.
const REST: Duration = Duration::from_secs(5);

/// Watches the number of connections.
#[derive(Debug, Default)]
pub(super) struct Memory {
    peak: u64,
    previous: u64,
    last: Option<Instant>,
}

impl Memory {
    /// Gives memory back if `active` connections are far fewer than there were. To be called about once a second.
    pub(super) fn look_after(&mut self, active: u64, now: Instant) {
        if self.is_due(active, now) {
            give_back();
        }
    }

    fn is_due(&mut self, active: u64, now: Instant) -> bool {
        self.peak = self.peak.max(active);
        let settled = self.previous.saturating_sub(active) < FALLING;
        self.previous = active;
        let rested = self.last.is_none_or(|last| now.duration_since(last) >= REST);
        let due = settled && rested && self.peak - active >= WORTH;
        if due {
            (self.peak, self.last) = (active, Some(now));
        }
        due
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: takes no pointer and may be called at any time, on any thread (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Memory, REST, WORTH};

    #[test]
    fn only_after_a_burst_and_not_too_often() {
        let (mut memory, begin) = (Memory::default(), Instant::now());
        let mut due = |active, seconds| memory.is_due(active, begin + Duration::from_secs(seconds));
        assert!(!due(10_000, 0));
        assert!(!due(10_001 - WORTH, 1) && !due(10_001 - WORTH, 2), "not worth it");
        assert!(!due(5_000, 3), "still falling");
        assert!(due(5_000, 4));
        assert!(!due(5_000, 5), "nothing new to give back");
        assert!(!due(0, 6) && !due(0, 7), "too soon");
        assert!(due(0, 4 + REST.as_secs()));
        assert!(!due(0, 100));
    }
}
