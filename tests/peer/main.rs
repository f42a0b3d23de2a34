//! `mesh-peer`: servers and clients that tests run inside pods, as processes of their own.
//!
//! Servers print `ready`; clients print one line of JSON and end with status 1 if something went wrong. Most tests need
//! none of this: [`harness::world::Pod::enter`] is shorter. This is for what depends on being a process: cgroups, accepted
//! addresses, descriptors by the thousand, and dying.

mod connect;
mod datagram;
mod hold;
mod odd;
mod soak;
mod storm;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use harness::echo::HttpServer;
use harness::tcp;

#[derive(Parser)]
#[command(about = "Servers and clients for tests")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// HTTP server that tells what it got
    Http {
        /// Name in its answers
        #[arg(long)]
        name: String,
        /// Where to listen
        addresses: Vec<SocketAddr>,
    },
    /// TCP server that sends back what it gets
    TcpEcho {
        /// Where to listen
        addresses: Vec<SocketAddr>,
    },
    /// TCP server that speaks first
    Greeter {
        /// Where to listen
        addresses: Vec<SocketAddr>,
    },
    /// TCP server that tells its client's address
    WhoAmI {
        /// Where to listen
        addresses: Vec<SocketAddr>,
    },
    /// Connects, and tells what its socket says of both ends
    Connect(connect::Plan),
    /// Connects in an unusual way
    Odd(odd::Plan),
    /// Sends datagrams, and tells who answered
    Datagrams(datagram::Plan),
    /// Holds many connections to an echo server while others come and go
    Soak(soak::Plan),
    /// Holds many connections to an echo server and uses them all, again and again, while others come and go
    Hold(hold::Plan),
    /// Opens and resets connections as fast as it can
    Storm(storm::Plan),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().role {
        Role::Http { name, addresses } => serve(&addresses, |address| HttpServer::start(address, &name)),
        Role::TcpEcho { addresses } => serve(&addresses, tcp::echo),
        Role::Greeter { addresses } => serve(&addresses, tcp::greeter),
        Role::WhoAmI { addresses } => serve(&addresses, tcp::who_am_i),
        Role::Connect(plan) => connect::run(&plan),
        Role::Odd(plan) => odd::run(&plan),
        Role::Datagrams(plan) => datagram::run(&plan),
        Role::Soak(plan) => soak::run(&plan),
        Role::Hold(plan) => hold::run(&plan),
        Role::Storm(plan) => storm::run(&plan),
    }
}

/// Starts a server on each address and stays until it is killed.
fn serve<T>(addresses: &[SocketAddr], start: impl Fn(SocketAddr) -> anyhow::Result<T>) -> anyhow::Result<()> {
    let _servers = addresses.iter().map(|&address| start(address)).collect::<anyhow::Result<Vec<_>>>()?;
    println!("ready");
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
