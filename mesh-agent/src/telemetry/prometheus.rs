//! The Prometheus text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::model::figures::Figures;
use crate::model::management::{FileStanding, LastGood, OnDemand, Standing};
use crate::telemetry::edge::{Destination, EdgeTotals, Source};
use crate::telemetry::view::CLASSES;
use crate::telemetry::{KernelCounter, Protocol, Telemetry};

/// Bounds of the duration buckets as powers of two of nanoseconds, 33 µs to 17 s: the histogram is exact there.
const DURATION_BITS: std::ops::RangeInclusive<u32> = 15..=34;

type Edges = [((Source, Destination), EdgeTotals)];

/// All metrics of `telemetry`.
pub(super) fn render(telemetry: &Telemetry) -> String {
    let mut text = Text(String::with_capacity(16 * 1024));
    process(&mut text, telemetry);
    connections(&mut text, telemetry);
    let edges: Vec<_> = telemetry.edge_totals().into_iter().collect();
    requests(&mut text, &edges);
    tcp(&mut text, &edges);
    if let Some(read) = telemetry.kernel.get() {
        for KernelCounter { name, help, count } in read() {
            text.single(&format!("kernel_{name}_total"), "counter", help, count);
        }
    }
    if let Some(read) = telemetry.figures.get() {
        figures(&mut text, &read());
    }
    if let Some(standing) = telemetry.management.get().and_then(|read| read()) {
        if standing.asks_server {
            management(&mut text, &standing);
        }
        if let Some(last_good) = &standing.last_good {
            kept(&mut text, last_good);
        }
        if !standing.files.is_empty() {
            files(&mut text, &standing.files);
        }
        if let Some(now) = &standing.on_demand {
            on_demand(&mut text, telemetry, now);
        }
    }
    text.0
}

fn management(text: &mut Text, standing: &Standing) {
    let connected = u8::from(standing.server.is_some());
    text.single("xds_connected", "gauge", "Whether a stream to a management server is open.", connected);
    text.single("xds_streams_total", "counter", "Streams to management servers that were opened.", standing.streams);
    text.single(
        "xds_failures_total",
        "counter",
        "Attempts and streams to management servers that failed.",
        standing.failures,
    );
    text.single("xds_ignored_total", "counter", "Responses of a type that nobody asked for.", standing.ignored);
    let kinds = || standing.kinds.iter().map(|(kind, it)| ([("kind", kind.service())], it));
    text.family("xds_updates_total", "counter", "Responses of management servers, by kind of resource.");
    kinds().for_each(|(labels, it)| text.sample("xds_updates_total", &labels, it.updates));
    text.family("xds_refused_total", "counter", "Responses in which something was refused (NACK).");
    kinds().for_each(|(labels, it)| text.sample("xds_refused_total", &labels, it.refused));
    text.family("xds_resources", "gauge", "Resources that are live, or wait for what they refer to.");
    kinds().for_each(|(labels, it)| text.sample("xds_resources", &labels, it.held));
    text.family("xds_last_update_timestamp_seconds", "gauge", "When the last response was judged.");
    for (labels, it) in kinds() {
        let at = it.at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        text.sample("xds_last_update_timestamp_seconds", &labels, at.as_secs());
    }
}

fn kept(text: &mut Text, LastGood { serving, resources, bytes, failure }: &LastGood) {
    let (serving, failing) = (u8::from(serving.is_some()), u8::from(failure.is_some()));
    text.single("last_good_serving", "gauge", "Whether what is live was kept on disk, and no server answers.", serving);
    text.single("last_good_failing", "gauge", "Whether what is good cannot be kept.", failing);
    text.single("last_good_resources", "gauge", "Resources that are kept on disk.", resources);
    text.single("last_good_bytes", "gauge", "What they take there.", bytes);
}

/// Summed by kind: there may be a file for each of thousands of clusters.
fn files(text: &mut Text, files: &[FileStanding]) {
    let mut sums: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
    for FileStanding { kind, standing, unwatched, .. } in files {
        let bad = u64::from(standing.refusal.is_some() || unwatched.is_some());
        let sum = sums.entry(kind.service()).or_default();
        let held = standing.held as u64;
        sum.iter_mut().zip([standing.updates, standing.refused, held, bad]).for_each(|(sum, more)| *sum += more);
    }
    let families = [
        ("xds_file_updates_total", "counter", "Versions of files of resources that were read, by kind of resource."),
        ("xds_file_refused_total", "counter", "Versions of files in which something was refused."),
        ("xds_file_resources", "gauge", "Resources of files that are live, or wait for what they refer to."),
        ("xds_files_bad", "gauge", "Files that cannot be read or watched now, or in which something is refused."),
    ];
    for (index, (name, kind, help)) in families.into_iter().enumerate() {
        text.family(name, kind, help);
        sums.iter().for_each(|(service, sums)| text.sample(name, &[("kind", *service)], sums[index]));
    }
}

fn on_demand(text: &mut Text, telemetry: &Telemetry, now: &OnDemand) {
    text.family("on_demand_resources", "gauge", "What was asked for because somebody needs it, and what could be.");
    let live = now.clusters + now.routes + now.virtual_hosts;
    let states = [("live", live), ("warming", now.warming), ("missing", now.missing), ("cold", now.cold)];
    for (state, count) in states {
        text.sample("on_demand_resources", &[("state", state)], count);
    }
    text.single("on_demand_asked_total", "counter", "Clusters and routes that were needed and not there.", now.asked);
    text.single(
        "on_demand_expired_total",
        "counter",
        "Clusters and routes let go, because nobody used them.",
        now.expired,
    );
    let held = telemetry.sum(|c| &c.held);
    text.single("on_demand_held_total", "counter", "Requests and connections that were held meanwhile.", held);
    let seconds = Duration::from_nanos(telemetry.sum(|c| &c.held_nanos)).as_secs_f64();
    text.single("on_demand_held_seconds_total", "counter", "For how long they were held.", seconds);
    let refused = telemetry.sum(|c| &c.not_held);
    text.single("on_demand_overflow_total", "counter", "Those that found no place to be held.", refused);
}

fn figures(text: &mut Text, Figures { maps, programs }: &Figures) {
    text.family("kernel_map_entries", "gauge", "What a map of the kernel side holds.");
    for level in maps {
        text.sample("kernel_map_entries", &[("map", level.map)], level.entries);
    }
    text.family("kernel_map_max_entries", "gauge", "What a map of the kernel side can hold.");
    for level in maps {
        text.sample("kernel_map_max_entries", &[("map", level.map)], level.max);
    }
    if programs.is_empty() {
        return;
    }
    text.family("kernel_program_runs_total", "counter", "Runs of a kernel program while the kernel counts them.");
    for it in programs {
        text.sample("kernel_program_runs_total", &[("program", it.program)], it.runs.count);
    }
    text.family("kernel_program_run_seconds_total", "counter", "Time spent in a kernel program in these runs.");
    for it in programs {
        let time = it.runs.time.as_secs_f64();
        text.sample("kernel_program_run_seconds_total", &[("program", it.program)], time);
    }
}

fn process(text: &mut Text, telemetry: &Telemetry) {
    text.family("build_info", "gauge", "Always 1; the version is in the label.");
    text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.single("uptime_seconds", "gauge", "Time since the start.", telemetry.started.elapsed().as_secs());
    text.single("workers", "gauge", "Data threads.", telemetry.shards.len());
}

fn connections(text: &mut Text, telemetry: &Telemetry) {
    let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let opened = telemetry.sum(|c| &c.connections_opened);
    text.single("downstream_connections_total", "counter", "Connections accepted from clients.", opened);
    let active = telemetry.active_connections();
    text.single("downstream_connections_active", "gauge", "Connections from clients open now.", active);
    text.single(
        "downstream_connections_unlisted_total",
        "counter",
        "Connections carried but not listed, because the list was full.",
        telemetry.sum(|c| &c.connections_unlisted),
    );
    text.single(
        "past_connections_total",
        "counter",
        "Connections of workloads that went past the agent, as the kernel reported them.",
        load(&telemetry.past.counters.connections_opened),
    );
    text.single(
        "past_connections_active",
        "gauge",
        "Connections of workloads past the agent open now.",
        load(&telemetry.past.counters.connections_opened)
            .saturating_sub(load(&telemetry.past.counters.connections_closed)),
    );
    text.family("detected_protocol_total", "counter", "Connections by what their first bytes were.");
    for protocol in Protocol::ALL {
        let count = telemetry.sum(|c| &c.detected[protocol as usize]);
        text.sample("detected_protocol_total", &[("protocol", protocol.label())], count);
    }
    text.single(
        "detection_timeouts_total",
        "counter",
        "Connections whose client stayed silent while its protocol was awaited.",
        telemetry.sum(|c| &c.detection_timeouts),
    );
    text.single(
        "malformed_requests_total",
        "counter",
        "Requests refused because they are malformed.",
        telemetry.sum(|c| &c.malformed_requests),
    );
    text.single(
        "passthrough_connections_total",
        "counter",
        "Connections passed to their original destination because no listener claims it.",
        telemetry.sum(|c| &c.passthrough_connections),
    );
    text.single(
        "edges_overflowed_total",
        "counter",
        "Look-ups of a source and destination that are counted as `other`, because the table was full.",
        telemetry.sum(|c| &c.edges_overflowed),
    );
}

fn requests(text: &mut Text, edges: &Edges) {
    let help = "Answered requests by class of status.";
    by_label(text, "requests_total", help, "class", edges, |totals| CLASSES.into_iter().zip(totals.statuses));
    let help = "Requests and connections that the agent gave up on, by reason.";
    by_label(text, "errors_total", help, "kind", edges, |totals| {
        totals.errors.iter().map(|(kind, count)| (*kind, *count))
    });
    let name = "request_duration_seconds";
    text.family(name, "histogram", "Time from a request's head to the end of its answer.");
    for (edge, totals) in edges.iter().filter(|(_, totals)| totals.requests() > 0) {
        let bucket = format!("{name}_bucket");
        for bits in DURATION_BITS {
            let bound = format!("{}", seconds(1 << bits));
            text.on_edge(&bucket, edge, Some(("le", &bound)), totals.durations.below(bits));
        }
        let count = totals.durations.count();
        text.on_edge(&bucket, edge, Some(("le", "+Inf")), count);
        text.on_edge(&format!("{name}_sum"), edge, None, totals.durations.sum().as_secs_f64());
        text.on_edge(&format!("{name}_count"), edge, None, count);
    }
}

/// A counter of every edge that has one value for each of some labels; zeros are left out.
fn by_label<'e, V: Iterator<Item = (&'static str, u64)>>(
    text: &mut Text,
    name: &str,
    help: &str,
    label: &str,
    edges: &'e Edges,
    values: impl Fn(&'e EdgeTotals) -> V,
) {
    text.family(name, "counter", help);
    for (edge, totals) in edges {
        for (value, count) in values(totals).filter(|(_, count)| *count > 0) {
            text.on_edge(name, edge, Some((label, value)), count);
        }
    }
}

fn tcp(text: &mut Text, edges: &Edges) {
    type Column = (&'static str, &'static str, &'static str, fn(&EdgeTotals) -> u64);
    let columns: [Column; 6] = [
        ("tcp_connections_total", "counter", "TCP connections carried.", |t| t.tcp_opened),
        ("tcp_connections_active", "gauge", "TCP connections carried now.", EdgeTotals::tcp_active),
        ("tcp_sent_bytes_total", "counter", "Bytes of TCP connections toward the destination.", |t| t.bytes_sent),
        ("tcp_received_bytes_total", "counter", "Bytes of TCP connections back.", |t| t.bytes_received),
        ("connect_failures_total", "counter", "Connections that could not be made.", |t| t.connect_failures),
        ("tcp_retransmits_total", "counter", "Segments sent again, of connections past the agent.", |t| t.retransmits),
    ];
    for (name, kind, help, value) in columns {
        text.family(name, kind, help);
        for (edge, totals) in edges.iter().filter(|(_, totals)| totals.tcp_opened + totals.connect_failures > 0) {
            text.on_edge(name, edge, None, value(totals));
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "powers of two are exact")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP bowline_{name} {help}\n# TYPE bowline_{name} {kind}"));
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn on_edge(
        &mut self,
        name: &str,
        (source, destination): &(Source, Destination),
        extra: Option<(&str, &str)>,
        value: impl Display,
    ) {
        let mut labels = vec![
            ("source_kind", source.kind()),
            ("source", source.name()),
            ("destination_kind", destination.kind()),
            ("destination", destination.name()),
        ];
        labels.extend(extra);
        self.sample(name, &labels, value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut set = String::new();
        for (key, value) in labels {
            let (open, value) = (if set.is_empty() { '{' } else { ',' }, escape(value));
            set.push_str(&format!("{open}{key}=\"{value}\""));
        }
        if !set.is_empty() {
            set.push('}');
        }
        self.line(format_args!("bowline_{name}{set} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes any text");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
