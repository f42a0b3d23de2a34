//! The live table: who talks to whom, as the agent counts it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::io::{Write as _, stdout};
use std::time::Duration;

use harness::metrics::{Metrics, Sample, quantile};

use crate::gateway::Gateway;
use crate::screen::Size;
use crate::stage::Stage;

/// Shows the table every `pause`, until it is interrupted or the agent is gone.
pub(crate) async fn show(stage: &Stage, gateway: &Gateway, pause: Duration) -> anyhow::Result<()> {
    let pause = if Size::now().is_some() { pause } else { 5 * pause };
    let mut scrapes = VecDeque::from([Scrape::default()]);
    let hints = hints(stage, gateway);
    println!("{hints}");
    loop {
        tokio::time::sleep(pause).await;
        scrapes.push_back(Scrape::of(&stage.agent().admin().metrics()?));
        if scrapes.len() > WINDOW {
            scrapes.pop_front();
        }
        let mut screen = table(&scrapes, pause);
        if let Some(trouble) = gateway.trouble() {
            let _ = writeln!(screen, "\nlast page view that failed: {trouble}");
        }
        match Size::now() {
            Some(size) => print!("{}", size.redraw(&hints, &screen)),
            None => println!("{screen}"),
        }
        stdout().flush()?;
    }
}

/// What to try.
fn hints(stage: &Stage, gateway: &Gateway) -> String {
    let (at, page) = (gateway.address(), stage.world().pod("productpage").netns());
    let (reviews, redis) = (stage.world().pod("reviews-v1").netns(), stage.world().pod("redis").netns());
    format!(
        "Bookinfo is up: http://{at}/productpage\n\n\
         \x20 curl -s http://{at}/api/v1/products/0                  v1 or v3\n\
         \x20 curl -s http://{at}/api/v1/products/0 -b user=jason    always v2\n\
         \x20 ip netns exec {page} curl -s http://details:9080/details/0\n\
         \x20 ip netns exec {reviews} curl -6 -s http://ratings:9080/ratings/0\n\
         \x20 ip netns exec {redis} redis-cli hset ratings:0 Reviewer1 1\n\
         \x20 iptables-save; nft list ruleset                              none of ours\n\n\
         Ctrl-C ends it and leaves nothing behind.\n"
    )
}

/// From whom to whom.
type Edge = (String, String);

/// What one edge carried so far.
#[derive(Clone, Debug, Default)]
struct Traffic {
    requests: f64,
    errors: f64,
    connections: f64,
    bytes: f64,
    /// Upper bounds in seconds with cumulative counts, as they come.
    buckets: Vec<(f64, f64)>,
}

/// All edges at one moment.
#[derive(Debug, Default)]
struct Scrape(BTreeMap<Edge, Traffic>);

impl Scrape {
    fn of(metrics: &Metrics) -> Self {
        let mut scrape = Self::default();
        scrape.add(metrics, "bowline_requests_total", |traffic, sample| {
            traffic.requests += sample.value;
            if sample.label("class") == "5xx" {
                traffic.errors += sample.value;
            }
        });
        scrape.add(metrics, "bowline_connect_failures_total", |traffic, sample| traffic.errors += sample.value);
        scrape.add(metrics, "bowline_tcp_connections_total", |traffic, sample| traffic.connections += sample.value);
        for name in ["bowline_tcp_sent_bytes_total", "bowline_tcp_received_bytes_total"] {
            scrape.add(metrics, name, |traffic, sample| traffic.bytes += sample.value);
        }
        scrape.add(metrics, "bowline_request_duration_seconds_bucket", |traffic, sample| {
            let bound = sample.label("le").parse().unwrap_or(f64::INFINITY);
            traffic.buckets.push((bound, sample.value));
        });
        scrape
    }

    fn add(&mut self, metrics: &Metrics, name: &str, add: impl Fn(&mut Traffic, &Sample)) {
        for sample in metrics.named(name) {
            let edge = (end(sample, "source"), end(sample, "destination"));
            add(self.0.entry(edge).or_default(), sample);
        }
    }
}

fn end(sample: &Sample, side: &str) -> String {
    match sample.label(side) {
        "" => sample.labels.get(&format!("{side}_kind")).cloned().unwrap_or_default(),
        name => name.to_owned(),
    }
}

fn table(scrapes: &VecDeque<Scrape>, pause: Duration) -> String {
    let mut text = format!(
        "{:<14} {:<14} {:>9} {:>8} {:>8} {:>9} {:>9}\n",
        "from", "to", "requests", "per s", "errors", "p50", "p99"
    );
    let (Some(first), Some(last)) = (scrapes.front(), scrapes.back()) else { return text };
    let none = Traffic::default();
    for ((from, to), now) in &last.0 {
        let before = first.0.get(&(from.clone(), to.clone())).unwrap_or(&none);
        let seconds = pause.as_secs_f64() * (scrapes.len().max(2) - 1) as f64;
        let (count, kind) = if now.requests > 0.0 { (now.requests, "") } else { (now.connections, " tcp") };
        let rate =
            if now.requests > 0.0 { now.requests - before.requests } else { now.connections - before.connections };
        let recent = recent(before, now);
        let _ = writeln!(
            text,
            "{from:<14} {:<14} {count:>9} {:>8.1} {:>8} {:>9} {:>9}",
            format!("{to}{kind}"),
            rate / seconds,
            now.errors,
            millis(quantile(0.5, &recent)),
            millis(quantile(0.99, &recent)),
        );
    }
    text
}

/// The histogram of what came between two scrapes.
fn recent(before: &Traffic, now: &Traffic) -> Vec<(f64, f64)> {
    let earlier = |n: usize| before.buckets.get(n).map_or(0.0, |bucket| bucket.1);
    now.buckets.iter().enumerate().map(|(n, &(bound, count))| (bound, count - earlier(n))).collect()
}

fn millis(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.2} ms", seconds * 1e3))
}

/// Scrapes that the rates and quantiles look back on.
const WINDOW: usize = 11;
