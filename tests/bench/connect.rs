//! connect() to one of many services: through the kernel programs' maps, through iptables' rules, and without either.
//!
//! The service connected to is the last that was configured, as a rule list has to be walked to its end for it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use harness::config::{bootstrap, cluster, service, tcp};
use harness::world::{Pod, World};

use crate::pods::{self, Args};

pub(crate) fn run(args: &Args) -> Result<()> {
    let world = World::build(&["app", "server"])?;
    let backend = world.pod("server").at(PORT)[0];
    // Rules are looked at only on the way to somewhere; a real pod has a default route.
    let route = world.pod("app").run("ip", &["route", "add", "10.96.0.0/16", "dev", "eth0"])?;
    ensure!(route.status.success(), "{}", route.text());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = world.pod("server").enter(|| pods::listen(backend))?;
        let stop = &stop;
        scope.spawn(move || pods::take_all(&server, stop));
        let done = (0..args.runs).try_for_each(|_| round(args, &world, backend));
        stop.store(true, Ordering::Relaxed);
        done
    })
}

fn round(args: &Args, world: &World, backend: SocketAddr) -> Result<()> {
    let app = world.pod("app");
    for services in SERVICES {
        let case = services.to_string();
        let show = |subject: &str, target: SocketAddr| -> Result<()> {
            let took = app.enter(|| {
                pods::pin(args.client_cpu)?;
                pods::connects(target, CONNECTS)
            });
            pods::show_p50(&case, subject, took.with_context(|| format!("{subject}, {services} services"))?);
            Ok(())
        };
        let listeners: Vec<_> = (0..services).map(|n| service(address(n), tcp(&format!("c{n}")))).collect();
        let clusters: Vec<_> = (0..services).map(|n| cluster(&format!("c{n}"), &[backend])).collect();
        let config = world.mesh(&["app"], bootstrap(&listeners, &clusters));
        // In turns: a machine has slow and fast seconds.
        for _ in 0..TURNS {
            show("no-mesh", backend)?;
            let mut agent = pods::agent_on(args.agent_cpu).inside(&world.agent_cgroup())?.start(&config)?;
            show("mesh", address(services - 1))?;
            agent.stop()?;
        }

        redirect(app, Some((services, backend)))?;
        let shown = show("iptables", address(services - 1));
        redirect(app, None)?;
        shown?;
    }
    Ok(())
}

/// The nth service's address.
fn address(n: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + n), 80))
}

/// Rules as kube-proxy's, one for each service, in the pod's own namespace; or none any more.
fn redirect(app: &Pod, services: Option<(u32, SocketAddr)>) -> Result<()> {
    let mut rules = "*nat\n:OUTPUT ACCEPT [0:0]\n".to_owned();
    if let Some((services, backend)) = services {
        for n in 0..services {
            let ip = address(n).ip();
            writeln!(rules, "-A OUTPUT -d {ip}/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination {backend}")?;
        }
    }
    rules += "COMMIT\n";
    let mut restore = app.command("iptables-restore");
    let mut restore = restore.stdin(Stdio::piped()).spawn().context("iptables-restore")?;
    restore.stdin.take().context("its input is piped")?.write_all(rules.as_bytes())?;
    ensure!(restore.wait()?.success(), "iptables-restore failed");
    Ok(())
}

const SERVICES: [u32; 4] = [10, 100, 1000, 10_000];
const PORT: u16 = 8080;
/// In each round.
const TURNS: usize = 3;
const CONNECTS: usize = 1000;
