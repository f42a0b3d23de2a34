//! What the management server has: so many clusters of ten endpoints, and a listener with routes to a few of them. Encoded before
//! anything is timed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use harness::ads::encode::encode;
use harness::ads::message::{Any, CDS, DeltaResponse, EDS, LDS, Resource};
use harness::config::{http, listener, with};
use prost::Message as _;
use serde_json::{Value, json};

/// Endpoints of each cluster.
const ENDPOINTS: u32 = 10;
/// Clusters that there are routes to.
pub(crate) const ROUTED: u32 = 20;
/// What five digits can name.
pub(crate) const MOST: u32 = 100_000;

/// Resources, each in the form of a field of a delta response: put one after another they are one.
#[derive(Debug)]
pub(crate) struct Catalogue {
    clusters: Vec<u8>,
    endpoints: Vec<Vec<u8>>,
    listener: Vec<u8>,
    address: SocketAddr,
    port: u16,
    /// The number of the next address that no endpoint ever had.
    fresh: AtomicU32,
}

impl Catalogue {
    /// `count` clusters whose endpoints are at `port`, and an HTTP listener at `address`.
    pub(crate) fn new(count: u32, address: SocketAddr, port: u16) -> Result<Self> {
        let mut clusters = Vec::new();
        let mut endpoints = Vec::new();
        for cluster in 0..count {
            clusters.extend(field(CDS, &name(cluster), &self::cluster(cluster))?);
            endpoints.push(field(EDS, &name(cluster), &assignment(cluster, cluster * ENDPOINTS, port))?);
        }
        let route = |cluster: u32| {
            let name = name(cluster);
            json!({ "match": { "prefix": format!("/{name}") }, "route": { "cluster": name } })
        };
        let routes: Vec<_> = routed(count).map(route).collect();
        let listener = with(listener(address, http(json!(routes))), json!({ "name": "routes" }));
        let listener = field(LDS, "routes", &listener)?;
        Ok(Self { clusters, endpoints, listener, address, port, fresh: AtomicU32::new(count * ENDPOINTS) })
    }

    /// How many clusters there are.
    pub(crate) fn count(&self) -> u32 {
        self.endpoints.len().try_into().unwrap_or(u32::MAX)
    }

    /// Where the listener is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The clusters that there are routes to, the last among them.
    pub(crate) fn routed(&self) -> impl Iterator<Item = u32> + Clone {
        routed(self.count())
    }

    pub(crate) fn clusters(&self) -> &[u8] {
        &self.clusters
    }

    pub(crate) fn listener(&self) -> &[u8] {
        &self.listener
    }

    /// The endpoints of the cluster of that name.
    pub(crate) fn endpoints(&self, name: &str) -> Option<&[u8]> {
        let index: usize = name.strip_prefix('c')?.parse().ok()?;
        self.endpoints.get(index).map(Vec::as_slice)
    }

    /// One endpoint of a cluster is another: what the server has to say, and where the new one is.
    pub(crate) fn update(&self, cluster: u32) -> Result<(Vec<u8>, IpAddr)> {
        let fresh = self.fresh.fetch_add(1, Ordering::Relaxed);
        let update = field(EDS, &name(cluster), &assignment(cluster, fresh, self.port))?;
        Ok((update, ip(fresh).into()))
    }
}

/// The path that leads to a cluster.
pub(crate) fn path(cluster: u32) -> String {
    format!("/{}", name(cluster))
}

fn name(cluster: u32) -> String {
    format!("c{cluster:05}")
}

fn routed(count: u32) -> impl Iterator<Item = u32> + Clone {
    (1..=ROUTED).map(move |n| n * (count / ROUTED) - 1)
}

fn cluster(cluster: u32) -> Value {
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let eds = json!({ "eds_config": ads });
    json!({ "name": name(cluster), "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": eds })
}

/// A cluster's endpoints, the first of which has the address of that number.
fn assignment(cluster: u32, first: u32, port: u16) -> Value {
    let rest = cluster * ENDPOINTS + 1..(cluster + 1) * ENDPOINTS;
    let endpoint = |number: u32| {
        let address = json!({ "address": ip(number).to_string(), "port_value": port });
        json!({ "endpoint": { "address": { "socket_address": address } } })
    };
    let endpoints: Vec<_> = std::iter::once(first).chain(rest).map(endpoint).collect();
    json!({ "cluster_name": name(cluster), "endpoints": [{ "lb_endpoints": endpoints }] })
}

/// One of 16 million addresses of this machine, away from 127.0.0.1.
fn ip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f01_0000 + number)
}

fn field(kind: &str, name: &str, value: &Value) -> Result<Vec<u8>> {
    let message = kind.rsplit('/').next().unwrap_or_default();
    let bytes = encode(message, value).with_context(|| name.to_owned())?;
    let any = Any { type_url: kind.to_owned(), value: bytes.into() };
    let resource = Resource { version: "1".to_owned(), resource: Some(any), name: name.to_owned() };
    Ok(DeltaResponse { resources: vec![resource], ..DeltaResponse::default() }.encode_to_vec())
}
