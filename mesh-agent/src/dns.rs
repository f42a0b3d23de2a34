//! `STRICT_DNS` clusters: their names are looked up again and again, and every address found is an endpoint.
//!
//! Names are resolved the way the host does it (`getaddrinfo`: hosts file, search domains). A look-up that fails leaves the
//! endpoints as they are, as Envoy does; one that answers replaces them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::model::cluster::{Cluster, Discovery, DnsFamily};
use crate::model::endpoint::{DnsHost, Endpoint, Roster};
use crate::model::name::ClusterName;
use crate::snapshot::EndpointSet;

/// Answers that may wait to go live.
const QUEUE: usize = 64;
/// A resolver that does not answer must not hold up the next attempt for ever.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// A cluster's endpoints as just resolved; `None` if the first look-up failed, so that nobody waits for it.
pub type Answer = (ClusterName, Option<Arc<EndpointSet>>);

/// Looks names up in the background until dropped.
#[derive(Debug)]
pub struct Resolver {
    answers: mpsc::Receiver<Answer>,
    sender: mpsc::Sender<Answer>,
    waiting: HashSet<ClusterName>,
    tasks: JoinSet<()>,
    followed: HashMap<ClusterName, AbortHandle>,
}

impl Resolver {
    /// Starts looking up the names of every cluster that has some.
    #[must_use]
    pub fn start(clusters: &[Arc<Cluster>]) -> Self {
        let (sender, answers) = mpsc::channel(QUEUE);
        let (waiting, tasks, followed) = (HashSet::new(), JoinSet::new(), HashMap::new());
        let mut resolver = Self { answers, sender, waiting, tasks, followed };
        clusters.iter().for_each(|cluster| resolver.follow(cluster));
        resolver
    }

    /// Looks up the names of a cluster from now on, if it has some; whatever it had before is forgotten.
    pub fn follow(&mut self, cluster: &Arc<Cluster>) {
        self.forget(&cluster.name);
        if matches!(cluster.discovery, Discovery::StrictDns { .. }) {
            self.waiting.insert(cluster.name.clone());
            let task = self.tasks.spawn(follow(Arc::clone(cluster), self.sender.clone()));
            self.followed.insert(cluster.name.clone(), task);
        }
    }

    /// The cluster is gone.
    pub fn forget(&mut self, cluster: &ClusterName) {
        self.waiting.remove(cluster);
        if let Some(task) = self.followed.remove(cluster) {
            task.abort();
        }
        // Those that have ended are kept until somebody looks.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Whether some cluster has not been looked up even once.
    #[must_use]
    pub fn warming(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next change of a cluster's endpoints; waits for ever if there can be none.
    pub async fn next(&mut self) -> Answer {
        match self.answers.recv().await {
            Some(answer) => {
                self.waiting.remove(&answer.0);
                answer
            }
            None => std::future::pending().await,
        }
    }
}

/// Looks one cluster's names up, and tells when what they stand for has changed.
async fn follow(cluster: Arc<Cluster>, answers: mpsc::Sender<Answer>) {
    let Discovery::StrictDns { hosts, refresh, family } = &cluster.discovery else { return };
    let name = &cluster.name;
    let mut known: Vec<Option<Vec<SocketAddr>>> = vec![None; hosts.endpoints.len()];
    let mut failing = vec![false; hosts.endpoints.len()];
    let mut told: Option<Option<Arc<EndpointSet>>> = None;
    loop {
        for (index, host) in hosts.endpoints.iter().enumerate() {
            let answer = look_up(host, *family).await;
            let failed = answer.is_err();
            match answer {
                Ok(addresses) => known[index] = Some(addresses),
                Err(error) if failing[index] => {
                    tracing::debug!(cluster = %name, host = host.host, %error, "still not resolved")
                }
                // Said once: the next attempt is a few seconds away.
                Err(error) => tracing::warn!(cluster = %name, host = host.host, %error, "name not resolved"),
            }
            failing[index] = failed;
        }
        let answer =
            known.iter().any(Option::is_some).then(|| Arc::new(EndpointSet::new(endpoints(hosts, &known), &cluster)));
        if told.as_ref() != Some(&answer) {
            told = Some(answer.clone());
            if answers.send((name.clone(), answer)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(*refresh).await;
    }
}

async fn look_up(host: &DnsHost, family: DnsFamily) -> io::Result<Vec<SocketAddr>> {
    let lookup = tokio::net::lookup_host((host.host.as_str(), host.port));
    let addresses = tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let mut addresses = of_family(addresses.collect(), family);
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

fn of_family(addresses: Vec<SocketAddr>, family: DnsFamily) -> Vec<SocketAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| address.is_ipv4());
    match family {
        DnsFamily::V4Only => v4,
        DnsFamily::V6Only => v6,
        DnsFamily::Auto if v6.is_empty() => v4,
        DnsFamily::Auto => v6,
        DnsFamily::V4Preferred if v4.is_empty() => v6,
        DnsFamily::V4Preferred => v4,
        DnsFamily::All => addresses,
    }
}

/// Every address of every name, each once.
fn endpoints(hosts: &Roster<DnsHost>, known: &[Option<Vec<SocketAddr>>]) -> Roster<Endpoint> {
    let mut seen = HashSet::new();
    let found = hosts.endpoints.iter().zip(known).flat_map(|(host, addresses)| {
        addresses.iter().flatten().map(move |address| Endpoint {
            address: *address,
            weight: host.weight,
            hostname: Some(host.host.clone()),
            health: host.health,
            hash_key: host.hash_key.clone(),
            group: Arc::clone(&host.group),
        })
    });
    let endpoints = found.filter(|endpoint| seen.insert(endpoint.address)).collect();
    Roster { endpoints, policy: hosts.policy }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{endpoints, of_family};
    use std::sync::Arc;

    use crate::model::cluster::DnsFamily;
    use crate::model::endpoint::{DnsHost, Health, Roster};

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split(' ').filter(|word| !word.is_empty()).map(|word| word.parse().expect("an address")).collect()
    }

    #[test]
    fn families() {
        let cases = [
            (DnsFamily::Auto, "1.1.1.1:1 [::1]:1", "[::1]:1"),
            (DnsFamily::Auto, "1.1.1.1:1", "1.1.1.1:1"),
            (DnsFamily::V4Only, "[::1]:1", ""),
            (DnsFamily::V6Only, "1.1.1.1:1 [::1]:1", "[::1]:1"),
            (DnsFamily::V4Preferred, "1.1.1.1:1 [::1]:1", "1.1.1.1:1"),
            (DnsFamily::V4Preferred, "[::1]:1", "[::1]:1"),
            (DnsFamily::All, "1.1.1.1:1 [::1]:1", "1.1.1.1:1 [::1]:1"),
        ];
        for (family, found, expected) in cases {
            assert_eq!(of_family(addresses(found), family), addresses(expected), "{family:?} of {found}");
        }
    }

    #[test]
    fn an_address_behind_two_names_is_one_endpoint() {
        let host = |name: &str| {
            let (health, group) = (Health::Unknown, Arc::default());
            DnsHost { host: name.into(), port: 80, weight: 1, health, hash_key: None, group }
        };
        let known = [Some(addresses("1.1.1.1:80 1.1.1.2:80")), None, Some(addresses("1.1.1.2:80"))];
        let hosts = Roster { endpoints: vec![host("a"), host("failed"), host("b")], ..Roster::default() };
        let set = endpoints(&hosts, &known);
        let found: Vec<_> = set.endpoints.iter().map(|endpoint| endpoint.address).collect();
        assert_eq!(found, addresses("1.1.1.1:80 1.1.1.2:80"));
    }
}
