//! Virtual hosts by discovery, beside Envoy: both ask for the same, and answer alike.

use anyhow::ensure;
use harness::ads::message::{LDS, RDS, VHDS};
use harness::envoy;
use serde_json::{Value, json};

use super::model::MAIN_PORT;
use super::pair::Pair;
use super::parts::{Serves, own_listener};
use super::server::{Push, Scripted, push};
use crate::vhds::{asking, discovering, telling};

#[test]
fn hosts_come_change_and_go_alike_delta() -> anyhow::Result<()> {
    if envoy::program().is_none() {
        println!("skipped: no Envoy here (cargo xtask setup --peers)");
        return Ok(());
    }
    let listener = |name: &str, port: u16, routes: &'static str, filters: Value| {
        let mut made = own_listener(name, port, &Serves::Discovered(routes), 0);
        made["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"] = filters;
        made
    };
    let first = push(vec![
        (LDS, "main", listener("main", MAIN_PORT, "r", asking())),
        (LDS, "other", listener("other", MAIN_PORT + 1, "s", asking())),
        (LDS, "deaf", listener("deaf", MAIN_PORT + 2, "t", json!([asking()[1]]))),
        (RDS, "r", discovering("r")),
        (RDS, "s", discovering("s")),
        (RDS, "t", discovering("t")),
        (VHDS, "r/test", telling(&["test"], "one")),
        (VHDS, "t/test", telling(&["test"], "nobody asks")),
    ]);
    let mut pair = Pair::start(true, &first, |nodes| Ok(Box::new(Scripted::start(nodes)?)))?;
    pair.until(MAIN_PORT, "/", "200 one")?;
    pair.until(MAIN_PORT + 1, "/", "404")?;
    pair.until(MAIN_PORT + 2, "/", "404")?;
    ensure!(pair.push(&push(vec![(VHDS, "r/test", telling(&["test"], "two"))]))?.is_empty());
    pair.until(MAIN_PORT, "/", "200 two")?;
    // What was not there comes.
    ensure!(pair.push(&push(vec![(VHDS, "s/test", telling(&["test"], "late"))]))?.is_empty());
    pair.until(MAIN_PORT + 1, "/", "200 late")?;
    // And goes.
    pair.push(&Push { gone: vec![(VHDS, "r/test".to_owned())], ..Push::default() })?;
    pair.until(MAIN_PORT, "/", "404")?;
    pair.until(MAIN_PORT + 1, "/", "200 late")?;
    pair.stop()
}
