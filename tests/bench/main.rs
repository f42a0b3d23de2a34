//! The helper of `cargo xtask bench`: what takes pods, a management server, or a stopwatch held to single system calls.
//!
//! Prints a line `CASE SUBJECT METRIC VALUE` for each figure of each round, and nothing else. Subjects take turns within a round;
//! every value is a median of its own round. Threads are pinned: an idle machine's wake-ups across CPUs cost more than what is
//! measured here.

mod connect;
mod pods;
mod rtt;
mod steer;
mod stream;
mod xds;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "What cargo xtask bench runs")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// What steering adds to connect()
    Steer(pods::Args),
    /// Round trips of 128 bytes between two pods
    Rtt(pods::Args),
    /// connect() to one of many services
    Connect(pods::Args),
    /// One stream of bytes through a proxy
    Stream(stream::Args),
    /// Clusters from a management server, and updates of them
    Xds(xds::Args),
}

fn main() -> Result<()> {
    match Cli::parse().bench {
        Bench::Steer(args) => steer::run(&args),
        Bench::Rtt(args) => rtt::run(&args),
        Bench::Connect(args) => connect::run(&args),
        Bench::Stream(args) => stream::run(&args),
        Bench::Xds(args) => xds::run(&args),
    }
}
