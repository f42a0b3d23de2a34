//! TLS to endpoints with certificates and authorities from the one server: who is believed by Envoy and by the agent, and who is not.

use std::time::Duration;

use harness::ads::message::{CDS, LDS, RDS, SDS};
use harness::ca::{Authority, Identity};
use harness::config::{cluster, secured, with};
use harness::echo::HttpServer;
use harness::envoy;
use harness::secure::Tls;
use serde_json::{Value, json};

use super::differences::until_at;
use super::model::MAIN_PORT;
use super::pair::Pair;
use super::parts::{Serves, own_listener};
use super::server::{Scripted, push};
use crate::setup::{ads, routes};

const SHOP: &str = "spiffe://cluster.local/ns/default/sa/shop";

fn secret(name: &str) -> Value {
    json!({ "name": name, "sds_config": ads() })
}

#[expect(clippy::needless_pass_by_value, reason = "callers build the names in place")]
fn trusting(name: &str, names: Value) -> Value {
    json!({ "combined_validation_context": {
        "default_validation_context": { "match_typed_subject_alt_names": names },
        "validation_context_sds_secret_config": secret(name),
    } })
}

fn own(name: &'static str, identity: &Identity) -> (&'static str, &'static str, Value) {
    let (chain, key) = (json!({ "inline_string": identity.chain }), json!({ "inline_string": identity.key }));
    (SDS, name, json!({ "name": name, "tls_certificate": { "certificate_chain": chain, "private_key": key } }))
}

fn trust(name: &'static str, authority: &Authority) -> (&'static str, &'static str, Value) {
    let trusted = json!({ "inline_string": authority.certificate });
    (SDS, name, json!({ "name": name, "validation_context": { "trusted_ca": trusted } }))
}

/// Every case is a cluster, asked for by its name as the path; its answer by Envoy and by the agent.
#[test]
fn peers_without_the_name_that_is_asked_for() -> anyhow::Result<()> {
    if envoy::program().is_none() {
        println!("skipped: no Envoy here (cargo xtask setup --peers)");
        return Ok(());
    }
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let server = |identity: &Identity, mutual: bool| -> anyhow::Result<(Tls, HttpServer)> {
        let tls = Tls::new(authority.server(identity, mutual)?, &["h2", "http/1.1"]);
        let upstream = HttpServer::secure("secure", &tls)?;
        Ok((tls, upstream))
    };
    let (_, open) = server(&authority.issue(&[SHOP, "shop.test"])?, false)?;
    let (tls, mutual) = server(&authority.issue(&[SHOP])?, true)?;
    let (_, expired) = server(&authority.issue_expired(&[SHOP])?, false)?;
    let plain = HttpServer::local("plain")?;
    let shop = || json!([{ "san_type": "URI", "matcher": { "exact": SHOP } }]);
    let other = || json!([{ "san_type": "URI", "matcher": { "exact": "spiffe://cluster.local/ns/x/sa/y" } }]);
    let shown = || json!({ "tls_certificate_sds_secret_configs": [secret("default")] });
    let asked = |name: &str| json!({ "sni": name });
    let anybody = json!({ "validation_context": { "trust_chain_verification": "ACCEPT_UNTRUSTED" } });
    let cases = [
        ("named", &open, json!({}), trusting("ca", shop()), ["200 secure", "200 secure"]),
        ("asked", &open, asked("shop.test"), trusting("ca", json!([])), ["200 secure", "200 secure"]),
        // The difference: nobody demands a name.
        ("unnamed", &open, asked("other.test"), trusting("ca", json!([])), ["200 secure", "503"]),
        // Another: HTTP/1.1 is spoken, and h2 agreed on.
        (
            "agreed",
            &open,
            json!({}),
            with(trusting("ca", shop()), json!({ "alpn_protocols": ["h2"] })),
            ["200 secure", "503"],
        ),
        ("misnamed", &open, json!({}), trusting("ca", other()), ["503", "503"]),
        ("untrusted", &open, json!({}), trusting("stranger", shop()), ["503", "503"]),
        ("anybody", &open, json!({}), anybody, ["200 secure", "200 secure"]),
        ("expired", &expired, json!({}), trusting("ca", shop()), ["503", "503"]),
        ("mutual", &mutual, json!({}), with(trusting("ca", shop()), shown()), ["200 secure", "200 secure"]),
        ("nobody", &mutual, json!({}), trusting("ca", shop()), ["503", "503"]),
        ("plain", &plain, json!({}), trusting("ca", shop()), ["503", "503"]),
    ];
    let mut first = vec![
        trust("ca", &authority),
        trust("stranger", &stranger),
        own("default", &authority.issue(&["client"])?),
        (LDS, "main", own_listener("main", MAIN_PORT, &Serves::Discovered("r"), 0)),
    ];
    let mut all = Vec::new();
    for (name, upstream, context, common, _) in &cases {
        first.push((CDS, name, secured(cluster(name, &[upstream.address()]), context.clone(), common.clone())));
        all.push(json!({ "match": { "prefix": format!("/{name}") }, "route": { "cluster": name } }));
    }
    first.push((RDS, "r", routes("r", json!(all))));
    let mut pair = Pair::start(true, &push(first), |nodes| Ok(Box::new(Scripted::start(nodes)?)))?;
    for (name, .., expected) in &cases {
        until_at(&mut pair, &format!("/{name}"), *expected, Duration::from_secs(10))?;
    }
    // A certificate that is replaced is shown by both to who connects from then on.
    let next = authority.issue(&["client"])?;
    pair.push(&push(vec![own("default", &next)]))?;
    tls.become_other(authority.server(&authority.issue(&[SHOP])?, true)?);
    until_at(&mut pair, "/mutual", ["200 secure", "200 secure"], Duration::from_secs(10))?;
    // One that fits nothing is refused by both, and changes nothing.
    let mixed = Identity { key: authority.issue(&["x"])?.key, ..next };
    let refused = pair.push(&push(vec![own("default", &mixed)]))?;
    assert_eq!(refused.len(), 2, "{refused:?}");
    until_at(&mut pair, "/mutual", ["200 secure", "200 secure"], Duration::from_secs(10))?;
    pair.stop()
}
