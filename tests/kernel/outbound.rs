//! What a workload connects to, the agent accepts and knows; the app notices nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use mesh_agent::model::flow::Direction;

use crate::rig::{address, connect, listen};
use crate::rig_or_skip;

#[test]
fn connections_are_steered_and_their_destination_is_known() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app");
    let app = rig.pod("app");
    for (n, (asked, known)) in [
        ("10.96.0.1:80", "10.96.0.1:80"),
        ("[fd00:96::1]:443", "[fd00:96::1]:443"),
        ("[::ffff:10.96.0.2]:81", "10.96.0.2:81"),
    ]
    .into_iter()
    .enumerate()
    {
        let told = connect(app, &[asked])?;
        let accepted = rig.wait_accepted(n)?;
        assert_eq!(accepted.direction, Direction::Outbound);
        assert_eq!(accepted.workload, "app");
        assert_eq!(accepted.destination, Some(known.parse()?));
        // The app sees whom it asked for, in the spelling it asked in; the agent sees the app's own end.
        assert_eq!(address(&told["peer"])?, asked.parse::<SocketAddr>()?);
        assert_eq!(accepted.peer.port(), address(&told["local"])?.port());
    }
    assert_eq!(rig.count("steered"), 3);
    Ok(())
}

#[test]
fn a_bound_source_stays() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app");
    let app = rig.pod("app");
    for (n, (from, to)) in
        [(app.at(4001)[0], "10.96.0.1:80"), (app.at(4001)[1], "[fd00:96::1]:80")].into_iter().enumerate()
    {
        let told = connect(app, &["--from", &from.to_string(), to])?;
        assert_eq!(address(&told["local"])?, from);
        let accepted = rig.wait_accepted(n)?;
        assert_eq!(accepted.peer, from);
        assert_eq!(accepted.destination, Some(to.parse()?));
    }
    Ok(())
}

#[test]
fn equal_tuples_of_two_pods_do_not_meet() -> anyhow::Result<()> {
    let rig = rig_or_skip!("a", "b");
    // One source port, one listener's port: the tuples on loopback are the same to the byte.
    let (to_a, to_b) = ("10.96.0.1:80", "10.96.0.2:81");
    for round in 0..20 {
        let port = 20000 + round;
        let from = format!("127.0.0.1:{port}");
        let (a, b) = (rig.pod("a"), rig.pod("b"));
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| connect(a, &["--from", &from, "--read", to_a]));
            let b = scope.spawn(|| connect(b, &["--from", &from, "--read", to_b]));
            (a.join().expect("no panic"), b.join().expect("no panic"))
        });
        let (a, b) = (a?, b?);
        assert_eq!((a["said"].as_str(), a["peer"].as_str()), (Some("Some(10.96.0.1:80)"), Some(to_a)));
        assert_eq!((b["said"].as_str(), b["peer"].as_str()), (Some("Some(10.96.0.2:81)"), Some(to_b)));
    }
    for accepted in rig.accepted() {
        let expected = if accepted.workload == "a" { to_a } else { to_b };
        assert_eq!(accepted.destination, Some(expected.parse()?), "{accepted:?}");
    }
    Ok(())
}

#[test]
fn what_is_excluded_or_local_goes_its_own_way() -> anyhow::Result<()> {
    let rig = rig_or_skip!(with |config: &mut mesh_agent::model::config::Mesh| {
        config.kernel.exclude_ports = vec![22];
        config.kernel.exclude_cidrs = ["10.97.0.0/16", "fd00:97::/32"].map(|net| net.parse().expect("a network")).into();
    }; "app");
    let app = rig.pod("app");
    let [v4, v6] = app.at(22);
    let _listeners = [listen(app, v4)?, listen(app, v6)?, listen(app, "127.0.0.1:80".parse()?)?];
    for to in [v4, v6, "127.0.0.1:80".parse()?] {
        assert_eq!(address(&connect(app, &[&to.to_string()])?["peer"])?, to);
    }
    // Nobody is there; what matters is that nobody answers in their place.
    for to in ["10.97.1.1:80", "[fd00:97::1]:80", "[::ffff:10.97.1.1]:80"] {
        assert!(connect(app, &[to]).is_err(), "{to}");
    }
    assert_eq!((rig.count("passed_excluded"), rig.count("passed_local")), (5, 1));
    assert_eq!((rig.accepted(), rig.count("steered")), (vec![], 0));
    Ok(())
}

#[test]
fn excluding_all_of_one_family_leaves_the_other() -> anyhow::Result<()> {
    let rig = rig_or_skip!(with |config: &mut mesh_agent::model::config::Mesh| {
        config.kernel.exclude_cidrs = vec!["::/0".parse().expect("a network")];
    }; "app");
    connect(rig.pod("app"), &["10.96.0.1:80"])?;
    connect(rig.pod("app"), &["[::ffff:10.96.0.1]:80"])?;
    assert!(connect(rig.pod("app"), &["[fd00:96::1]:80"]).is_err());
    assert_eq!((rig.count("steered"), rig.count("passed_excluded")), (2, 1));
    Ok(())
}

#[test]
fn workloads_that_share_a_namespace_are_told_apart_by_cgroup() -> anyhow::Result<()> {
    let rig = rig_or_skip!(with |config: &mut mesh_agent::model::config::Mesh| {
        config.workloads[1].netns = config.workloads[0].netns.clone();
        config.workloads.truncate(2);
    }; "a", "b", "other");
    // A container inside b's cgroup, at home in a's namespace.
    let inner = rig.pod("b").cgroup().join("x");
    std::fs::create_dir(&inner)?;
    let connect = |cgroup: &Path, to: &str| -> anyhow::Result<bool> {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo 0 >"$0/cgroup.procs" && exec ip netns exec "$@""#]).arg(cgroup);
        command.arg(rig.pod("a").netns()).arg(harness::binaries::peer()?).args(["connect", to]);
        Ok(command.output()?.status.success())
    };
    for (n, (cgroup, to)) in [(rig.pod("a").cgroup(), "10.96.0.1:80"), (&inner, "10.96.0.2:80")].into_iter().enumerate()
    {
        assert!(connect(cgroup, to)?);
        let accepted = rig.wait_accepted(n)?;
        assert_eq!(accepted.workload, ["a", "b"][n]);
        assert_eq!(accepted.destination, Some(to.parse()?));
    }
    // Somebody else's cgroup in that namespace is not meshed.
    assert!(!connect(rig.pod("other").cgroup(), "10.96.0.3:80")?);
    assert_eq!(rig.count("steered"), 2);
    Ok(())
}

#[test]
fn udp_is_left_alone() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app", "other");
    for to in rig.pod("other").at(53) {
        let told = connect(rig.pod("app"), &["--udp", &to.to_string()])?;
        assert_eq!(address(&told["peer"])?, to);
    }
    assert_eq!(rig.count("steered"), 0);
    Ok(())
}

#[test]
fn neither_the_agent_nor_the_rest_of_the_host_is_steered() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app", "other");
    let to = rig.pod("other").at(80)[0];
    let listener = listen(rig.pod("other"), to)?;
    // This process, in the pod's namespace: what the agent does for it. Inbound takes it at the other end.
    let stream = rig.pod("app").enter(|| std::net::TcpStream::connect(to))?;
    assert_eq!(stream.peer_addr()?, to);
    assert_eq!(rig.wait_accepted(0)?.direction, Direction::Inbound);
    assert_eq!(rig.count("steered"), 0);
    drop(listener);
    Ok(())
}
