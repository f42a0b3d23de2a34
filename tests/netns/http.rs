//! HTTP's harder parts from pod to pod: gRPC-like calls, upgrades, several ways at once.

use ::http::Request;
use bytes::Bytes;
use harness::client::{Client, Version, full};
use harness::config::{all_to, cluster, http, http_with, http2_cluster, service};
use harness::echo::HttpServer;
use harness::wire::Wire;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use serde_json::json;

use crate::mesh::{mesh, vips};
use crate::world_or_skip;

#[test]
fn a_unary_call_ends_with_its_trailers() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let _server = server.enter(|| HttpServer::start(server.at(50051)[0], "server"))?;
    let listeners = vips(50051).map(|vip| service(vip, http(all_to("server"))));
    let clusters = [http2_cluster("server", &server.at(50051)[..1])];
    let _agent = mesh(&world, &["client", "server"], &listeners, &clusters)?;
    for vip in vips(50051) {
        let answer = client.block_on(async move {
            let mut client = Client::connect(vip, Version::Http2).await?;
            let request = Request::post("http://server/trailers").header("te", "trailers");
            let request = request.header("content-type", "application/grpc").body(full("message"))?;
            client.ask(request).await
        })?;
        assert_eq!(answer.body, "message");
        assert_eq!(answer.header("content-type"), "application/grpc");
        assert_eq!(answer.trailers.get("grpc-status").map(|status| status.as_bytes()), Some(&b"0"[..]));
    }
    Ok(())
}

#[test]
fn a_bidirectional_call_talks_in_turns() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let _server = server.enter(|| HttpServer::start(server.at(50051)[1], "server"))?;
    let listeners = [service(vips(50051)[0], http(all_to("server")))];
    let clusters = [http2_cluster("server", &server.at(50051)[1..])];
    let _agent = mesh(&world, &["client", "server"], &listeners, &clusters)?;
    client.block_on(async move {
        let mut client = Client::connect(vips(50051)[0], Version::Http2).await?;
        let (mut sender, body) = Channel::new(1);
        let mut back = client.send(Request::post("http://server/mirror").body(body.boxed_unsync())?).await?.into_body();
        for n in 0..100u8 {
            sender.send_data(Bytes::copy_from_slice(&[n])).await?;
            let frame = back.frame().await.transpose()?;
            assert_eq!(frame.and_then(|frame| frame.into_data().ok()).as_deref(), Some(&[n][..]));
        }
        sender.send_trailers([("x-end".parse()?, "1".parse()?)].into_iter().collect()).await?;
        drop(sender);
        assert!(back.collect().await?.trailers().is_some_and(|trailers| trailers.contains_key("x-end")));
        anyhow::Ok(())
    })
}

#[test]
fn an_upgrade_crosses_the_mesh() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let _server = server.enter(|| HttpServer::start(server.at(8080)[0], "server"))?;
    let upgrades = json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] });
    let listeners = [service(vips(80)[0], http_with(all_to("server"), upgrades))];
    let clusters = [cluster("server", &server.at(8080)[..1])];
    let _agent = mesh(&world, &["client", "server"], &listeners, &clusters)?;
    client.enter(|| {
        let mut wire = Wire::connect(vips(80)[0])?;
        wire.send(
            "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )?;
        assert_eq!(wire.response()?.status, 101);
        for text in ["one", "two", "three"] {
            wire.send(text)?;
            assert_eq!(wire.read_exact(text.len())?, text.as_bytes());
        }
        Ok(())
    })
}
