//! What the server has been told, and what comes next: each update is drawn from a seed and keeps to what a sane server does,
//! routes only to clusters that there are, for instance. Clusters may go while routes name them; wrong resources are mended with the
//! update that follows.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use harness::ads::message::{CDS, EDS, LDS, RDS};
use harness::config::with;
use serde_json::{Value, json};

use super::parts::{PATHS, Serves, any_cluster, any_endpoints, any_routes, own_listener};
use super::random::Random;
use super::server::Push;
use crate::setup::{eds_cluster, endpoints, routes};

/// Where the listener is that stays.
pub(super) const MAIN_PORT: u16 = 10_000;
/// Requests of a probe whose answer may be one of several.
const TIMES: usize = 40;
const CLUSTERS: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];
const EXTRA: [(&str, u16); 2] = [("x0", MAIN_PORT + 1), ("x1", MAIN_PORT + 2)];

/// Resources by kind and name, and the dice.
#[derive(Debug)]
pub(crate) struct Model {
    random: Random,
    revision: u64,
    upstreams: Vec<SocketAddr>,
    /// As last set, by kind and name.
    resources: BTreeMap<(&'static str, String), Value>,
    /// What serves what beside the main listener, by its place in [`EXTRA`].
    extra: BTreeMap<usize, Serves>,
    /// What has to be sent again because the last update spoilt it.
    spoilt: Option<Push>,
}

/// Something that changes.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) what: String,
    /// One after another; whether each has to be refused.
    pub(crate) pushes: Vec<(Push, bool)>,
}

/// A request, and what may be said about its answer beforehand.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) times: usize,
    /// Each on a connection of its own: where connections are balanced, not requests.
    pub(crate) is_fresh: bool,
    pub(crate) expected: Option<String>,
}

impl Model {
    pub(crate) fn new(seed: u64, upstreams: Vec<SocketAddr>) -> Self {
        let (resources, extra) = (BTreeMap::new(), BTreeMap::new());
        Self { random: Random::new(seed), revision: 0, upstreams, resources, extra, spoilt: None }
    }

    /// What is there before anybody asks.
    pub(crate) fn first(&mut self) -> Push {
        let mut push = Push::default();
        self.set(&mut push, CDS, eds_cluster("steady"));
        let two = endpoints("steady", &self.upstreams[..2]);
        self.set(&mut push, EDS, two);
        self.add_cluster("c0", &mut push);
        self.change_main(&mut push);
        self.change_routes("main", &mut push);
        push
    }

    /// The next update.
    pub(crate) fn next(&mut self) -> Update {
        let mut pushes: Vec<_> = self.spoilt.take().map(|push| (push, false)).into_iter().collect();
        let mut push = Push::default();
        let (what, is_wrong) = loop {
            let drawn = self.random.below(16);
            if let Some(what) = self.draw(drawn, &mut push) {
                break (what, (12..14).contains(&drawn));
            }
        };
        pushes.push((push, is_wrong));
        Update { what, pushes }
    }

    /// Requests that tell whether the last update has come.
    pub(crate) fn probes(&self) -> Vec<Probe> {
        let mut probes = self.http_probes(MAIN_PORT, &self.resources[&(RDS, "main".to_owned())]["virtual_hosts"]);
        for (index, (_, port)) in EXTRA.into_iter().enumerate() {
            match self.extra.get(&index) {
                Some(Serves::Discovered(name)) => {
                    let routes = &self.resources[&(RDS, (*name).to_owned())]["virtual_hosts"];
                    probes.extend(self.http_probes(port, routes));
                }
                Some(Serves::Inline(routes)) => {
                    probes.extend(self.http_probes(port, &json!([{ "routes": routes }])));
                }
                Some(Serves::Tcp(_)) => probes.push(Probe {
                    port,
                    path: "/tcp".to_owned(),
                    times: TIMES / 3,
                    is_fresh: true,
                    expected: None,
                }),
                None => probes.push(Probe {
                    port,
                    path: "/rev".to_owned(),
                    times: 1,
                    is_fresh: true,
                    expected: Some("no connection".to_owned()),
                }),
            }
        }
        probes
    }

    /// Everything, for who looks into a difference.
    pub(crate) fn show(&self) -> String {
        self.resources.values().map(|value| format!("\n    {value}")).collect()
    }

    fn http_probes(&self, port: u16, hosts: &Value) -> Vec<Probe> {
        let revision = &hosts[0]["routes"][0]["direct_response"]["body"]["inline_string"];
        let expected = Some(format!("200 {}", revision.as_str().unwrap_or_default()));
        let mut probes = vec![Probe { port, path: "/rev".to_owned(), times: 1, is_fresh: false, expected }];
        for path in PATHS.into_iter().chain(["/steady", "/p0/more", "/nobody"]) {
            let has_chance = path == "/steady" || PATHS.contains(&path);
            let times = if has_chance { TIMES } else { 1 };
            let is_steady = path == "/p0/more";
            let times = if is_steady { TIMES / 2 } else { times };
            probes.push(Probe { port, path: path.to_owned(), times, is_fresh: false, expected: None });
        }
        probes
    }

    /// One sort of update; `None` if there is nothing that it could be done to.
    fn draw(&mut self, drawn: usize, push: &mut Push) -> Option<String> {
        let present: Vec<String> = self.present();
        Some(match drawn {
            0 | 1 => {
                let absent: Vec<_> = CLUSTERS.into_iter().filter(|name| !present.iter().any(|it| it == name)).collect();
                let name = *absent.get(self.random.below(absent.len().max(1)))?;
                self.add_cluster(name, push);
                self.change_routes("main", push);
                format!("cluster {name} is added, with routes to it")
            }
            2 => {
                let name = self.one_of(&present)?;
                self.add_cluster(&name, push);
                format!("cluster {name} and its endpoints are changed")
            }
            3 => {
                let name = self.one_of(&present)?;
                self.remove_cluster(&name, push);
                self.change_routes("main", push);
                format!("cluster {name} is removed, after the routes to it")
            }
            4 => {
                let name = self.one_of(&present)?;
                self.remove_cluster(&name, push);
                format!("cluster {name} is removed, and routes may name it still")
            }
            5..=7 => {
                let name = self.one_of(&present)?;
                let new = any_endpoints(&mut self.random, &name, &self.upstreams);
                self.set(push, EDS, new);
                format!("endpoints of {name} are changed")
            }
            8 => {
                self.change_routes("main", push);
                "routes are changed".to_owned()
            }
            9 => {
                let index = self.random.below(EXTRA.len());
                self.change_extra(index, &present, push);
                format!("listener {} is added or changed", EXTRA[index].0)
            }
            10 => {
                let index = *self.extra.keys().next()?;
                self.extra.remove(&index);
                self.resources.remove(&(LDS, EXTRA[index].0.to_owned()));
                push.gone.push((LDS, EXTRA[index].0.to_owned()));
                format!("listener {} is removed", EXTRA[index].0)
            }
            11 => self.change_steady(push),
            12 | 13 => self.spoil(push)?,
            14 => {
                let kind = *self.random.pick(&[EDS, RDS]);
                let name = if kind == RDS { "main".to_owned() } else { self.one_of(&present)? };
                let before = self.resources.get(&(kind, name.clone()))?.clone();
                self.spoilt = Some(Push { set: vec![(kind, name.clone(), before)], ..Push::default() });
                push.gone.push((kind, name.clone()));
                format!("{name} of {kind} is gone while it is in use")
            }
            _ => {
                push.breaks = true;
                let name = self.one_of(&present)?;
                let new = any_endpoints(&mut self.random, &name, &self.upstreams);
                self.set(push, EDS, new);
                "the streams break off, and endpoints change meanwhile".to_owned()
            }
        })
    }

    fn change_steady(&mut self, push: &mut Push) -> String {
        match self.random.below(3) {
            0 => {
                let first = self.random.below(self.upstreams.len() - 2);
                let new = endpoints("steady", &self.upstreams[first..first + 2]);
                self.set(push, EDS, new);
                "the steady cluster gets other endpoints".to_owned()
            }
            1 => {
                let timeout = json!({ "connect_timeout": format!("{}s", 2 + self.random.below(9)) });
                self.set(push, CDS, with(eds_cluster("steady"), timeout));
                let before = self.resources[&(EDS, "steady".to_owned())].clone();
                self.set(push, EDS, before);
                "the steady cluster is changed".to_owned()
            }
            _ => {
                self.change_main(push);
                "the main listener is changed".to_owned()
            }
        }
    }

    /// Something that both have to refuse; what was there before stays.
    fn spoil(&mut self, push: &mut Push) -> Option<String> {
        let present = self.present();
        let (kind, name, wrong) = match self.random.below(6) {
            0 => {
                let name = self.one_of(&present)?;
                (CDS, name.clone(), with(eds_cluster(&name), json!({ "lb_policy": "CLUSTER_PROVIDED" })))
            }
            1 => {
                let name = self.one_of(&present)?;
                (CDS, name.clone(), with(eds_cluster(&name), json!({ "eds_cluster_config": {} })))
            }
            2 => {
                let name = self.one_of(&present)?;
                let address = json!({ "socket_address": { "address": "nowhere", "port_value": 1 } });
                let wrong = json!([{ "lb_endpoints": [{ "endpoint": { "address": address } }] }]);
                // Those of a cluster that has its own are asked for by nobody.
                let is_asked_for = self.resources[&(CDS, name.clone())]["type"] == "EDS";
                is_asked_for.then(|| (EDS, name.clone(), json!({ "cluster_name": name, "endpoints": wrong })))?
            }
            3 => {
                let host = |name: &str| json!({ "name": name, "domains": ["*"], "routes": [] });
                let wrong = json!({ "name": "main", "virtual_hosts": [host("one"), host("two")] });
                (RDS, "main".to_owned(), wrong)
            }
            4 => {
                let matches = json!({ "safe_regex": { "regex": "(" } });
                let route = json!([{ "match": matches, "route": { "cluster": "steady" } }]);
                (RDS, "main".to_owned(), routes("main", route))
            }
            _ => {
                let mut wrong = own_listener("main", MAIN_PORT, &Serves::Discovered("main"), 0);
                wrong["filter_chains"][0]["filters"][0]["typed_config"]["rds"] = Value::Null;
                (LDS, "main".to_owned(), wrong)
            }
        };
        let before = self.resources.get(&(kind, name.clone()))?.clone();
        self.spoilt = Some(Push { set: vec![(kind, name.clone(), before)], ..Push::default() });
        let what = format!("{name} of {kind} is wrong");
        push.set.push((kind, name, wrong));
        Some(what)
    }

    fn add_cluster(&mut self, name: &str, push: &mut Push) {
        let cluster = any_cluster(&mut self.random, name, &self.upstreams);
        let is_eds = cluster["type"] == "EDS";
        self.set(push, CDS, cluster);
        // Sent with every change of the cluster: Envoy waits for it again, the agent keeps what it has.
        let assignment = any_endpoints(&mut self.random, name, &self.upstreams);
        if is_eds {
            self.set(push, EDS, assignment);
        }
    }

    fn remove_cluster(&mut self, name: &str, push: &mut Push) {
        for kind in [CDS, EDS] {
            if self.resources.remove(&(kind, name.to_owned())).is_some() {
                push.gone.push((kind, name.to_owned()));
            }
        }
    }

    fn change_main(&mut self, push: &mut Push) {
        self.revision += 1;
        let listener = own_listener("main", MAIN_PORT, &Serves::Discovered("main"), self.revision);
        self.set(push, LDS, listener);
    }

    fn change_extra(&mut self, index: usize, present: &[String], push: &mut Push) {
        let (name, port) = EXTRA[index];
        let serves = match (self.random.below(3), present.first()) {
            (0, Some(cluster)) => Serves::Tcp(cluster.clone()),
            (1, _) => {
                self.revision += 1;
                Serves::Inline(any_routes(&mut self.random, self.revision, present))
            }
            _ => Serves::Discovered("extra"),
        };
        // What it names has to be there, or one waits for it and the other does not.
        self.change_routes("extra", push);
        self.revision += 1;
        let listener = own_listener(name, port, &serves, self.revision);
        self.set(push, LDS, listener);
        self.extra.insert(index, serves);
    }

    fn change_routes(&mut self, name: &'static str, push: &mut Push) {
        self.revision += 1;
        let present = self.present();
        let table = any_routes(&mut self.random, self.revision, &present);
        self.set(push, RDS, routes(name, table));
    }

    fn set(&mut self, push: &mut Push, kind: &'static str, resource: Value) {
        let name = resource.get("name").or(resource.get("cluster_name")).and_then(Value::as_str).expect("a name");
        self.resources.insert((kind, name.to_owned()), resource.clone());
        push.set.push((kind, name.to_owned(), resource));
    }

    /// Clusters that come and go.
    fn present(&self) -> Vec<String> {
        let all = self.resources.keys().filter(|(kind, name)| *kind == CDS && name != "steady");
        all.map(|(_, name)| name.clone()).collect()
    }

    fn one_of(&mut self, names: &[String]) -> Option<String> {
        names.get(self.random.below(names.len().max(1))).cloned()
    }
}
