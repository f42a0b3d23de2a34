//! A management server's clusters, and changes of single endpoints: what they cost the agent and Envoy, fed by the same server with the
//! same bytes.
//!
//! All is live when the endpoints of every cluster are acknowledged, the listener that is sent only then is too, and a request
//! through the last cluster is answered. An update is in effect when a request reaches the endpoint that is new. Each proxy is
//! started for its turn, on a CPU of its own; server, client and backend share the other.

mod backend;
mod catalogue;
mod feed;
mod proxy;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use harness::config::own_address;
use harness::wire::Wire;

use crate::pods;
use backend::Backend;
use catalogue::Catalogue;
use feed::{Feed, Live};
use proxy::{Proxy, Subject};

/// How long, where, and how much of it.
#[derive(Clone, Debug, clap::Args)]
// The flattened one has a group of the same name.
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    common: pods::Args,
    /// Seconds of load, without updates and with
    #[arg(long)]
    seconds: u32,
    /// Envoy's program; without it the agent is alone
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// How many clusters; may be repeated
    #[arg(long, required = true)]
    clusters: Vec<u32>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // So are the threads that are started from here on.
    pods::pin(args.common.client_cpu)?;
    let backend = Backend::start()?;
    let subjects = [Some(Subject::Agent), args.envoy.clone().map(Subject::Envoy)];
    for &clusters in &args.clusters {
        let range = catalogue::ROUTED..catalogue::MOST;
        ensure!(range.contains(&clusters), "{clusters} clusters: from {} to {} it can be", range.start, range.end - 1);
        let catalogue = Catalogue::new(clusters, own_address(10000), backend.port())?;
        for _ in 0..args.common.runs {
            for subject in subjects.iter().flatten() {
                let server = Feed::start()?;
                let proxy = subject.start(server.address(), args.common.agent_cpu)?;
                let turn = Turn { subject, proxy, catalogue: &catalogue, case: clusters.to_string() };
                let done = turn.take(&server, args.seconds);
                let told = || format!("{} with {clusters} clusters; its log:\n{}", subject.name(), turn.proxy.log());
                done.with_context(told)?;
            }
        }
    }
    Ok(())
}

/// All that is measured of one proxy in one round.
struct Turn<'a> {
    subject: &'a Subject,
    proxy: Proxy,
    catalogue: &'a Catalogue,
    case: String,
}

impl Turn<'_> {
    fn take(&self, server: &Feed, seconds: u32) -> Result<()> {
        let mut live = self.start(server)?;
        self.time_updates(&mut live)?;
        self.count_updates(&mut live)?;
        self.hold_the_rate(&mut live, seconds)
    }

    /// From the first response until all is live, and how much memory that took.
    fn start<'c>(&'c self, server: &Feed) -> Result<Live<'c>> {
        let mut live = server.accept(self.catalogue)?;
        live.greet()?;
        thread::sleep(SETTLE);
        let before = self.proxy.resident_mb()?;
        let start = Instant::now();
        live.bring_up()?;
        let mut client = Client::connect(self.catalogue)?;
        let last = self.catalogue.count() - 1;
        while client.get(last)?.is_none() {
            ensure!(start.elapsed() < PATIENCE, "cluster {last} does not answer");
        }
        self.show("live_ms", milliseconds(start.elapsed()));
        thread::sleep(SETTLE);
        self.show("rss_growth_mb", self.proxy.resident_mb()? - before);
        Ok(live)
    }

    /// One update after another: how long until a request sees it.
    fn time_updates(&self, live: &mut Live<'_>) -> Result<()> {
        let mut client = Client::connect(self.catalogue)?;
        // There are connections to all endpoints before a change of one is timed.
        for _ in 0..20 {
            self.catalogue.routed().try_for_each(|cluster| client.get(cluster).map(drop))?;
        }
        let mut took = Vec::new();
        for cluster in self.catalogue.routed().cycle().take(TIMED) {
            let (update, address) = self.catalogue.update(cluster)?;
            let start = Instant::now();
            live.send(&update)?;
            while client.get(cluster)? != Some(address) {
                ensure!(start.elapsed() < PATIENCE, "an update of cluster {cluster} does not show");
            }
            took.push(start.elapsed());
            live.settle()?;
        }
        self.show("update_p99_ms", milliseconds(percentile_99(took)));
        Ok(())
    }

    /// Updates one by one, nothing else going on: the time they take of a CPU.
    fn count_updates(&self, live: &mut Live<'_>) -> Result<()> {
        let updates = self.updates(COUNTED)?;
        let before = self.proxy.cpu()?;
        live.send_at(&updates, COUNTED_PER_SECOND)?;
        let used = self.proxy.cpu()? - before;
        self.show("cpu_us_per_update", used.as_secs_f64() * 1e6 / f64::from(COUNTED));
        Ok(())
    }

    /// Requests through one cluster while the others are updated, and while they are not.
    fn hold_the_rate(&self, live: &mut Live<'_>, seconds: u32) -> Result<()> {
        let idle = self.under_load(|| {
            thread::sleep(Duration::from_secs(seconds.into()));
            Ok(())
        })?;
        pods::show(&format!("{}/idle", self.case), self.subject.name(), "p99_us", microseconds(idle.0));
        let count = SUSTAINED_PER_SECOND * seconds;
        let updates = self.updates(count)?;
        let busy = self.under_load(|| live.send_at(&updates, SUSTAINED_PER_SECOND))?;
        let case = format!("{}/updating", self.case);
        pods::show(&case, self.subject.name(), "p99_us", microseconds(busy.0));
        pods::show(&case, self.subject.name(), "updates_per_s", f64::from(count) / busy.1.as_secs_f64());
        Ok(())
    }

    /// What `meanwhile` returns, and the 99th percentile of requests on one connection while it runs.
    fn under_load<T: Send>(&self, meanwhile: impl FnOnce() -> Result<T> + Send) -> Result<(Duration, T)> {
        let mut client = Client::connect(self.catalogue)?;
        let over = AtomicBool::new(false);
        let over = &over;
        thread::scope(|scope| {
            let other = scope.spawn(move || {
                // What is measured goes first, as it would if each had a CPU.
                let done = feed::give_way().and_then(|()| meanwhile());
                over.store(true, Ordering::Relaxed);
                done
            });
            let mut took = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                client.get(self.catalogue.count() - 1)?;
                took.push(start.elapsed());
            }
            let done = other.join().map_err(|_| anyhow!("what goes on beside the load panicked"))??;
            Ok((percentile_99(took), done))
        })
    }

    /// Updates of clusters all over, but for the last.
    fn updates(&self, count: u32) -> Result<Vec<Vec<u8>>> {
        let others = self.catalogue.count() - 1;
        (0..count).map(|n| Ok(self.catalogue.update(n.wrapping_mul(STRIDE) % others)?.0)).collect()
    }

    fn show(&self, metric: &str, value: f64) {
        pods::show(&self.case, self.subject.name(), metric, value);
    }
}

/// One connection to a proxy's listener.
struct Client(Wire);

impl Client {
    fn connect(catalogue: &Catalogue) -> Result<Self> {
        let address: SocketAddr = catalogue.address();
        Ok(Self(Wire::connect(address).with_context(|| address.to_string())?))
    }

    /// Which endpoint of a cluster a request reaches; `None` if it reaches none.
    fn get(&mut self, cluster: u32) -> Result<Option<IpAddr>> {
        self.0.send(format!("GET {} HTTP/1.1\r\nhost: bench\r\n\r\n", catalogue::path(cluster)))?;
        let response = self.0.response()?;
        Ok((response.status == 200).then(|| backend::reached(&response.body)).flatten())
    }
}

fn percentile_99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// For memory to come to rest.
const SETTLE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);
/// Updates whose effect is waited for.
const TIMED: usize = 500;
/// Updates whose CPU time is counted: few enough each second that none waits for another.
const COUNTED: u32 = 1000;
const COUNTED_PER_SECOND: u32 = 250;
const SUSTAINED_PER_SECOND: u32 = 2000;
/// From one cluster to the next: a prime, so that all get their turn.
const STRIDE: u32 = 7919;
