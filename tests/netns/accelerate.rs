//! Bytes that go from socket to socket, past TCP: none is lost, changed or overtaken, and TCP takes over where it must.

use std::io::{ErrorKind, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::agent::Agent;
use harness::config::{all_to, bootstrap, cluster, detecting, http, service, tcp};
use harness::tcp::echo;
use harness::world::World;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::mesh::{options, vips};
use crate::world_or_skip;

/// An agent that carries `vips(80)` to the servers' port 7 as bytes, with acceleration as told.
pub(crate) fn accelerated(world: &World, acceleration: &str) -> anyhow::Result<Agent> {
    let server = world.pod("server");
    let carried = |vip| detecting(vip, http(all_to("server")), tcp("server"), "0.05s");
    // At port 81 the kernel chooses the endpoint, and the agent is not between.
    let [direct4, direct6] = vips(81);
    let direct = [service(direct4, tcp("server")), service(direct6, tcp("server6"))];
    let listeners = vips(80).map(carried).into_iter().chain(direct).collect::<Vec<_>>();
    let [server4, server6] = server.at(7);
    let clusters = [cluster("server", &[server4]), cluster("server6", &[server6])];
    let mut config = world.mesh(&["client", "server"], bootstrap(&listeners, &clusters));
    if let Some(Value::Object(kernel)) = config.pointer_mut("/mesh/kernel") {
        kernel.insert("acceleration".to_owned(), json!(acceleration));
    }
    options().inside(&world.agent_cgroup())?.start(config)
}

/// A number the kernel programs counted.
pub(crate) fn count(agent: &Agent, name: &str) -> anyhow::Result<f64> {
    Ok(agent.admin().metrics()?.sum(&format!("bowline_kernel_{name}_total"), &[]))
}

#[test]
fn messages_go_past_tcp() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let server = world.pod("server");
    let _server = server.enter(|| echo(server.at(7)[0]))?;
    let agent = accelerated(&world, "on")?;
    for vip in vips(80) {
        let mut stream = world.pod("client").enter(|| connect(vip))?;
        for n in 0..100_u8 {
            let message = [n; 128];
            stream.write_all(&message)?;
            let mut back = [0; 128];
            Patient(&stream).read_exact(&mut back)?;
            assert_eq!(back, message);
        }
        assert_eq!(segments_with_data(&world, &stream)?, [0, 0], "{}", agent.log());
        stream.shutdown(Shutdown::Write)?;
        assert_eq!(Patient(&stream).read(&mut [0])?, 0);
    }
    // Two connections with two sockets each; there, on, back and back.
    assert_eq!(count(&agent, "accelerated_sockets")?, 8.0);
    assert_eq!(count(&agent, "accelerated_bytes")?, 2.0 * 4.0 * 12_800.0);
    Ok(())
}

#[test]
fn apps_talk_past_tcp_where_the_agent_is_not_between() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let server = world.pod("server");
    let _servers = [server.enter(|| echo(server.at(7)[0]))?, server.enter(|| echo(server.at(7)[1]))?];
    let agent = accelerated(&world, "on")?;
    for (n, vip) in (1_u8..).zip(vips(81)) {
        let mut stream = world.pod("client").enter(|| connect(vip))?;
        for _ in 0..100 {
            stream.write_all(&[n; 128])?;
            let mut back = [0; 128];
            Patient(&stream).read_exact(&mut back)?;
            assert_eq!(back, [n; 128]);
        }
        assert_eq!(segments_with_data(&world, &stream)?, [0, 0], "{}", agent.log());
        assert_eq!(count(&agent, "accelerated_sockets")?, f64::from(2 * n));
        stream.shutdown(Shutdown::Write)?;
        assert_eq!(Patient(&stream).read(&mut [0])?, 0);
    }
    assert_eq!(count(&agent, "direct")?, 2.0);
    assert_eq!(count(&agent, "accelerated_bytes")?, 2.0 * 2.0 * 12_800.0);
    Ok(())
}

/// A socket whose app has not read all yet is open longer than its connection keeps its port.
#[test]
fn ports_that_are_used_again_are_another_connection() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let listener = server.enter(|| TcpListener::bind(server.at(7)[0]))?;
    let agent = accelerated(&world, "on")?;
    let from = SocketAddr::from((client.v4(), 40_001));
    let first = client.enter(|| connect_from(from, vips(81)[0]))?;
    let (slow, _) = listener.accept()?;
    // The server is done first, so that its side remembers the connection and the client's port is free at once.
    slow.shutdown(Shutdown::Write)?;
    assert_eq!(Patient(&first).read(&mut [0])?, 0);
    (&first).write_all(&[1; 1000])?;
    drop(first);
    thread::sleep(Duration::from_millis(50));
    let second = client.enter(|| connect_from(from, vips(81)[0]))?;
    let (other, _) = listener.accept()?;
    (&second).write_all(&[2; 500])?;
    drop(second);
    let mut got = Vec::new();
    Patient(&slow).read_to_end(&mut got)?;
    assert_eq!(got, [1; 1000]);
    got.clear();
    Patient(&other).read_to_end(&mut got)?;
    assert_eq!(got, [2; 500]);
    assert_eq!(count(&agent, "accelerated_bytes")?, 1500.0, "{}", agent.log());
    Ok(())
}

#[test]
fn off_is_off() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let server = world.pod("server");
    let _server = server.enter(|| echo(server.at(7)[0]))?;
    let agent = accelerated(&world, "off")?;
    let mut stream = world.pod("client").enter(|| connect(vips(80)[0]))?;
    stream.write_all(b"hello")?;
    Patient(&stream).read_exact(&mut [0; 5])?;
    assert_eq!(segments_with_data(&world, &stream)?, [1, 1]);
    assert_eq!(count(&agent, "accelerated_sockets")?, 0.0);
    Ok(())
}

#[test]
fn a_stream_nobody_answers_goes_on_through_tcp() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let server = world.pod("server");
    let listener = server.enter(|| TcpListener::bind(server.at(7)[0]))?;
    let agent = accelerated(&world, "on")?;
    let sent: Vec<u8> = (0..16_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut stream = world.pod("client").enter(|| connect(vips(80)[0]))?;
    let (got, stalled) = thread::scope(|scope| -> anyhow::Result<_> {
        let sender = scope.spawn(|| {
            stream.write_all(&sent)?;
            stream.shutdown(Shutdown::Write)
        });
        let (at_server, _) = listener.accept()?;
        // Long enough for all of it to be under way, if nothing held it back.
        thread::sleep(Duration::from_millis(300));
        let stalled = !sender.is_finished();
        let mut got = Vec::new();
        Patient(&at_server).read_to_end(&mut got)?;
        sender.join().expect("no panic")?;
        Ok((got, stalled))
    })?;
    assert!(stalled, "16 MB were taken while nobody read");
    assert!(got == sent, "other bytes arrived");
    assert!(count(&agent, "slowed_unanswered")? >= 2.0, "both legs gave way");
    Ok(())
}

#[test]
fn after_its_end_a_side_cannot_send() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let server = world.pod("server");
    let _server = server.enter(|| echo(server.at(7)[0]))?;
    let _agent = accelerated(&world, "on")?;
    let mut stream = world.pod("client").enter(|| connect(vips(80)[0]))?;
    stream.write_all(b"one")?;
    Patient(&stream).read_exact(&mut [0; 3])?;
    stream.shutdown(Shutdown::Write)?;
    let error = stream.write_all(b"two").expect_err("sending has ended");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    Ok(())
}

/// Seen on Linux 6.18. When a kernel passes one of them, the table in docs/acceleration.md has a column to gain.
const KNOWN: [&str; 5] = [
    "a signal that restarts recv",
    "MSG_WAITALL",
    "splice(2)",
    "the end of sending while recv waits",
    "edge-triggered epoll and a short read",
];

#[test]
fn check_names_what_apps_would_notice() -> anyhow::Result<()> {
    let _world = world_or_skip!("client");
    let output = Command::new(harness::binaries::agent()?).args(["check", "--json"]).output()?;
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    for known in KNOWN {
        let name = format!("acceleration: {known}");
        let finding = findings.iter().find(|finding| finding["name"] == name);
        let status = finding.map(|finding| &finding["status"]);
        assert_eq!(status, Some(&json!("have")), "{known}: {findings:?}");
        let detail = finding.and_then(|finding| finding["detail"].as_str()).unwrap_or_default();
        assert!(!detail.is_empty(), "{known}: {findings:?}");
    }
    // What has to be right before anybody may turn it on at all.
    for vital in ["bytes and their order", "the end of sending", "a reader that does not read", "edge-triggered epoll"]
    {
        let name = format!("acceleration: {vital}");
        assert!(findings.iter().all(|finding| finding["name"] != name), "{findings:?}");
    }
    Ok(())
}

#[test]
fn by_default_the_agent_tries_and_leaves_it_off() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let server = world.pod("server");
    let _server = server.enter(|| echo(server.at(7)[0]))?;
    let agent = accelerated(&world, "auto")?;
    let mut stream = world.pod("client").enter(|| connect(vips(80)[0]))?;
    stream.write_all(b"hello")?;
    Patient(&stream).read_exact(&mut [0; 5])?;
    assert_eq!(segments_with_data(&world, &stream)?, [1, 1]);
    assert_eq!(count(&agent, "accelerated_sockets")?, 0.0);
    let decided = agent.admin().json("/config_dump")?["acceleration"].clone();
    assert_eq!(decided["on"], false);
    // A machine too busy for the test in the agent's time gets no list, but a reason.
    let because = decided["because"].as_array().context("reasons")?;
    assert!(!because.is_empty(), "{decided}");
    assert_eq!(agent.log().matches("acceleration on=false because=").count(), 1, "{}", agent.log());
    Ok(())
}

/// Reads from an accelerated socket without being misled: a signal, of which a test process gets many, makes a blocking `recv` answer
/// that there is nothing for now.
struct Patient<'a>(&'a TcpStream);

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let began = Instant::now();
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < PATIENCE => {}
                result => return result,
            }
        }
    }
}

fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn connect_from(from: SocketAddr, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    socket.connect(&to.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Segments with data that TCP sent and received for a client's socket.
fn segments_with_data(world: &World, stream: &TcpStream) -> anyhow::Result<[u32; 2]> {
    let port = format!("sport = :{}", stream.local_addr()?.port());
    let told = world.pod("client").run("ss", &["-tinH", &port])?.text();
    ensure!(told.contains("segs_out:"), "no such socket: {told:?}");
    // What is zero is left out.
    let number = |name| told.split_whitespace().find_map(|word| word.strip_prefix(name)).map_or(Ok(0), str::parse);
    Ok([number("data_segs_out:")?, number("data_segs_in:")?])
}

const PATIENCE: Duration = Duration::from_secs(10);
