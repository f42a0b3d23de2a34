//! What the management server has: so many clusters of ten endpoints, and listeners that lead to them. Encoded before anything is
//! timed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use harness::ads::encode::encode;
use harness::ads::message::{Any, CDS, DeltaResponse, EDS, LDS, Resource};
use harness::config::{http, listener, service, tcp, with};
use prost::Message as _;
use serde_json::{Value, json};

/// Endpoints of each cluster.
const ENDPOINTS: u32 = 10;
/// How many are looked at.
pub(crate) const SOME: u32 = 20;
/// What five digits can name.
pub(crate) const MOST: u32 = 100_000;

/// Resources, each in the form of a field of a delta response: put one after another they are one.
#[derive(Debug)]
pub(crate) struct Catalogue {
    clusters: Vec<u8>,
    endpoints: Vec<Vec<u8>>,
    listeners: Vec<u8>,
    place: Place,
    /// The number of the next endpoint that is new.
    fresh: AtomicU32,
}

/// Where endpoints are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// Each at an address of its own, of this machine, all at this port.
    Here(u16),
    /// All at this address, each of a cluster at a port of its own.
    Pod(Ipv4Addr),
}

impl Catalogue {
    /// `count` clusters, and an HTTP listener at `address` with routes to some of them.
    pub(crate) fn routes(count: u32, address: SocketAddr, place: Place) -> Result<Self> {
        let route = |cluster: u32| {
            let name = name(cluster);
            json!({ "match": { "prefix": format!("/{name}") }, "route": { "cluster": name } })
        };
        let routes: Vec<_> = some(count).map(route).collect();
        let listener = with(listener(address, http(json!(routes))), json!({ "name": "routes" }));
        Self::new(count, place, field(LDS, "routes", &listener)?)
    }

    /// `count` clusters, and as many services, one for each, that need no agent.
    pub(crate) fn services(count: u32, place: Place) -> Result<Self> {
        let mut listeners = Vec::new();
        for cluster in 0..count {
            let name = name(cluster);
            let listener = service(service_of(cluster), tcp(&name));
            listeners.extend(field(LDS, &name, &with(listener, json!({ "name": name })))?);
        }
        Self::new(count, place, listeners)
    }

    fn new(count: u32, place: Place, listeners: Vec<u8>) -> Result<Self> {
        let mut clusters = Vec::new();
        let mut endpoints = Vec::new();
        for cluster in 0..count {
            clusters.extend(field(CDS, &name(cluster), &self::cluster(cluster))?);
            endpoints.push(field(EDS, &name(cluster), &assignment(cluster, None, place))?);
        }
        Ok(Self { clusters, endpoints, listeners, place, fresh: AtomicU32::new(0) })
    }

    /// How many clusters there are.
    pub(crate) fn count(&self) -> u32 {
        self.endpoints.len().try_into().unwrap_or(u32::MAX)
    }

    /// Some clusters, the last among them; with [`Self::routes`] those that there are routes to.
    pub(crate) fn some(&self) -> impl Iterator<Item = u32> + Clone {
        some(self.count())
    }

    pub(crate) fn clusters(&self) -> &[u8] {
        &self.clusters
    }

    pub(crate) fn listeners(&self) -> &[u8] {
        &self.listeners
    }

    /// The endpoints of the cluster of that name.
    pub(crate) fn endpoints(&self, name: &str) -> Option<&[u8]> {
        let index: usize = name.strip_prefix('c')?.parse().ok()?;
        self.endpoints.get(index).map(Vec::as_slice)
    }

    /// One endpoint of a cluster is another: what the server has to say, and where the new one is.
    pub(crate) fn update(&self, cluster: u32) -> Result<(Vec<u8>, SocketAddr)> {
        let fresh = self.fresh.fetch_add(1, Ordering::Relaxed);
        let update = field(EDS, &name(cluster), &assignment(cluster, Some(fresh), self.place))?;
        Ok((update, self.place.fresh(fresh)))
    }
}

/// The path that leads to a cluster.
pub(crate) fn path(cluster: u32) -> String {
    format!("/{}", name(cluster))
}

/// The address of a cluster's service.
pub(crate) fn service_of(cluster: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + cluster), 80))
}

fn name(cluster: u32) -> String {
    format!("c{cluster:05}")
}

fn some(count: u32) -> impl Iterator<Item = u32> + Clone {
    (1..=SOME).map(move |n| n * (count / SOME) - 1)
}

fn cluster(cluster: u32) -> Value {
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let eds = json!({ "eds_config": ads });
    json!({ "name": name(cluster), "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": eds })
}

/// A cluster's endpoints, of which the first may be one that is new.
fn assignment(cluster: u32, fresh: Option<u32>, place: Place) -> Value {
    let endpoint = |address: SocketAddr, weight: u32| {
        let address = json!({ "address": address.ip().to_string(), "port_value": address.port() });
        json!({ "endpoint": { "address": { "socket_address": address } }, "load_balancing_weight": weight })
    };
    let first = match fresh {
        Some(number) => endpoint(place.fresh(number), place.weight()),
        None => endpoint(place.old(cluster, 0), 1),
    };
    let rest = (1..ENDPOINTS).map(|index| endpoint(place.old(cluster, index), 1));
    let endpoints: Vec<_> = std::iter::once(first).chain(rest).collect();
    json!({ "cluster_name": name(cluster), "endpoints": [{ "lb_endpoints": endpoints }] })
}

impl Place {
    fn old(self, cluster: u32, index: u32) -> SocketAddr {
        match self {
            Self::Here(port) => SocketAddr::from((Ipv4Addr::from(OLD + cluster * ENDPOINTS + index), port)),
            Self::Pod(address) => SocketAddr::from((address, PORT + index as u16)),
        }
    }

    fn fresh(self, number: u32) -> SocketAddr {
        match self {
            Self::Here(port) => SocketAddr::from((Ipv4Addr::from(FRESH + number), port)),
            Self::Pod(address) => SocketAddr::from((address, PORT + (ENDPOINTS + number % FRESH_PORTS) as u16)),
        }
    }

    /// Of what is new. The kernel throws dice for each connection: how long until it falls on what is new is not to be measured.
    fn weight(self) -> u32 {
        match self {
            Self::Here(_) => 1,
            Self::Pod(_) => 1000,
        }
    }

    /// At which ports endpoints are, of [`Place::Pod`].
    pub(crate) fn ports() -> std::ops::Range<u16> {
        PORT..PORT + (ENDPOINTS + FRESH_PORTS) as u16
    }
}

/// The first address of endpoints: away from 127.0.0.1.
const OLD: u32 = 0x7f01_0000;
/// The first of those that come later.
const FRESH: u32 = 0x7f40_0000;
/// The first port of a pod.
const PORT: u16 = 8000;
/// What comes later changes between so many: not a divisor of anything, so that none follows itself.
const FRESH_PORTS: u32 = 7;

fn field(kind: &str, name: &str, value: &Value) -> Result<Vec<u8>> {
    let message = kind.rsplit('/').next().unwrap_or_default();
    let bytes = encode(message, value).with_context(|| name.to_owned())?;
    let any = Any { type_url: kind.to_owned(), value: bytes.into() };
    let resource =
        Resource { version: "1".to_owned(), resource: Some(any), name: name.to_owned(), aliases: Vec::new() };
    Ok(DeltaResponse { resources: vec![resource], ..DeltaResponse::default() }.encode_to_vec())
}
