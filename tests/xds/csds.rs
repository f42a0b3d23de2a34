//! What the agent says of its resources by gRPC (CSDS), to a client that shares no line with it.

use std::process::Command;

use anyhow::{Context, ensure};
use harness::ads::message::{CDS, EDS, LDS, RDS};
use serde_json::{Value, json};

use crate::agent::{Mesh, set};
use crate::beside::python;
use crate::setup::eds_cluster;

#[test]
fn tools_that_speak_grpc_see_what_is_live_refused_and_awaited() -> anyhow::Result<()> {
    let Some((python, messages)) = python::places() else {
        println!("skipped: `cargo xtask setup --peers` brings the client");
        return Ok(());
    };
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        // It waits for endpoints that do not come.
        mesh.plane.hold(EDS, true);
        let mut bad = eds_cluster("a");
        bad["circuit_breakers"] = json!({ "per_host_thresholds": [{}] });
        let version = set(&mesh.plane, CDS, &[bad, eds_cluster("new")])?;
        mesh.plane.answer(CDS, version)?.context("one is refused")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/xds/csds.py");
        let mut command = Command::new(&python);
        command.arg("-B").arg(script).arg(mesh.agent.admin().socket()).env("PYTHONPATH", &messages);
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout)?;
        let client = &said["fetched"]["config"][0];
        assert_eq!((&client["node"]["id"], &client["node"]["user_agent_name"]), (&json!("test"), &json!("bowline")));
        let all = client["generic_xds_configs"].as_array().context("a list")?;
        let one = |kind: &str, name: &str| -> anyhow::Result<&Value> {
            let found = all.iter().find(|it| it["type_url"] == kind && it["name"] == name);
            found.with_context(|| format!("no {name} in {said:#}"))
        };
        let a = one(CDS, "a")?;
        assert_eq!((&a["client_status"], &a["xds_config"]["name"]), (&json!("NACKED"), &json!("a")), "{a:#}");
        assert!(a["error_state"]["details"].as_str().is_some_and(|why| why.contains("circuit_breakers")), "{a:#}");
        assert_eq!((&a["xds_config"]["connect_timeout"], &a["xds_config"]["type"]), (&json!("1s"), &json!("EDS")));
        // Accepted, but not live: there is no message of it.
        let new = one(CDS, "new")?;
        assert_eq!((&new["client_status"], new.get("xds_config")), (&json!("ACKED"), None), "{new:#}");
        assert_eq!(one(EDS, "new")?["client_status"], "REQUESTED");
        let endpoints = one(EDS, "a")?;
        assert_eq!(endpoints["client_status"], "ACKED");
        let address = &endpoints["xds_config"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
        assert_eq!(address["socket_address"]["port_value"], mesh.one.address().port(), "{endpoints:#}");
        let chain = &one(LDS, "l")?["xds_config"]["filter_chains"][0];
        assert_eq!(chain["filters"][0]["typed_config"]["rds"]["route_config_name"], "r", "{chain:#}");
        let routes = one(RDS, "r")?;
        assert_eq!(routes["xds_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"], "a", "{routes:#}");
        assert!(routes["last_updated"].as_str().is_some_and(|at| at.starts_with("20")), "{routes:#}");
        let sizes = said["sizes"].as_array().context("sizes")?;
        assert!(sizes.len() == 2 && sizes[0].as_u64() > sizes[1].as_u64(), "{sizes:?}");
        assert_eq!(said["code"], "UNIMPLEMENTED");
    }
    Ok(())
}
