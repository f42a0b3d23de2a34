//! Routes seen from outside: who answers, and with what.

use std::collections::BTreeMap;

use harness::agent::Options;
use harness::client::Version;
use harness::config::{bootstrap, cluster, http, listener, own_address};
use harness::echo::HttpServer;
use harness::wire::{Response, Wire};
use serde_json::{Value, json};

use crate::proxy::Proxy;

fn get(proxy: &Proxy, path: &str, headers: &str) -> anyhow::Result<Response> {
    proxy.ask(&format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{headers}\r\n"))
}

#[test]
fn the_first_match_wins() -> anyhow::Result<()> {
    let say = |text: &str| json!({ "status": 200, "body": { "inline_string": text } });
    let routes = json!([
        { "match": { "path": "/exact" }, "direct_response": say("path") },
        { "match": { "safe_regex": { "regex": "/r[0-9]+" } }, "direct_response": say("regex") },
        { "match": { "path_separated_prefix": "/sep" }, "direct_response": say("separated") },
        {
            "match": { "prefix": "/h", "headers": [{ "name": "x-user", "string_match": { "exact": "jason" } }] },
            "direct_response": say("header"),
        },
        {
            "match": { "prefix": "/q", "query_parameters": [{ "name": "v", "string_match": { "prefix": "2" } }] },
            "direct_response": say("query"),
        },
        { "match": { "prefix": "/only" }, "direct_response": say("prefix") },
    ]);
    let proxy = Proxy::with(Version::Http1, routes, json!({}))?;
    let cases = [
        ("/exact", "", Some("path")),
        ("/exact?a=b", "", Some("path")),
        ("/exact/", "", None),
        ("/r12", "", Some("regex")),
        ("/r12x", "", None),
        ("/sep", "", Some("separated")),
        ("/sep/x", "", Some("separated")),
        ("/separate", "", None),
        ("/h", "x-user: jason\r\n", Some("header")),
        ("/h", "x-user: jasonx\r\n", None),
        ("/q?a=1&v=23", "", Some("query")),
        ("/q?v=3", "", None),
        ("/only/this", "", Some("prefix")),
    ];
    for (path, headers, expected) in cases {
        let response = get(&proxy, path, headers)?;
        match expected {
            Some(text) => assert_eq!((response.status, response.text().as_str()), (200, text), "{path} {headers}"),
            None => assert_eq!(response.status, 404, "{path} {headers}"),
        }
    }
    assert_eq!(proxy.upstream.seen(), [""; 0]);
    Ok(())
}

#[test]
fn weights_are_kept() -> anyhow::Result<()> {
    let (one, two) = (HttpServer::local("one")?, HttpServer::local("two")?);
    let clusters = [cluster("one", &[one.address()]), cluster("two", &[two.address()])];
    let weighted = json!({ "clusters": [{ "name": "one", "weight": 80 }, { "name": "two", "weight": 20 }] });
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "weighted_clusters": weighted } }]);
    let address = own_address(10000);
    let _agent = Options::no_kernel().start(bootstrap(&[listener(address, http(routes))], &clusters))?;
    let mut wire = Wire::connect(address)?;
    let mut count = BTreeMap::<String, i32>::new();
    for _ in 0..1000 {
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        *count.entry(wire.response()?.json()["server"].to_string()).or_default() += 1;
    }
    // Five deviations of a binomial of 1000 and 0.2.
    assert!((count["\"two\""] - 200).abs() < 64, "{count:?}");
    Ok(())
}

#[test]
fn endpoints_take_turns() -> anyhow::Result<()> {
    let servers = (0..3).map(|n| HttpServer::local(&n.to_string())).collect::<anyhow::Result<Vec<_>>>()?;
    let addresses = servers.iter().map(HttpServer::address).collect::<Vec<_>>();
    let address = own_address(10000);
    let config = bootstrap(&[listener(address, http(harness::config::all_to("all")))], &[cluster("all", &addresses)]);
    let _agent = Options::no_kernel().start(config)?;
    let mut wire = Wire::connect(address)?;
    for _ in 0..30 {
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        assert_eq!(wire.response()?.status, 200);
    }
    let counts = servers.iter().map(|server| server.seen().len()).collect::<Vec<_>>();
    assert_eq!(counts, [10, 10, 10]);
    Ok(())
}

#[test]
fn redirects_and_rewrites() -> anyhow::Result<()> {
    let routes = json!([
        { "match": { "prefix": "/old" }, "redirect": { "path_redirect": "/new", "response_code": "FOUND" } },
        { "match": { "prefix": "/secure" }, "redirect": { "https_redirect": true, "host_redirect": "b.example" } },
        {
            "match": { "prefix": "/api/" },
            "route": { "cluster": "echo", "prefix_rewrite": "/v2/", "host_rewrite_literal": "inner.example" },
        },
        { "match": { "prefix": "/" }, "route": { "cluster": "echo" } },
    ]);
    let proxy = Proxy::with(Version::Http1, routes, json!({}))?;
    let old = get(&proxy, "/old/thing", "")?;
    assert_eq!((old.status, old.header("location")), (302, Some("http://a.example/new")));
    let secure = get(&proxy, "/secure?x=1", "")?;
    assert_eq!((secure.status, secure.header("location")), (301, Some("https://b.example/secure?x=1")));
    let seen = get(&proxy, "/api/things?x=1", "")?.json();
    assert_eq!(seen["uri"], "/v2/things?x=1");
    assert_eq!(host(&seen), "inner.example");
    assert_eq!(host(&get(&proxy, "/other", "")?.json()), "a.example");
    Ok(())
}

fn host(seen: &Value) -> String {
    let headers = seen["headers"].as_array().into_iter().flatten();
    let host = headers.filter(|header| header[0] == "host").map(|header| header[1].as_str().unwrap_or_default());
    host.collect::<Vec<_>>().join(",")
}
