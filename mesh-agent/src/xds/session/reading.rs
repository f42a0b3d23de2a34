//! A response of either form, brought to one: named resources, what is gone, and what is wrong with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::resource::ResourceKind;
use crate::xds::message::{Any, Resource};
use crate::xds::session::Name;
use crate::xds::session::name::{self, quote};
use crate::xds::session::update::{Fault, Unusable};

/// What a response says.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) kind: ResourceKind,
    pub(super) nonce: String,
    pub(super) version: String,
    pub(super) items: Vec<Item>,
    pub(super) removed: Vec<Name>,
    pub(super) faults: Vec<Fault>,
    /// Something in it has no name that can be read: it may be anything.
    pub(super) has_nameless: bool,
}

/// One resource.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: Name,
    /// Its other names, each once: none but virtual hosts are wanted by those.
    pub(super) aliases: Vec<Name>,
    pub(super) version: Name,
    /// `None` for a heartbeat.
    pub(super) body: Option<Bytes>,
    pub(super) ttl: Option<Duration>,
}

impl Reading {
    /// An empty one for a type URL.
    pub(super) fn of(type_url: String, nonce: String, version: String) -> Result<Self, Unusable> {
        let kind = ResourceKind::of_type_url(&type_url).ok_or(Unusable::UnknownType(type_url))?;
        let (items, removed, faults) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { kind, nonce, version, items, removed, faults, has_nameless: false })
    }

    /// Adds a resource as SotW sends it: bare, or wrapped to give it a TTL ("SotW TTL").
    pub(super) fn add_any(&mut self, any: Any, version: &Name) {
        if any.type_url != RESOURCE {
            return self.add_body(any, None, Vec::new(), Arc::clone(version), None);
        }
        match <Resource as prost::Message>::decode(any.value) {
            Ok(resource) => self.add_resource(resource, Some(version)),
            Err(error) => self.nameless(format!("a wrapped resource cannot be read: {error}")),
        }
    }

    /// Adds a resource as delta sends it. `version` is that of the response, if resources have none of their own.
    pub(super) fn add_resource(&mut self, resource: Resource, version: Option<&Name>) {
        let Resource { version: own, resource: any, name, aliases, ttl } = resource;
        let ttl = ttl.and_then(|ttl| {
            let (seconds, nanos) = (u64::try_from(ttl.seconds).ok()?, u32::try_from(ttl.nanos).ok()?);
            (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
        });
        let mut aliases: Vec<Name> = match self.kind {
            ResourceKind::VirtualHost => aliases.into_iter().filter(|alias| *alias != name).map(Arc::from).collect(),
            _ => Vec::new(),
        };
        aliases.sort_unstable();
        aliases.dedup();
        let version = match version {
            Some(version) if own.is_empty() => Arc::clone(version),
            _ => Arc::from(own),
        };
        match any {
            Some(any) => self.add_body(any, Some(name), aliases, version, ttl),
            None => match name::check(&name) {
                Ok(()) => self.items.push(Item { name: Arc::from(name), aliases, version, body: None, ttl }),
                Err(text) => self.nameless(text),
            },
        }
    }

    fn add_body(&mut self, any: Any, outer: Option<String>, aliases: Vec<Name>, version: Name, ttl: Option<Duration>) {
        let inner = name::of(&any.value);
        let name = match (outer.filter(|name| !name.is_empty()), inner) {
            (Some(outer), Ok(inner)) => {
                // A virtual host is named after its route configuration outside and by itself inside.
                if outer != inner && self.kind != ResourceKind::VirtualHost {
                    let text = format!("{}: the resource itself is named {}", quote(&outer), quote(inner));
                    return self.fault(Arc::from(outer), text);
                }
                outer
            }
            (Some(outer), Err(text)) => {
                return self.fault(Arc::from(outer.as_str()), format!("{}: {text}", quote(&outer)));
            }
            (None, Ok(inner)) => inner.to_owned(),
            (None, Err(text)) => return self.nameless(text),
        };
        if let Err(text) = name::check(&name) {
            return self.nameless(text);
        }
        if ResourceKind::of_type_url(&any.type_url) != Some(self.kind) {
            let text = format!(
                "{}: type {} is not supported in a response of {}",
                quote(&name),
                quote(&any.type_url),
                self.kind.message()
            );
            return self.fault(Arc::from(name), text);
        }
        self.items.push(Item { name: Arc::from(name), aliases, version, body: Some(any.value), ttl });
    }

    /// "Duplicate Resource Names" are an error. Of a name that stands twice neither is taken: nobody knows which one is meant.
    pub(super) fn refuse_duplicates(&mut self) {
        let mut times: HashMap<&str, u32> = HashMap::with_capacity(self.items.len());
        let names = self.items.iter().map(|item| &item.name).chain(&self.removed);
        for name in names.chain(self.faults.iter().filter_map(|fault| fault.name.as_ref())) {
            *times.entry(name).or_default() += 1;
        }
        if times.len() == self.items.len() + self.removed.len() + self.faults.len() {
            return;
        }
        let mut twice: Vec<Name> =
            times.into_iter().filter(|(_, times)| *times > 1).map(|(it, _)| Arc::from(it)).collect();
        twice.sort_unstable();
        self.items.retain(|item| twice.binary_search(&item.name).is_err());
        self.removed.retain(|name| twice.binary_search(name).is_err());
        for name in twice {
            let text = format!("{}: named more than once in one response", quote(&name));
            self.faults.push(Fault { name: Some(name), text });
        }
    }

    fn fault(&mut self, name: Name, text: String) {
        self.faults.push(Fault { name: Some(name), text });
    }

    fn nameless(&mut self, text: String) {
        self.has_nameless = true;
        self.faults.push(Fault { name: None, text });
    }
}

const RESOURCE: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";
