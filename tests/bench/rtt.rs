//! Round trips of 128 bytes between two pods: how long each tier takes, with and without the kernel's short cut.
//!
//! Client, server and agent share one CPU: what is compared is the work on the way, not how long an idle CPU takes to wake. The
//! agent is the same throughout; what decides is the service's configuration, as it is for users.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::agent::Agent;
use harness::config::{all_to, bootstrap, cluster, detecting, http, service, tcp};
use harness::world::World;
use serde_json::{Value, json};

use crate::pods::{self, Args};

/// A subject: its name, where the client connects to, what is spoken, and `mesh.kernel.acceleration` (none: no agent).
struct Subject {
    name: &'static str,
    port: u16,
    talk: Talk,
    acceleration: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Talk {
    /// 128 bytes there and back.
    Echo,
    /// The same as the bodies of an HTTP/1.1 request and its answer.
    Http,
}

const SUBJECTS: [Subject; 7] = [
    Subject { name: "veth", port: ECHO, talk: Talk::Echo, acceleration: None },
    Subject { name: "t1", port: T1, talk: Talk::Echo, acceleration: Some("off") },
    Subject { name: "t1-accelerated", port: T1, talk: Talk::Echo, acceleration: Some("on") },
    Subject { name: "t2", port: T2, talk: Talk::Echo, acceleration: Some("off") },
    Subject { name: "t2-accelerated", port: T2, talk: Talk::Echo, acceleration: Some("on") },
    Subject { name: "t3", port: T3, talk: Talk::Http, acceleration: Some("off") },
    Subject { name: "t3-accelerated", port: T3, talk: Talk::Http, acceleration: Some("on") },
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let world = World::build(&["app", "server"])?;
    let server = world.pod("server");
    for (port, talk) in [(ECHO, Talk::Echo), (HTTP, Talk::Http)] {
        let listener = server.enter(|| TcpListener::bind(server.at(port)[0]))?;
        let cpu = args.client_cpu;
        // Ends with this process.
        thread::spawn(move || serve(&listener, talk, cpu));
    }
    for _ in 0..args.runs {
        for acceleration in [None, Some("off"), Some("on")] {
            let mut agent = acceleration.map(|it| start(args, &world, it)).transpose()?;
            for subject in SUBJECTS.iter().filter(|subject| subject.acceleration == acceleration) {
                let target = match acceleration {
                    None => server.at(subject.port)[0],
                    Some(_) => SocketAddr::from((SERVICE, subject.port)),
                };
                let took = world.pod("app").enter(|| round_trips(target, subject.talk, args.client_cpu));
                let took = took.with_context(|| format!("{}: {}", subject.name, log(agent.as_ref())))?;
                pods::show_p50("echo", subject.name, took);
            }
            if let Some(agent) = &mut agent {
                agent.stop()?;
            }
        }
    }
    Ok(())
}

fn log(agent: Option<&Agent>) -> String {
    agent.map(Agent::log).unwrap_or_default()
}

fn start(args: &Args, world: &World, acceleration: &str) -> Result<Agent> {
    let server = world.pod("server");
    let at = |port| SocketAddr::from((SERVICE, port));
    let listeners = [
        service(at(T1), tcp("echo")),
        detecting(at(T2), http(all_to("http")), tcp("echo"), "1s"),
        service(at(T3), http(all_to("http"))),
    ];
    let clusters = [cluster("echo", &[server.at(ECHO)[0]]), cluster("http", &[server.at(HTTP)[0]])];
    let mut config = world.mesh(&["app", "server"], bootstrap(&listeners, &clusters));
    if let Some(Value::Object(kernel)) = config.pointer_mut("/mesh/kernel") {
        kernel.insert("acceleration".to_owned(), json!(acceleration));
    }
    pods::agent_on(args.client_cpu).inside(&world.agent_cgroup())?.start(&config)
}

/// How long each round trip on one connection took.
fn round_trips(target: SocketAddr, talk: Talk, cpu: usize) -> Result<Vec<Duration>> {
    pods::pin(cpu)?;
    let mut stream = TcpStream::connect(target).with_context(|| target.to_string())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let sent: Vec<u8> = match talk {
        Talk::Echo => BODY.to_vec(),
        Talk::Http => [b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 128\r\n\r\n".as_slice(), &BODY].concat(),
    };
    let mut buffer = Vec::new();
    let mut took = Vec::with_capacity(ROUND_TRIPS);
    for n in 0..ROUND_TRIPS + WARM_UP {
        let start = Instant::now();
        stream.write_all(&sent)?;
        read_message(&mut stream, talk, &mut buffer)?;
        if n >= WARM_UP {
            took.push(start.elapsed());
        }
        ensure!(buffer.ends_with(&BODY), "other bytes came back");
    }
    Ok(took)
}

/// Answers every message on every connection with its body, on the client's CPU.
fn serve(listener: &TcpListener, talk: Talk, cpu: usize) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            // Whoever closed the connection knows.
            let _ = answer(stream, talk, cpu);
        });
    }
}

fn answer(mut stream: TcpStream, talk: Talk, cpu: usize) -> Result<()> {
    pods::pin(cpu)?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        read_message(&mut stream, talk, &mut buffer)?;
        let body = &buffer[buffer.len() - BODY.len()..];
        match talk {
            Talk::Echo => stream.write_all(body)?,
            Talk::Http => {
                stream.write_all(&[b"HTTP/1.1 200 OK\r\ncontent-length: 128\r\n\r\n".as_slice(), body].concat())?;
            }
        }
    }
}

/// Reads one message into `buffer`: all of it, and nothing of the next, for there is none before this one is answered.
fn read_message(stream: &mut TcpStream, talk: Talk, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    let mut chunk = [0; 2048];
    loop {
        let read = stream.read(&mut chunk)?;
        ensure!(read > 0, "the connection has ended");
        buffer.extend_from_slice(&chunk[..read]);
        let head = match talk {
            Talk::Echo => Some(0),
            Talk::Http => buffer.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4),
        };
        if head.is_some_and(|head| buffer.len() >= head + BODY.len()) {
            return Ok(());
        }
    }
}

const BODY: [u8; 128] = [b'b'; 128];
const ROUND_TRIPS: usize = 20_000;
const WARM_UP: usize = 1000;

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
const T1: u16 = 81;
const T2: u16 = 82;
const T3: u16 = 83;
const ECHO: u16 = 7000;
const HTTP: u16 = 7001;
