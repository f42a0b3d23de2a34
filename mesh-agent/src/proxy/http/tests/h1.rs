//! HTTP/1 in, HTTP/1 out.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{World, endpoint, manager, read_until, run, send};
use crate::model::cluster::UpstreamProtocol::Http1;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn requests_share_a_connection_on_both_sides() {
    run(async {
        let connections = Rc::new(Cell::new(0));
        let counted = Rc::clone(&connections);
        let address = endpoint(move |mut stream| {
            counted.set(counted.get() + 1);
            async move {
                while read_until(&mut stream, "\r\n\r\n").await.contains("x-forwarded-proto: http\r\n") {
                    send(&mut stream, OK).await;
                }
            }
        })
        .await;
        let world = World::new(address, Http1);
        let mut client = world.connect().await;
        for _ in 0..3 {
            send(&mut client, GET).await;
            let answer = read_until(&mut client, "hi").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"), "{answer}");
            assert!(answer.contains("\r\nserver: bowline\r\n"), "{answer}");
        }
        assert_eq!(connections.get(), 1);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    run(async {
        let address = endpoint(|mut stream| async move {
            loop {
                let head = read_until(&mut stream, "\r\n\r\n").await;
                let Some(path) = head.split(' ').nth(1) else { return };
                send(&mut stream, &format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len())).await;
            }
        })
        .await;
        let mut client = World::new(address, Http1).connect().await;
        let requests: String = (0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
        send(&mut client, &requests).await;
        let answers = read_until(&mut client, "/4").await;
        let order: Vec<_> = (0..5).map(|n| answers.find(&format!("\r\n\r\n/{n}")).expect("answered")).collect();
        assert!(order.is_sorted());
    });
}

#[test]
fn the_agent_answers_itself() {
    run(async {
        let refused = endpoint(|_| async {}).await;
        let world = World::new(refused, Http1);
        let mut client = world.connect().await;
        for (path, host, status, body) in [
            ("/direct", "a", "418 Unknown", "short"),
            ("/none", "a", "503 Service Unavailable", "no healthy upstream"),
            ("/", "b", "404 Not Found", ""),
            ("/", "a", "503 Service Unavailable", "reset reason: connection termination"),
        ] {
            send(&mut client, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
            let answer =
                read_until(&mut client, if body.is_empty() { "content-length: 0\r\n\r\n" } else { body }).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        }
    });
}

#[test]
fn malformed_requests_are_refused_and_the_connection_closed() {
    run(async {
        let address = endpoint(|_| async { panic!("forwarded") }).await;
        let world = World::new(address, Http1);
        for (request, status) in [
            ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
            ("GET / HTTP/1.1\nhost: a\n\n", 400),
            ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\nconnection: x-forwarded-for\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.0\r\n\r\n", 426),
            ("GET / HTTP/3.0\r\n\r\n", 426),
            ("GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        ] {
            let mut client = world.connect().await;
            send(&mut client, request).await;
            let answer = read_until(&mut client, "until it closes").await;
            assert!(answer.contains(&format!(" {status} ")), "{request:?}: {answer}");
            assert!(answer.contains("connection: close\r\n"), "{request:?}: {answer}");
        }
        let mut client = world.connect().await;
        let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(62 * 1024));
        send(&mut client, &long).await;
        assert!(read_until(&mut client, "until it closes").await.starts_with("HTTP/1.1 431 "));
    });
}

#[test]
fn bodies_go_both_ways_at_once() {
    run(async {
        let address = endpoint(|mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            send(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 8388608\r\n\r\n").await;
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await.expect("echoes");
        })
        .await;
        let client = World::new(address, Http1).connect().await;
        let (mut from, mut to) = client.into_split();
        tokio::task::spawn_local(async move {
            to.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8388608\r\n\r\n").await.expect("sends");
            for n in 0..1024_u32 {
                to.write_all(&[n as u8; 8192]).await.expect("sends");
            }
            std::future::pending::<()>().await;
        });
        let mut answer = Vec::new();
        from.read_to_end(&mut answer).await.expect("reads");
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let body = &answer[head..];
        assert_eq!(body.len(), 8 << 20);
        assert!(body.chunks(8192).enumerate().all(|(n, chunk)| chunk.iter().all(|byte| *byte == n as u8)));
    });
}

#[test]
fn chunks_and_trailers_arrive() {
    run(async {
        let address = endpoint(|mut stream| async move {
            let request = read_until(&mut stream, "\r\n0\r\n\r\n").await;
            assert!(request.ends_with("\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"), "{request}");
            send(
                &mut stream,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nX-End: 1\r\n\r\n",
            )
            .await;
        })
        .await;
        let mut client = World::new(address, Http1).connect().await;
        let post = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        // One byte at a time: the codec must not care how the bytes come.
        for byte in post.bytes() {
            client.write_all(&[byte]).await.expect("sends");
            tokio::task::yield_now().await;
        }
        let answer = read_until(&mut client, "x-end: 1\r\n\r\n").await;
        assert!(answer.ends_with("\r\n\r\n2\r\nhi\r\n0\r\nx-end: 1\r\n\r\n"), "{answer}");
    });
}

#[test]
fn expectations_are_met_by_the_agent() {
    run(async {
        let address = endpoint(|mut stream| async move {
            let request = read_until(&mut stream, "body").await;
            assert!(!request.contains("\r\nexpect"), "{request}");
            send(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
            send(&mut stream, OK).await;
        })
        .await;
        let mut client = World::new(address, Http1).connect().await;
        send(&mut client, "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
        assert_eq!(read_until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        send(&mut client, "body").await;
        assert!(read_until(&mut client, "hi").await.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

#[test]
fn early_answers_are_believed() {
    run(async {
        let address = endpoint(|mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            send(&mut stream, "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\nno").await;
        })
        .await;
        let mut client = World::new(address, Http1).connect().await;
        send(&mut client, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegin").await;
        let answer = read_until(&mut client, "until it closes").await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("no"), "{answer}");
    });
}

#[test]
fn broken_bodies_stay_broken() {
    run(async {
        let address = endpoint(|mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            send(&mut stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel").await;
        })
        .await;
        let mut client = World::new(address, Http1).connect().await;
        send(&mut client, GET).await;
        let answer = read_until(&mut client, "until it closes").await;
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    });
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    run(async {
        let address = endpoint(|mut stream| async move {
            let request = read_until(&mut stream, "\r\n\r\n").await;
            assert!(
                request.contains("upgrade: websocket\r\n") && request.contains("connection: Upgrade\r\n"),
                "{request}"
            );
            send(&mut stream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                .await;
            assert_eq!(read_until(&mut stream, "ping").await, "ping");
            send(&mut stream, "pong").await;
        })
        .await;
        let mut client = World::new(address, Http1).connect().await;
        send(&mut client, "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n").await;
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(answer.contains("upgrade: websocket\r\n"), "{answer}");
        send(&mut client, "ping").await;
        assert_eq!(read_until(&mut client, "pong").await, "pong");
        assert_eq!(read_until(&mut client, "until it closes").await, "");
    });
}

#[test]
fn an_upgrade_that_is_not_allowed_is_refused() {
    run(async {
        let address = endpoint(|_| async { panic!("forwarded") }).await;
        let mut client = World::new(address, Http1).connect().await;
        send(&mut client, "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: other\r\n\r\n").await;
        assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 403 "));
    });
}

#[test]
fn a_silent_endpoint_is_given_up() {
    run(async {
        let address = endpoint(|stream| async move {
            let _kept = stream;
            std::future::pending().await
        })
        .await;
        let mut manager = manager();
        manager.stream_idle_timeout = Some(Duration::from_millis(50));
        let mut client = World::with(address, Http1, manager).connect().await;
        send(&mut client, GET).await;
        let answer = read_until(&mut client, "stream timeout").await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    });
}

#[test]
fn draining_closes_idle_connections_and_tells_busy_ones() {
    run(async {
        let address = endpoint(|mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            send(&mut stream, OK).await;
        })
        .await;
        let world = World::new(address, Http1);
        let (mut idle, mut busy) = (world.connect().await, world.connect().await);
        send(&mut idle, GET).await;
        assert!(read_until(&mut idle, "hi").await.ends_with("hi"));
        send(&mut busy, GET).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.trigger.start();
        assert_eq!(read_until(&mut idle, "until it closes").await, "");
        let answer = read_until(&mut busy, "until it closes").await;
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("hi"), "{answer}");
    });
}

#[test]
fn who_has_just_connected_when_draining_begins_is_answered_once() {
    run(async {
        let address = endpoint(|mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            send(&mut stream, OK).await;
        })
        .await;
        let world = World::new(address, Http1);
        let (mut before, mut silent) = (world.connect().await, world.connect().await);
        world.trigger.start();
        let mut after = world.connect().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        for (name, client) in [("before", &mut before), ("after", &mut after)] {
            send(client, GET).await;
            let answer = read_until(client, "until it closes").await;
            assert!(answer.contains("connection: close\r\n") && answer.ends_with("hi"), "{name}: {answer:?}");
        }
        assert_eq!(read_until(&mut silent, "until it closes").await, "", "nobody waits for ever");
    });
}
