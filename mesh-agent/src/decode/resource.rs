//! One resource from a control plane: a tree as for a file, but by itself, named, and refused as a whole.
//!
//! What it refers to may come later, so nothing outside it is looked for here. The source of the tree ([`crate::protobuf`]) has
//! positions of no kind: a refusal says `cluster "x": path.to.field: what`, which is also what the control plane gets to read.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::decode::at::Context;
use crate::decode::cluster::cluster;
use crate::decode::endpoint::assignment;
use crate::decode::extension::extension;
use crate::decode::fields::{Fields, decode_root};
use crate::decode::listener::{AnyListener, Listeners, listener};
use crate::decode::node::{Node, Value, quote};
use crate::decode::problem::ConfigError;
use crate::decode::route::{lone_virtual_host, route_configuration};
use crate::decode::scope::scope;
use crate::decode::tls::secret_resource;
use crate::model::resource::{Resource, ResourceKind as Kind};

/// Most problems of one resource that are spelled out. A control plane shows them to people.
const MOST_SHOWN: usize = 10;

/// Why a resource is not taken. Prints on one line.
#[derive(Debug)]
pub struct Refusal {
    /// What it was to be.
    pub kind: Kind,
    /// Its name, if that could be read.
    pub name: Option<String>,
    /// Everything that is wrong with it; never empty.
    pub problems: Vec<ConfigError>,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {}: ", self.kind.noun(), quote(name))?,
            None => write!(f, "{} without a name: ", self.kind.noun())?,
        }
        for (index, ConfigError { place, problem }) in self.problems.iter().take(MOST_SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            match place.path.as_str() {
                "" => write!(f, "{separator}{problem}")?,
                path => write!(f, "{separator}{path}: {problem}")?,
            }
        }
        match self.problems.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Decodes a resource; `found` are problems its source had with it already.
///
/// # Errors
/// Everything that is wrong with it.
pub fn resource(kind: Kind, root: &Node, found: Vec<ConfigError>) -> Result<Resource, Refusal> {
    let context = Context::default();
    context.errors.borrow_mut().extend(found);
    let decoded = decode_root(root, kind.message(), &context, |fields| match kind {
        Kind::Cluster => named(fields, cluster).map(|it| Resource::Cluster(Arc::new(it))),
        Kind::Endpoints => assignment(fields).map(|it| Resource::Endpoints(Arc::new(it))),
        Kind::Listener => named(fields, |fields| listener(fields, &Listeners::default())).map(|it| match it {
            AnyListener::Tcp(listener) => Resource::Listener(Arc::new(listener)),
            AnyListener::Udp(listener) => Resource::UdpListener(Arc::new(listener)),
        }),
        Kind::Route => {
            named(fields, |fields| route_configuration(fields, false)).map(|it| Resource::Route(Arc::new(it)))
        }
        Kind::ScopedRoute => named(fields, scope).map(|it| Resource::Scope(Arc::new(it))),
        Kind::VirtualHost => named(fields, lone_virtual_host).map(|it| Resource::VirtualHost(Arc::new(it))),
        Kind::Secret => named(fields, secret_resource).map(|it| Resource::Secret(Arc::new(it))),
        Kind::Extension => named(fields, extension).map(|it| Resource::Extension(Arc::new(it))),
    });
    let problems = context.errors.into_inner();
    match decoded {
        Some(resource) if problems.is_empty() => Ok(resource),
        _ => Err(Refusal { kind, name: name(kind, root), problems }),
    }
}

/// A resource without a name could be neither asked for nor taken back.
fn named<T>(fields: &Fields<'_>, decode: impl FnOnce(&Fields<'_>) -> Option<T>) -> Option<T> {
    let name = fields.require_text("name").map(|_| ());
    let decoded = decode(fields);
    name.and(decoded)
}

/// The name of a resource that may be no good otherwise.
pub(crate) fn name(kind: Kind, root: &Node) -> Option<String> {
    let field = if kind == Kind::Endpoints { "cluster_name" } else { "name" };
    let Value::Map(entries) = &root.value else { return None };
    match &entries.iter().find(|entry| entry.key == field)?.value.value {
        Value::Text(name) if !name.is_empty() => Some(name.clone()),
        _ => None,
    }
}
