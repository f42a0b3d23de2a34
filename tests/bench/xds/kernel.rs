//! The same for services that need no agent: an update is in effect when a connection of a pod ends at the endpoint that is new, which
//! the kernel alone decides.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::world::World;
use socket2::{Domain, Socket, Type};

use crate::xds::Args;
use crate::xds::catalogue::{self, Catalogue, Place};
use crate::xds::feed::Feed;
use crate::xds::proxy::Proxy;
use crate::xds::turn::{Client, Turn};

/// Rounds with so many services.
pub(crate) fn run(args: &Args, clusters: u32) -> Result<()> {
    let world = World::build(&["app", "server"])?;
    let address = world.pod("server").v4();
    world.pod("server").enter(|| Place::ports().try_for_each(|port| serve(SocketAddr::from((address, port)))))?;
    let catalogue = Catalogue::services(clusters, Place::Pod(address))?;
    for _ in 0..args.common.runs {
        let server = Feed::start()?;
        let proxy = Proxy::in_world(&world, "app", server.address(), args.common.agent_cpu)?;
        let turn = Turn { subject: "mesh-agent", proxy, catalogue: &catalogue, case: format!("{clusters}/kernel") };
        let done = world.pod("app").enter(|| {
            let (mut live, mut client) = turn.start(&server, || Ok(Connections(address)))?;
            turn.time_updates(&mut live, &mut client)?;
            turn.count_updates(&mut live)
        });
        done.with_context(|| format!("{clusters} services in the kernel; the log:\n{}", turn.proxy.log()))?;
    }
    Ok(())
}

/// Tells everybody at which port they came in, for as long as this process lives.
fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| address.to_string())?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // One that has gone already need not know.
            let _ = stream.write_all(&address.port().to_be_bytes());
        }
    });
    Ok(())
}

/// One connection after another, from the pod that this runs in, to services whose endpoints are at this address.
struct Connections(Ipv4Addr);

impl Client for Connections {
    fn reach(&mut self, cluster: u32) -> Result<Option<SocketAddr>> {
        let service = catalogue::service_of(cluster);
        let mut socket = Socket::new(Domain::for_address(service), Type::STREAM, None)?;
        // Closed by a reset: ports are free again at once.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        // There is no other way to there than the kernel's.
        if socket.connect_timeout(&service.into(), Duration::from_secs(1)).is_err() {
            return Ok(None);
        }
        let mut port = [0; 2];
        socket.read_exact(&mut port)?;
        Ok(Some(SocketAddr::from((self.0, u16::from_be_bytes(port)))))
    }
}
