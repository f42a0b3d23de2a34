//! Load by wrk, and what it saw.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// What one run of load showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Requests as fast as answers come, on `connections` connections, from one thread on one CPU.
pub(crate) fn run(cpu: u32, port: u16, connections: u32, time: Duration) -> Result<Load> {
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", &cpu.to_string(), "wrk", "--latency", "--threads", "1"])
        .args(["--connections", &connections.to_string(), "--duration", &format!("{}s", time.as_secs())])
        .arg(format!("http://127.0.0.1:{port}/"));
    let text = process::printed(&mut command).context("wrk failed")?;
    parse(&text)
}

fn parse(text: &str) -> Result<Load> {
    // Figures of a proxy that fails requests would be of something else.
    if let Some(line) = text.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx")) {
        bail!("requests failed: {}", line.trim());
    }
    let after = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::trim);
    let count =
        text.lines().find(|line| line.contains(" requests in ")).and_then(|line| line.split_whitespace().next());
    let load = Load {
        requests: count.and_then(|it| it.parse().ok()).context("wrk counts requests")?,
        per_second: after("Requests/sec:").and_then(|it| it.parse().ok()).context("wrk prints a rate")?,
        p50_us: after("50%").and_then(microseconds).context("wrk prints a median")?,
        p99_us: after("99%").and_then(microseconds).context("wrk prints a 99th percentile")?,
    };
    ensure!(load.requests > 0, "not one request was answered");
    Ok(load)
}

/// `36.00us`, `1.20ms` or `2.00s`.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    let (unit, factor) = units.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    text.strip_suffix(unit)?.parse::<f64>().ok().map(|value| value * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 5s test @ http://127.0.0.1:1/\n  Latency Distribution\n     50%   36.00us\n     99%    1.20ms\n\
        \x20 61725 requests in 5.00s, 12.00MB read\nRequests/sec:  12345.67\nTransfer/sec:      2.40MB\n";

    #[test]
    fn figures_are_read_in_their_units() {
        let load = Load { requests: 61725, per_second: 12345.67, p50_us: 36.0, p99_us: 1200.0 };
        assert_eq!(parse(TEXT).unwrap(), load);
        assert_eq!(microseconds("2.50s"), Some(2.5e6));
    }

    #[test]
    fn failed_requests_are_no_figures() {
        for line in ["  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 4\n"] {
            let error = parse(&format!("{TEXT}{line}")).unwrap_err().to_string();
            assert!(error.starts_with("requests failed: "), "{error}");
        }
    }
}
