//! `bench stream`: one stream of bytes through each proxy as TCP; what a gigabyte costs the proxy, and the whole machine.
//!
//! A proxy can look cheap because its work is done elsewhere: in the sender's or the receiver's time, or by kernel threads.
//! The machine's figure has all of it.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

use crate::{
    bench::{
        Effort,
        cpus::Placement,
        folder::Folder,
        pods,
        proxies::{self, Place, Subject, Templates},
        report::{Metric, Report},
        server::{self, Server, TICKS_PER_SECOND},
    },
    build,
};

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    proxies::bring_rivals();
    build::agent(true)?;
    build::agent_and_world()?;
    let placement = Placement::of_this_machine()?;
    let folder = Folder::make()?;
    for round in 1..=effort.runs {
        for subject in SUBJECTS {
            let name = subject.name();
            eprintln!("round {round} of {}: {name}", effort.runs);
            let backend = server::free_port()?;
            let (port, proxy) = match (subject, subject.program()) {
                (Subject::NoMesh, _) => (backend, None),
                (_, None) => {
                    println!("skipped: {name}: not on this machine");
                    continue;
                }
                (_, Some(program)) => {
                    let place = Place { port: server::free_port()?, cpu: placement.proxy, folder: folder.path() };
                    (place.port, Some(proxies::start(subject, &program, place, backend, &TEMPLATES)?))
                }
            };
            let values = measure(placement, proxy.as_ref(), port, backend, effort.load);
            report.add("stream/tcp", name, &values.with_context(|| format!("a stream through {name}"))?);
        }
    }
    Ok(())
}

fn measure(
    placement: Placement,
    proxy: Option<&Server>,
    port: u16,
    backend: u16,
    time: Duration,
) -> Result<Vec<(Metric, f64)>> {
    let mut helper = pods::helper("stream");
    helper.args(["--to", &format!("127.0.0.1:{port}"), "--listen", &format!("127.0.0.1:{backend}")]);
    helper.args(["--seconds", &time.as_secs().to_string(), "--cpu", &placement.load.to_string()]);
    let usage = || proxy.map(Server::usage).transpose();
    let (machine, before) = (machine_busy()?, usage()?);
    let text = pods::printed(&mut helper)?;
    let (machine_after, after) = (machine_busy()?, usage()?);
    let figure = |name: &str| -> Result<f64> {
        let value = text.lines().find_map(|line| line.strip_prefix("stream load ")?.strip_prefix(name));
        Ok(value.with_context(|| format!("the load tells its {name}"))?.trim().parse()?)
    };
    let (gigabytes, seconds) = (figure("bytes")? / 1e9, figure("seconds")?);
    let mut values = Vec::new();
    if let (Some(before), Some(after)) = (before, after) {
        values.push((Metric::CpuPerGigabyte, (after.cpu - before.cpu).as_secs_f64() / gigabytes));
    }
    values.push((Metric::MachineCpuPerGigabyte, (machine_after - machine) / gigabytes));
    values.push((Metric::Throughput, gigabytes * 8.0 / seconds));
    Ok(values)
}

/// Seconds in which any CPU did anything, since it was started.
fn machine_busy() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    busy_ticks(&stat).map(|ticks| ticks as f64 / TICKS_PER_SECOND as f64).context("/proc/stat begins with all CPUs")
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; what the host took (steal) is nobody's work here.
fn busy_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map(str::parse::<u64>);
    let fields: Vec<u64> = fields.by_ref().take(7).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, _idle, _iowait, irq, softirq] = fields.try_into().ok()?;
    Some(user + nice + system + irq + softirq)
}

const SUBJECTS: [Subject; 4] = [Subject::MeshAgent, Subject::Envoy, Subject::Haproxy, Subject::NoMesh];

const TEMPLATES: Templates = Templates {
    envoy: include_str!("config/envoy-tcp.yaml"),
    haproxy: include_str!("config/haproxy-tcp.cfg"),
    // Not among the subjects.
    nginx: "",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(busy_ticks("cpu  10 20 30 1000 500 4 5 6 7 8\ncpu0 1 2 3\n"), Some(69));
        assert_eq!(busy_ticks("intr 1\n"), None);
    }
}
