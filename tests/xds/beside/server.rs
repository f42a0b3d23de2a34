//! What a management server is here: it takes a change for all of its nodes, and says who refused what of it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use bytes::Bytes;
use harness::ads::encode::encode;
use harness::ads::plane::Plane;
use harness::config::own_address;
use serde_json::Value;

use crate::setup::bootstrap;

/// Stands in a resource for the address that a node's listeners have.
pub(crate) const OWN: &str = "@own";

/// One of those that are fed.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) ip: IpAddr,
}

impl Node {
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, port)
    }
}

/// What changes at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Push {
    /// Resources that are new or changed: kind, name, itself.
    pub(crate) set: Vec<(&'static str, String, Value)>,
    /// Resources that are no more.
    pub(crate) gone: Vec<(&'static str, String)>,
    /// Every stream is broken off before it.
    pub(crate) breaks: bool,
}

/// Resources that are new or changed.
pub(super) fn push(set: Vec<(&'static str, &str, Value)>) -> Push {
    let set = set.into_iter().map(|(kind, name, value)| (kind, name.to_owned(), value)).collect();
    Push { set, ..Push::default() }
}

/// What a node said about a change.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "shown")]
pub(crate) struct Refusal {
    pub(crate) node: String,
    pub(crate) kind: String,
    pub(crate) why: String,
}

/// A management server.
pub(crate) trait Server {
    /// The configuration of a node that is fed by it.
    fn bootstrap(&self, node: &Node, incremental: bool) -> Value;

    /// Whether those that are fed have no way to answer.
    fn is_silent(&self) -> bool {
        false
    }

    /// Sends a change, and waits until each of `nodes` has answered it and whatever it asked for in consequence.
    fn push(&mut self, push: &Push, nodes: &[Node]) -> anyhow::Result<Vec<Refusal>>;
}

/// The one of the harness.
pub(crate) struct Scripted {
    plane: Plane,
    nodes: Vec<Node>,
}

impl Scripted {
    pub(crate) fn start(nodes: &[Node]) -> anyhow::Result<Self> {
        Ok(Self { plane: Plane::start(own_address(0))?, nodes: nodes.to_vec() })
    }

    fn encode(&self, kind: &str, resource: &Value) -> anyhow::Result<HashMap<String, Bytes>> {
        let message = kind.rsplit('/').next().unwrap_or_default();
        let each = self.nodes.iter().map(|node| {
            let own: Value = serde_json::from_str(&resource.to_string().replace(OWN, &node.ip.to_string()))?;
            Ok((node.id.clone(), Bytes::from(encode(message, &own)?)))
        });
        each.collect()
    }
}

impl Server for Scripted {
    fn bootstrap(&self, node: &Node, incremental: bool) -> Value {
        bootstrap(&node.id, incremental, self.plane.address())
    }

    fn push(&mut self, push: &Push, nodes: &[Node]) -> anyhow::Result<Vec<Refusal>> {
        let before = self.plane.mark();
        if push.breaks {
            self.plane.disconnect();
        }
        for kind in kinds(push.set.iter().map(|(kind, ..)| *kind)) {
            let all = push.set.iter().filter(|(other, ..)| *other == kind);
            let encoded = all.map(|(_, name, resource)| {
                let bytes = self.encode(kind, resource).with_context(|| resource.to_string())?;
                Ok((name.clone(), bytes))
            });
            self.plane.set_each(kind, encoded.collect::<anyhow::Result<Vec<_>>>()?);
        }
        for kind in kinds(push.gone.iter().map(|(kind, _)| *kind)) {
            let names = push.gone.iter().filter(|(other, _)| *other == kind).map(|(_, name)| name.as_str());
            self.plane.remove(kind, &names.collect::<Vec<_>>());
        }
        let mut refused = Vec::new();
        for node in nodes {
            let refusals = self.plane.settle(&node.id, before)?;
            refused.extend(refusals.into_iter().map(|(kind, why)| Refusal { node: node.id.clone(), kind, why }));
        }
        Ok(refused)
    }
}

/// Each kind once, in the order in which they first stand there.
fn kinds(all: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    all.for_each(|kind| {
        if !kinds.contains(&kind) {
            kinds.push(kind)
        }
    });
    kinds
}
