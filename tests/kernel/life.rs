//! What stays, and what must not.

use std::time::Duration;

use mesh_agent::model::service::Protocol;
use mesh_agent::model::workload::Mode;

use crate::rig::{connect, listen};
use crate::rig_or_skip;
use crate::service::{first_only, learn, services};

#[test]
fn a_thousand_connections_leave_nothing_behind() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app");
    let maps = harness::footprint::Footprint::of(std::process::id())?.maps;
    let before = harness::footprint::map_entries(&maps)?;
    let told = connect(rig.pod("app"), &["--times", "1000", "10.96.0.1:80"])?;
    println!("connect, steered: {} us (median of 1000)", told["micros"]);
    rig.wait_accepted(999)?;
    assert!(rig.accepted().iter().all(|accepted| accepted.destination.is_some()));
    // Connections that nobody accepts, and that the client gives up.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(harness::footprint::map_entries(&maps)?, before);
    assert_eq!((rig.count("steered"), rig.count("handshake_map_full"), rig.count("accept_no_memory")), (1000, 0, 0));
    Ok(())
}

#[test]
fn a_pod_that_dies_goes_alone() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!("a", "b");
    assert!(rig.mesh.tick().is_empty());
    rig.pod("a").die()?;
    let gone = rig.mesh.tick();
    assert_eq!(gone.iter().map(|pod| pod.workload.name.to_string()).collect::<Vec<_>>(), ["a"]);
    assert!(rig.mesh.tick().is_empty());
    assert_eq!(rig.mesh.pods().len(), 1);
    connect(rig.pod("b"), &["10.96.0.1:80"])?;
    assert_eq!(rig.wait_accepted(0)?.workload, "b");
    Ok(())
}

#[test]
fn after_the_mesh_nothing_is_steered() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!("app");
    rig.mesh.stop_steering();
    assert!(connect(rig.pod("app"), &["10.96.0.1:80"]).is_err());
    // A tick must not bring it back.
    rig.mesh.tick();
    assert!(connect(rig.pod("app"), &["10.96.0.1:80"]).is_err());
    assert_eq!(rig.count("steered"), 0);
    Ok(())
}

#[test]
fn who_drains_without_persistence_lets_go_and_goes_on_serving() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with |config: &mut mesh_agent::model::config::Mesh| {
        first_only(config);
        config.workloads[0].mode = Mode::Enforce;
        config.kernel.persist = false;
    }; "app", "server");
    let to = rig.pod("server").at(81)[0];
    let _server = listen(rig.pod("server"), to)?;
    learn(&mut rig, &services(Protocol::Tcp, &[("10.96.0.1:80", &[(to, 1.0)])]));
    rig.mesh.stop_steering();
    // What it would steer passes, as it will without programs; what the kernel does by itself it does. A tick changes nothing.
    for n in 1..=2 {
        connect(rig.pod("app"), &[&to.to_string()])?;
        connect(rig.pod("app"), &["10.96.0.1:80"])?;
        assert_eq!((rig.count("passed_no_agent"), rig.count("direct"), rig.count("steered")), (n, n, 0));
        rig.mesh.tick();
    }
    Ok(())
}

#[test]
fn who_shared_a_namespace_comes_back_to_a_shared_one() -> anyhow::Result<()> {
    // Two in one namespace, each in a cgroup of its own.
    let mut rig = rig_or_skip!(with |config: &mut mesh_agent::model::config::Mesh| {
        config.workloads[1].netns = config.workloads[0].netns.clone();
        config.workloads[1].addresses.clear();
    }; "a", "b");
    assert_eq!(rig.mesh.pods().len(), 2);
    rig.pod("a").die()?;
    std::fs::remove_dir(rig.pod("b").cgroup())?;
    assert_eq!(rig.mesh.tick().len(), 2);
    // One comes first. What is in the namespace and not in its cgroup is not its own.
    rig.world.revive("a")?;
    let names = |pods: Vec<std::sync::Arc<mesh_agent::model::flow::Pod>>| {
        pods.iter().map(|pod| pod.workload.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(rig.mesh.welcome()), ["a"]);
    std::fs::create_dir(rig.pod("b").cgroup())?;
    assert_eq!(names(rig.mesh.welcome()), ["b"]);
    Ok(())
}
