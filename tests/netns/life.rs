//! Beginnings and ends: of workloads, of the agent, of what it put into the kernel.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::agent::{Agent, Options, uninstall};
use harness::config::{all_to, bootstrap, cluster, http, own_address, service, tcp, with};
use harness::echo::HttpServer;
use harness::footprint::{Footprint, map_entries};
use harness::scratch::Scratch;
use harness::wire::Wire;
use harness::world::{World, cgroup_mount};

use serde_json::json;

use crate::mesh::{get, mesh, options, vips};
use crate::world_or_skip;

/// One service, `server`, on both families.
fn one_service(world: &World, pods: &[&str]) -> anyhow::Result<(HttpServer, Agent)> {
    one_service_under(&options().inside(&world.agent_cgroup())?, world, pods)
}

/// As [`one_service`], with an agent started in this way.
fn one_service_under(options: &Options, world: &World, pods: &[&str]) -> anyhow::Result<(HttpServer, Agent)> {
    let server = world.pod("server");
    let http_server = server.enter(|| HttpServer::start(server.at(8080)[0], "server"))?;
    let listeners = vips(80).map(|vip| service(vip, http(all_to("server"))));
    let config = bootstrap(&listeners, &[cluster("server", &server.at(8080)[..1])]);
    Ok((http_server, options.start(world.mesh(pods, config))?))
}

#[test]
fn a_workload_that_dies_takes_only_its_own() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "doomed", "server");
    let (_server, mut agent) = one_service(&world, &["client", "doomed", "server"])?;
    assert_eq!(get(world.pod("doomed"), vips(80)[0], "/")?.0.status, 200);
    let before = Footprint::of(agent.pid())?.descriptors;
    world.pod("doomed").die()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while Footprint::of(agent.pid())?.descriptors >= before {
        assert!(Instant::now() < deadline, "the dead pod's sockets are still open: {}", agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..10 {
        assert_eq!(get(world.pod("client"), vips(80)[0], "/")?.0.status, 200);
    }
    assert!(agent.is_running());
    Ok(())
}

#[test]
fn a_workload_that_comes_back_is_meshed_again() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let server = world.pod("server");
    let (listeners, clusters) =
        ([service(vips(80)[0], http(all_to("server")))], [cluster("server", &server.at(8080)[..1])]);
    let agent = mesh(&world, &["client", "server"], &listeners, &clusters)?;
    let (reached, reaches) = (world.pod("client"), vips(80)[0]);
    let held = || Footprint::of(agent.pid()).map(|held| (held.programs.len(), held.maps.len()));
    let before = held()?;
    for round in 0..3 {
        // Its own connections are steered, and it is where others find it.
        let _http_server = server.enter(|| HttpServer::start(server.at(8080)[0], "server"))?;
        for pod in [server, reached] {
            let deadline = Instant::now() + Duration::from_secs(10);
            while get(pod, reaches, "/").map_or(0, |(response, _)| response.status) != 200 {
                assert!(Instant::now() < deadline, "round {round}: not from {}: {}", pod.name(), agent.log());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let views = agent.admin().json("/workloads")?;
        assert_eq!(views[1]["state"], "meshed", "round {round}: {views}");
        // Removed and made anew between two looks, and also with a look between.
        server.die()?;
        if round == 1 {
            std::thread::sleep(Duration::from_millis(1500));
        }
        world.revive("server")?;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while held()? != before {
        assert!(Instant::now() < deadline, "programs and maps before {before:?}, now {:?}", held()?);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn sigterm_lets_a_pods_request_finish() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (_server, mut agent) = one_service(&world, &["client", "server"])?;
    let client = world.pod("client");
    let status = std::thread::scope(|scope| {
        let asking = scope.spawn(|| get(client, vips(80)[0], "/slow?ms=700").map(|(response, _)| response.status));
        std::thread::sleep(Duration::from_millis(200));
        agent.terminate();
        asking.join().expect("no panic")
    })?;
    assert_eq!(status, 200);
    assert!(agent.wait(Duration::from_secs(5))?.success(), "{}", agent.log());
    // Nobody steers now: pods reach each other by themselves, and service addresses are gone.
    assert_eq!(get(client, world.pod("server").at(8080)[0], "/")?.0.status, 200);
    assert!(client.enter(|| Wire::connect(vips(80)[0])).is_err());
    Ok(())
}

#[test]
fn an_agent_that_is_uninstalled_leaves_nothing() -> anyhow::Result<()> {
    for killed in [false, true] {
        let world = world_or_skip!("client", "server");
        let mount = cgroup_mount()?;
        // Among others in its cgroup, it makes one for itself.
        let (_server, mut agent) = one_service_under(&options(), &world, &["client", "server"])?;
        assert_eq!(get(world.pod("client"), vips(80)[0], "/")?.0.status, 200);
        let held = Footprint::of(agent.pid())?;
        assert!(!held.programs.is_empty() && !held.links.is_empty(), "{held:?}");
        let cgroup = own_cgroup(&agent, &mount)?;
        // While it runs, nobody takes the ground from under it.
        let refused = uninstall(&world.pin_path())?;
        assert!(!refused.status.success() && refused.text().contains(&agent.pid().to_string()), "{}", refused.text());
        if killed {
            agent.kill();
            agent.wait(Duration::from_secs(5))?;
        } else {
            agent.stop()?;
        }
        assert!(world.pin_path().exists(), "the programs stay");
        let done = uninstall(&world.pin_path())?;
        assert!(done.status.success(), "{}", done.text());
        assert!(!world.pin_path().exists(), "pins");
        if let Some(cgroup) = cgroup {
            assert!(!cgroup.exists(), "{} is left", cgroup.display());
        }
        unloaded(&held)?;
    }
    Ok(())
}

#[test]
fn without_persistence_the_programs_go_with_the_agent() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let server = world.pod("server");
    let _server = server.enter(|| HttpServer::start(server.at(8080)[0], "server"))?;
    let listeners = [service(vips(80)[0], http(all_to("server")))];
    let mut config = world.mesh(&["client"], bootstrap(&listeners, &[cluster("server", &server.at(8080)[..1])]));
    config["mesh"]["kernel"]["persist"] = false.into();
    let options = options().inside(&world.agent_cgroup())?;
    let mut agent = options.start(&config)?;
    let held = Footprint::of(agent.pid())?;
    agent.kill();
    agent.wait(Duration::from_secs(5))?;
    unloaded(&Footprint { maps: BTreeSet::new(), ..held })?;
    assert_eq!(get(world.pod("client"), server.at(8080)[0], "/")?.0.status, 200);
    // The next one starts where it fell, and cleans up at its end.
    let mut next = options.start(&config)?;
    let held = Footprint::of(next.pid())?;
    assert_eq!(get(world.pod("client"), vips(80)[0], "/")?.0.status, 200);
    next.stop()?;
    assert!(!world.pin_path().exists(), "pins");
    unloaded(&held)
}

#[test]
fn connections_leave_no_entries() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (_server, agent) = one_service(&world, &["client", "server"])?;
    let maps = Footprint::of(agent.pid())?.maps;
    let before = map_entries(&maps)?;
    for n in 0..100 {
        get(world.pod("client"), vips(80)[n % 2], "/")?;
        // Given up before the agent has taken it.
        drop(world.pod("client").enter(|| Wire::connect(vips(80)[n % 2])));
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let now = map_entries(&maps)?;
        if now == before {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "entries before {before:?}, now {now:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn without_privilege_the_agent_says_what_is_missing() -> anyhow::Result<()> {
    let world = world_or_skip!("client");
    let powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
    let output = options().under(&powerless).refuse(world.mesh(&["client"], bootstrap(&[], &[])))?;
    let text = output.text();
    assert!(!output.status.success());
    assert!(text.contains("--no-kernel"), "{text}");
    assert!(text.contains("CAP_") || text.contains("root"), "{text}");
    Ok(())
}

#[test]
fn a_workload_that_is_not_there_is_told() -> anyhow::Result<()> {
    let world = world_or_skip!("client");
    let mut config = world.mesh(&["client"], bootstrap(&[], &[]));
    config["mesh"]["workloads"][0]["netns"] = "/run/netns/no-such-namespace".into();
    config["mesh"]["workloads"][0]["cgroup"] = "no-such-cgroup".into();
    let output = options().refuse(config)?;
    let text = output.text();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("no-such-namespace") && text.contains("no-such-cgroup"), "both at once: {text}");
    Ok(())
}

#[test]
fn nothing_is_steered_while_names_are_looked_up() -> anyhow::Result<()> {
    let world = world_or_skip!("client");
    // A name server that never answers, in a file of the agent's own.
    let silent = own_address(53);
    let _silent = UdpSocket::bind(silent).with_context(|| silent.to_string())?;
    let scratch = Scratch::new()?;
    let names = scratch.write("resolv.conf", &format!("nameserver {}\n", silent.ip()))?;
    let mount = format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", names.display());
    let options = options().inside(&world.agent_cgroup())?.under(&["unshare", "--mount", "sh", "-c", &mount]);
    let named = with(cluster("named", &[]), json!({ "type": "STRICT_DNS" }));
    let named = with(
        named,
        json!({ "load_assignment": { "cluster_name": "named", "endpoints": [{ "lb_endpoints": [
        { "endpoint": { "address": { "socket_address": { "address": "name.invalid.example", "port_value": 1 } } } }
    ] }] } }),
    );
    let agent = options.start(world.mesh(&["client"], bootstrap(&[service(vips(80)[0], tcp("named"))], &[named])))?;
    let log = agent.log();
    let at = |words: &str| log.find(words).with_context(|| format!("no {words:?} in:\n{log}"));
    // What is steered before the data threads accept would wait as long as the names are waited for.
    assert!(at("still being looked up")? < at("programs are attached")?, "{log}");
    Ok(())
}

/// The cgroup the agent has made for itself, if it has.
fn own_cgroup(agent: &Agent, mount: &Path) -> anyhow::Result<Option<std::path::PathBuf>> {
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", agent.pid()))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let ours = std::fs::read_to_string("/proc/self/cgroup")?;
    Ok((!path.is_empty() && !ours.contains(&format!("0::/{path}\n"))).then(|| mount.join(path)))
}

/// Waits for the kernel to free what was held.
fn unloaded(held: &Footprint) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = held.still_loaded()?;
        if left.is_empty() {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "{left:?} are left");
        std::thread::sleep(Duration::from_millis(20));
    }
}
