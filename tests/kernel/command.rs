//! `mesh-agent check`, `load` and `unload`.

use std::path::Path;
use std::process::{Command, Output};

use harness::world::is_root;

fn agent(arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(Command::new(harness::binaries::agent()?).args(arguments).output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn check_says_in_its_status_what_it_says_in_words() -> anyhow::Result<()> {
    let output = agent(&["check", "--json"])?;
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let has = |status: &str| findings.iter().any(|finding| finding["status"] == status);
    let expected = if has("missing") { 2 } else { i32::from(has("degraded")) };
    assert_eq!(output.status.code(), Some(expected));
    assert!(findings.iter().any(|finding| finding["name"] == "cgroup v2"));
    Ok(())
}

#[test]
fn load_shows_what_was_verified_and_unload_leaves_nothing() -> anyhow::Result<()> {
    if !is_root() {
        eprintln!("skipped: needs root");
        return Ok(());
    }
    let path = format!("/sys/fs/bpf/bowline_test_{}", std::process::id());
    let loaded = agent(&["load", "--pin-path", &path])?;
    let again = agent(&["load", "--pin-path", &path])?;
    let unloaded = agent(&["uninstall", "--pin-path", &path])?;
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    assert_eq!(text(&loaded.stdout).matches("instructions verified").count(), 13);
    assert!(text(&again.stderr).contains("mesh-agent uninstall --pin-path"), "{}", text(&again.stderr));
    assert!(unloaded.status.success(), "{}", text(&unloaded.stderr));
    assert!(!Path::new(&path).exists());
    // Unloading what is not there is no error: it is what the caller wants.
    assert!(agent(&["unload", "--pin-path", &path])?.status.success());
    Ok(())
}
