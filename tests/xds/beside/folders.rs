//! No server at all: a folder of files for each node, in which files are moved to their places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness::ads::message::{CDS, EDS, LDS, RDS};
use harness::scratch::Scratch;
use serde_json::Value;

use super::server::{Node, OWN, Push, Refusal, Server};
use crate::files::{from, node, put, response, with_eds, with_rds};

/// The folders.
pub(crate) struct Folders {
    scratch: Scratch,
    nodes: Vec<Node>,
    resources: BTreeMap<(&'static str, String), Value>,
    version: u64,
}

impl Folders {
    pub(crate) fn start(nodes: &[Node]) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        for node in nodes {
            std::fs::create_dir(scratch.path().join(&node.id))?;
        }
        Ok(Self { scratch, nodes: nodes.to_vec(), resources: BTreeMap::new(), version: 0 })
    }

    fn folder(&self, node: &Node) -> PathBuf {
        self.scratch.path().join(&node.id)
    }

    /// All clusters, or all listeners.
    fn write_all(&self, node: &Node, kind: &'static str, name: &str) -> anyhow::Result<()> {
        let folder = self.folder(node);
        let all = self.resources.iter().filter(|((other, _), _)| *other == kind);
        let all: Vec<_> = all.map(|((_, name), resource)| placed(&folder, name, resource)).collect();
        put(&folder.join(name), response(&self.version.to_string(), kind, &all).replace(OWN, &node.ip.to_string()))
    }
}

impl Server for Folders {
    fn bootstrap(&self, of: &Node, _: bool) -> Value {
        node(&of.id, &self.folder(of))
    }

    fn is_silent(&self) -> bool {
        true
    }

    fn push(&mut self, push: &Push, _: &[Node]) -> anyhow::Result<Vec<Refusal>> {
        self.version += 1;
        for (kind, name, resource) in &push.set {
            self.resources.insert((kind, name.clone()), resource.clone());
        }
        for (kind, name) in &push.gone {
            self.resources.remove(&(*kind, name.clone()));
        }
        let changes = |kind: &str| {
            push.set.iter().any(|(other, ..)| *other == kind) || push.gone.iter().any(|(other, _)| *other == kind)
        };
        for node in &self.nodes {
            // One for each: Envoy takes no endpoints of others in a cluster's file. What is gone stays, as it does with a server.
            for (kind, name, resource) in push.set.iter().filter(|(kind, ..)| [EDS, RDS].contains(kind)) {
                let text = response(&self.version.to_string(), kind, std::slice::from_ref(resource));
                put(&file_of(&self.folder(node), kind, name), text)?;
            }
            // Clusters that are gone go after the routes to them have, and those that are new come before.
            if changes(CDS) {
                self.write_all(node, CDS, "cds.yaml")?;
            }
            if changes(LDS) || self.version == 1 {
                self.write_all(node, LDS, "lds.yaml")?;
            }
        }
        Ok(Vec::new())
    }
}

fn file_of(folder: &Path, kind: &str, name: &str) -> PathBuf {
    folder.join(format!("{}-{name}.json", if kind == EDS { "endpoints" } else { "routes" }))
}

/// A resource with files of its node where it names other sources.
fn placed(folder: &Path, name: &str, resource: &Value) -> Value {
    let cluster = with_eds(resource.clone(), from(&file_of(folder, EDS, name)));
    let rds = &cluster["filter_chains"][0]["filters"][0]["typed_config"]["rds"]["route_config_name"];
    match rds.as_str().map(str::to_owned) {
        Some(routes) => with_rds(cluster, from(&file_of(folder, RDS, &routes))),
        None => cluster,
    }
}
