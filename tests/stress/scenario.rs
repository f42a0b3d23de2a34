//! One tier, with acceleration or without, under as many connections as told.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::agent::{Agent, Options};
use harness::config::{all_to, bootstrap, cluster, detecting, http, service, tcp};
use harness::world::World;
use serde_json::{Value, json};

use crate::client;
use crate::plan::{Plan, Scale};
use crate::server::{Seen, serve};
use crate::stream::Text;

/// The way of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    T1,
    T2,
    T3,
}

/// Runs it, and checks that every byte arrived where and when it should.
pub(crate) fn run(tier: Tier, acceleration: &str) -> Result<()> {
    if !harness::world::is_root() {
        eprintln!("skipped: needs root");
        return Ok(());
    }
    // One after the other: each has 64 connections at once already.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let scale = scale()?;
    let world = World::build(&["client", "server"])?;
    let mut agent = start(&world, tier, acceleration)?;
    let server = world.pod("server");
    let listener = server.enter(|| TcpListener::bind(server.at(PORT)[0]))?;
    let (text, seen, received) = (Text::new(scale.seed), Seen::default(), AtomicU64::new(0));
    let (next, end) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut past = Ok(0.0);
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| serve(&listener, scale, tier == Tier::T3, &text, &seen, &end));
        let client = |_| {
            scope.spawn(|| {
                world.pod("client").enter(|| {
                    loop {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        if id >= scale.connections {
                            return;
                        }
                        let talk = if tier == Tier::T3 { client::http } else { client::bytes };
                        match talk(SocketAddr::from((SERVICE, PORT)), scale, id, &text) {
                            Ok(bytes) => drop(received.fetch_add(bytes, Ordering::Relaxed)),
                            Err(error) => seen.error(format!("client, connection {id}: {error:#}")),
                        }
                    }
                });
            })
        };
        let clients: Vec<_> = (0..AT_ONCE).map(client).collect();
        for client in clients {
            if client.join().is_err() {
                seen.error("a client panicked".to_owned());
            }
        }
        if tier != Tier::T3 {
            wait_for_all(scale, &seen);
        }
        past = count(&agent, "accelerated_bytes");
        // Closes what it keeps open for later.
        if let Err(error) = agent.stop() {
            seen.error(format!("{error:#}"));
        }
        end.store(true, Ordering::Relaxed);
        server.enter(|| TcpStream::connect(server.at(PORT)[0])).map(drop)
    })?;
    let past = past?;
    let errors = seen.errors.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (up, down) = (seen.bytes.into_inner(), received.into_inner());
    println!(
        "{tier:?}, acceleration {acceleration}: {} connections, {} MB, seed {}, {:.1} s; past TCP: {} MB",
        scale.connections,
        (up + down) >> 20,
        scale.seed,
        began.elapsed().as_secs_f64(),
        past as u64 >> 20,
    );
    ensure!(errors.is_empty(), "seed {}: {} errors: {:#?}", scale.seed, errors.len(), &errors[..errors.len().min(10)]);
    ensure!((past > 0.0) == (acceleration == "on"), "{past} bytes went past TCP");
    Ok(())
}

/// What the agent still had to pass on when the clients were done.
fn wait_for_all(scale: Scale, seen: &Seen) {
    let whole = (0..scale.connections).filter(|&id| Plan::of(scale, id).is_whole()).count() as u64;
    let began = Instant::now();
    while seen.whole.load(Ordering::Relaxed) < whole {
        if began.elapsed() > Duration::from_secs(60) {
            return seen
                .error(format!("HANG: {} of {whole} connections arrived whole", seen.whole.load(Ordering::Relaxed)));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn start(world: &World, tier: Tier, acceleration: &str) -> Result<Agent> {
    let at = SocketAddr::from((SERVICE, PORT));
    let listener = match tier {
        Tier::T1 => service(at, tcp("server")),
        Tier::T2 => detecting(at, http(all_to("server")), tcp("server"), "0.05s"),
        // Without a deadline: a machine that is slow is not at fault.
        Tier::T3 => service(
            at,
            http(json!([{ "match": { "prefix": "/" }, "route": { "cluster": "server", "timeout": "0s" } }])),
        ),
    };
    let clusters = [cluster("server", &[world.pod("server").at(PORT)[0]])];
    let mut config = world.mesh(&["client", "server"], bootstrap(&[listener], &clusters));
    if let Some(Value::Object(kernel)) = config.pointer_mut("/mesh/kernel") {
        kernel.insert("acceleration".to_owned(), json!(acceleration));
    }
    Options::new().arg("--workers").arg("2").inside(&world.agent_cgroup())?.start(config)
}

fn count(agent: &Agent, name: &str) -> Result<f64> {
    Ok(agent.admin().metrics()?.sum(&format!("bowline_kernel_{name}_total"), &[]))
}

fn scale() -> Result<Scale> {
    let number =
        |name: &str, default: u64| -> Result<u64> { Ok(std::env::var(name).map_or(Ok(default), |text| text.parse())?) };
    Ok(Scale {
        seed: number("MESH_STRESS_SEED", 1)?,
        connections: number("MESH_STRESS_CONNECTIONS", 150)?,
        bytes: number("MESH_STRESS_MEGABYTES", 20)? << 20,
    })
}

const AT_ONCE: usize = 64;
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
const PORT: u16 = 7000;
