//! What deploy/ promises: systemd takes the unit, the agent the configuration, and needs no more than it is given.
//!
//! Only the last needs root, and says so without it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::agent::Options;
use harness::binaries;
use harness::config::{bootstrap, cluster, service, tcp};
use harness::echo::HttpServer;
use harness::scratch::Scratch;
use harness::wire::Wire;
use harness::world::{self, World};

const UNIT: &str = "bowline-agent.service";

/// What `systemd-analyze security` rates the unit at, in tenths: 0 is a service that may do nothing, 100 one that may do all. Two of
/// them are for borrowing sockets (`CAP_SYS_PTRACE`, `pidfd_getfd`).
const EXPOSURE: u32 = 34;

#[test]
fn the_unit_is_one_that_systemd_takes() -> Result<()> {
    let scratch = Scratch::new()?;
    // The program is not installed where the unit names it; everything else is checked as it is.
    let agent = binaries::agent()?.display().to_string();
    let unit = scratch.write(UNIT, &deployed(UNIT)?.replace("/usr/local/bin/mesh-agent", &agent))?;
    let Some(text) = analyze(&["verify", "--man=no"], &unit)? else { return Ok(()) };
    ensure!(text.trim().is_empty(), "systemd-analyze verify:\n{text}");
    Ok(())
}

#[test]
fn the_unit_is_as_closed_as_it_was() -> Result<()> {
    let scratch = Scratch::new()?;
    let unit = scratch.write(UNIT, &deployed(UNIT)?)?;
    let limit = format!("--threshold={EXPOSURE}");
    analyze(&["security", "--no-pager", "--offline=true", &limit], &unit)?;
    Ok(())
}

#[test]
fn every_line_of_the_unit_has_its_reason() -> Result<()> {
    let (unit, reasons) = (deployed(UNIT)?, deployed("README.md")?);
    let (_, service) = unit.split_once("[Service]").context("the unit has a [Service]")?;
    let settings = service.lines().take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    let unexplained: Vec<_> = settings
        .flat_map(|(name, value)| if name == CAPABILITIES { value.split(' ').collect() } else { vec![name] })
        .filter(|word| !reasons.contains(word) && *word != "ExecStart")
        .collect();
    ensure!(unexplained.is_empty(), "deploy/README.md does not say why: {unexplained:?}");
    Ok(())
}

#[test]
fn the_example_configuration_is_valid() -> Result<()> {
    let scratch = Scratch::new()?;
    // What it names of its host is not here; a namespace and a cgroup that every host has stand in.
    let text = deployed("bowline.yaml")?;
    let here = text.replace("/run/netns/billing", "/proc/self/ns/net").replace("system.slice/shop.service", ".");
    ensure!(here != text, "the example names a namespace and a cgroup");
    let file = scratch.write("bowline.yaml", &here)?;
    let output = Command::new(binaries::agent()?).args(["validate", "--config"]).arg(file).output()?;
    ensure!(output.status.success(), "mesh-agent validate:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn the_agent_needs_no_more_than_the_unit_gives() -> Result<()> {
    if !world::is_root() {
        eprintln!("skipped: needs root");
        return Ok(());
    }
    let capabilities = deployed(UNIT)?;
    let capabilities = capabilities.lines().find_map(|line| line.strip_prefix(CAPABILITIES)?.strip_prefix('='));
    let bounds =
        capabilities.context("the unit bounds capabilities")?.to_lowercase().replace("cap_", "+").replace(' ', ",");
    let bounds = format!("--bounding-set=-all,{bounds}");

    let world = World::build(&["client", "server"])?;
    let (client, server) = (world.pod("client"), world.pod("server"));
    let _server = server.enter(|| HttpServer::start(server.at(8080)[0], "server"))?;
    let address: SocketAddr = "10.96.0.1:80".parse()?;
    let config = bootstrap(&[service(address, tcp("server"))], &[cluster("server", &server.at(8080)[..1])]);
    let bounded = Options::new().under(&["setpriv", "--no-new-privs", "--inh-caps=-all", &bounds]);
    // As under systemd, it has a cgroup to itself.
    let _agent = bounded.inside(&world.agent_cgroup())?.start(world.mesh(&["client", "server"], config))?;
    let status = client.enter(|| -> Result<u16> {
        let mut wire = Wire::connect(address)?;
        wire.send("GET / HTTP/1.1\r\nhost: service\r\n\r\n")?;
        Ok(wire.response()?.status)
    })?;
    ensure!(status == 200, "through the mesh: {status}");
    Ok(())
}

/// What systemd says about `unit`, an error if it is no good; `None`, with a line that says so, where there is no systemd.
fn analyze(arguments: &[&str], unit: &Path) -> Result<Option<String>> {
    let output = match Command::new("systemd-analyze").args(arguments).arg(unit).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: needs systemd-analyze");
            return Ok(None);
        }
        output => output?,
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "systemd-analyze {}:\n{out}{err}", arguments.join(" "));
    Ok(Some(err.into_owned()))
}

fn deployed(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

const CAPABILITIES: &str = "CapabilityBoundingSet";
