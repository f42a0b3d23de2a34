//! What was measured: collected run by run, reported as medians.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

/// What is measured, under the names that all benchmarks share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    CpuPerRequest,
    P50,
    P99,
    Rate,
    Memory,
    CpuPerGigabyte,
    MachineCpuPerGigabyte,
    Throughput,
    Live,
    MemoryGrowth,
    UpdateP99,
    CpuPerUpdate,
    UpdateRate,
}

impl Metric {
    const ALL: [Self; 13] = [
        Self::CpuPerRequest,
        Self::P50,
        Self::P99,
        Self::Rate,
        Self::Memory,
        Self::CpuPerGigabyte,
        Self::MachineCpuPerGigabyte,
        Self::Throughput,
        Self::Live,
        Self::MemoryGrowth,
        Self::UpdateP99,
        Self::CpuPerUpdate,
        Self::UpdateRate,
    ];

    /// The metric of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "cpu_us_per_req",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::Rate => "rps",
            Self::Memory => "rss_mb",
            Self::CpuPerGigabyte => "cpu_s_per_gb",
            Self::MachineCpuPerGigabyte => "machine_cpu_s_per_gb",
            Self::Throughput => "gbit_per_s",
            Self::Live => "live_ms",
            Self::MemoryGrowth => "rss_growth_mb",
            Self::UpdateP99 => "update_p99_ms",
            Self::CpuPerUpdate => "cpu_us_per_update",
            Self::UpdateRate => "updates_per_s",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::CpuPerRequest | Self::P50 | Self::P99 | Self::CpuPerUpdate => "us",
            Self::Live | Self::UpdateP99 => "ms",
            Self::Rate | Self::UpdateRate => "1/s",
            Self::Memory | Self::MemoryGrowth => "MB",
            Self::CpuPerGigabyte | Self::MachineCpuPerGigabyte => "s/GB",
            Self::Throughput => "Gbit/s",
        }
    }
}

/// The median of one subject's runs, as it is written to the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    bench: String,
    subject: &'static str,
    metric: &'static str,
    unit: &'static str,
    value: f64,
    runs: usize,
}

/// Every value of every run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    bench: String,
    subject: &'static str,
    metric: Metric,
    values: Vec<f64>,
}

impl Report {
    /// Adds what one run showed.
    pub(crate) fn add(&mut self, bench: &str, subject: &'static str, values: &[(Metric, f64)]) {
        for &(metric, value) in values {
            let same = |it: &&mut Series| it.bench == bench && it.subject == subject && it.metric == metric;
            match self.series.iter_mut().find(same) {
                Some(series) => series.values.push(value),
                None => self.series.push(Series { bench: bench.to_owned(), subject, metric, values: vec![value] }),
            }
        }
    }

    /// The medians, cases together, in the order in which subjects first came.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let benches: BTreeSet<_> = self.series.iter().map(|series| &series.bench).collect();
        let of_bench = |bench| self.series.iter().filter(move |series| &series.bench == bench);
        benches.into_iter().flat_map(of_bench).map(Series::row).collect()
    }
}

impl Series {
    fn row(&self) -> Row {
        Row {
            bench: self.bench.clone(),
            subject: self.subject,
            metric: self.metric.name(),
            unit: self.metric.unit(),
            value: median(&self.values),
            runs: self.values.len(),
        }
    }
}

/// Writes `rows` as the list every consumer reads.
pub(crate) fn write(rows: &[Row], file: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(rows)?;
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

/// Shows a table for each case; in brackets is how the baseline's value compares with that subject's.
pub(crate) fn print(rows: &[Row]) {
    let mut benches: Vec<_> = rows.iter().map(|row| row.bench.as_str()).collect();
    benches.dedup();
    for bench in benches {
        let of_bench: Vec<_> = rows.iter().filter(|row| row.bench == bench).collect();
        print!("\n{}", table(bench, &of_bench));
    }
    println!("\nin brackets: the first row's value as a multiple of that one's");
}

fn table(bench: &str, rows: &[&Row]) -> String {
    let mut metrics: Vec<&str> = Vec::new();
    let mut subjects: Vec<&str> = Vec::new();
    for row in rows {
        if !metrics.contains(&row.metric) {
            metrics.push(row.metric);
        }
        if !subjects.contains(&row.subject) {
            subjects.push(row.subject);
        }
    }
    // What the others are compared with comes first.
    let baseline =
        BASELINES.into_iter().find(|name| subjects.contains(name)).or(subjects.first().copied()).unwrap_or("");
    subjects.sort_by_key(|subject| *subject != baseline);
    let value = |subject: &str, metric: &str| {
        rows.iter().find(|row| row.subject == subject && row.metric == metric).map(|row| row.value)
    };
    let mut text = format!("{bench:<14}");
    text.extend(metrics.iter().map(|metric| format!("{metric:>22}")));
    for subject in subjects {
        text += &format!("\n{subject:<14}");
        for metric in &metrics {
            text += &format!("{:>22}", cell(subject == baseline, value(subject, metric), value(baseline, metric)));
        }
    }
    text + "\n"
}

fn cell(is_baseline: bool, value: Option<f64>, baseline: Option<f64>) -> String {
    match (value, baseline) {
        (None, _) => "-".to_owned(),
        (Some(value), Some(baseline)) if !is_baseline && value > 0.0 => {
            format!("{} ({:.2}x)", short(value), baseline / value)
        }
        (Some(value), _) => format!("{}        ", short(value)),
    }
}

/// Three digits that count, at least.
fn short(value: f64) -> String {
    if value < 10.0 { format!("{value:.3}") } else { format!("{value:.1}") }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The subjects that others are compared with, where they take part.
const BASELINES: [&str; 3] = ["mesh-agent", "mesh", "t1-accelerated"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_become_medians_by_case_and_subject() {
        let mut report = Report::default();
        for value in [30.0, 10.0, 20.0] {
            report.add("http1/c32", "mesh-agent", &[(Metric::P50, value)]);
            report.add("http1/c1", "mesh-agent", &[(Metric::P50, value + 1.0), (Metric::Rate, 5.0)]);
            report.add("http1/c1", "envoy", &[(Metric::P50, value * 2.0)]);
        }
        let rows = report.rows();
        assert_eq!(
            serde_json::to_value(&rows[0]).unwrap(),
            serde_json::json!({
                "bench": "http1/c1", "subject": "mesh-agent", "metric": "p50_us", "unit": "us", "value": 21.0, "runs": 3
            })
        );
        assert_eq!(rows.last().map(|row| (row.bench.as_str(), row.value)), Some(("http1/c32", 20.0)));
        let c1: Vec<_> = rows.iter().filter(|row| row.bench == "http1/c1").collect();
        let table = table("http1/c1", &c1);
        assert!(table.contains("40.0 (0.53x)") && table.contains('-'), "{table}");
    }

    #[test]
    fn an_even_number_of_runs_has_its_median_between() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
