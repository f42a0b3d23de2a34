//! What stays, and what must not.

use std::time::Duration;

use crate::rig::connect;
use crate::rig_or_skip;

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
