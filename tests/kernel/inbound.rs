//! What comes in to a workload, the agent accepts; what the agent delivers, the app accepts, and sees the true client.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use mesh_agent::model::flow::Direction;
use mesh_agent::model::service::{ByKernel, Claims, Shortcuts as _};
use socket2::Domain;

use crate::rig::{connect, listen};
use crate::rig_or_skip;

#[test]
fn connections_from_outside_reach_the_agent_first() -> anyhow::Result<()> {
    let rig = rig_or_skip!(with |config: &mut mesh_agent::model::config::Mesh| {
        // Only the server is meshed.
        config.workloads.retain(|workload| workload.name.as_str() == "server");
    }; "client", "server");
    for (n, to) in rig.pod("server").at(80).into_iter().enumerate() {
        let told = connect(rig.pod("client"), &[&to.to_string()])?;
        let accepted = rig.wait_accepted(n)?;
        assert_eq!(accepted.direction, Direction::Inbound);
        assert_eq!(accepted.destination, Some(to));
        assert_eq!(Some(accepted.peer.to_string().as_str()), told["local"].as_str());
    }
    // Counted by packets: one that comes after a reset is counted again (docs/limits.md).
    assert!(rig.count("inbound_steered") >= 2);
    Ok(())
}

#[test]
fn the_app_sees_the_client_the_agent_presents() -> anyhow::Result<()> {
    let rig = rig_or_skip!("server");
    let server = rig.pod("server");
    // One app that listens on either family, one on both at once.
    let addresses = ["0.0.0.0:80", "[::]:81"];
    let _app = server.peer(&["who-am-i", addresses[0], addresses[1]])?;
    let pod = &rig.mesh.pods()[0];
    for (port, to, client, seen) in [
        (80, server.v4().into(), "192.0.2.7:1234", "192.0.2.7:1234"),
        (81, server.v6().into(), "[2001:db8::7]:1234", "[2001:db8::7]:1234"),
        (81, server.v4().into(), "192.0.2.8:1234", "[::ffff:192.0.2.8]:1234"),
    ] {
        let to = SocketAddr::new(to, port);
        let socket = pod.netns.tcp(Domain::for_address(to))?;
        rig.mesh.steering().present_client(socket.as_fd(), pod.id, client.parse()?)?;
        socket.set_nonblocking(false)?;
        socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
        let mut stream = TcpStream::from(socket);
        // What the agent itself is told stays true.
        assert_eq!(stream.peer_addr()?, to);
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        assert_eq!(said, format!("{seen} {seen}\n"));
    }
    assert_eq!((rig.count("inbound_local"), rig.count("inbound_steered")), (3, 0));
    Ok(())
}

#[test]
fn a_client_that_is_not_presented_is_the_agent() -> anyhow::Result<()> {
    let rig = rig_or_skip!("server");
    let server = rig.pod("server");
    let to = server.at(80)[0];
    let listener = listen(server, to)?;
    let stream = server.enter(|| TcpStream::connect(to))?;
    assert_eq!(listener.accept()?.1, stream.local_addr()?);
    Ok(())
}

#[test]
fn what_no_listener_claims_passes_the_agent_by() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with |config: &mut mesh_agent::model::config::Mesh| {
        config.workloads.retain(|workload| workload.name.as_str() == "server");
    }; "client", "server");
    let claim = |rig: &mut crate::rig::Rig, inbound: Claims| {
        let next = ByKernel { inbound, ..ByKernel::default() };
        rig.mesh.forget(&next);
        rig.mesh.learn(&next);
    };
    let ports = |ports: &[u16]| Claims { ports: ports.iter().map(|port| (None, *port)).collect(), ..Claims::default() };
    let [v4, v6] = rig.pod("server").at(80);
    let app = [listen(rig.pod("server"), v4)?, listen(rig.pod("server"), v6)?];
    for (claims, steered) in [
        (Claims { all: true, ..Claims::default() }, true),
        (ports(&[79, 81, 8080]), false),
        (ports(&[80]), true),
        (ports(&[]), false),
    ] {
        claim(&mut rig, claims.clone());
        for to in [v4, v6] {
            let before = (rig.count("inbound_steered"), rig.count("inbound_unclaimed"));
            // Of a connection that ends by a reset, a packet may come when it is over: that one is looked at, and counted, as well.
            let read: &[&str] = if steered { &["--read"] } else { &[] };
            connect(rig.pod("client"), &[read, &[&to.to_string()]].concat())?;
            let after = (rig.count("inbound_steered"), rig.count("inbound_unclaimed"));
            let expected = if steered { (before.0 + 1, before.1) } else { (before.0, before.1 + 1) };
            assert_eq!(after, expected, "{claims:?} {to}");
        }
    }
    // The app itself accepted two by each family, from the client itself.
    for listener in app {
        listener.set_nonblocking(true)?;
        for _ in 0..2 {
            assert!(rig.pod("client").at(0).map(|own| own.ip()).contains(&listener.accept()?.1.ip()));
        }
        assert!(listener.accept().is_err());
    }
    Ok(())
}
