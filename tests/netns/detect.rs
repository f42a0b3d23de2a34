//! Detection of protocols: HTTP is routed, everything else passes, and a server that speaks first isn't kept waiting.

use std::time::{Duration, Instant};

use harness::config::{all_to, cluster, detecting, http, tcp};
use harness::echo::HttpServer;
use harness::tcp::{GREETING, echo, greeter};
use harness::wire::Wire;

use crate::mesh::{get, mesh, vips};
use crate::world_or_skip;

#[test]
fn a_server_that_speaks_first_waits_once() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "mail");
    let (client, mail) = (world.pod("client"), world.pod("mail"));
    let _server = mail.enter(|| greeter(mail.at(25)[0]))?;
    let clusters = [cluster("mail", &mail.at(25)[..1])];
    let listeners = [detecting(vips(25)[0], http(all_to("mail")), tcp("mail"), "0.5s")];
    let agent = mesh(&world, &["client", "mail"], &listeners, &clusters)?;
    for _ in 0..3 {
        client.enter(|| -> anyhow::Result<()> {
            let mut wire = Wire::connect(vips(25)[0])?;
            assert_eq!(wire.read_until(b"\r\n")?, GREETING.as_bytes());
            wire.send("HELO a\r\n")?;
            assert_eq!(wire.read_until(b"\r\n")?, b"250 HELO a\r\n");
            Ok(())
        })?;
    }
    let waited = agent.admin().metrics()?.sum("bowline_detection_timeouts_total", &[]);
    assert_eq!(waited, 1.0, "the port is remembered: {}", agent.log());
    Ok(())
}

#[test]
fn one_port_serves_http_and_what_is_not() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let _http = server.enter(|| HttpServer::start(server.at(8080)[0], "http"))?;
    let _echo = server.enter(|| echo(server.at(7)[0]))?;
    let clusters = [cluster("http", &server.at(8080)[..1]), cluster("echo", &server.at(7)[..1])];
    let listeners = [detecting(vips(80)[0], http(all_to("http")), tcp("echo"), "2s")];
    let _agent = mesh(&world, &["client"], &listeners, &clusters)?;
    assert_eq!(get(client, vips(80)[0], "/a")?.0.json()["server"], "http");
    // Neither may wait for the deadline: the first bytes tell.
    for bytes in [&b"\x00\x01binary"[..], b"\x16\x03\x01\x02\x00", b"EHLO a\r\n", b"GETAWAY\r\n"] {
        let began = Instant::now();
        let back = client.enter(|| -> anyhow::Result<_> {
            let mut wire = Wire::connect(vips(80)[0])?;
            wire.send(bytes)?;
            wire.read_exact(bytes.len())
        })?;
        assert_eq!(back, bytes);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    assert_eq!(get(client, vips(80)[0], "/b")?.0.json()["server"], "http", "remembering is for the silent only");
    Ok(())
}

#[test]
fn a_head_in_pieces_is_still_http() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let _http = server.enter(|| HttpServer::start(server.at(8080)[0], "http"))?;
    let clusters = [cluster("http", &server.at(8080)[..1])];
    let listeners = [detecting(vips(80)[0], http(all_to("http")), tcp("http"), "2s")];
    let _agent = mesh(&world, &["client"], &listeners, &clusters)?;
    let response = client.enter(|| -> anyhow::Result<_> {
        let mut wire = Wire::connect(vips(80)[0])?;
        for piece in ["G", "ET / HT", "TP/1.1\r\nho", "st: a\r\n\r", "\n"] {
            wire.send(piece)?;
            std::thread::sleep(Duration::from_millis(30));
        }
        wire.response()
    })?;
    let seen = response.json();
    let forwarded = seen["headers"].as_array().into_iter().flatten().any(|header| header[0] == "x-request-id");
    assert!(forwarded, "it went through HTTP, not as bytes: {seen}");
    Ok(())
}
