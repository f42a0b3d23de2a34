//! What the kernel serves by itself goes on without an agent: services, their connections, and every byte of them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use harness::config::{bootstrap, cluster, service, tcp};
use harness::process::Process;
use harness::tcp::echo;
use harness::wire::Wire;
use serde_json::{Value, json};

use crate::mesh::{options, vips};
use crate::restart::{count, kill};
use crate::world_or_skip;

#[test]
fn services_of_the_kernels_own_live_through_kill_and_restart() -> anyhow::Result<()> {
    for acceleration in ["off", "on"] {
        let world = world_or_skip!("client", "server");
        let (client, server) = (world.pod("client"), world.pod("server"));
        let [echoing, holding] = [server.at(7)[0], server.at(8)[0]];
        let _echo = server.enter(|| echo(echoing))?;
        let listener = server.enter(|| TcpListener::bind(holding))?;
        let [vip, other] = [vips(7)[0], vips(8)[0]];
        let listeners = [service(vip, tcp("echo")), service(other, tcp("holding"))];
        let clusters = [cluster("echo", &[echoing]), cluster("holding", &[holding])];
        let mut config = world.mesh(&["client", "server"], bootstrap(&listeners, &clusters));
        config["mesh"]["kernel"]["acceleration"] = json!(acceleration);
        let options = options().inside(&world.agent_cgroup())?;
        let mut agent = options.start(&config)?;

        let talk = |wire: &mut Wire, text: &str| -> anyhow::Result<()> {
            wire.send(text)?;
            assert_eq!(wire.read_exact(text.len())?, text.as_bytes());
            Ok(())
        };
        let connect = |count: usize| -> anyhow::Result<Vec<Wire>> {
            (0..count).map(|_| Ok(client.enter(|| Wire::connect(vip))?)).collect()
        };
        let mut old = connect(200)?;
        old.iter_mut().try_for_each(|wire| talk(wire, "before"))?;
        // Bytes that nobody has read yet when the agent dies.
        let mut writer = client.enter(|| TcpStream::connect(other))?;
        let (mut reader, _) = listener.accept()?;
        reader.set_read_timeout(Some(Duration::from_secs(5)))?;
        let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        writer.write_all(&sent[..50_000])?;

        kill(&mut agent)?;
        old.iter_mut().try_for_each(|wire| talk(wire, "without an agent"))?;
        let mut young = connect(100).context("a service without an agent")?;
        young.iter_mut().try_for_each(|wire| talk(wire, "begun without an agent"))?;
        writer.write_all(&sent[50_000..])?;

        let agent = options.start(&config)?;
        old.iter_mut().chain(&mut young).try_for_each(|wire| talk(wire, "after"))?;
        connect(1)?.iter_mut().try_for_each(|wire| talk(wire, "new"))?;
        writer.shutdown(std::net::Shutdown::Write)?;
        let mut got = Vec::new();
        while got.len() < sent.len() {
            let mut part = [0; 65536];
            match reader.read(&mut part) {
                Ok(0) => break,
                Ok(read) => got.extend_from_slice(&part[..read]),
                // A signal: see the tests of acceleration.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        assert!(got == sent, "{acceleration}: {} of {} bytes, or others", got.len(), sent.len());
        assert_eq!(count(&agent, "direct")?, 302.0, "all in one map");
        assert_eq!(count(&agent, "passed_no_agent")? + count(&agent, "agent_gone")?, 0.0);
        let accelerated = count(&agent, "accelerated_sockets")?;
        assert_eq!(accelerated, if acceleration == "on" { 604.0 } else { 0.0 });
        drop(agent);
        // Off after on: what is accelerated goes on, nothing new is.
        if acceleration == "on" {
            config["mesh"]["kernel"]["acceleration"] = Value::from("off");
            let agent = options.start(&config)?;
            old.iter_mut().chain(&mut young).try_for_each(|wire| talk(wire, "off"))?;
            connect(1)?.iter_mut().try_for_each(|wire| talk(wire, "new"))?;
            assert_eq!(count(&agent, "accelerated_sockets")?, accelerated);
        }
    }
    Ok(())
}

#[test]
fn an_endpoint_that_went_while_no_agent_ran_is_missed() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let [gone, stays] = [server.at(7)[0], server.at(8)[0]];
    let _servers = server.enter(|| [gone, stays].map(|at| echo(at).expect("a free address")));
    let vip = vips(7)[0];
    let config =
        |at| world.mesh(&["client", "server"], bootstrap(&[service(vip, tcp("echo"))], &[cluster("echo", &[at])]));
    let options = options().inside(&world.agent_cgroup())?;
    let mut agent = options.start(config(gone))?;
    let mut command = client.command(harness::binaries::peer()?);
    command.args(["hold", &vip.to_string(), "--hold", "3", "--others", "0"]);
    let holder = Process::spawn("hold", command)?;
    let errors = |wanted: u64| {
        let is_so = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["errors"] == wanted);
        holder.wait_line(is_so, Duration::from_secs(20)).with_context(|| format!("{wanted} errors"))
    };
    errors(0)?;
    kill(&mut agent)?;
    // Nobody else tells the client: the endpoint still answers, and one that is gone would not even refuse.
    let agent = options.start(config(stays))?;
    errors(3)?;
    assert_eq!(count(&agent, "evicted_tcp")?, 3.0);
    let mut wire = client.enter(|| Wire::connect(vip))?;
    wire.send("new")?;
    assert_eq!(wire.read_exact(3)?, b"new");
    Ok(())
}
