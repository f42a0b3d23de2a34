//! Scoped routes, beside Envoy: after each change both refuse the same and do the same.

use anyhow::ensure;
use harness::ads::message::{LDS, RDS, SRDS};
use harness::config::with;
use harness::envoy;
use serde_json::{Value, json};

use super::model::MAIN_PORT;
use super::pair::Pair;
use super::parts::{Serves, own_listener};
use super::server::{Push, Scripted, push};
use crate::scope::{scope, scoped_routes, telling};
use crate::setup::ads;

/// A listener whose scope is made of a request's path by `extractor`.
fn listener(name: &str, port: u16, extractor: Value) -> Value {
    let extractor = with(json!({ "name": ":path", "element_separator": "/" }), extractor);
    let mut made = own_listener(name, port, &Serves::Inline(json!([])), 0);
    let manager = &mut made["filter_chains"][0]["filters"][0]["typed_config"];
    manager["route_config"] = Value::Null;
    manager["scoped_routes"] = scoped_routes(&extractor, &ads());
    made
}

/// Waits until both answer each path with its routes.
fn until(pair: &mut Pair, port: u16, expected: &[(&str, &str)]) -> anyhow::Result<()> {
    expected.iter().try_for_each(|(path, expected)| pair.until(port, path, expected))
}

#[test]
fn scopes_come_change_and_go_alike_sotw() -> anyhow::Result<()> {
    alike(false)
}

#[test]
fn scopes_come_change_and_go_alike_delta() -> anyhow::Result<()> {
    alike(true)
}

fn alike(incremental: bool) -> anyhow::Result<()> {
    if envoy::program().is_none() {
        println!("skipped: no Envoy here (cargo xtask setup --peers)");
        return Ok(());
    }
    let scopes = |all: &[(&'static str, &str, &str)]| {
        push(all.iter().map(|(name, routes, key)| (SRDS, *name, scope(name, routes, key))).collect())
    };
    let by_key = json!({ "element": { "separator": "=", "key": "k" } });
    let mut first = scopes(&[("one", "r1", "a"), ("two", "r2", "b"), ("none", "r3", ""), ("more", "r1", "d")]);
    first.set.extend(["r1", "r2", "r3"].map(|name| (RDS, name.to_owned(), telling(name))));
    first.set.push((LDS, "main".to_owned(), listener("main", MAIN_PORT, json!({ "index": 1 }))));
    first.set.push((LDS, "keyed".to_owned(), listener("keyed", MAIN_PORT + 1, by_key)));
    let mut pair = Pair::start(incremental, &first, |nodes| Ok(Box::new(Scripted::start(nodes)?)))?;
    let both = [("/a", "200 r1"), ("/b/c", "200 r2"), ("/c", "404"), ("/", "200 r3")];
    until(&mut pair, MAIN_PORT, &both)?;
    let keyed = [
        ("/k=a", "200 r1"),
        ("/x/k=b/k=a", "200 r2"),
        ("/k=a=b", "404"),
        ("/k", "200 r3"),
        ("/a", "404"),
        ("/kk=a", "404"),
    ];
    until(&mut pair, MAIN_PORT + 1, &keyed)?;
    // Other routes, another scope.
    ensure!(pair.push(&scopes(&[("one", "r3", "a"), ("three", "r1", "c")]))?.is_empty());
    until(&mut pair, MAIN_PORT, &[("/a", "200 r3"), ("/b", "200 r2"), ("/c", "200 r1")])?;
    // One that goes.
    pair.push(&Push { gone: vec![(SRDS, "three".to_owned())], ..Push::default() })?;
    until(&mut pair, MAIN_PORT, &[("/a", "200 r3"), ("/c", "404")])?;
    // A key that another has.
    let refused = pair.push(&scopes(&[("bad", "r1", "b")]))?;
    ensure!(refused.len() == 2, "both refuse it: {refused:?}");
    pair.push(&Push { gone: vec![(SRDS, "bad".to_owned())], ..Push::default() })?;
    until(&mut pair, MAIN_PORT, &[("/a", "200 r3"), ("/b", "200 r2")])?;
    // Routes change under a scope.
    let answer = json!([{ "match": { "prefix": "/" }, "direct_response": { "status": 418 } }]);
    ensure!(pair.push(&push(vec![(RDS, "r2", crate::setup::routes("r2", answer))]))?.is_empty());
    until(&mut pair, MAIN_PORT, &[("/a", "200 r3"), ("/b", "418")])?;
    pair.stop()
}

#[test]
fn scopes_that_exchange_their_keys() -> anyhow::Result<()> {
    if envoy::program().is_none() {
        println!("skipped: no Envoy here (cargo xtask setup --peers)");
        return Ok(());
    }
    let scopes =
        |one: &str, two: &str| vec![(SRDS, "one", scope("one", "r1", one)), (SRDS, "two", scope("two", "r2", two))];
    let mut first = push(scopes("a", "b"));
    first.set.extend(["r1", "r2"].map(|name| (RDS, name.to_owned(), telling(name))));
    first.set.push((LDS, "main".to_owned(), listener("main", MAIN_PORT, json!({ "index": 1 }))));
    let mut pair = Pair::start(true, &first, |nodes| Ok(Box::new(Scripted::start(nodes)?)))?;
    until(&mut pair, MAIN_PORT, &[("/a", "200 r1"), ("/b", "200 r2")])?;
    ensure!(pair.push(&push(scopes("b", "a")))?.is_empty(), "both accept it");
    until(&mut pair, MAIN_PORT, &[("/a", "200 r2")])?;
    let outcomes = pair.ask(MAIN_PORT, "/b", 1, true);
    ensure!(outcomes.each_ref().map(|outcome| outcome.only()) == [Some("404"), Some("200 r1")], "{outcomes:?}");
    pair.stop()
}
