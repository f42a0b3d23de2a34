//! One request, one response: methods, bodies, headers, trailers, and connections that are kept.

use harness::client::{Version, block_on, empty, full};
use harness::config::all_to;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use serde_json::json;

use crate::proxy::{Proxy, WAYS};

#[test]
fn requests_pass_between_all_versions() -> anyhow::Result<()> {
    for (down, up) in WAYS {
        let proxy = Proxy::with(up, all_to("echo"), json!({}))?;
        block_on(async {
            let mut client = proxy.client(down).await?;
            for (method, body) in [("GET", ""), ("POST", "some text"), ("PUT", "x"), ("DELETE", ""), ("PATCH", "y")] {
                let request = Request::builder().method(method).uri("http://a.example/p/q?r=s").header("x-own", "1");
                let answer = client.ask(request.body(full(body))?).await?;
                let seen = answer.json();
                assert_eq!(answer.status, StatusCode::OK, "{down:?} {up:?} {method}: {answer:?}");
                assert_eq!(seen["method"], method);
                assert_eq!(seen["body"], body);
                assert!(seen["uri"].as_str().is_some_and(|uri| uri.ends_with("/p/q?r=s")), "{seen}");
                let version = if up == Version::Http1 { "HTTP/1.1" } else { "HTTP/2.0" };
                assert_eq!(seen["version"], version);
                let has = |name: &str| seen["headers"].as_array().is_some_and(|all| all.iter().any(|h| h[0] == name));
                assert!(has("x-own") && has("x-request-id") && has("x-forwarded-proto"), "{seen}");
                assert!(!has("connection"), "{seen}");
            }
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn head_and_empty_answers_have_no_body() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    let mut wire = proxy.wire()?;
    wire.send("HEAD /a HTTP/1.1\r\nhost: a\r\n\r\n")?;
    let head = String::from_utf8(wire.read_until(b"\r\n\r\n")?)?;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for code in [204, 304] {
        wire.send(format!("GET /status?code={code} HTTP/1.1\r\nhost: a\r\n\r\n"))?;
        assert_eq!(wire.response()?.status, code, "on the same connection");
    }
    wire.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n")?;
    assert_eq!(wire.response()?.status, 200);
    Ok(())
}

#[test]
fn pipelined_requests_are_answered_in_order() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    let mut wire = proxy.wire()?;
    let requests = (0..20).map(|n| format!("POST /{n} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab"));
    wire.send(requests.collect::<String>())?;
    for n in 0..20 {
        let response = wire.response()?;
        assert_eq!(response.json()["uri"], format!("/{n}"));
        assert_eq!(response.json()["body"], "ab");
    }
    Ok(())
}

#[test]
fn trailers_pass_between_all_versions() -> anyhow::Result<()> {
    for (down, up) in WAYS {
        // As in Envoy, HTTP/1.1 has trailers only where it is told to.
        let trailers = json!({ "http_protocol_options": { "enable_trailers": true } });
        let proxy = Proxy::with(up, all_to("echo"), trailers)?;
        block_on(async {
            let mut client = proxy.client(down).await?;
            // hyper's HTTP/1.1 server sends trailers only to a client that asks for them.
            let request = Request::post("http://a.example/trailers").header("te", "trailers");
            let answer = client.ask(request.body(full("12345"))?).await?;
            let grpc = |name: &str| answer.trailers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            assert_eq!(answer.body, "12345", "{down:?} {up:?}");
            assert_eq!(grpc("grpc-status").as_deref(), Some("0"), "{down:?} {up:?}: {answer:?}");
            assert_eq!(grpc("x-length").as_deref(), Some("5"), "{down:?} {up:?}");
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn request_trailers_reach_the_upstream() -> anyhow::Result<()> {
    let proxy = Proxy::with(Version::Http2, all_to("echo"), json!({}))?;
    block_on(async {
        let mut client = proxy.client(Version::Http2).await?;
        let (mut sender, body) = Channel::new(1);
        let request = Request::post("http://a.example/").body(body.boxed_unsync())?;
        let sending = async {
            sender.send_data("body".into()).await?;
            sender.send_trailers([("x-end".parse()?, "yes".parse()?)].into_iter().collect()).await?;
            drop(sender);
            anyhow::Ok(())
        };
        let (sent, answer) = tokio::join!(sending, client.ask(request));
        sent?;
        assert_eq!(answer?.json()["trailers"], json!([["x-end", "yes"]]));
        Ok(())
    })
}

#[test]
fn expect_continue_is_answered_before_the_body() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    let mut wire = proxy.wire()?;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")?;
    assert_eq!(wire.response()?.status, 100);
    wire.send("body")?;
    let response = wire.response()?;
    assert_eq!((response.status, &response.json()["body"]), (200, &json!("body")));
    Ok(())
}

#[test]
fn connection_close_is_kept() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    let mut wire = proxy.wire()?;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    let response = wire.response()?;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("connection"), Some("close"));
    assert!(wire.closes_within(std::time::Duration::from_secs(2)));
    Ok(())
}

#[test]
fn hop_by_hop_headers_end_here() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    let response = proxy.ask(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\n\
         proxy-connection: x\r\nte: gzip\r\nx-stays: 1\r\n\r\n",
    )?;
    let seen = response.json();
    let names = seen["headers"].as_array().into_iter().flatten().filter_map(|h| h[0].as_str()).collect::<Vec<_>>();
    for gone in ["x-hop", "keep-alive", "proxy-connection", "te", "connection"] {
        assert!(!names.contains(&gone), "{gone} of {names:?}");
    }
    assert!(names.contains(&"x-stays"));
    Ok(())
}

#[test]
fn upstream_connections_are_reused() -> anyhow::Result<()> {
    for up in [Version::Http1, Version::Http2] {
        let proxy = Proxy::with(up, all_to("echo"), json!({}))?;
        block_on(async {
            let mut client = proxy.client(Version::Http1).await?;
            for _ in 0..20 {
                assert_eq!(client.get("http://a/").await?.status, 200);
            }
            anyhow::Ok(())
        })?;
        assert_eq!(proxy.upstream.clients().len(), 1, "{up:?}");
    }
    Ok(())
}

#[test]
fn many_streams_share_a_connection() -> anyhow::Result<()> {
    let proxy = Proxy::with(Version::Http2, all_to("echo"), json!({}))?;
    block_on(async {
        let mut client = proxy.client(Version::Http2).await?;
        let mut running = Vec::new();
        for n in 0..80 {
            let request = Request::get(format!("http://a/{n}?ms=50")).body(empty())?;
            running.push(client.start(request).await?);
        }
        for (n, response) in running.into_iter().enumerate() {
            let answer = harness::client::Answer::collect(response.await?).await?;
            assert!(answer.json()["uri"].as_str().is_some_and(|uri| uri.contains(&format!("/{n}?"))));
        }
        Ok(())
    })
}
