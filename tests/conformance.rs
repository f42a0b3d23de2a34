//! The same configurations and requests through Envoy and through the agent: every difference is a failure, unless
//! `tests/data/differences.yaml` gives its reason.
//!
//! Envoy's answers are kept in `tests/data/NAME/envoy-1.40.json`, so the comparison also runs where no Envoy is. Where
//! there is one (`cargo xtask setup --peers`, or MESH_ENVOY), it must still answer as recorded; `BLESS=1` records anew.

#[path = "conformance/case.rs"]
mod case;
#[path = "conformance/client1.rs"]
mod client1;
#[path = "conformance/client2.rs"]
mod client2;
#[path = "conformance/compare.rs"]
mod compare;
#[path = "conformance/observe.rs"]
mod observe;
#[path = "conformance/proxy.rs"]
mod proxy;
#[path = "conformance/run.rs"]
mod run;
#[path = "conformance/upstream1.rs"]
mod upstream1;
#[path = "conformance/upstream2.rs"]
mod upstream2;
#[path = "conformance/wire.rs"]
mod wire;
#[path = "conformance/world.rs"]
mod world;
#[path = "conformance/yaml.rs"]
mod yaml;

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};

use case::{Suite, data_folder};
use compare::Difference;
use observe::Observed;
use proxy::Subject;

const RECORDING: &str = "envoy-1.40.json";

macro_rules! suites {
    ($($name:ident)*) => {
        const SUITES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*
    };
}

suites! {
    paths domains headers query weights rewrites redirects direct timeouts forwarded hopbyhop limits http10 methods upgrades
    h2_to_h1 h2_upstream grpc tcp spread rbac normalise malformed malformed_h2 bad_upstream
}

#[test]
fn every_folder_is_run_and_there_are_enough_of_them() {
    let mut cases = 0;
    for entry in fs::read_dir(data_folder()).expect("tests/data") {
        let path = entry.expect("tests/data").path();
        if path.is_dir() {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            assert!(SUITES.contains(&name), "tests/data/{name} is not among the suites");
            cases += Suite::load(name).expect("a suite").cases.cases.len();
        }
    }
    assert!(SUITES.len() >= 12 && cases >= 60, "{} configurations, {cases} cases", SUITES.len());
}

#[test]
fn the_page_of_differences_is_up_to_date() {
    let page = compare::page(&compare::known().expect("differences"));
    if bless() {
        fs::write(compare::page_path(), &page).expect("docs");
    }
    let written = fs::read_to_string(compare::page_path()).expect("docs/envoy-differences.md");
    assert!(written == page, "docs/envoy-differences.md is not what BLESS=1 would write");
}

/// Runs one suite on what is there, and fails with all differences at once.
fn check(name: &str) {
    let suite = Arc::new(Suite::load(name).expect("a suite"));
    println!("{name}: {}, {} cases", suite.cases.about, suite.cases.cases.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // While Envoy's answers are recorded, the agent's do not matter.
    let (with_envoy, with_agent) = (harness::envoy::program().is_some(), !bless());
    if !with_envoy {
        println!("{name}: no Envoy here, the recording alone is used (cargo xtask setup --peers)");
    }
    let (envoy, agent) = runtime.block_on(async {
        tokio::join!(run_if(with_envoy, Subject::Envoy, &suite), run_if(with_agent, Subject::Agent, &suite))
    });
    let (envoy, agent) = (envoy.expect("Envoy runs"), agent.expect("the agent runs"));
    let path = suite.folder.join(RECORDING);
    if let (Some(envoy), true) = (&envoy, bless()) {
        fs::write(&path, serde_json::to_string_pretty(envoy).expect("JSON") + "\n").expect("the recording");
    }
    let recorded = fs::read_to_string(&path).context("no recording: run with BLESS=1 and Envoy").expect("a recording");
    let recorded: Vec<Observed> = serde_json::from_str(&recorded).expect("a recording");
    let mut faults = String::new();
    if let Some(envoy) = &envoy {
        faults += &differences(name, "recorded", &recorded, "Envoy", envoy, &[]);
    }
    if let Some(agent) = &agent {
        let known = compare::known().expect("differences");
        faults += &differences(name, "Envoy", &recorded, "agent", agent, &known);
    }
    assert!(faults.is_empty(), "\n{faults}");
}

async fn run_if(wanted: bool, subject: Subject, suite: &Arc<Suite>) -> Result<Option<Vec<Observed>>> {
    if wanted { run::run(subject, suite).await.map(Some) } else { Ok(None) }
}

fn differences(
    suite: &str,
    left_name: &str,
    left: &[Observed],
    right_name: &str,
    right: &[Observed],
    known: &[compare::Known],
) -> String {
    let mut faults = String::new();
    for observed in right {
        let case = format!("{suite}/{}", observed.name);
        let Some(expected) = left.iter().find(|other| other.name == observed.name) else {
            faults += &format!("{case}: not recorded\n");
            continue;
        };
        let mut difference = Difference::between(expected, observed);
        for entry in known.iter().filter(|entry| entry.cases.contains(&case)) {
            if !difference.explain(entry, observed) {
                faults += &format!("{case}: no longer differs as listed: {}\n", entry.reason);
            }
        }
        if !difference.is_empty() {
            faults += &format!("{case}\n{}", difference.show(left_name, right_name));
        }
    }
    faults
}

fn bless() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}
