//! WebSocket and its like: the agent passes bytes once both sides have agreed.

use harness::client::Version;
use harness::config::all_to;
use serde_json::json;

use crate::proxy::Proxy;

#[test]
fn an_allowed_upgrade_becomes_a_pipe() -> anyhow::Result<()> {
    let upgrades = json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] });
    let proxy = Proxy::with(Version::Http1, all_to("echo"), upgrades)?;
    let mut wire = proxy.wire()?;
    wire.send(HANDSHAKE)?;
    let response = wire.response()?;
    assert_eq!(response.status, 101);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    for size in [1, 1000, 300_000] {
        let sent = vec![b'a' + (size % 26) as u8; size];
        wire.send(&sent)?;
        assert!(wire.read_exact(size)? == sent);
    }
    wire.finish()?;
    assert_eq!(wire.read_to_end()?, b"", "the end of one direction ends the other, with nothing lost");
    Ok(())
}

#[test]
fn bytes_sent_with_the_handshake_are_not_lost() -> anyhow::Result<()> {
    let upgrades = json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] });
    let proxy = Proxy::with(Version::Http1, all_to("echo"), upgrades)?;
    let mut wire = proxy.wire()?;
    wire.send(format!("{HANDSHAKE}early"))?;
    assert_eq!(wire.response()?.status, 101);
    assert_eq!(wire.read_exact(5)?, b"early");
    Ok(())
}

#[test]
fn an_upgrade_nobody_allowed_is_refused() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    let mut wire = proxy.wire()?;
    wire.send(HANDSHAKE)?;
    assert_eq!(wire.response()?.status, 403);
    assert_eq!(proxy.upstream.seen(), [""; 0], "nothing reached the upstream");
    Ok(())
}

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
