//! Recording on several threads, reading on one.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::figures::{Figures, MapLevel, ProgramRuns, Runs};
use crate::model::name::{ClusterName, WorkloadName};
use crate::telemetry::{ConnectionInfo, Destination, KernelCounter, Protocol, Source, Telemetry, Tier};

fn source(name: &str) -> Source {
    Source::Workload(WorkloadName::from(name))
}

fn info() -> ConnectionInfo {
    let peer = SocketAddr::from(([10, 0, 0, 1], 4711));
    ConnectionInfo { source: source("a"), peer, original_destination: None, listener: None }
}

#[test]
fn workers_are_summed() {
    let telemetry = Telemetry::new(2);
    let cluster = ClusterName::from("reviews");
    for index in 0..2 {
        let edge = telemetry.worker(index).edge(&source("productpage"), &cluster);
        edge.request(200, Duration::from_millis(1));
        edge.request(503, Duration::from_millis(3));
        edge.error("connect_timeout");
        let tcp = edge.tcp_open();
        tcp.sent(10);
        tcp.received(20);
        if index == 0 {
            std::mem::forget(tcp);
        }
    }
    let edges = telemetry.edges();
    assert_eq!(edges.len(), 1);
    let edge = &edges[0];
    assert_eq!((edge.source.as_str(), edge.destination.as_str()), ("productpage", "reviews"));
    assert_eq!((edge.requests, edge.responses["2xx"], edge.responses["5xx"]), (4, 2, 2));
    assert_eq!((edge.errors, edge.error_kinds["connect_timeout"]), (2, 2));
    assert_eq!((edge.tcp_total, edge.tcp_active, edge.bytes_sent, edge.bytes_received), (2, 1, 20, 40));
    let p50 = edge.p50_us.expect("there were requests");
    assert!((950..=1050).contains(&p50), "{p50}");
}

#[test]
fn edges_are_bounded_and_the_rest_is_counted() {
    let telemetry = Telemetry::new(1);
    let worker = telemetry.worker(0);
    for n in 0..2000 {
        worker.edge(&source(&format!("w{n}")), Destination::Passthrough).connect_failed();
    }
    let edges = telemetry.edges();
    assert_eq!(edges.len(), 1025);
    let other = edges.iter().find(|edge| edge.source_kind == "other").expect("there is an overflow edge");
    assert_eq!(other.connect_failures, 2000 - 1024);
    assert!(telemetry.prometheus().contains("bowline_edges_overflowed_total 976\n"));
}

#[test]
fn error_labels_are_bounded() {
    const LABELS: [&str; 30] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v",
        "w", "x", "y", "z", "0", "1", "2", "3",
    ];
    let telemetry = Telemetry::new(1);
    let edge = telemetry.worker(0).edge(&Source::Unknown, Destination::Agent);
    LABELS.iter().for_each(|label| edge.error(label));
    edge.error("a");
    let view = telemetry.edges().remove(0);
    assert_eq!((view.errors, view.error_kinds["a"], view.error_kinds["other"]), (31, 2, 6));
}

#[test]
fn connections_are_listed_while_open() {
    let telemetry = Telemetry::new(3);
    let open: Vec<_> = (0..3).map(|index| telemetry.worker(index).connection(info())).collect();
    open[1].set_protocol(Protocol::Http2, Tier::T3);
    open[1].set_destination(&ClusterName::from("ratings"));
    open[1].sent(5);
    let views = telemetry.connections();
    assert_eq!(views.len(), 3);
    let view = views.iter().find(|view| view.id == open[1].id()).expect("listed");
    assert_eq!((view.tier.as_deref(), view.protocol.as_deref()), (Some("T3"), Some("http2")));
    assert_eq!((view.destination.as_deref(), view.bytes_sent), (Some("ratings"), 5));
    assert!(views.iter().all(|view| view.id == open[1].id() || view.tier.is_none()));
    drop(open);
    assert!(telemetry.connections().is_empty());
    let text = telemetry.prometheus();
    assert!(text.contains("bowline_downstream_connections_total 3\n"), "{text}");
    assert!(text.contains("bowline_downstream_connections_active 0\n"), "{text}");
}

#[test]
fn levels_of_maps_and_runs_of_programs_are_written_if_there_are_any() {
    let telemetry = Telemetry::new(1);
    assert!(!telemetry.prometheus().contains("bowline_kernel_map"));
    let (count, time) = (3, Duration::from_nanos(1_500));
    let figures = Figures {
        maps: vec![MapLevel { map: "SERVICES", entries: 2, max: 16 }],
        programs: vec![ProgramRuns { program: "connect4", runs: Runs { count, time } }],
    };
    telemetry.set_kernel_figures(move || figures.clone());
    let text = telemetry.prometheus();
    for line in [
        "# TYPE bowline_kernel_map_entries gauge",
        "bowline_kernel_map_entries{map=\"SERVICES\"} 2",
        "bowline_kernel_map_max_entries{map=\"SERVICES\"} 16",
        "# TYPE bowline_kernel_program_runs_total counter",
        "bowline_kernel_program_runs_total{program=\"connect4\"} 3",
        "bowline_kernel_program_run_seconds_total{program=\"connect4\"} 0.0000015",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
}

#[test]
fn text_format_is_what_prometheus_reads() {
    let telemetry = Telemetry::new(1);
    telemetry.set_kernel_counters(|| vec![KernelCounter { name: "map_full", help: "Entries lost.", count: 7 }]);
    let edge = telemetry.worker(0).edge(&source("we\"ird\\"), Destination::Passthrough);
    edge.request(204, Duration::from_micros(40));
    let text = telemetry.prometheus();
    let labels = r#"source_kind="workload",source="we\"ird\\",destination_kind="passthrough",destination="""#;
    for line in [
        format!("bowline_requests_total{{{labels},class=\"2xx\"}} 1"),
        format!("bowline_request_duration_seconds_bucket{{{labels},le=\"0.000032768\"}} 0"),
        format!("bowline_request_duration_seconds_bucket{{{labels},le=\"0.000065536\"}} 1"),
        format!("bowline_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 1"),
        format!("bowline_request_duration_seconds_sum{{{labels}}} 0.00004"),
        "# HELP bowline_kernel_map_full_total Entries lost.".to_owned(),
        "bowline_kernel_map_full_total 7".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("name and value");
        assert!(name.starts_with("bowline_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}
