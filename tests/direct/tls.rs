//! TLS to endpoints: what is said in the handshake, who is believed, and that what passes inside passes whole.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::agent::Options;
use harness::ca::{Authority, Identity};
use harness::client::Version;
use harness::config::{
    agent_tcp, all_to, bootstrap, cluster, http2_cluster, listener, own_address, secured, tcp, with,
};
use harness::echo::HttpServer;
use harness::secure::{Handshake, Tls};
use harness::tcp::{echo, secure_echo};
use harness::wire::{Response, Wire};
use serde_json::{Value, json};

use crate::proxy::http_agent;

const NAME: &str = "shop.test";
const SPIFFE: &str = "spiffe://cluster.local/ns/default/sa/shop";

/// An authority, and a server it vouches for.
struct Peer {
    authority: Authority,
    tls: Tls,
    upstream: HttpServer,
}

impl Peer {
    fn start(alpn: &[&str], mutual: bool) -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let tls = Tls::new(authority.server(&authority.issue(&[NAME, SPIFFE, "127.0.0.1"])?, mutual)?, alpn);
        let upstream = HttpServer::secure("secure", &tls)?;
        Ok(Self { authority, tls, upstream })
    }

    /// Whom a client of it trusts, known by its name.
    fn cluster(&self, version: Version, context: Value, common: Value) -> Value {
        let endpoints = [self.upstream.address()];
        let plain = match version {
            Version::Http1 => cluster("echo", &endpoints),
            Version::Http2 => http2_cluster("echo", &endpoints),
        };
        let common = with(json!({ "validation_context": self.trust() }), common);
        secured(plain, with(json!({ "sni": NAME }), context), common)
    }

    fn trust(&self) -> Value {
        json!({ "trusted_ca": { "inline_string": self.authority.certificate } })
    }
}

fn certificate(identity: &Identity) -> Value {
    json!([{
        "certificate_chain": { "inline_string": identity.chain },
        "private_key": { "inline_string": identity.key },
    }])
}

fn ask(address: SocketAddr) -> anyhow::Result<Response> {
    let mut wire = Wire::connect(address)?;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    wire.response()
}

fn handshake(alpn: Option<&str>) -> Handshake {
    Handshake { sni: Some(NAME.to_owned()), alpn: alpn.map(str::to_owned), certificate: None }
}

#[test]
fn requests_pass_and_connections_are_kept() -> anyhow::Result<()> {
    for (version, alpn) in [(Version::Http1, "http/1.1"), (Version::Http2, "h2")] {
        let peer = Peer::start(&["h2", "http/1.1"], false)?;
        let cluster = peer.cluster(version, json!({}), json!({}));
        let (agent, address) = http_agent(all_to("echo"), json!({}), &[cluster])?;
        let spoken = ask(address)?.json()["version"].clone();
        assert_eq!(spoken, if version == Version::Http2 { "HTTP/2.0" } else { "HTTP/1.1" });
        let body: String = (0..400_000u32).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
        for _ in 0..3 {
            let mut wire = Wire::connect(address)?;
            let head = format!("POST /mirror HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
            wire.send(head + &body)?;
            ensure!(wire.response()?.text() == body, "what came back is not what was sent");
            let mut wire = Wire::connect(address)?;
            wire.send("GET /stream?chunks=200&size=20000 HTTP/1.1\r\nhost: a\r\n\r\n")?;
            assert_eq!(wire.response()?.body.len(), 4_000_000);
        }
        // One data thread or more: each has a connection of its own.
        let seen = peer.tls.seen();
        assert!(seen.len() <= 4 && seen.iter().all(|it| *it == handshake(Some(alpn))), "{seen:?}");
        assert!(!agent.log().contains("PRIVATE KEY"));
    }
    Ok(())
}

#[test]
fn who_we_are_is_shown_to_who_asks() -> anyhow::Result<()> {
    let peer = Peer::start(&[], true)?;
    let (one, two) = (peer.authority.issue(&["one"])?, peer.authority.issue(&["two"])?);
    let named = |name: &str, identity: &Identity| {
        let cluster = peer.cluster(Version::Http1, json!({}), json!({ "tls_certificates": certificate(identity) }));
        with(cluster, json!({ "name": name }))
    };
    let clusters = [named("one", &one), named("two", &two), peer.cluster(Version::Http1, json!({}), json!({}))];
    let to = |path: &str, cluster: &str| json!({ "match": { "prefix": path }, "route": { "cluster": cluster } });
    let routes = json!([to("/one", "one"), to("/two", "two"), to("/", "echo")]);
    let (agent, address) = http_agent(routes, json!({}), &clusters)?;
    // On one connection, and so on one thread: what was opened as the one does not serve the other.
    let mut wire = Wire::connect(address)?;
    for path in ["/one", "/two", "/one", "/two"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))?;
        assert_eq!(wire.response()?.status, 200);
    }
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    assert_eq!(wire.response()?.status, 503, "nobody is not let in");
    let seen: Vec<_> = peer.tls.seen().into_iter().map(|it| it.certificate).collect();
    assert_eq!(seen, [Some(one.der()?), Some(two.der()?)]);
    // No key anywhere.
    let key = one.key.lines().nth(1).context("a line of the key")?;
    let dump = agent.admin().get("/config_dump")?.text();
    assert_eq!((dump.matches("[redacted]").count(), dump.contains(key), agent.log().contains(key)), (2, false, false));
    Ok(())
}

/// What clients get where there can be no TLS: by whom the server is vouched for, and what the cluster says.
#[test]
fn who_is_not_who_it_should_be_gets_nothing() -> anyhow::Result<()> {
    let peer = Peer::start(&["h2", "http/1.1"], false)?;
    let stranger = Authority::new()?;
    let untrusted = json!({ "trusted_ca": { "inline_string": stranger.certificate } });
    let named = |kind: &str, name: &str| json!([{ "san_type": kind, "matcher": { "exact": name } }]);
    let by = |names: Value| json!({ "validation_context": with(peer.trust(), json!({ "match_typed_subject_alt_names": names })) });
    let other = json!({ "sni": "other.test" });
    let nobody = json!({ "validation_context": { "trust_chain_verification": "ACCEPT_UNTRUSTED" } });
    let old = json!({ "tls_params": { "tls_maximum_protocol_version": "TLSv1_2" } });
    let new = json!({ "tls_params": { "tls_minimum_protocol_version": "TLSv1_3" } });
    let cases = [
        (json!({}), json!({}), None),
        (json!({ "sni": null }), json!({}), None),
        (other.clone(), by(named("URI", SPIFFE)), None),
        (json!({ "auto_sni_san_validation": true }), by(named("DNS", "other.test")), None),
        (other.clone(), nobody, None),
        (json!({}), old, None),
        (json!({}), new, None),
        (json!({}), json!({ "validation_context": untrusted }), Some("invalid peer certificate: BadSignature")),
        (other, json!({}), Some("not valid for name \"other.test\"")),
        (json!({}), by(named("URI", "spiffe://cluster.local/ns/x/sa/y")), Some("ApplicationVerificationFailure")),
        (json!({}), json!({ "alpn_protocols": ["istio"] }), Some("received fatal alert: NoApplicationProtocol")),
        (json!({}), json!({ "alpn_protocols": ["h2"] }), Some("the endpoint has chosen to speak \"h2\"")),
    ];
    for (context, common, why) in cases {
        let cluster = peer.cluster(Version::Http1, context.clone(), common.clone());
        let (agent, address) = http_agent(all_to("echo"), json!({}), &[cluster])?;
        refused(&agent, address, why).with_context(|| format!("{context} {common}"))?;
    }
    // One that was somebody.
    peer.tls.become_other(peer.authority.server(&peer.authority.issue_expired(&[NAME])?, false)?);
    for version in [Version::Http1, Version::Http2] {
        let cluster = peer.cluster(version, json!({}), json!({}));
        let (agent, address) = http_agent(all_to("echo"), json!({}), &[cluster])?;
        refused(&agent, address, Some("certificate expired"))?;
    }
    Ok(())
}

/// Whether a request fails for that reason, which the client, the log and the metrics learn.
fn refused(agent: &harness::agent::Agent, address: SocketAddr, why: Option<&str>) -> anyhow::Result<()> {
    let response = ask(address)?;
    let Some(why) = why else {
        ensure!(response.status == 200, "{} {}", response.status, response.text());
        return Ok(());
    };
    let text = response.text();
    let begin = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, \
                 transport failure reason: TLS_error:";
    ensure!(response.status == 503 && text.starts_with(begin) && text.contains(why), "{} {text}", response.status);
    // What the agent says arrives after what it does.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !agent.log().contains(why) {
        ensure!(Instant::now() < deadline, "{}", agent.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    let failed = agent.admin().metrics()?.sum("bowline_errors_total", &[("kind", "UF")]);
    ensure!(failed == 1.0, "{failed}");
    Ok(())
}

#[test]
fn who_does_not_answer_the_handshake_is_left_in_time() -> anyhow::Result<()> {
    let (silent, authority) = (echo(([127, 0, 0, 1], 0).into())?, Authority::new()?);
    let trust = json!({ "validation_context": { "trusted_ca": { "inline_string": authority.certificate } } });
    // What comes back is what we said, which no server says.
    let cluster = secured(cluster("echo", &[silent.address()]), json!({}), trust.clone());
    let (_agent, address) = http_agent(all_to("echo"), json!({}), &[cluster])?;
    assert_eq!(ask(address)?.status, 503);
    let mute = harness::tcp::Recorder::start(([127, 0, 0, 1], 0).into(), b"")?;
    let cluster = secured(harness::config::cluster("echo", &[mute.address()]), json!({}), trust);
    let (_agent, address) = http_agent(all_to("echo"), json!({}), &[cluster])?;
    let response = ask(address)?;
    assert_eq!(response.status, 503);
    assert!(response.text().ends_with("reset reason: connection timeout"), "{}", response.text());
    Ok(())
}

#[test]
fn bytes_pass_through_tls_and_half_closes_too() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let tls = Tls::new(authority.server(&authority.issue(&[NAME])?, false)?, &[]);
    let upstream = secure_echo(([127, 0, 0, 1], 0).into(), &tls)?;
    let trust = json!({ "validation_context": { "trusted_ca": { "inline_string": authority.certificate } } });
    let secure = secured(cluster("echo", &[upstream.address()]), json!({ "sni": NAME }), trust);
    let address = own_address(10000);
    let _agent = Options::no_kernel().start(bootstrap(&[listener(address, tcp("echo"))], &[secure]))?;
    let mut wire = Wire::connect(address)?;
    let sent = (0..5_000_000u32).map(|n| (n % 253) as u8).collect::<Vec<_>>();
    let mut writer = Wire::over(wire.stream().try_clone()?)?;
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || writer.send(bytes).and_then(|()| writer.finish()));
    assert!(wire.read_to_end()? == sent, "all came back after our end");
    writing.join().expect("the writer")?;
    assert_eq!(tls.seen(), [handshake(None)]);
    Ok(())
}

#[test]
fn without_tls_bytes_get_a_closed_connection() -> anyhow::Result<()> {
    let (upstream, authority) = (echo(([127, 0, 0, 1], 0).into())?, Authority::new()?);
    let trust = json!({ "validation_context": { "trusted_ca": { "inline_string": authority.certificate } } });
    let secure = secured(cluster("echo", &[upstream.address()]), json!({ "sni": NAME }), trust);
    let address = own_address(10000);
    let _agent = Options::no_kernel().start(bootstrap(&[listener(address, agent_tcp("echo"))], &[secure]))?;
    assert!(Wire::connect(address)?.closes_within(Duration::from_secs(3)));
    Ok(())
}

#[test]
fn what_cannot_be_used_is_refused_at_the_start() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let (one, two) = (authority.issue(&["one"])?, authority.issue(&["two"])?);
    let mixed = Identity { chain: one.chain, key: two.key };
    let trust = json!({ "trusted_ca": { "inline_string": authority.certificate } });
    let cases = [
        (json!({ "validation_context": { "trusted_ca": { "filename": "/none/ca.pem" } } }), "cannot read /none/ca.pem"),
        (json!({ "validation_context": { "trusted_ca": { "inline_string": "x" } } }), "there is no certificate in it"),
        (json!({ "validation_context": trust, "tls_certificates": certificate(&mixed) }), "KeyMismatch"),
    ];
    for (common, why) in cases {
        let cluster = secured(cluster("echo", &[own_address(1)]), json!({}), common);
        let output = Options::no_kernel().refuse(bootstrap(&[], &[cluster]))?;
        let said = output.lines.join("\n");
        ensure!(said.contains("cluster \"echo\": transport_socket: ") && said.contains(why), "{said}");
        ensure!(!said.contains("PRIVATE KEY"), "{said}");
    }
    Ok(())
}
