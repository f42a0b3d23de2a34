//! Filters that come by themselves, beside Envoy: after each change both refuse the same and do the same.

use anyhow::ensure;
use harness::ads::message::{ECDS, LDS};
use harness::config::{all_to, cluster, with};
use harness::echo::HttpServer;
use harness::envoy;
use serde_json::{Value, json};

use super::model::MAIN_PORT;
use super::pair::Pair;
use super::parts::{Serves, own_listener};
use super::server::{Push, Scripted, push};
use crate::extension::{discovered, router, rules};
use harness::ads::message::CDS;

const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC";

/// A listener with a router and rules that come by themselves.
fn listener(name: &str, port: u16, [rules, router]: [Value; 2]) -> Value {
    let mut made = own_listener(name, port, &Serves::Inline(all_to("a")), 0);
    let filters = made["filter_chains"][0]["filters"].as_array_mut().expect("filters");
    filters[0]["typed_config"]["http_filters"] = json!([router]);
    filters.insert(0, rules);
    made
}

#[test]
fn filters_come_change_and_go_alike_sotw() -> anyhow::Result<()> {
    alike(false)
}

#[test]
fn filters_come_change_and_go_alike_delta() -> anyhow::Result<()> {
    alike(true)
}

fn alike(incremental: bool) -> anyhow::Result<()> {
    if envoy::program().is_none() {
        println!("skipped: no Envoy here (cargo xtask setup --peers)");
        return Ok(());
    }
    let one = HttpServer::local("one")?;
    let bare = [discovered("who", RBAC, json!({})), discovered("how", ROUTER, json!({}))];
    let first = push(vec![
        (CDS, "a", cluster("a", &[one.address()])),
        (LDS, "main", listener("main", MAIN_PORT, bare.clone())),
        (LDS, "second", listener("second", MAIN_PORT + 1, bare)),
        (ECDS, "who", rules("who", "ALLOW")),
        (ECDS, "how", router("how", false)),
    ]);
    let mut pair = Pair::start(incremental, &first, |nodes| Ok(Box::new(Scripted::start(nodes)?)))?;
    let both = [MAIN_PORT, MAIN_PORT + 1];
    both.into_iter().try_for_each(|port| pair.until(port, "/", "200 one"))?;
    for (action, expected) in [("DENY", "broken off"), ("ALLOW", "200 one")] {
        ensure!(pair.push(&push(vec![(ECDS, "who", rules("who", action))]))?.is_empty());
        both.into_iter().try_for_each(|port| pair.until(port, "/", expected))?;
    }
    // A type that does not fit.
    let refused = pair.push(&push(vec![(ECDS, "how", rules("how", "ALLOW"))]))?;
    ensure!(refused.len() == 2, "both refuse it: {refused:?}");
    pair.until(MAIN_PORT, "/", "200 one")?;
    ensure!(pair.push(&push(vec![(ECDS, "how", router("how", true))]))?.is_empty());
    if incremental {
        removed(&mut pair)?
    } else {
        late(&mut pair)?
    }
    pair.stop()
}

/// Places whose filter does not come in time: with a default and without. Over delta Envoy would be told that there is none, and wait on
/// (`routes_that_do_not_exist`).
fn late(pair: &mut Pair) -> anyhow::Result<()> {
    let soon = |more: Value| {
        let source = with(crate::setup::ads(), json!({ "initial_fetch_timeout": "0.3s" }));
        with(json!({ "config_source": source }), more)
    };
    let default = json!({ "default_config": { "@type": ROUTER } });
    let denied = json!({ "default_config": rules("", "DENY")["typed_config"] });
    let at_once = with(denied.clone(), json!({ "apply_default_config_without_warming": true }));
    let there = || discovered("who", RBAC, json!({}));
    let late = [
        ([there(), discovered("late", ROUTER, soon(json!({})))], "500"),
        ([there(), discovered("later", ROUTER, soon(default))], "200 one"),
        ([discovered("never", RBAC, soon(json!({}))), router("r", false)], "broken off"),
        ([discovered("nobody", RBAC, soon(denied)), router("r", false)], "broken off"),
        ([discovered("nothing", RBAC, at_once), router("r", false)], "broken off"),
    ];
    for (port, (filters, expected)) in (MAIN_PORT + 2..).zip(late) {
        let name = format!("late{port}");
        ensure!(pair.push(&push(vec![(LDS, &name, listener(&name, port, filters))]))?.is_empty());
        pair.until(port, "/", expected)?;
    }
    // They come after all.
    pair.push(&push(vec![
        (ECDS, "late", router("late", false)),
        (ECDS, "later", router("later", false)),
        (ECDS, "never", rules("never", "ALLOW")),
        (ECDS, "nobody", rules("nobody", "ALLOW")),
        (ECDS, "nothing", rules("nothing", "ALLOW")),
    ]))?;
    (MAIN_PORT + 2..MAIN_PORT + 7).try_for_each(|port| pair.until(port, "/", "200 one"))
}

/// Filters that go again: with a default and without.
fn removed(pair: &mut Pair) -> anyhow::Result<()> {
    let default = json!({ "default_config": { "@type": ROUTER } });
    let denied = json!({ "default_config": rules("", "DENY")["typed_config"] });
    let there = || discovered("who", RBAC, json!({}));
    let kinds = [
        ("one", [there(), discovered("one", ROUTER, json!({}))], router("one", false), "500"),
        ("two", [there(), discovered("two", ROUTER, default)], router("two", false), "200 one"),
        ("three", [discovered("three", RBAC, json!({})), router("r", false)], rules("three", "ALLOW"), "broken off"),
        ("four", [discovered("four", RBAC, denied), router("r", false)], rules("four", "ALLOW"), "broken off"),
    ];
    for (port, (name, filters, filter, expected)) in (MAIN_PORT + 2..).zip(kinds) {
        let set = vec![(ECDS, name, filter), (LDS, name, listener(name, port, filters))];
        ensure!(pair.push(&push(set))?.is_empty());
        pair.until(port, "/", "200 one")?;
        pair.push(&Push { gone: vec![(ECDS, name.to_owned())], ..Push::default() })?;
        pair.until(port, "/", expected)?;
    }
    Ok(())
}
