//! How full the kernel's maps are and what its programs cost.

use std::time::Duration;

/// What the control side found when it last looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of maps that can be full.
    pub maps: Vec<MapLevel>,
    /// Of programs; empty unless the kernel collects it.
    pub programs: Vec<ProgramRuns>,
}

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapLevel {
    /// Its name.
    pub map: &'static str,
    /// What it holds.
    pub entries: usize,
    /// What it can hold.
    pub max: u32,
}

/// How often a program ran, and for how long in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramRuns {
    /// Its name.
    pub program: &'static str,
    /// Since it was loaded.
    pub runs: Runs,
}

/// How often, and for how long in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How often.
    pub count: u64,
    /// How long.
    pub time: Duration,
}

impl std::ops::AddAssign for Runs {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.time += other.time;
    }
}
