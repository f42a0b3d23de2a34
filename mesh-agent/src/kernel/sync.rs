//! Keeps the maps as they should be: applies differences, tries again, puts right what drifted.

use tracing::warn;

use crate::kernel::maps::{TableError, Tables};
use crate::kernel::plan::{MapOp, State, diff};

/// The maps and what they should say.
pub(crate) struct Sync {
    tables: Box<dyn Tables>,
    wanted: State,
    /// Some change could not be made.
    behind: bool,
}

/// What a look at the maps found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Drift {
    /// Changes that were needed though nobody asked for them.
    pub(crate) repaired: usize,
}

impl Sync {
    /// Over maps as they are: what an agent before has left there stays until [`Self::set`] says otherwise.
    pub(crate) fn over(tables: Box<dyn Tables>) -> Result<Self, TableError> {
        let wanted = tables.read()?;
        Ok(Self { tables, wanted, behind: false })
    }

    pub(crate) fn wanted(&self) -> &State {
        &self.wanted
    }

    /// Whether some change waits for [`Self::reconcile`].
    pub(crate) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Makes the maps say this. What could not be done is tried again by [`Self::reconcile`].
    pub(crate) fn set(&mut self, wanted: State) -> Result<(), TableError> {
        let ops = diff(&self.wanted, &wanted);
        self.wanted = wanted;
        // What failed earlier is still to be done, whether this succeeds or not.
        self.apply(&ops).inspect_err(|_| self.behind = true)
    }

    /// Reads the maps back and makes them right.
    pub(crate) fn reconcile(&mut self) -> Result<Drift, TableError> {
        let ops = diff(&self.tables.read()?, &self.wanted);
        if !ops.is_empty() {
            warn!(changes = ops.len(), "the kernel's maps are not as they should be; putting them right");
        }
        self.behind = true;
        self.apply(&ops)?;
        self.behind = false;
        Ok(Drift { repaired: ops.len() })
    }

    /// Every operation is tried, and each twice; the first that failed both times is the answer.
    fn apply(&mut self, ops: &[MapOp]) -> Result<(), TableError> {
        let mut first = Ok(());
        for op in ops {
            let done = self.tables.apply(op).or_else(|_| self.tables.apply(op));
            first = first.and(done);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use mesh_common::flow::PortBe;
    use mesh_common::workload::{Mode, Workload};

    use super::*;
    use crate::kernel::maps::FakeTables;

    fn state(cookies: &[u64]) -> State {
        let workload = Workload::new(1, Mode::Permissive, PortBe::new(15001), PortBe(0));
        State { netns: cookies.iter().map(|&cookie| (cookie, workload)).collect(), ..State::default() }
    }

    fn sync() -> (Arc<Mutex<FakeTables>>, Sync) {
        let fake = Arc::<Mutex<FakeTables>>::default();
        (Arc::clone(&fake), Sync::over(Box::new(fake)).unwrap())
    }

    #[test]
    fn a_passing_failure_is_tried_again() {
        let (fake, mut sync) = sync();
        fake.lock().unwrap().failures = 1;
        sync.set(state(&[1, 2])).unwrap();
        assert_eq!(fake.lock().unwrap().state, state(&[1, 2]));
    }

    #[test]
    fn one_that_stays_is_an_error_and_put_right_later() {
        let (fake, mut sync) = sync();
        fake.lock().unwrap().failures = 2;
        assert!(matches!(sync.set(state(&[1, 2])), Err(TableError::Full { .. })));
        assert_eq!(fake.lock().unwrap().state, state(&[2]));
        assert!(sync.is_behind());
        assert_eq!(sync.reconcile().unwrap(), Drift { repaired: 1 });
        assert_eq!(fake.lock().unwrap().state, state(&[1, 2]));
    }

    #[test]
    fn drift_is_found_and_repaired_both_ways() {
        let (fake, mut sync) = sync();
        sync.set(state(&[1, 2])).unwrap();
        fake.lock().unwrap().state = state(&[2, 3]);
        assert_eq!(sync.reconcile().unwrap(), Drift { repaired: 2 });
        assert_eq!(fake.lock().unwrap().state, state(&[1, 2]));
        assert_eq!(sync.reconcile().unwrap(), Drift::default());
    }
}
