//! HTTP/2 on either side, or both.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::net::TcpStream;

use super::world::{World, endpoint, read_until, run, send};
use crate::model::cluster::{Http2Options, UpstreamProtocol};

const HTTP2: UpstreamProtocol = UpstreamProtocol::Http2(Http2Options {
    max_concurrent_streams: None,
    initial_stream_window_size: None,
    initial_connection_window_size: None,
});

async fn client(world: &World) -> SendRequest<Bytes> {
    let (requests, connection) = h2::client::handshake(world.connect().await).await.expect("HTTP/2");
    tokio::task::spawn_local(async move { drop(connection.await) });
    requests.ready().await.expect("ready")
}

fn request(path: &str) -> Request<()> {
    Request::builder().method("POST").uri(format!("http://a{path}")).body(()).expect("valid")
}

async fn write(to: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        to.reserve_capacity(bytes.len());
        let room = poll_fn(|cx| to.poll_capacity(cx)).await.expect("open").expect("open");
        to.send_data(bytes.split_to(room.min(bytes.len())), false).expect("sent");
    }
}

async fn read(from: &mut RecvStream) -> Option<Bytes> {
    let bytes = from.data().await?.expect("data");
    from.flow_control().release_capacity(bytes.len()).expect("received");
    Some(bytes)
}

/// Sends back what comes, then a trailer.
async fn echo(stream: TcpStream) {
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::task::spawn_local(async move {
            let mut from = request.into_body();
            let mut to = respond.send_response(Response::new(()), false).expect("answers");
            while let Some(bytes) = read(&mut from).await {
                write(&mut to, bytes).await;
            }
            let mut trailers = from.trailers().await.expect("whole").unwrap_or_default();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            to.send_trailers(trailers).expect("sends");
        });
    }
}

#[test]
fn streams_go_both_ways_and_end_with_trailers() {
    run(async {
        let world = World::new(endpoint(echo).await, HTTP2);
        let mut requests = client(&world).await;
        let (response, mut to) = requests.send_request(request("/"), false).expect("sends");
        write(&mut to, Bytes::from_static(b"one")).await;
        let response = response.await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["server"], "bowline");
        let mut from = response.into_body();
        assert_eq!(read(&mut from).await.as_deref(), Some(&b"one"[..]));
        write(&mut to, Bytes::from_static(b"two")).await;
        assert_eq!(read(&mut from).await.as_deref(), Some(&b"two"[..]));
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", HeaderValue::from_static("1"));
        to.send_trailers(trailers).expect("sends");
        assert_eq!(read(&mut from).await, None);
        let trailers = from.trailers().await.expect("whole").expect("trailers");
        assert_eq!((trailers["x-end"].as_bytes(), trailers["grpc-status"].as_bytes()), (&b"1"[..], &b"0"[..]));
    });
}

#[test]
fn many_streams_share_one_connection() {
    run(async {
        let connections = Rc::new(Cell::new(0));
        let counted = Rc::clone(&connections);
        let address = endpoint(move |stream| {
            counted.set(counted.get() + 1);
            echo(stream)
        })
        .await;
        let world = World::new(address, HTTP2);
        let mut requests = client(&world).await;
        let mut running = tokio::task::JoinSet::new();
        for n in 0..50_usize {
            let (response, mut to) = requests.send_request(request("/"), false).expect("sends");
            running.spawn_local(async move {
                let body = Bytes::from(vec![n as u8; 300_000]);
                let sending = async {
                    write(&mut to, body.clone()).await;
                    to.send_data(Bytes::new(), true).expect("sends");
                };
                let receiving = async {
                    let mut from = response.await.expect("answered").into_body();
                    let mut size = 0;
                    while let Some(bytes) = read(&mut from).await {
                        assert!(bytes.iter().all(|byte| *byte == n as u8));
                        size += bytes.len();
                    }
                    assert_eq!(size, 300_000);
                };
                tokio::join!(sending, receiving);
            });
        }
        running.join_all().await;
        assert_eq!(connections.get(), 1);
    });
}

#[test]
fn http1_clients_reach_http2_endpoints() {
    run(async {
        let world = World::new(endpoint(echo).await, HTTP2);
        let mut client = world.connect().await;
        for _ in 0..2 {
            send(&mut client, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
            let answer = read_until(&mut client, "\r\n0\r\ngrpc-status: 0\r\n\r\n").await;
            assert!(answer.contains("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"), "{answer}");
        }
    });
}

#[test]
fn http2_clients_reach_http1_endpoints() {
    run(async {
        let address = endpoint(|mut stream| async move {
            loop {
                let head = read_until(&mut stream, "\r\n\r\n").await;
                if head.is_empty() {
                    return;
                }
                assert!(head.starts_with("POST /x?y HTTP/1.1\r\nhost: a\r\n"), "{head}");
                assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
                assert_eq!(read_until(&mut stream, "\r\n0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
                send(&mut stream, "HTTP/1.1 201 Created\r\ncontent-length: 2\r\nkeep-alive: 5\r\n\r\nhi").await;
            }
        })
        .await;
        let world = World::new(address, UpstreamProtocol::Http1);
        let mut requests = client(&world).await;
        for _ in 0..2 {
            let (response, mut to) = requests.send_request(request("/x?y"), false).expect("sends");
            to.send_data(Bytes::from_static(b"hello"), true).expect("sends");
            let response = response.await.expect("answered");
            assert_eq!(response.status(), StatusCode::CREATED);
            assert_eq!(response.headers()["content-length"], "2");
            assert!(!response.headers().contains_key("keep-alive"));
            assert_eq!(read(&mut response.into_body()).await.as_deref(), Some(&b"hi"[..]));
        }
    });
}

#[test]
fn a_slow_reader_stops_the_endpoint() {
    run(async {
        let written = Rc::new(Cell::new(0));
        let counted = Rc::clone(&written);
        let address = endpoint(move |stream| {
            let counted = Rc::clone(&counted);
            async move {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                let (_request, mut respond) = connection.accept().await.expect("a request").expect("a request");
                tokio::task::spawn_local(async move { connection.accept().await.is_some() });
                let mut to = respond.send_response(Response::new(()), false).expect("answers");
                loop {
                    write(&mut to, Bytes::from_static(&[0; 16_384])).await;
                    counted.set(counted.get() + 16_384);
                }
            }
        })
        .await;
        let world = World::new(address, HTTP2);
        let mut requests = client(&world).await;
        let (response, _to) = requests.send_request(request("/"), true).expect("sends");
        let _unread = response.await.expect("answered").into_body();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(written.get() > 0 && written.get() < 4 << 20, "{}", written.get());
    });
}

#[test]
fn resets_are_passed_on() {
    run(async {
        let address = endpoint(|stream| async move {
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if request.uri().path() == "/early" {
                    respond.send_reset(Reason::REFUSED_STREAM);
                    continue;
                }
                let mut to = respond.send_response(Response::new(()), false).expect("answers");
                to.send_data(Bytes::from_static(b"part"), false).expect("sends");
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    to.send_reset(Reason::INTERNAL_ERROR);
                });
            }
        })
        .await;
        let world = World::new(address, HTTP2);
        let mut requests = client(&world).await;
        let (response, _) = requests.send_request(request("/early"), true).expect("sends");
        assert_eq!(response.await.expect("answered").status(), StatusCode::SERVICE_UNAVAILABLE);
        let (response, _) = requests.send_request(request("/late"), true).expect("sends");
        let mut from = response.await.expect("answered").into_body();
        assert_eq!(read(&mut from).await.as_deref(), Some(&b"part"[..]));
        assert!(from.data().await.expect("more").is_err());
    });
}

#[test]
fn a_client_that_gives_up_frees_the_endpoint() {
    run(async {
        let (told, given_up) = tokio::sync::oneshot::channel();
        let told = Rc::new(Cell::new(Some(told)));
        let address = endpoint(move |stream| {
            let told = Rc::clone(&told);
            async move {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                let (_request, mut respond) = connection.accept().await.expect("a request").expect("a request");
                tokio::task::spawn_local(async move { connection.accept().await.is_some() });
                let reason = poll_fn(|cx| respond.poll_reset(cx)).await.expect("a reset");
                told.take().expect("once").send(reason).expect("awaited");
            }
        })
        .await;
        let world = World::new(address, HTTP2);
        let mut requests = client(&world).await;
        let (response, mut to) = requests.send_request(request("/"), true).expect("sends");
        tokio::time::sleep(Duration::from_millis(50)).await;
        to.send_reset(Reason::CANCEL);
        assert!(response.await.is_err());
        assert_eq!(given_up.await.expect("told"), Reason::INTERNAL_ERROR);
    });
}

#[test]
fn draining_says_goaway_and_lets_streams_finish() {
    run(async {
        let world = World::new(endpoint(echo).await, HTTP2);
        let (mut requests, connection) = h2::client::handshake(world.connect().await).await.expect("HTTP/2");
        let ended = tokio::task::spawn_local(connection);
        let (response, mut to) = requests.send_request(request("/"), false).expect("sends");
        let mut from = response.await.expect("answered").into_body();
        world.trigger.start();
        while poll_fn(|cx| requests.poll_ready(cx)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        to.send_data(Bytes::from_static(b"late"), true).expect("sends");
        assert_eq!(read(&mut from).await.as_deref(), Some(&b"late"[..]));
        assert_eq!(read(&mut from).await, None);
        drop((requests, from, to));
        ended.await.expect("ran").expect("ended in order");
    });
}

#[test]
fn bytes_of_a_connection_are_counted() {
    run(async {
        let world = World::new(endpoint(echo).await, HTTP2);
        let mut requests = client(&world).await;
        let (response, mut to) = requests.send_request(request("/"), false).expect("sends");
        write(&mut to, Bytes::from_static(&[0; 20_000])).await;
        to.send_data(Bytes::new(), true).expect("sends");
        let mut from = response.await.expect("answered").into_body();
        while read(&mut from).await.is_some() {}
        // The connection's task counts before it waits again, and it has sent the end.
        let connections = world.telemetry.connections();
        let [connection] = &connections[..] else { panic!("one connection: {connections:?}") };
        for bytes in [connection.bytes_sent, connection.bytes_received] {
            assert!((20_000..22_000).contains(&bytes), "{connection:?}");
        }
    });
}

#[test]
fn grpc_clients_are_answered_in_their_terms() {
    run(async {
        let world = World::new(endpoint(echo).await, HTTP2);
        let mut requests = client(&world).await;
        let mut request = request("/none");
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let (response, _) = requests.send_request(request, true).expect("sends");
        let response = response.await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(response.headers()["grpc-message"], "no healthy upstream");
    });
}
