//! Envoy's documented examples, and dice against a slow model that does what Envoy does for each of a hundred connections.

use super::*;
use crate::model::endpoint::Group;

/// Endpoints as (priority, locality, locality's weight, weight, health).
type Written = (u32, &'static str, u32, u32, Health);

fn endpoint(&(priority, zone, weight, own, health): &Written) -> Arc<Endpoint> {
    let locality = Locality { zone: zone.to_owned(), ..Locality::default() };
    let group = Arc::new(Group { locality, priority, weight });
    Arc::new(Endpoint { health, group, ..Endpoint::new(([10, 0, 0, 1], 80).into(), own) })
}

fn spread(written: &[Written], rules: &Rules) -> Vec<f64> {
    let endpoints: Vec<_> = written.iter().map(endpoint).collect();
    let health: Vec<_> = written.iter().map(|written| written.4).collect();
    shares(&endpoints, &health, rules)
}

fn rules() -> Rules {
    Rules { policy: AssignmentPolicy::default(), panic_threshold: 50, weighs_localities: false }
}

/// So many endpoints of a level, of which so many are healthy and degraded.
fn level(priority: u32, all: usize, healthy: usize, degraded: usize) -> Vec<Written> {
    let health = |at| match at {
        at if at < healthy => Health::Healthy,
        at if at < healthy + degraded => Health::Degraded,
        _ => Health::Unhealthy,
    };
    (0..all).map(|at| (priority, "", 0, 1, health(at))).collect()
}

/// What each level gets, in percent.
fn by_level(levels: &[(usize, usize, usize)], rules: &Rules) -> Vec<f64> {
    let written: Vec<_> =
        (0..).zip(levels).flat_map(|(at, &(all, healthy, degraded))| level(at, all, healthy, degraded)).collect();
    let mut sums = vec![0.0; levels.len()];
    for (written, share) in written.iter().zip(spread(&written, rules)) {
        sums[written.0 as usize] += share * 100.0;
    }
    sums.iter().map(|sum: &f64| (sum * 1e6).round() / 1e6).collect()
}

#[test]
fn levels_share_as_documented() {
    // The table of "Priority levels": how many of a hundred are healthy in P=0, P=1, P=2, and what each gets.
    for (healthy, expected) in [
        ([100, 100, 100], [100.0, 0.0, 0.0]),
        ([72, 72, 100], [100.0, 0.0, 0.0]),
        ([71, 71, 100], [99.0, 1.0, 0.0]),
        ([50, 50, 100], [70.0, 30.0, 0.0]),
        ([25, 100, 100], [35.0, 65.0, 0.0]),
        ([25, 25, 100], [35.0, 35.0, 30.0]),
    ] {
        let levels = healthy.map(|healthy| (100, healthy, 0));
        assert_eq!(by_level(&levels, &rules()), expected, "{healthy:?}");
    }
    // Too little in all: scaled up, and what rounding leaves is the first's.
    let calm = Rules { panic_threshold: 0, ..rules() };
    assert_eq!(by_level(&[(100, 20, 0), (100, 20, 0), (100, 10, 0)], &calm), [40.0, 40.0, 20.0]);
}

#[test]
fn degraded_endpoints_stand_behind_all_healthy_ones() {
    let written = [(0, "", 0, 1, Health::Healthy), (0, "", 0, 1, Health::Degraded)];
    assert_eq!(spread(&written, &rules()), [0.7, 0.3]);
    let written = [(0, "", 0, 1, Health::Degraded), (1, "", 0, 1, Health::Healthy)];
    assert_eq!(spread(&written, &rules()), [0.0, 1.0], "a healthy one of the next level first");
}

#[test]
fn too_few_healthy_ones_are_not_overrun() {
    let one_of_four = level(0, 4, 1, 0);
    assert_eq!(spread(&one_of_four, &rules()), [0.25; 4]);
    assert_eq!(spread(&one_of_four, &Rules { panic_threshold: 25, ..rules() }), [1.0, 0.0, 0.0, 0.0]);
    // No panic while the next level carries what the first cannot.
    assert_eq!(by_level(&[(4, 1, 0), (4, 4, 0)], &rules()), [35.0, 65.0]);
    // All in panic: by size.
    assert_eq!(by_level(&[(3, 0, 0), (1, 0, 0)], &rules()), [75.0, 25.0]);
    // Nobody, and no panic allowed: nowhere.
    assert_eq!(spread(&level(0, 3, 0, 0), &Rules { panic_threshold: 0, ..rules() }), [0.0; 3]);
    assert_eq!(spread(&[], &rules()), Vec::<f64>::new());
    for gone in [Health::Draining, Health::Timeout] {
        assert_eq!(spread(&[(0, "", 0, 1, gone), (0, "", 0, 1, Health::Unknown)], &rules()), [0.0, 1.0]);
    }
}

#[test]
fn endpoints_that_drain_are_not_missed() {
    let spread_of = |health: &[Health], rules: &Rules| {
        spread(&health.iter().map(|health| (0, "", 0, 1, *health)).collect::<Vec<_>>(), rules)
    };
    use Health::{Draining, Healthy, Timeout};
    // Half of those that ought to be well are: no panic, as there would be with a third.
    assert_eq!(spread_of(&[Healthy, Timeout, Draining], &rules()), [1.0, 0.0, 0.0]);
    assert_eq!(spread_of(&[Healthy, Timeout, Timeout], &rules()), [1.0 / 3.0; 3]);
    // The level is whole without it: nothing goes to the next.
    let written = [(0, "", 0, 1, Healthy), (0, "", 0, 1, Draining), (1, "", 0, 1, Healthy)];
    assert_eq!(spread(&written, &rules()), [1.0, 0.0, 0.0]);
    // In panic it serves like any other.
    assert_eq!(spread_of(&[Draining, Draining], &rules()), [0.5, 0.5]);
    assert_eq!(spread_of(&[Draining, Draining], &Rules { panic_threshold: 0, ..rules() }), [0.0, 0.0]);
    // Its locality keeps its weight.
    let rules = Rules { weighs_localities: true, ..rules() };
    let written = [(0, "a", 1, 1, Healthy), (0, "a", 1, 1, Draining), (0, "b", 1, 1, Healthy)];
    assert_eq!(spread(&written, &rules), [0.5, 0.0, 0.5]);
}

#[test]
fn localities_share_by_weight_and_health() {
    let rules = Rules { weighs_localities: true, ..rules() };
    let pair = |zone, weight, second| [(0, zone, weight, 1, Health::Healthy), (0, zone, weight, 1, second)];
    let both = |second| [pair("a", 1, second), pair("b", 2, Health::Healthy)].concat();
    let thirds = spread(&both(Health::Healthy), &rules);
    assert!(thirds.iter().zip([1.0 / 6.0, 1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0]).all(|(a, b)| (a - b).abs() < 1e-12));
    // Half of `a` is left, which carries 70 % of its weight.
    let less = spread(&both(Health::Unhealthy), &rules);
    assert!((less[0] - 0.7 / 2.7).abs() < 1e-12 && less[1] == 0.0, "{less:?}");
    // One without a weight gets nothing, unless none has one.
    assert_eq!(spread(&[(0, "a", 0, 1, Health::Healthy), (0, "b", 3, 1, Health::Healthy)], &rules), [0.0, 1.0]);
    assert_eq!(spread(&[(0, "a", 0, 1, Health::Healthy), (0, "b", 0, 3, Health::Healthy)], &rules), [0.25, 0.75]);
}

#[test]
fn health_may_be_known_better() {
    let endpoints: Vec<_> = level(0, 2, 2, 0).iter().map(endpoint).collect();
    assert_eq!(shares(&endpoints, &[Health::Unhealthy, Health::Healthy], &rules()), [0.0, 1.0]);
}

#[test]
fn dice_agree_with_the_slow_model() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % n
    };
    for round in 0..20_000 {
        let count = below(12);
        let kinds = [Health::Healthy, Health::Unhealthy, Health::Degraded, Health::Draining];
        let (levels, zones, lean) = (1 + below(3), 1 + below(3), 1 + below(4));
        let written: Vec<Written> = (0..count)
            .map(|_| {
                let (priority, zone) = (below(levels), below(zones));
                // A locality's weight is one of it, however often it is written.
                let weight = (priority + zone + lean) % 4;
                (priority, ["a", "b", "c"][zone as usize], weight, 1 + below(5), kinds[below(lean) as usize])
            })
            .collect();
        let policy = AssignmentPolicy {
            overprovisioning: [100, 140, 200][below(3) as usize],
            weighted_health: below(3) == 0,
            ..AssignmentPolicy::default()
        };
        let rules =
            Rules { policy, panic_threshold: [0, 25, 50, 100][below(4) as usize], weighs_localities: below(2) == 0 };
        let (fast, slow) = (spread(&written, &rules), slow(&written, &rules));
        let close = fast.iter().zip(&slow).all(|(fast, slow)| (fast - slow).abs() < 1e-9);
        assert!(close, "round {round}: {written:?} {rules:?}\n{fast:?}\n{slow:?}");
        let sum: f64 = fast.iter().sum();
        assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-9, "round {round}: {fast:?}");
    }
}

/// Sends a connection for each of the numbers from 1 to 100, one rule of the text after the other.
fn slow(written: &[Written], rules: &Rules) -> Vec<f64> {
    let deepest = written.iter().map(|it| it.0).max().unwrap_or(0);
    let of_level = |p: u32| written.iter().filter(|it| it.0 == p).collect::<Vec<_>>();
    let is = |it: &Written, of: Availability| it.4.availability() == of;
    let size = |of: &[&Written]| -> u64 {
        of.iter().map(|it| if rules.policy.weighted_health { u64::from(it.3) } else { 1 }).sum()
    };
    // "(percent of healthy endpoints) x (overprovisioning factor), capped at 100%", in whole percents.
    let score = |p: u32, of: Availability| -> u64 {
        let (all, some) = (of_level(p), of_level(p).into_iter().filter(|it| is(it, of)).collect::<Vec<_>>());
        let all: Vec<_> = all.into_iter().filter(|it| !is(it, Availability::Leaving)).collect();
        if all.is_empty() { 0 } else { 100.min(u64::from(rules.policy.overprovisioning) * size(&some) / size(&all)) }
    };
    let scores = |of| (0..=deepest).map(|p| score(p, of)).collect::<Vec<_>>();
    let (healthy, degraded) = (scores(Availability::Full), scores(Availability::Degraded));
    let normalized = 100.min(healthy.iter().chain(&degraded).sum::<u64>());
    let panic: Vec<bool> = (0..=deepest)
        .map(|p| {
            let all: Vec<_> = of_level(p).into_iter().filter(|it| !is(it, Availability::Leaving)).collect();
            let available = all.iter().filter(|it| !is(it, Availability::None)).count();
            let percent = if all.is_empty() { 0.0 } else { 100.0 * available as f64 / all.len() as f64 };
            normalized < 100 && percent < f64::from(rules.panic_threshold)
        })
        .collect();
    let scaled = |score: u64| (score * 100).checked_div(normalized).unwrap_or(0) as usize;
    // Who takes each of the hundred: a level, and which of its endpoints.
    let mut takers: Vec<(usize, Availability)> = Vec::new();
    if panic.iter().all(|panic| *panic) && !written.is_empty() {
        for p in 0..=deepest {
            let percent = 100 * of_level(p).len() / written.len();
            takers.extend(std::iter::repeat_n((p as usize, Availability::Full), percent));
        }
        let first = (0..=deepest).find(|p| !of_level(*p).is_empty()).unwrap_or(0);
        takers.resize(100, (first as usize, Availability::Full));
    } else if normalized > 0 {
        for (scores, of) in [(&healthy, Availability::Full), (&degraded, Availability::Degraded)] {
            for (p, score) in scores.iter().enumerate() {
                let room = 100 - takers.len();
                takers.extend(std::iter::repeat_n((p, of), room.min(scaled(*score))));
            }
        }
        let first = healthy.iter().position(|score| *score > 0).map(|p| (p, Availability::Full));
        let first = first.or_else(|| Some((degraded.iter().position(|score| *score > 0)?, Availability::Degraded)));
        takers.resize(100, first.expect("something is available"));
    }
    let mut shares = vec![0.0; written.len()];
    for (p, of) in takers {
        let there = |it: &Written| it.0 as usize == p && (panic[p] || is(it, of));
        let mut zones: Vec<&str> = written.iter().filter(|it| it.0 as usize == p).map(|it| it.1).collect();
        zones.sort_unstable();
        zones.dedup();
        // "effective weight = locality weight x min(1, overprovisioning x available / all)".
        let effective = |zone: &str| {
            let all: Vec<_> = written.iter().filter(|it| it.0 as usize == p && it.1 == zone).collect();
            let judged = all.iter().filter(|it| !is(it, Availability::Leaving)).count().max(1);
            let ratio = all.iter().filter(|it| is(it, of)).count() as f64 / judged as f64;
            f64::from(all[0].2) * (f64::from(rules.policy.overprovisioning) / 100.0 * ratio).min(1.0)
        };
        let total: f64 = zones.iter().map(|zone| effective(zone)).sum();
        let flat = panic[p] || !rules.weighs_localities || total == 0.0;
        for (at, it) in written.iter().enumerate().filter(|(_, it)| there(it)) {
            let siblings = written.iter().filter(|other| there(other) && (flat || other.1 == it.1));
            let own = f64::from(it.3) / siblings.map(|it| f64::from(it.3)).sum::<f64>();
            shares[at] += 0.01 * own * if flat { 1.0 } else { effective(it.1) / total };
        }
    }
    shares
}
