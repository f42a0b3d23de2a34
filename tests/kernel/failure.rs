//! What can't be steered ends by the workload's mode, and is counted.

use mesh_agent::model::config;
use mesh_agent::model::workload::Mode;

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::rig::{Rig, address, connect, listen, starve};
use crate::rig_or_skip;

fn enforce(config: &mut config::Mesh) {
    config.workloads[0].mode = Mode::Enforce;
}

#[test]
fn without_memory_a_permissive_workload_passes() -> anyhow::Result<()> {
    let rig = rig_or_skip!(with |config: &mut config::Mesh| config.workloads.truncate(1); "app", "other");
    let to = rig.pod("other").at(80)[0];
    let _listener = listen(rig.pod("other"), to)?;
    if !starve(rig.pod("app"))? {
        return Ok(());
    }
    assert_eq!(connect(rig.pod("app"), &[&to.to_string()])?["peer"], to.to_string());
    assert_eq!((rig.count("failed_no_memory"), rig.count("passed_failed"), rig.count("steered")), (1, 1, 0));
    Ok(())
}

#[test]
fn without_memory_an_enforced_workload_is_refused() -> anyhow::Result<()> {
    let rig = rig_or_skip!(with enforce; "app");
    if !starve(rig.pod("app"))? {
        return Ok(());
    }
    let error = connect(rig.pod("app"), &["10.96.0.1:80"]).expect_err("refused").to_string();
    assert!(error.contains("Operation not permitted"), "{error}");
    assert_eq!((rig.count("failed_no_memory"), rig.count("denied_failed"), rig.count("steered")), (1, 1, 0));
    Ok(())
}

#[test]
fn a_full_map_is_counted_and_no_origin_is_invented() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app");
    fill_handshakes(&rig)?;
    let told = connect(rig.pod("app"), &["--read", "10.96.0.1:80"])?;
    // The app still sees whom it asked for; the agent knows that it knows nothing, and has to close.
    assert_eq!(address(&told["peer"])?, "10.96.0.1:80".parse()?);
    assert_eq!(rig.wait_accepted(0)?.destination, None);
    assert_eq!((rig.count("steered"), rig.count("handshake_map_full")), (1, 1));
    Ok(())
}

/// Puts other handshakes into the map until no more go in.
fn fill_handshakes(rig: &Rig) -> anyhow::Result<()> {
    let maps = harness::footprint::Footprint::of(std::process::id())?.maps;
    let shown = rig.pod("app").run("bpftool", &["-j", "map", "show"])?;
    let shown: serde_json::Value = serde_json::from_str(shown.lines.last().context("maps")?)?;
    let handshakes =
        shown.as_array().context("a list")?.iter().find(|map| {
            map["name"] == "HANDSHAKES" && map["id"].as_u64().is_some_and(|id| maps.contains(&(id as u32)))
        });
    let handshakes = handshakes.context("our map")?;
    let entries = handshakes["max_entries"].as_u64().context("a size")?;
    let mut batch = String::new();
    for n in 0..entries {
        let key = [n.to_le_bytes().as_slice(), &[0; 40]].concat();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!(" {byte:02x}")).collect::<String>();
        writeln!(batch, "map update id {} key hex{} value hex{}", handshakes["id"], hex(&key), hex(&[0; 24]))?;
    }
    let file = std::env::temp_dir().join(format!("{}-handshakes", rig.world.tag()));
    std::fs::write(&file, batch)?;
    let output = std::process::Command::new("bpftool").args(["batch", "file"]).arg(&file).output();
    std::fs::remove_file(&file)?;
    let output = output?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
