//! Connects as few programs do, and tells what its socket says of its peer.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

/// What to do.
#[derive(Args)]
pub(crate) struct Plan {
    /// In which way
    #[arg(long)]
    way: Way,
    /// Where from, for a transparent socket
    #[arg(long, default_value = "192.0.2.9:0")]
    from: SocketAddr,
    /// Where to; several for one socket, one after the other
    to: Vec<SocketAddr>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// `sendto` with `MSG_FASTOPEN`, which connects
    FastOpen,
    /// A socket of `IPPROTO_MPTCP`
    Multipath,
    /// Bound to an address that is not this host's (`IP_TRANSPARENT`)
    Transparent,
    /// `connect` to nowhere (`AF_UNSPEC`) between two connects
    Again,
    /// A raw socket
    Raw,
}

/// Runs the plan and prints, for each address, `peer`, `local` and the first line that came (`said`), or an `error`.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let (kind, protocol) = match plan.way {
        Way::Multipath => (Type::STREAM, Protocol::MPTCP),
        Way::Raw => (Type::RAW, Protocol::ICMPV4),
        Way::FastOpen | Way::Transparent | Way::Again => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    if matches!(plan.way, Way::Transparent) {
        socket.set_ip_transparent_v4(true)?;
        socket.bind(&plan.from.into())?;
    }
    for to in &plan.to {
        let connected = match plan.way {
            Way::FastOpen => socket.send_to_with_flags(b"", &SockAddr::from(*to), FAST_OPEN).map(drop),
            Way::Raw => socket.connect(&SockAddr::from(*to)),
            _ => socket.connect_timeout(&SockAddr::from(*to), PATIENCE),
        };
        match connected {
            Ok(()) => println!("{}", seen(&socket, matches!(plan.way, Way::Raw))?),
            Err(error) => println!("{}", json!({ "error": error.to_string() })),
        }
        if matches!(plan.way, Way::Again) {
            rustix::net::connect_unspec(&socket)?;
        }
    }
    Ok(())
}

fn seen(socket: &Socket, silent: bool) -> anyhow::Result<serde_json::Value> {
    let name = |address: SockAddr| address.as_socket().map(|it| it.to_string());
    let mut said = String::new();
    if !silent {
        SockRef::from(socket).set_read_timeout(Some(PATIENCE))?;
        // Shares the connection, not the end of it: the socket is used again.
        let mut stream = TcpStream::from(socket.try_clone()?);
        let mut byte = [0];
        while !said.ends_with('\n') && matches!(stream.read(&mut byte), Ok(1)) {
            said.push(char::from(byte[0]));
        }
    }
    Ok(json!({ "peer": name(socket.peer_addr()?), "local": name(socket.local_addr()?), "said": said.trim_end() }))
}

const FAST_OPEN: i32 = 0x2000_0000;
const PATIENCE: Duration = Duration::from_secs(3);
