//! Which policy a set's rule belongs to: the kernel tells numbers, people want names.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Gives sets their numbers and remembers their names, also for a while after a set is gone: events may still be on their way.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleNames(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    last: u32,
    names: BTreeMap<u32, Vec<Arc<str>>>,
    /// Sets that are gone, the longest gone first. Those that are not are as many as the maps hold.
    gone: VecDeque<u32>,
}

impl RuleNames {
    /// The number of a new set whose rules have these names.
    pub(crate) fn number(&self, names: &[Arc<str>]) -> u32 {
        let mut known = self.lock();
        // They come round after four thousand million changes.
        known.last = known.last.wrapping_add(1).max(1);
        let number = known.last;
        known.names.insert(number, names.to_vec());
        number
    }

    /// These sets are gone. Of the last of them the names are kept.
    pub(crate) fn retire(&self, sets: impl Iterator<Item = u32>) {
        let known = &mut *self.lock();
        known.gone.extend(sets);
        while known.gone.len() > MOST_GONE {
            let forgotten = known.gone.pop_front();
            forgotten.and_then(|set| known.names.remove(&set));
        }
    }

    /// Numbers up to this one are taken.
    pub(crate) fn skip(&self, last: u32) {
        let mut known = self.lock();
        known.last = known.last.max(last);
    }

    /// The name of a rule, counted from one.
    pub(crate) fn name(&self, set: u32, rule: u32) -> Option<Arc<str>> {
        let place = usize::try_from(rule.checked_sub(1)?).ok()?;
        self.lock().names.get(&set)?.get(place).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each change is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many as a map holds: all of them at once may have just gone.
const MOST_GONE: usize = mesh_common::config::MAX_RULE_SETS as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_names_and_sets_have_numbers_of_their_own() {
        let names = RuleNames::default();
        names.skip(6);
        let set = names.number(&["lab".into(), "web".into()]);
        assert_eq!((set, names.number(&[])), (7, 8));
        assert_eq!(names.name(7, 2).as_deref(), Some("web"));
        assert_eq!((names.name(7, 0), names.name(7, 3), names.name(9, 1)), (None, None, None));
    }

    #[test]
    fn a_set_has_its_names_as_long_as_it_lives_and_a_while_longer() {
        let names = RuleNames::default();
        let stays = names.number(&["stays".into()]);
        let gone: Vec<u32> = (0..=MOST_GONE).map(|_| names.number(&["gone".into()])).collect();
        names.retire(gone.iter().copied());
        assert_eq!(names.name(stays, 1).as_deref(), Some("stays"));
        assert_eq!((names.name(gone[0], 1), names.name(gone[1], 1).as_deref()), (None, Some("gone")));
    }
}
