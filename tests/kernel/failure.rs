//! What can't be steered ends by the workload's mode, and is counted.

use mesh_agent::model::config;
use mesh_agent::model::workload::Mode;

use crate::rig::{Rig, connect, listen};
use crate::rig_or_skip;

/// With no memory for what a socket has to remember, nothing can be steered.
fn starve(rig: &Rig, pod: &str) -> anyhow::Result<()> {
    let output = rig.pod(pod).run("sh", &["-c", "echo 1 >/proc/sys/net/core/optmem_max"])?;
    anyhow::ensure!(output.status.success(), "{}", output.text());
    Ok(())
}

fn enforce(config: &mut config::Mesh) {
    config.workloads[0].mode = Mode::Enforce;
}

#[test]
fn without_memory_a_permissive_workload_passes() -> anyhow::Result<()> {
    let rig = rig_or_skip!(with |config: &mut config::Mesh| config.workloads.truncate(1); "app", "other");
    let to = rig.pod("other").at(80)[0];
    let _listener = listen(rig.pod("other"), to)?;
    starve(&rig, "app")?;
    assert_eq!(connect(rig.pod("app"), &[&to.to_string()])?["peer"], to.to_string());
    assert_eq!((rig.count("failed_no_memory"), rig.count("passed_failed"), rig.count("steered")), (1, 1, 0));
    Ok(())
}

#[test]
fn without_memory_an_enforced_workload_is_refused() -> anyhow::Result<()> {
    let rig = rig_or_skip!(with enforce; "app");
    starve(&rig, "app")?;
    let error = connect(rig.pod("app"), &["10.96.0.1:80"]).expect_err("refused").to_string();
    assert!(error.contains("Operation not permitted"), "{error}");
    assert_eq!((rig.count("failed_no_memory"), rig.count("denied_failed"), rig.count("steered")), (1, 1, 0));
    Ok(())
}
