//! What an agent finds of the one before, and what it makes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use harness::agent::uninstall;
use harness::footprint::Footprint;
use harness::world::World;
use mesh_common::{ABI_VERSION, names};
use serde_json::Value;

use crate::restart::load::{End, attempt};
use crate::restart::{Scene, count, kill};
use crate::world_or_skip;

/// Id of each pinned link, and of the program it holds.
type Links = BTreeMap<String, (u64, u64)>;

#[test]
fn links_stay_and_programs_are_replaced() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let scene = Scene::set(&world, "permissive")?;
    let mut agent = scene.start()?;
    assert!(check(&world)?.contains(&format!("of process {}", agent.pid())), "{}", check(&world)?);
    let (before, maps) = (links(&world)?, maps(&world)?);
    assert_eq!(before.len(), names::CGROUP_PROGRAMS.len() + 2, "{before:?}");
    for killed in [true, false] {
        if killed {
            kill(&mut agent)?
        } else {
            agent.stop()?
        }
        let old = links(&world)?;
        agent = scene.start()?;
        let new = links(&world)?;
        assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
        for (name, (link, program)) in &new {
            assert_eq!(*link, before[name].0, "{name} is the same link");
            assert_ne!(*program, old[name].1, "{name} has a new program");
        }
        assert_eq!(self::maps(&world)?, maps, "the maps are the same");
        assert_eq!(world.pod("client").enter(|| attempt(scene.address)).end, End::Answered);
    }
    // One after the other counted in the same maps.
    assert!(count(&agent, "steered")? >= 2.0);
    Ok(())
}

#[test]
fn an_unknown_interface_is_refused_and_left_alone() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let scene = Scene::set(&world, "enforce")?;
    let mut agent = scene.start()?;
    kill(&mut agent)?;
    say_interface(&world, ABI_VERSION + 1000)?;
    assert!(check(&world)?.contains("degraded"), "{}", check(&world)?);
    let before = links(&world)?;
    let refused = scene.options.refuse(&scene.config)?;
    let text = refused.text();
    assert!(!refused.status.success(), "{text}");
    for part in [
        format!("interface {}", ABI_VERSION + 1000),
        format!("interface {ABI_VERSION};"),
        format!("mesh-agent uninstall --pin-path {}", world.pin_path().display()),
    ] {
        assert!(text.contains(&part), "{part} is not in: {text}");
    }
    assert_eq!(links(&world)?, before);
    assert_eq!(world.pod("client").enter(|| attempt(scene.address)).end, End::Denied);
    // The command it names does what it says.
    ensure!(uninstall(&world.pin_path())?.status.success(), "uninstall");
    assert_eq!(world.pod("client").enter(|| attempt(scene.address)).end, End::Answered);
    scene.start().map(drop)
}

#[test]
fn an_older_interface_is_migrated() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let scene = Scene::set(&world, "enforce")?;
    let mut agent = scene.start()?;
    kill(&mut agent)?;
    let (older, kept) = names::KEPT_OF[0];
    say_interface(&world, older)?;
    // A map of another layout, as that version had it.
    let counters = world.pin_path().join(names::MAPS_FOLDER).join(names::COUNTERS);
    std::fs::remove_file(&counters)?;
    bpftool(&format!("map create {} type percpu_array key 4 value 8 entries 3 name old", counters.display()))?;
    let (old_maps, old_links) = (maps(&world)?, links(&world)?);
    assert_eq!(world.pod("client").enter(|| attempt(scene.address)).end, End::Denied);
    let agent = scene.start()?;
    assert_eq!(world.pod("client").enter(|| attempt(scene.address)).end, End::Answered);
    assert_eq!(count(&agent, "steered")?, 1.0, "counted in a map of this version");
    for (name, id) in maps(&world)? {
        assert_eq!(kept.contains(&name.as_str()), old_maps.get(&name) == Some(&id), "{name}");
    }
    let ids = |links: &Links| links.iter().map(|(name, (link, _))| (name.clone(), *link)).collect::<Vec<_>>();
    assert_eq!(ids(&links(&world)?), ids(&old_links));
    Ok(())
}

#[test]
fn a_pod_that_went_while_no_agent_ran_is_forgotten() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server", "doomed");
    let mut scene = Scene::set(&world, "permissive")?;
    let two = scene.config["mesh"]["workloads"].clone();
    let all = world.mesh(&["client", "server", "doomed"], Value::Object(serde_json::Map::default()));
    scene.config["mesh"]["workloads"] = all["mesh"]["workloads"].clone();
    let mut agent = scene.start()?;
    let entries = || -> anyhow::Result<usize> {
        let pin = world.pin_path().join(names::MAPS_FOLDER).join(names::NETNS);
        let dump = bpftool(&format!("map dump pinned {}", pin.display()))?;
        Ok(dump.as_array().context("entries")?.len())
    };
    assert_eq!((links(&world)?.len(), entries()?), (names::CGROUP_PROGRAMS.len() + 3, 3));
    kill(&mut agent)?;
    world.pod("doomed").die()?;
    scene.config["mesh"]["workloads"] = two;
    let agent = scene.start()?;
    assert_eq!((links(&world)?.len(), entries()?), (names::CGROUP_PROGRAMS.len() + 2, 2));
    assert_eq!(world.pod("client").enter(|| attempt(scene.address)).end, End::Answered);
    drop(agent);
    Ok(())
}

#[test]
fn an_agent_that_cannot_start_leaves_what_it_found() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let scene = Scene::set(&world, "enforce")?;
    // Where nothing was, nothing is left.
    let mut broken = scene.config.clone();
    broken["mesh"]["workloads"][1]["netns"] = format!("/proc/{}/ns/net", std::process::id()).into();
    broken["mesh"]["workloads"][1]["cgroup"] = Value::Null;
    let refused = scene.options.refuse(&broken)?;
    assert!(!refused.status.success() && refused.text().contains("give it a cgroup"), "{}", refused.text());
    assert!(!world.pin_path().exists());
    let mut agent = scene.start()?;
    let held = Footprint::of(agent.pid())?;
    kill(&mut agent)?;
    let before = links(&world)?;
    assert!(!scene.options.refuse(&broken)?.status.success());
    assert_eq!(links(&world)?, before);
    assert!(!held.still_loaded()?.is_empty());
    assert_eq!(world.pod("client").enter(|| attempt(scene.address)).end, End::Denied);
    Ok(())
}

#[test]
fn an_agent_that_fails_half_way_leaves_no_link_that_was_not_there() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server", "new", "broken");
    let mut scene = Scene::set(&world, "permissive")?;
    let two = scene.config["mesh"]["workloads"].clone();
    let all = world.mesh(&["client", "server", "new", "broken"], Value::Object(serde_json::Map::default()));
    // Nobody can listen there.
    let taken = world.pod("broken").run("ip", &["address", "del", "127.0.0.1/8", "dev", "lo"])?;
    ensure!(taken.status.success(), "{}", taken.text());
    for persist in [true, false] {
        scene.config["mesh"]["workloads"] = two.clone();
        scene.config["mesh"]["kernel"]["persist"] = true.into();
        let mut agent = scene.start()?;
        kill(&mut agent)?;
        let before = links(&world)?;
        scene.config["mesh"]["workloads"] = all["mesh"]["workloads"].clone();
        scene.config["mesh"]["kernel"]["persist"] = persist.into();
        let refused = scene.options.refuse(&scene.config)?;
        assert!(!refused.status.success() && refused.text().contains("broken"), "{}", refused.text());
        let ids = |links: Links| links.into_iter().map(|(name, (link, _))| (name, link)).collect::<Vec<_>>();
        assert_eq!(ids(links(&world)?), ids(before), "persist {persist}");
    }
    Ok(())
}

/// The line of `mesh-agent check` about the pins of this world.
fn check(world: &World) -> anyhow::Result<String> {
    let output = Command::new(harness::binaries::agent()?).arg("check").output()?;
    let name = format!("pins at {} ", world.pin_path().display());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find(|line| line.starts_with(&name)).map(str::to_owned).with_context(|| format!("no pins: {text}"))
}

/// Makes the pins those of an agent of another version.
fn say_interface(world: &World, abi: u32) -> anyhow::Result<()> {
    let pin = world.pin_path().join(names::MAPS_FOLDER).join(names::KNOBS);
    let bytes = [&[0; 8], &abi.to_ne_bytes()[..], &[0; 4]].concat();
    let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
    bpftool(&format!("map update pinned {} key hex 00 00 00 00 value hex{hex}", pin.display())).map(drop)
}

fn links(world: &World) -> anyhow::Result<Links> {
    let link = |pin: &Path| {
        let shown = bpftool(&format!("link show pinned {}", pin.display()))?;
        let number = |field: &str| shown[field].as_u64().with_context(|| format!("{field} of {shown}"));
        Ok((number("id")?, number("prog_id")?))
    };
    pinned(world, names::LINKS_FOLDER, link)
}

fn maps(world: &World) -> anyhow::Result<BTreeMap<String, u64>> {
    let map = |pin: &Path| bpftool(&format!("map show pinned {}", pin.display()))?["id"].as_u64().context("an id");
    pinned(world, names::MAPS_FOLDER, map)
}

fn pinned<T>(
    world: &World,
    folder: &str,
    of: impl Fn(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<BTreeMap<String, T>> {
    let folder = std::fs::read_dir(world.pin_path().join(folder))?;
    folder.flatten().map(|entry| Ok((entry.file_name().to_string_lossy().into_owned(), of(&entry.path())?))).collect()
}

fn bpftool(line: &str) -> anyhow::Result<Value> {
    let output = Command::new("bpftool").arg("-j").args(line.split(' ')).output().context("bpftool")?;
    ensure!(output.status.success(), "bpftool {line}: {}", String::from_utf8_lossy(&output.stdout));
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}
