//! `bench xds`: the agent and Envoy with the clusters of one management server, by their number.

use anyhow::{Result, ensure};

use crate::{
    bench::{Effort, cpus::Placement, pods, report::Report},
    build, process,
    setup::{self, Need, peers},
};

/// Runs the helper, with as many clusters as asked for.
pub(crate) fn run(clusters: &[u32], effort: Effort, report: &mut Report) -> Result<()> {
    ensure!(process::is_root(), "pods and kernel programs take root");
    setup::ensure(&[Need::World])?;
    if let Err(error) = setup::ensure(&[Need::Envoy]) {
        eprintln!("{error:#}");
    }
    build::agent(true)?;
    build::agent_and_world()?;
    let mut helper = pods::helper("xds");
    helper.args(pods::common(effort, Placement::of_this_machine()?));
    helper.args(["--seconds", &effort.load.as_secs().to_string()]);
    if peers::envoy().is_file() {
        helper.arg("--envoy").arg(peers::envoy());
    } else {
        println!("skipped: envoy: not on this machine");
    }
    for clusters in clusters {
        helper.args(["--clusters", &clusters.to_string()]);
    }
    pods::add(&pods::printed(&mut helper)?, "xds", report)
}
