//! Bookinfo as a mesh on one machine: `cargo xtask demo`.
//!
//! Seven pods, each a network namespace and a cgroup with a real server in it, and the agent, configured by
//! `bookinfo.yaml`. Without `--check` it stays, sends itself a little traffic and shows who talks to whom.

mod check;
mod gateway;
mod rules;
mod screen;
mod service;
mod stage;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::gateway::Gateway;
use crate::service::Role;
use crate::stage::Stage;

#[derive(Parser)]
#[command(about = "Bookinfo as a mesh of pods on this machine")]
struct Cli {
    /// Drive traffic, check what comes of it, and end
    #[arg(long)]
    check: bool,
    /// Port of the gateway on 127.0.0.1
    #[arg(long, default_value_t = 9080)]
    port: u16,
    /// Page views in a second that the demo makes itself
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=1000))]
    rate: u32,
    #[command(subcommand)]
    role: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// One of Bookinfo's servers: what the demo runs inside the pods
    #[command(hide = true)]
    Service(Role),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match &cli.role {
        Some(Command::Service(role)) => service::run(role),
        None => demo(&cli),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(cli: &Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        // The stage is dropped with `play`, wherever that is interrupted, so that nothing stays behind. The signals are
        // asked for first: setting the stage blocks.
        tokio::select! {
            biased;
            () = interrupted() => {
                // Below the `^C` that the terminal shows.
                println!();
                Ok(())
            }
            ended = play(cli) => ended,
        }
    })
}

async fn play(cli: &Cli) -> anyhow::Result<()> {
    if cli.check {
        return check::run(cli.port).await;
    }
    let stage = Stage::set(cli.port)?;
    let gateway = Gateway::new(cli.port);
    tokio::spawn(gateway.clone().visit(cli.rate));
    table::show(&stage, &gateway, Duration::from_secs(1)).await
}

async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
