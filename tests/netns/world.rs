//! The test world itself: what every other test of this file stands on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::echo::HttpServer;
use harness::tcp;
use harness::wire::Wire;
use harness::world::World;

use crate::world_or_skip;

#[test]
fn pods_reach_each_other_on_both_families() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    for (address, from) in server.at(80).into_iter().zip(client.at(0)) {
        let echo = server.enter(|| HttpServer::start(address, "server"))?;
        let response = client.enter(|| -> anyhow::Result<_> {
            let mut wire = Wire::connect(address)?;
            wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
            wire.response()
        })?;
        assert_eq!(response.json()["server"], "server");
        assert_eq!(echo.clients()[0].ip(), from.ip());
    }
    Ok(())
}

#[test]
fn worlds_share_addresses_and_never_meet() -> anyhow::Result<()> {
    let one = world_or_skip!("a", "b");
    let two = world_or_skip!("a", "b");
    let _server = one.pod("b").enter(|| tcp::echo(one.pod("b").at(7)[0]))?;
    let connect = |world: &World| world.pod("a").enter(|| Wire::connect(world.pod("b").at(7)[0]).map(drop));
    connect(&one)?;
    assert!(connect(&two).is_err(), "nobody listens there in the other world");
    Ok(())
}

#[test]
fn a_world_is_quick_and_leaves_nothing() -> anyhow::Result<()> {
    let began = Instant::now();
    let world = world_or_skip!("a", "b", "c", "d", "e", "f");
    let built = began.elapsed();
    world.pod("a").set_hosts("10.96.0.1 service\n")?;
    let hosts = world.pod("a").run("getent", &["hosts", "service"])?;
    assert!(hosts.text().starts_with("10.96.0.1"), "{}", hosts.text());
    // Left running, for the world to end it.
    let sleeper = world.pod("b").spawn("sleep", &["600"])?;
    let (tag, cgroup) = (world.tag().to_owned(), world.pod("a").cgroup().parent().map(Path::to_owned));
    let began = Instant::now();
    drop(world);
    let gone = began.elapsed();
    println!("6 pods built in {built:?}, torn down in {gone:?}");
    // Far above what it takes, for machines that are busy with other tests.
    assert!(built < Duration::from_secs(2), "{built:?}");
    assert!(gone < Duration::from_secs(2), "{gone:?}");
    ensure!(!cgroup.is_some_and(|path| path.exists()), "a cgroup is left");
    for folder in ["/run/netns", "/etc/netns", "/sys/fs/bpf"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        // `bowl12-1` is also how `bowl12-10` begins.
        let left = names.filter(|name| *name == tag || name.starts_with(&format!("{tag}-"))).collect::<Vec<_>>();
        ensure!(left.is_empty(), "{folder}: {left:?}");
    }
    assert!(!sleeper.output(Duration::from_secs(1))?.status.success(), "killed");
    Ok(())
}

#[test]
fn a_dying_pod_takes_its_programs_along() -> anyhow::Result<()> {
    let world = world_or_skip!("a", "b");
    let mut sleeper = world.pod("a").spawn("sleep", &["600"])?;
    let mut other = world.pod("b").spawn("sleep", &["600"])?;
    // Inside its cgroup only once the shell has run.
    std::thread::sleep(Duration::from_millis(100));
    world.pod("a").die()?;
    assert!(!sleeper.wait(Duration::from_secs(5))?.success());
    assert!(other.is_running());
    Ok(())
}
