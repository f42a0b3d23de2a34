//! Requests that tell what a proxy does, and whether two do the same.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use harness::client::{Client, Version};
use tokio::runtime::Runtime;

/// Sends probes; keeps a connection to each address.
pub(crate) struct Prober {
    runtime: Runtime,
    connections: HashMap<SocketAddr, Client>,
    requests: usize,
}

/// What a number of equal requests led to: how often to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome(BTreeMap<String, usize>);

/// Longer nothing may take.
const LONGEST: Duration = Duration::from_secs(5);

impl Prober {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, connections: HashMap::new(), requests: 0 })
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// Closes all connections.
    pub(crate) fn forget(&mut self) {
        self.connections.clear();
    }

    pub(crate) fn connect(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let client = self.runtime.block_on(Client::connect(address, Version::Http1))?;
        self.connections.insert(address, client);
        Ok(())
    }

    /// `GET path`, so many times; `is_fresh`: each on a connection of its own.
    pub(crate) fn ask(&mut self, address: SocketAddr, path: &str, times: usize, is_fresh: bool) -> Outcome {
        let mut outcome = Outcome::default();
        for _ in 0..times {
            *outcome.0.entry(self.one(address, path, is_fresh)).or_default() += 1;
        }
        self.requests += times;
        outcome
    }

    fn one(&mut self, address: SocketAddr, path: &str, is_fresh: bool) -> String {
        if is_fresh {
            self.connections.remove(&address);
        }
        // A connection that has idled may be one that is drained: that is no news about the route.
        for _ in 0..2 {
            if !self.connections.contains_key(&address) && self.connect(address).is_err() {
                return "no connection".to_owned();
            }
            let Some(client) = self.connections.get_mut(&address) else { continue };
            let answer = async { tokio::time::timeout(LONGEST, client.get(&format!("http://test{path}"))).await };
            match self.runtime.block_on(answer) {
                Ok(Ok(answer)) => {
                    if answer.header("connection") == "close" {
                        self.connections.remove(&address);
                    }
                    let who = answer.json()["server"].as_str().map(str::to_owned);
                    let what = who.unwrap_or_else(|| {
                        let is_ours = answer.status == 200;
                        if is_ours { String::from_utf8_lossy(&answer.body).into_owned() } else { String::new() }
                    });
                    return format!("{} {what}", answer.status.as_u16()).trim_end().to_owned();
                }
                Ok(Err(_)) => drop(self.connections.remove(&address)),
                Err(_) => {
                    self.connections.remove(&address);
                    return "no answer".to_owned();
                }
            }
        }
        "broken off".to_owned()
    }
}

impl Outcome {
    /// Whether both could be draws of the same: five standard deviations, and what a rotation begun elsewhere makes.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let total = |outcome: &Self| outcome.0.values().sum::<usize>() as f64;
        let (left, right) = (total(self), total(other));
        let share = |outcome: &Self, key: &String, total: f64| *outcome.0.get(key).unwrap_or(&0) as f64 / total;
        self.0.keys().chain(other.0.keys()).all(|key| {
            let (one, two) = (share(self, key, left), share(other, key, right));
            let mean = (one + two) / 2.0;
            let deviation = (mean * (1.0 - mean) * (1.0 / left + 1.0 / right)).sqrt();
            (one - two).abs() <= 5.0 * deviation + 1.0 / left.min(right) && !(left == 1.0 && one != two)
        })
    }

    /// What it always led to.
    pub(crate) fn only(&self) -> Option<&str> {
        let mut keys = self.0.keys();
        keys.next().filter(|_| self.0.len() == 1).map(String::as_str)
    }
}
