//! Envoy and the agent side by side: one management server, or the same files, feed both, and after each of many random updates both do the same with
//! the same requests, while other requests go on through the agent, none of which may fail.
//!
//! Updates are drawn from a seed (`XDS_SEED`; printed when something fails). Each is one push or a few, and is followed by probes: the
//! status, which endpoint answered, and where that is left to chance, how often each did. What one of the two refuses, the other
//! must refuse as well. `XDS_UPDATES` says how many updates; a few are enough for every day.

#[path = "beside/differences.rs"]
mod differences;
#[path = "beside/extension.rs"]
mod extension;
#[path = "beside/folders.rs"]
mod folders;
#[path = "beside/load.rs"]
pub(crate) mod load;
#[path = "beside/model.rs"]
mod model;
#[path = "beside/pair.rs"]
mod pair;
#[path = "beside/parts.rs"]
mod parts;
#[path = "beside/probe.rs"]
mod probe;
#[path = "beside/python.rs"]
pub(crate) mod python;
#[path = "beside/random.rs"]
mod random;
#[path = "beside/scope.rs"]
mod scope;
#[path = "beside/secrets.rs"]
mod secrets;
#[path = "beside/server.rs"]
mod server;
#[path = "beside/vhds.rs"]
mod vhds;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::echo::HttpServer;
use harness::envoy;

use folders::Folders;
use load::Load;
use model::{MAIN_PORT, Model, Update};
use pair::Pair;
use python::Python;
use server::{Node, Scripted, Server};

/// Endpoints that clusters are made of.
const UPSTREAMS: usize = 8;
/// How long after an update both may take to do the same: new sockets are opened and old ones closed by threads of their own.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn both_route_alike_after_random_updates_sotw() -> anyhow::Result<()> {
    side_by_side(false, 12, |nodes| Ok(Box::new(Scripted::start(nodes)?)))
}

#[test]
fn both_route_alike_after_random_updates_delta() -> anyhow::Result<()> {
    side_by_side(true, 12, |nodes| Ok(Box::new(Scripted::start(nodes)?)))
}

#[test]
fn both_route_alike_with_a_server_that_is_not_ours_sotw() -> anyhow::Result<()> {
    with_python(false)
}

#[test]
fn both_route_alike_with_a_server_that_is_not_ours_delta() -> anyhow::Result<()> {
    with_python(true)
}

#[test]
fn both_route_alike_after_random_updates_of_files() -> anyhow::Result<()> {
    side_by_side(false, 12, |nodes| Ok(Box::new(Folders::start(nodes)?)))
}

fn with_python(incremental: bool) -> anyhow::Result<()> {
    if !Python::is_there() {
        println!("skipped: no Python with Envoy's messages here (cargo xtask setup --peers)");
        return Ok(());
    }
    side_by_side(incremental, 6, |nodes| Ok(Box::new(Python::start(nodes)?)))
}

fn side_by_side(
    incremental: bool,
    updates: u64,
    start: impl FnOnce(&[Node]) -> anyhow::Result<Box<dyn Server>>,
) -> anyhow::Result<()> {
    if envoy::program().is_none() {
        println!("skipped: no Envoy here (cargo xtask setup --peers)");
        return Ok(());
    }
    let seed = number("XDS_SEED").unwrap_or(1);
    let updates = number("XDS_UPDATES").unwrap_or(updates);
    run(incremental, updates, seed, start).with_context(|| format!("XDS_SEED={seed} XDS_UPDATES={updates}"))
}

fn run(
    incremental: bool,
    updates: u64,
    seed: u64,
    start: impl FnOnce(&[Node]) -> anyhow::Result<Box<dyn Server>>,
) -> anyhow::Result<()> {
    let upstreams = (0..UPSTREAMS).map(|index| HttpServer::local(&format!("u{index}")));
    let upstreams = upstreams.collect::<anyhow::Result<Vec<_>>>()?;
    let mut model = Model::new(seed, upstreams.iter().map(HttpServer::address).collect());
    let mut pair = Pair::start(incremental, &model.first(), start)?;
    let begun = Instant::now();
    let load = Load::start(pair.at_agent(MAIN_PORT))?;
    let mut patient = 0;
    for count in 1..=updates {
        let Update { what, pushes } = model.next();
        for (push, is_wrong) in pushes {
            let refused = pair.push(&push).with_context(|| format!("update {count}: {what}"))?;
            let who: BTreeSet<_> = refused.iter().map(|refusal| refusal.node.as_str()).collect();
            let expected = if is_wrong { BTreeSet::from(["agent", "envoy"]) } else { BTreeSet::new() };
            // Nobody answers a file; that both do the same afterwards is what counts there.
            ensure!(who == expected || pair.is_silent(), "update {count}: {what}: {push:?}\nrefused: {refused:#?}");
        }
        let asked = Instant::now();
        while let Err(difference) = compare(&mut pair, &model) {
            patient += u64::from(asked.elapsed() > Duration::from_secs(1));
            ensure!(
                asked.elapsed() < PATIENCE,
                "update {count}: {what}: {difference}\nthe agent's log:\n{}\nEnvoy's:\n{}",
                pair.agent.log(),
                pair.envoy.log()
            );
        }
        load.check().with_context(|| format!("update {count}: {what}"))?;
    }
    let requests = load.stop()?;
    println!(
        "{updates} updates in {:?}, {requests} requests meanwhile, {} probes, {patient} turns late",
        begun.elapsed(),
        pair.prober.requests()
    );
    pair.stop()
}

/// Whether both answer all probes alike.
fn compare(pair: &mut Pair, model: &Model) -> anyhow::Result<()> {
    // A connection keeps to the listener it came in by, as that was then.
    pair.prober.forget();
    for probe in model.probes() {
        let outcomes = pair.ask(probe.port, &probe.path, probe.times, probe.is_fresh);
        if !outcomes[0].is_like(&outcomes[1]) {
            // Chance has another try with more patience.
            let again = pair.ask(probe.port, &probe.path, probe.times * 8, probe.is_fresh);
            ensure!(
                again[0].is_like(&again[1]),
                "{probe:?}:\n  Envoy: {:?}\n  agent: {:?}\n  configured: {}",
                again[0],
                again[1],
                model.show()
            );
        }
        if let Some(expected) = &probe.expected {
            ensure!(outcomes[1].only() == Some(expected.as_str()), "{probe:?}: {:?}", outcomes[1]);
        }
    }
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
