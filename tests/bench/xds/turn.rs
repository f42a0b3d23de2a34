//! What is measured of one proxy in one round.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::pods;
use crate::xds::catalogue::Catalogue;
use crate::xds::feed::{Feed, Live};
use crate::xds::proxy::Proxy;

/// A proxy, started for its turn.
pub(crate) struct Turn<'a> {
    pub(crate) subject: &'static str,
    pub(crate) proxy: Proxy,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) case: String,
}

/// Somebody who uses clusters.
pub(crate) trait Client {
    /// Which endpoint of a cluster answers; `None` if none does.
    fn reach(&mut self, cluster: u32) -> Result<Option<SocketAddr>>;
}

impl<'a> Turn<'a> {
    /// From the first response until all is live, and how much memory that took.
    pub(crate) fn start<C: Client>(&self, server: &Feed, connect: impl FnOnce() -> Result<C>) -> Result<(Live<'a>, C)> {
        let mut live = server.accept(self.catalogue)?;
        thread::sleep(SETTLE);
        let before = self.proxy.resident_mb()?;
        let start = Instant::now();
        live.bring_up()?;
        let mut client = connect()?;
        let last = self.catalogue.count() - 1;
        while client.reach(last)?.is_none() {
            ensure!(start.elapsed() < PATIENCE, "cluster {last} does not answer");
        }
        self.show("live_ms", start.elapsed().as_secs_f64() * 1e3);
        thread::sleep(SETTLE);
        self.show("rss_growth_mb", self.proxy.resident_mb()? - before);
        Ok((live, client))
    }

    /// One update after another: how long until the client sees it.
    pub(crate) fn time_updates(&self, live: &mut Live<'_>, client: &mut impl Client) -> Result<()> {
        // There are connections to all endpoints before a change of one is timed.
        for _ in 0..20 {
            self.catalogue.some().try_for_each(|cluster| client.reach(cluster).map(drop))?;
        }
        let mut took = Vec::new();
        for cluster in self.catalogue.some().cycle().take(TIMED) {
            let (update, address) = self.catalogue.update(cluster)?;
            let start = Instant::now();
            live.send(&update)?;
            while client.reach(cluster)? != Some(address) {
                ensure!(start.elapsed() < PATIENCE, "an update of cluster {cluster} does not show");
            }
            took.push(start.elapsed());
            live.settle()?;
        }
        self.show("update_p99_ms", percentile_99(took).as_secs_f64() * 1e3);
        Ok(())
    }

    /// Updates one by one, nothing else going on: the time they take of a CPU.
    pub(crate) fn count_updates(&self, live: &mut Live<'_>) -> Result<()> {
        let updates = self.updates(COUNTED)?;
        let before = self.proxy.cpu()?;
        live.send_at(&updates, COUNTED_PER_SECOND)?;
        let used = self.proxy.cpu()? - before;
        self.show("cpu_us_per_update", used.as_secs_f64() * 1e6 / f64::from(COUNTED));
        Ok(())
    }

    /// Requests to one cluster while the others are updated, and while they are not.
    pub(crate) fn hold_the_rate(
        &self,
        live: &mut Live<'_>,
        client: &mut (impl Client + Send),
        seconds: u32,
    ) -> Result<()> {
        let (idle, ()) = self.under_load(client, || {
            thread::sleep(Duration::from_secs(seconds.into()));
            Ok(())
        })?;
        self.show_of("idle", "p99_us", idle.as_secs_f64() * 1e6);
        let count = SUSTAINED_PER_SECOND * seconds;
        let updates = self.updates(count)?;
        let (busy, took) = self.under_load(client, || live.send_at(&updates, SUSTAINED_PER_SECOND))?;
        self.show_of("updating", "p99_us", busy.as_secs_f64() * 1e6);
        self.show_of("updating", "updates_per_s", f64::from(count) / took.as_secs_f64());
        Ok(())
    }

    /// What `meanwhile` returns, and the 99th percentile of requests, one after another, while it runs.
    fn under_load<T>(
        &self,
        client: &mut (impl Client + Send),
        meanwhile: impl FnOnce() -> Result<T>,
    ) -> Result<(Duration, T)> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let load = scope.spawn(|| {
                go_first()?;
                let mut took = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    client.reach(self.catalogue.count() - 1)?;
                    took.push(start.elapsed());
                }
                Ok(percentile_99(took))
            });
            let done = meanwhile();
            over.store(true, Ordering::Relaxed);
            let load: Result<_> = load.join().map_err(|_| anyhow!("the load panicked"))?;
            Ok((load?, done?))
        })
    }

    /// Updates of clusters all over, but for the last.
    fn updates(&self, count: u32) -> Result<Vec<Vec<u8>>> {
        let others = self.catalogue.count() - 1;
        (0..count).map(|n| Ok(self.catalogue.update(n.wrapping_mul(STRIDE) % others)?.0)).collect()
    }

    fn show(&self, metric: &str, value: f64) {
        pods::show(&self.case, self.subject, metric, value);
    }

    fn show_of(&self, part: &str, metric: &str, value: f64) {
        pods::show(&format!("{}/{part}", self.case), self.subject, metric, value);
    }
}

/// What requests pass through on this side goes before what updates do, on the CPU that they share: nothing but the proxy is to make
/// them slower.
pub(crate) fn go_first() -> Result<()> {
    rustix::process::setpriority_process(None, -15).context("a higher priority")
}

fn percentile_99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
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
