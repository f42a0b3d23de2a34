//! What the admin interface says of edges and connections, in JSON. The command line reads the same types back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::telemetry::edge::{Destination, EdgeTotals, Source};

/// One line of `/connections`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// Unique while the agent runs.
    pub id: u64,
    /// Who made it; empty if not known.
    pub source: String,
    /// What `source` names: `workload`, `listener`, `unknown`.
    pub source_kind: String,
    /// The client's address.
    pub peer: SocketAddr,
    /// Where the client wanted to go.
    pub original_destination: Option<SocketAddr>,
    /// The listener that took it.
    pub listener: Option<String>,
    /// `T0` (past the mesh), `T1` (in the kernel), `T2` (opaque bytes) or `T3` (messages); absent until the protocol is found.
    pub tier: Option<String>,
    /// `http1`, `http2`, `tls`, `opaque`.
    pub protocol: Option<String>,
    /// Where it goes, or where its last request went.
    pub destination: Option<String>,
    /// What `destination` names: `cluster`, `workload`, `passthrough`, `agent`.
    pub destination_kind: Option<String>,
    /// Milliseconds since it was accepted.
    pub age_ms: u64,
    /// Bytes from the client.
    pub bytes_sent: u64,
    /// Bytes to the client.
    pub bytes_received: u64,
    /// Smoothed round trip in microseconds, of connections that the kernel measures.
    #[serde(default)]
    pub rtt_us: Option<u64>,
}

/// One line of `/edges`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeView {
    /// Who talks; empty if not known.
    pub source: String,
    /// What `source` names: `workload`, `listener`, `unknown`, `other`.
    pub source_kind: String,
    /// To whom.
    pub destination: String,
    /// What `destination` names: `cluster`, `workload`, `passthrough`, `agent`, `other`.
    pub destination_kind: String,
    /// Answered requests.
    pub requests: u64,
    /// Answered requests by class of status (`2xx`).
    pub responses: BTreeMap<String, u64>,
    /// All errors of `error_kinds`.
    pub errors: u64,
    /// What the agent gave up on, by reason.
    pub error_kinds: BTreeMap<String, u64>,
    /// Median time of a request in microseconds.
    pub p50_us: Option<u64>,
    /// Time in microseconds that 99 % of the requests stay below.
    pub p99_us: Option<u64>,
    /// TCP connections open now.
    pub tcp_active: u64,
    /// TCP connections ever proxied.
    pub tcp_total: u64,
    /// Bytes of TCP connections toward the destination.
    pub bytes_sent: u64,
    /// Bytes of TCP connections back.
    pub bytes_received: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
    /// Segments that the kernel sent again, of connections that it measures.
    #[serde(default)]
    pub retransmits: u64,
}

/// Names of the classes in [`EdgeTotals::statuses`].
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl EdgeView {
    pub(super) fn new(source: &Source, destination: &Destination, totals: &EdgeTotals) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let classes = CLASSES.iter().zip(totals.statuses).filter(|(_, count)| *count > 0);
        Self {
            source: source.name().to_owned(),
            source_kind: source.kind().to_owned(),
            destination: destination.name().to_owned(),
            destination_kind: destination.kind().to_owned(),
            requests: totals.requests(),
            responses: classes.map(|(class, count)| ((*class).to_owned(), count)).collect(),
            errors: totals.errors.values().sum(),
            error_kinds: totals.errors.iter().map(|(label, count)| ((*label).to_owned(), *count)).collect(),
            p50_us: totals.durations.quantile(0.5).map(micros),
            p99_us: totals.durations.quantile(0.99).map(micros),
            tcp_active: totals.tcp_active(),
            tcp_total: totals.tcp_opened,
            bytes_sent: totals.bytes_sent,
            bytes_received: totals.bytes_received,
            connect_failures: totals.connect_failures,
            retransmits: totals.retransmits,
        }
    }
}
