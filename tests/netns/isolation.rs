//! Pods that look alike: the same addresses and ports at the same time, and never each other's bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use harness::config::{agent_tcp, cluster, service};
use harness::tcp::echo;
use harness::wire::Wire;
use socket2::{Domain, Socket, Type};

use crate::mesh::{mesh, vips};
use crate::world_or_skip;

#[test]
fn equal_loopback_tuples_never_mix() -> anyhow::Result<()> {
    let world = world_or_skip!("a", "b", "one", "two");
    let (one, two) = (world.pod("one"), world.pod("two"));
    let server_one = one.enter(|| echo(one.at(7)[0]))?;
    let server_two = two.enter(|| echo(two.at(7)[0]))?;
    let clusters = [cluster("one", &one.at(7)[..1]), cluster("two", &two.at(7)[..1])];
    let listeners = [service(vips(1001)[0], agent_tcp("one")), service(vips(1002)[0], agent_tcp("two"))];
    let agent = mesh(&world, &["a", "b"], &listeners, &clusters)?;
    // Both pods connect from the same port, to the agent's same port, at the same moment; only what they asked for differs.
    for port in 20000..20100 {
        let exchange = |pod: &str, vip: SocketAddr, text: &'static str| {
            world.pod(pod).enter(|| -> anyhow::Result<()> {
                let mut wire = Wire::over(connect_from(port, vip)?)?;
                assert_eq!(wire.stream().peer_addr()?, vip);
                wire.send(text)?;
                assert_eq!(wire.read_exact(text.len())?, text.as_bytes());
                Ok(())
            })
        };
        std::thread::scope(|scope| {
            let a = scope.spawn(|| exchange("a", vips(1001)[0], "from a"));
            let b = scope.spawn(|| exchange("b", vips(1002)[0], "from b"));
            let done = [a.join(), b.join()].map(|done| done.expect("no panic"));
            done.into_iter().collect::<anyhow::Result<()>>().with_context(|| format!("port {port}: {}", agent.log()))
        })?;
    }
    assert_eq!((server_one.clients().len(), server_two.clients().len()), (100, 100), "each went where its pod asked");
    Ok(())
}

/// A connection whose source port is chosen, as its address is by the kernel.
fn connect_from(port: u16, to: SocketAddr) -> anyhow::Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    Ok(socket.into())
}
