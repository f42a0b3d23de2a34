//! How priority levels share a cluster's load: what the first cannot carry goes to the next, and when too little of all of them
//! is left, health is disregarded rather than what is left be overrun.

use crate::model::endpoint::Availability;
use crate::spread::Rules;

/// How many endpoints a level has, and of what weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Whatever their health.
    endpoints: u64,
    /// Those whose health counts, well or not.
    judged: Part,
    full: Part,
    degraded: Part,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    endpoints: u64,
    weight: u64,
}

/// What a level gets, in percent of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Health counts.
    Calm {
        /// For those of full availability.
        full: u32,
        /// For degraded ones.
        degraded: u32,
    },
    /// It does not: this is for all of its endpoints.
    Panic(u32),
}

impl Counts {
    pub(super) fn add(&mut self, availability: Availability, weight: u32) {
        self.endpoints += 1;
        let parts = match availability {
            Availability::Full => [Some(&mut self.full), Some(&mut self.judged)],
            Availability::Degraded => [Some(&mut self.degraded), Some(&mut self.judged)],
            Availability::None => [None, Some(&mut self.judged)],
            Availability::Leaving => [None, None],
        };
        for part in parts.into_iter().flatten() {
            part.endpoints += 1;
            part.weight += u64::from(weight);
        }
    }

    /// Percent of the load that so many of the level's endpoints can carry.
    fn health(&self, of: Part, rules: &Rules) -> u32 {
        let factor = u64::from(rules.policy.overprovisioning);
        let health = match rules.policy.weighted_health {
            true => factor.saturating_mul(of.weight) / self.judged.weight.max(1),
            false => factor.saturating_mul(of.endpoints) / self.judged.endpoints.max(1),
        };
        u32::try_from(health.min(100)).unwrap_or(100)
    }

    fn is_below(&self, threshold: u32) -> bool {
        let available = self.full.endpoints + self.degraded.endpoints;
        // Of nobody, none is well.
        available * 100 < u64::from(threshold) * self.judged.endpoints.max(1)
    }
}

/// What each level gets. `levels` are in the order of their priorities, and none is without endpoints.
pub(super) fn loads(levels: &[Counts], rules: &Rules) -> Vec<Load> {
    let full: Vec<_> = levels.iter().map(|level| level.health(level.full, rules)).collect();
    let degraded: Vec<_> = levels.iter().map(|level| level.health(level.degraded, rules)).collect();
    let total = full.iter().chain(&degraded).sum::<u32>().min(100);
    // As long as all of them together carry the load, a level by itself is no reason to panic.
    let panics: Vec<_> = levels.iter().map(|level| total < 100 && level.is_below(rules.panic_threshold)).collect();
    if panics.iter().all(|panics| *panics) {
        return by_size(levels).into_iter().map(Load::Panic).collect();
    }
    if total == 0 {
        // Panic is turned off and nothing is healthy. Envoy sends all of it to the first level, where it finds nobody.
        let first = (0..levels.len()).map(|at| Load::Calm { full: if at == 0 { 100 } else { 0 }, degraded: 0 });
        return first.collect();
    }
    let mut left = 100;
    let mut give = |health: &[u32]| -> Vec<u32> {
        let give = |health: &u32| {
            let given = left.min(health * 100 / total);
            left -= given;
            given
        };
        health.iter().map(give).collect()
    };
    let (mut to_full, mut to_degraded) = (give(&full), give(&degraded));
    // What rounding leaves over is the first level's that has anybody.
    let has = |health: &[u32]| health.iter().position(|health| *health > 0);
    match (has(&full), has(&degraded)) {
        (Some(first), _) => to_full[first] += left,
        (None, Some(first)) => to_degraded[first] += left,
        (None, None) => {}
    }
    let load = |at: usize| match panics[at] {
        true => Load::Panic(to_full[at] + to_degraded[at]),
        false => Load::Calm { full: to_full[at], degraded: to_degraded[at] },
    };
    (0..levels.len()).map(load).collect()
}

/// Percents by the number of endpoints; the first level has what rounding leaves over.
fn by_size(levels: &[Counts]) -> Vec<u32> {
    let total: u64 = levels.iter().map(|level| level.endpoints).sum();
    let percent = |level: &Counts| u32::try_from(100 * level.endpoints / total.max(1)).unwrap_or(100);
    let mut loads: Vec<_> = levels.iter().map(percent).collect();
    let given: u32 = loads.iter().sum();
    if let Some(first) = loads.first_mut() {
        *first += 100 - given;
    }
    loads
}
