//! What the agent does otherwise than Envoy when it is fed: each is listed, with its reason, in `tests/data/differences.yaml` under
//! `xds/` and the name of its test here.

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::ads::message::{CDS, EDS, LDS, RDS};
use harness::config::{all_to, with};
use harness::echo::HttpServer;
use harness::envoy;
use serde_json::json;

use super::model::MAIN_PORT;
use super::pair::Pair;
use super::parts::{Serves, own_listener};
use super::server::{Scripted, push};
use crate::setup::{eds_cluster, endpoints, routes};

/// Both with one cluster, and routes to it.
fn pair(one: &HttpServer) -> anyhow::Result<Option<Pair>> {
    if envoy::program().is_none() {
        println!("skipped: no Envoy here (cargo xtask setup --peers)");
        return Ok(None);
    }
    let first = push(vec![
        (CDS, "a", eds_cluster("a")),
        (EDS, "a", endpoints("a", &[one.address()])),
        (LDS, "main", own_listener("main", MAIN_PORT, &Serves::Discovered("r"), 0)),
        (RDS, "r", routes("r", all_to("a"))),
    ]);
    Pair::start(true, &first, |nodes| Ok(Box::new(Scripted::start(nodes)?))).map(Some)
}

/// Waits until Envoy and the agent answer `GET /` like this.
fn until(pair: &mut Pair, expected: [&str; 2], patience: Duration) -> anyhow::Result<()> {
    until_at(pair, "/", expected, patience)
}

/// The same with another path.
pub(super) fn until_at(pair: &mut Pair, path: &str, expected: [&str; 2], patience: Duration) -> anyhow::Result<()> {
    pair.until_each(MAIN_PORT, path, expected, patience)
}

#[test]
fn siblings_of_a_bad_resource() -> anyhow::Result<()> {
    let (one, two) = (HttpServer::local("one")?, HttpServer::local("two")?);
    let Some(mut pair) = pair(&one)? else { return Ok(()) };
    until(&mut pair, ["200 one", "200 one"], Duration::from_secs(10))?;
    let bad = with(eds_cluster("bad"), json!({ "connect_timeout": "0s" }));
    let refused = pair.push(&push(vec![
        (CDS, "bad", bad),
        (CDS, "good", eds_cluster("good")),
        (EDS, "good", endpoints("good", &[two.address()])),
    ]))?;
    ensure!(refused.len() == 2, "both refuse it: {refused:?}");
    pair.push(&push(vec![(RDS, "r", routes("r", all_to("good")))]))?;
    until(&mut pair, ["503", "200 two"], Duration::from_secs(10))
}

#[test]
fn routes_before_their_cluster() -> anyhow::Result<()> {
    let (one, two) = (HttpServer::local("one")?, HttpServer::local("two")?);
    let Some(mut pair) = pair(&one)? else { return Ok(()) };
    until(&mut pair, ["200 one", "200 one"], Duration::from_secs(10))?;
    pair.push(&push(vec![(RDS, "r", routes("r", all_to("late")))]))?;
    until(&mut pair, ["503", "200 one"], Duration::from_secs(10))?;
    pair.push(&push(vec![(CDS, "late", eds_cluster("late")), (EDS, "late", endpoints("late", &[two.address()]))]))?;
    until(&mut pair, ["200 two", "200 two"], Duration::from_secs(10))?;
    // One that never comes: then the agent does the same.
    pair.push(&push(vec![(RDS, "r", routes("r", all_to("never")))]))?;
    until(&mut pair, ["503", "200 two"], Duration::from_secs(10))?;
    until(&mut pair, ["503", "503"], Duration::from_secs(30))
}

#[test]
fn routes_that_do_not_exist() -> anyhow::Result<()> {
    let one = HttpServer::local("one")?;
    let Some(mut pair) = pair(&one)? else { return Ok(()) };
    // At another address, so that neither has anything there until it is live.
    let listener = own_listener("x", MAIN_PORT + 1, &Serves::Discovered("nowhere"), 0);
    pair.push(&push(vec![(LDS, "x", listener)]))?;
    let begun = Instant::now();
    let live = |pair: &mut Pair| pair.ask(MAIN_PORT + 1, "/", 1, true).map(|it| it.only() == Some("404"));
    while !live(&mut pair)[1] {
        ensure!(begun.elapsed() < Duration::from_secs(10), "the agent has been told that there are none");
    }
    // Longer than its initial_fetch_timeout.
    while begun.elapsed() < Duration::from_secs(17) {
        ensure!(!live(&mut pair)[0], "Envoy has not been told anything, as it sees it");
        std::thread::sleep(Duration::from_millis(100));
    }
    pair.push(&push(vec![(RDS, "nowhere", routes("nowhere", all_to("a")))]))?;
    let serves = |pair: &mut Pair| pair.ask(MAIN_PORT + 1, "/", 1, true).map(|it| it.only() == Some("200 one"));
    while serves(&mut pair) != [true, true] {
        ensure!(begun.elapsed() < Duration::from_secs(40), "both serve when they come");
    }
    Ok(())
}
