//! `cargo xtask bench NAME`: figures side by side, from one run on one machine.
//!
//! Absolute figures do not travel between machines, ratios do. So every subject of a benchmark is alive during the whole
//! run, they take turns within each round rather than one after the other, each part has a CPU of its own as far as
//! there are enough, and what is reported is the median of the rounds.
//!
//! The result file is a list of `{bench, subject, metric, unit, value, runs}`; `runs` is how many the value is the
//! median of.

mod cpus;
mod folder;
mod http1;
mod pods;
mod proxies;
mod report;
mod server;
mod stream;
mod wrk;
mod xds;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};

use crate::bench::report::Report;

/// Which benchmark, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    name: Name,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds to take the median of
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds of load for each subject, case and round
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// For xds: how many clusters there are; may be repeated
    #[arg(long, value_name = "N", default_values_t = [100, 1000, 10_000])]
    clusters: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// Keep-alive GET through each proxy on 1 and 32 connections
    Http1,
    /// What steering adds to a pod's connect()
    Steer,
    /// Round trips of 128 bytes between two pods, by tier, with and without acceleration
    Rtt,
    /// connect() to one of 10 to 10,000 services, beside iptables
    Connect,
    /// One stream of bytes as TCP through each proxy
    Stream,
    /// Clusters of ten endpoints from a management server, and updates of them, beside Envoy
    Xds,
}

/// How a benchmark is to be run.
#[derive(Debug, Clone, Copy)]
struct Effort {
    runs: usize,
    load: Duration,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(args.runs >= 3, "a median takes at least 3 runs");
    let effort = Effort { runs: args.runs, load: Duration::from_secs(args.seconds.max(1)) };
    let mut report = Report::default();
    match args.name {
        Name::Http1 => http1::run(effort, &mut report)?,
        Name::Steer => pods::run("steer", effort, &mut report)?,
        Name::Rtt => pods::run("rtt", effort, &mut report)?,
        Name::Connect => pods::run("connect", effort, &mut report)?,
        Name::Stream => stream::run(effort, &mut report)?,
        Name::Xds => xds::run(&args.clusters, effort, &mut report)?,
    }
    let rows = report.rows();
    report::print(&rows);
    if let Some(file) = &args.json {
        report::write(&rows, file)?;
    }
    Ok(ExitCode::SUCCESS)
}
