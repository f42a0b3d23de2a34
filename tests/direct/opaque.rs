//! TCP proxying: bytes, both ways, ended one by one.

use std::net::SocketAddr;
use std::time::Duration;

use harness::agent::{Agent, Options};
use harness::config::{bootstrap, cluster, listener, own_address, tcp, tcp_with};
use harness::tcp::{GREETING, echo, greeter};
use harness::wire::Wire;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

fn agent(filter: Value, clusters: &[Value]) -> anyhow::Result<(Agent, SocketAddr)> {
    let address = own_address(10000);
    Ok((Options::no_kernel().start(bootstrap(&[listener(address, filter)], clusters))?, address))
}

#[test]
fn bytes_pass_and_half_closes_too() -> anyhow::Result<()> {
    let upstream = echo(([127, 0, 0, 1], 0).into())?;
    let (_agent, address) = agent(tcp("echo"), &[cluster("echo", &[upstream.address()])])?;
    let mut wire = Wire::connect(address)?;
    let sent = (0..3_000_000u32).map(|n| (n % 253) as u8).collect::<Vec<_>>();
    let mut writer = Wire::over(wire.stream().try_clone()?)?;
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || writer.send(bytes).and_then(|()| writer.finish()));
    assert!(wire.read_to_end()? == sent, "all came back after our end");
    writing.join().expect("the writer")?;
    Ok(())
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() -> anyhow::Result<()> {
    let upstream = greeter(([127, 0, 0, 1], 0).into())?;
    let (_agent, address) = agent(tcp("mail"), &[cluster("mail", &[upstream.address()])])?;
    let mut wire = Wire::connect(address)?;
    assert_eq!(wire.read_until(b"\r\n")?, GREETING.as_bytes());
    wire.send("HELO a\r\n")?;
    assert_eq!(wire.read_until(b"\r\n")?, b"250 HELO a\r\n");
    Ok(())
}

#[test]
fn connections_are_shared_out_by_weight() -> anyhow::Result<()> {
    let (one, two) = (echo(([127, 0, 0, 1], 0).into())?, echo(([127, 0, 0, 1], 0).into())?);
    let weighted = json!({ "weighted_clusters": { "clusters": [
        { "name": "one", "weight": 3 }, { "name": "two", "weight": 1 },
    ] } });
    let clusters = [cluster("one", &[one.address()]), cluster("two", &[two.address()])];
    let (_agent, address) = agent(tcp_with(weighted), &clusters)?;
    for _ in 0..400 {
        let mut wire = Wire::connect(address)?;
        wire.send("x")?;
        wire.read_exact(1)?;
    }
    let share = two.clients().len();
    assert_eq!(one.clients().len() + share, 400);
    // Five deviations of a binomial of 400 and 1/4.
    assert!(share.abs_diff(100) < 44, "{share} of 400");
    Ok(())
}

#[test]
fn a_client_comes_to_the_same_endpoint_again() -> anyhow::Result<()> {
    let servers = [(); 3].map(|()| echo(([127, 0, 0, 1], 0).into()).expect("a free port"));
    let mut maglev = cluster("echo", &servers.each_ref().map(|server| server.address()));
    maglev["lb_policy"] = json!("MAGLEV");
    let filter = tcp_with(json!({ "cluster": "echo", "hash_policy": [{ "source_ip": {} }] }));
    let (_agent, address) = agent(filter, &[maglev])?;
    let mut used = [0; 3];
    for client in 1..=30 {
        let before = servers.each_ref().map(|server| server.clients().len());
        for _ in 0..4 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from(([127, 0, 9, client], 0)).into())?;
            socket.connect(&address.into())?;
            let mut wire = Wire::over(socket.into())?;
            wire.send("x")?;
            wire.read_exact(1)?;
        }
        let now = servers.each_ref().map(|server| server.clients().len());
        let chosen = (0..3).find(|&at| now[at] == before[at] + 4);
        used[chosen.ok_or_else(|| anyhow::anyhow!("{client}: {before:?}, then {now:?}"))?] += 1;
    }
    assert!(used.iter().all(|clients| *clients >= 3), "{used:?}");
    Ok(())
}

#[test]
fn nobody_there_closes_the_connection() -> anyhow::Result<()> {
    let (_agent, address) = agent(tcp("gone"), &[cluster("gone", &[own_address(9)])])?;
    assert!(Wire::connect(address)?.closes_within(Duration::from_secs(3)));
    Ok(())
}

#[test]
fn silence_ends_a_connection_only_where_it_is_told_to() -> anyhow::Result<()> {
    let upstream = echo(([127, 0, 0, 1], 0).into())?;
    let idle = json!({ "cluster": "echo", "idle_timeout": "0.4s" });
    let (_agent, address) = agent(tcp_with(idle), &[cluster("echo", &[upstream.address()])])?;
    let mut wire = Wire::connect(address)?;
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(200));
        wire.send("x")?;
        wire.read_exact(1)?;
    }
    assert!(wire.closes_within(Duration::from_secs(2)));
    Ok(())
}
