//! An agent that meshes pods of a world, and short ways to ask through it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use harness::agent::{Agent, Options};
use harness::config::bootstrap;
use harness::wire::{Response, Wire};
use harness::world::{Pod, World};
use serde_json::Value;

/// Starts an agent for these pods.
pub(crate) fn mesh(world: &World, pods: &[&str], listeners: &[Value], clusters: &[Value]) -> anyhow::Result<Agent> {
    options().inside(&world.agent_cgroup())?.start(world.mesh(pods, bootstrap(listeners, clusters)))
}

/// How these agents are started.
pub(crate) fn options() -> Options {
    Options::new().arg("--workers").arg("2")
}

/// The service addresses of these tests: no interface has them.
pub(crate) fn vips(port: u16) -> [SocketAddr; 2] {
    let v6 = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 1);
    [IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)), IpAddr::V6(v6)].map(|ip| SocketAddr::new(ip, port))
}

/// One GET from inside a pod; the response, and the peer that the client's socket names.
pub(crate) fn get(from: &Pod, to: SocketAddr, path: &str) -> anyhow::Result<(Response, SocketAddr)> {
    from.enter(|| {
        let mut wire = Wire::connect(to)?;
        let peer = wire.stream().peer_addr()?;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: service\r\n\r\n"))?;
        Ok((wire.response()?, peer))
    })
}
