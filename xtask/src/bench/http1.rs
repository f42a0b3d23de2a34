//! `bench http1`: keep-alive GET through each proxy, on one connection and on 32.

use std::time::Duration;

use anyhow::{Context, Result};
use mesh_ebpf_build::find_program;

use crate::{
    bench::{
        Effort,
        cpus::Placement,
        folder::Folder,
        proxies::{self, Place, Subject, Templates},
        report::{Metric, Report},
        server::{self, Server},
        wrk::{self, Load},
    },
    build,
};

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    proxies::bring_rivals();
    for program in ["wrk", "nginx", "taskset"] {
        find_program(program).with_context(|| format!("the load and its backend take {program}"))?;
    }
    build::agent(true)?;

    let bench = Bench::start()?;
    for round in 1..=effort.runs {
        for (name, connections) in CASES {
            for entrant in &bench.entrants {
                eprintln!("round {round} of {}: {name} {}", effort.runs, entrant.subject.name());
                let values = bench.measure(entrant, connections, effort.load);
                let values = values.with_context(|| format!("{name} through {}", entrant.subject.name()))?;
                report.add(name, entrant.subject.name(), &values);
            }
        }
    }
    Ok(())
}

/// All servers, alive as long as this is.
#[derive(Debug)]
struct Bench {
    placement: Placement,
    entrants: Vec<Entrant>,
    /// Ended with the rest, never asked for anything but answers.
    _backend: Server,
    _folder: Folder,
}

/// A subject that is there.
#[derive(Debug)]
struct Entrant {
    subject: Subject,
    port: u16,
    /// None where load goes to the backend itself.
    server: Option<Server>,
}

impl Bench {
    fn start() -> Result<Self> {
        let placement = Placement::of_this_machine()?;
        let folder = Folder::make()?;
        let backend_port = server::free_port()?;
        let place = Place { port: backend_port, cpu: placement.backend, folder: folder.path() };
        let backend = proxies::start_backend(place)?;

        let mut entrants = Vec::new();
        for subject in Subject::ALL {
            let entrant = match subject.program() {
                _ if subject == Subject::NoMesh => Entrant { subject, port: backend_port, server: None },
                Some(program) => {
                    let place = Place { port: server::free_port()?, cpu: placement.proxy, folder: folder.path() };
                    let server = proxies::start(subject, &program, place, backend_port, &TEMPLATES)?;
                    Entrant { subject, port: place.port, server: Some(server) }
                }
                None => {
                    println!("skipped: {}: not on this machine", subject.name());
                    continue;
                }
            };
            wrk::run(placement.load, entrant.port, WARM_UP_CONNECTIONS, WARM_UP)
                .with_context(|| format!("warming up {}", subject.name()))?;
            entrants.push(entrant);
        }
        Ok(Self { placement, entrants, _backend: backend, _folder: folder })
    }

    /// One run of load through one subject.
    fn measure(&self, entrant: &Entrant, connections: u32, time: Duration) -> Result<Vec<(Metric, f64)>> {
        let load = || wrk::run(self.placement.load, entrant.port, connections, time);
        let seen =
            |load: Load| vec![(Metric::P50, load.p50_us), (Metric::P99, load.p99_us), (Metric::Rate, load.per_second)];
        let Some(server) = &entrant.server else { return Ok(seen(load()?)) };
        let before = server.usage()?;
        let load = load()?;
        let after = server.usage()?;

        let cpu_us = (after.cpu - before.cpu).as_secs_f64() * 1e6;
        #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
        let (requests, resident_kb) = (load.requests as f64, after.resident_kb as f64);
        let mut values = vec![(Metric::CpuPerRequest, cpu_us / requests)];
        values.extend(seen(load));
        values.push((Metric::Memory, resident_kb / 1024.0));
        Ok(values)
    }
}

/// Case, and how many connections it keeps alive.
const CASES: [(&str, u32); 2] = [("http1/c1", 1), ("http1/c32", 32)];

const TEMPLATES: Templates = Templates {
    envoy: include_str!("config/envoy.yaml"),
    haproxy: include_str!("config/haproxy.cfg"),
    nginx: include_str!("config/nginx.conf"),
};

/// Pools are filled and caches are warm before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
const WARM_UP_CONNECTIONS: u32 = 32;
