//! How long to wait before the next attempt: twice as long each time, up to a bound, and never the same for everybody.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

/// Envoy's, for management servers.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Waits between attempts that fail.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    seed: RandomState,
}

impl Backoff {
    /// How long to wait now: any time up to the bound of this attempt, so that a thousand nodes do not come back at once.
    pub(super) fn next(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let random = self.seed.hash_one(self.failures) % 1024;
        // Not at once, whatever the dice say: a server that hangs up right away must not be hammered.
        let part = u32::try_from(random.max(64)).expect("less than 1024");
        bound * part / 1024
    }

    /// The server answered.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let mut worst = [Duration::ZERO; 12];
        let mut different = std::collections::HashSet::new();
        for _ in 0..200 {
            let mut backoff = Backoff::default();
            for worst in &mut worst {
                let wait = backoff.next();
                different.insert(wait);
                *worst = wait.max(*worst);
                assert!(wait >= FIRST / 16, "{wait:?}");
            }
        }
        assert!(worst[0] <= FIRST && worst[1] > FIRST && worst[1] <= 2 * FIRST, "{worst:?}");
        assert!(worst[11] <= LONGEST && worst[11] > LONGEST / 2, "{worst:?}");
        assert!(different.len() > 1000);
    }

    #[test]
    fn an_answer_makes_the_next_wait_short() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.next();
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
