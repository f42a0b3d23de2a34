//! The `mesh:` key: who is meshed on this host, and what the kernel programs are told.
//!
//! Ours, not Envoy's; the names of its messages are for errors and the reference only.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::decode::at::{At, HostPath, HostPathKind};
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::node::Value;
use crate::decode::unique::Unique;
use crate::model::config::{Acceleration, KernelConfig, Mesh};
use crate::model::name::WorkloadName;
use crate::model::workload::{Mode, Workload};

pub(crate) const MESH: &str = "bowline.Mesh";
const WORKLOAD: &str = "bowline.Workload";
const KERNEL: &str = "bowline.Kernel";
const LAST_GOOD: &str = "bowline.LastGood";

/// How long what nobody uses is kept, if nothing else is said.
const DEFAULT_TTL: Duration = Duration::from_mins(5);
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// What tells workloads apart.
struct Claims {
    names: Unique,
    addresses: Unique,
    namespaces: Unique,
    cgroups: Unique,
}

pub(crate) fn mesh(fields: &Fields<'_>) -> Option<Mesh> {
    let defaults = Mesh::default();
    let claims = Claims {
        names: Unique::new("workload"),
        addresses: Unique::new("workload address"),
        namespaces: Unique::new("network namespace"),
        cgroups: Unique::new("cgroup"),
    };
    Some(Mesh {
        workloads: fields.messages("workloads", WORKLOAD, |fields| workload(fields, &claims)),
        kernel: fields.message("kernel", KERNEL, kernel).unwrap_or(defaults.kernel),
        trust_domain: fields.text("trust_domain").map_or(defaults.trust_domain, str::to_owned),
        on_demand: on_demand(fields),
        last_good: fields.message("last_good", LAST_GOOD, last_good),
    })
}

/// Where what a management server sent last is kept.
fn last_good(fields: &Fields<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(fields.require_text("path")?);
    if let Some(at) = fields.get("path", &Kind::Text) {
        if !path.is_absolute() {
            at.rule("must be an absolute path");
        }
        at.context.keeps.replace(Some(at.place()));
    }
    Some(path)
}

/// How long something that was asked for on demand may be unused, if anything is.
fn on_demand(fields: &Fields<'_>) -> Option<Duration> {
    let ttl = fields.positive_duration("on_demand_ttl");
    if let (Some(at), Some(ttl)) = (fields.get("on_demand_ttl", &Kind::Duration), ttl)
        && ttl < SHORTEST_TTL
    {
        at.rule("must be 1s at least: use is noted by the second");
    }
    let wanted = fields.flag("on_demand", false);
    if let Some(at) = fields.get("on_demand", &Kind::Flag).filter(|_| wanted) {
        at.context.asks_for_clusters.replace(Some(at.place()));
    }
    if let Some(at) = fields.get("on_demand_ttl", &Kind::Duration).filter(|_| !wanted) {
        at.rule("there is nothing to let go without on_demand: true");
    }
    wanted.then(|| ttl.unwrap_or(DEFAULT_TTL))
}

fn workload(fields: &Fields<'_>, claims: &Claims) -> Option<Workload> {
    let name = fields.require_text("name").map(WorkloadName::from);
    if let (Some(name), Some(at)) = (&name, fields.get("name", &Kind::Text)) {
        claims.names.claim(name.to_string(), &at);
    }
    let netns = host_path(fields, "netns", HostPathKind::Netns);
    let cgroup = host_path(fields, "cgroup", HostPathKind::Cgroup);
    // A workload in a namespace of its own is known by it, one that shares the host's by its cgroup.
    match (fields.get("netns", &Kind::Text), fields.get("cgroup", &Kind::Text)) {
        (Some(at), _) => claim(&claims.namespaces, netns.as_ref(), &at),
        (None, Some(at)) => claim(&claims.cgroups, cgroup.as_ref(), &at),
        (None, None) => fields.at().rule("netns or cgroup is required, to tell the workload's sockets from others"),
    }
    let addresses = fields.each("addresses", Kind::Address, |at| address(at, &claims.addresses));
    let mode = fields.choice("mode", &[("permissive", 0, Mode::Permissive), ("enforce", 1, Mode::Enforce)]);
    let mut labels = BTreeMap::new();
    fields.free_map("labels", Kind::Text, |key, value| {
        labels.extend(value.text().map(|value| (key.to_owned(), value.to_owned())));
    });
    let namespace = fields.text("namespace").unwrap_or("default").to_owned();
    let service_account = fields.text("service_account").unwrap_or("default").to_owned();
    Some(Workload { name: name?, namespace, service_account, labels, netns, cgroup, addresses, mode })
}

/// A path of this host, remembered to be looked up later.
fn host_path(fields: &Fields<'_>, name: &'static str, kind: HostPathKind) -> Option<PathBuf> {
    let path = PathBuf::from(fields.text(name)?);
    let at = fields.get(name, &Kind::Text)?;
    if kind == HostPathKind::Netns && !path.is_absolute() {
        at.rule("must be an absolute path");
    } else {
        let path = HostPath { kind, path: path.clone(), place: at.place() };
        at.context.host_paths.borrow_mut().push(path);
    }
    Some(path)
}

fn claim(claimed: &Unique, path: Option<&PathBuf>, at: &At<'_>) {
    if let Some(path) = path {
        claimed.claim(path.display().to_string(), at);
    }
}

fn address(at: &At<'_>, claimed: &Unique) -> Option<IpAddr> {
    let ip = at.ip()?.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() {
        at.rule("must be an address a socket can be reached at");
        return None;
    }
    claimed.claim(ip.to_string(), at);
    Some(ip)
}

fn kernel(fields: &Fields<'_>) -> Option<KernelConfig> {
    let defaults = KernelConfig::default();
    let when = [("auto", 0, Acceleration::Auto), ("off", 1, Acceleration::Off), ("on", 2, Acceleration::On)];
    let acceleration = fields.choice("acceleration", &when);
    let pin_path = fields.text("pin_path").map_or(defaults.pin_path, PathBuf::from);
    if let Some(at) = fields.get("pin_path", &Kind::Text)
        && !pin_path.is_absolute()
    {
        at.rule("must be an absolute path");
    }
    if let Some(at) = fields.get("pin_path", &Kind::Text)
        && pin_path.as_os_str().to_string_lossy().contains('.')
    {
        at.rule("must have no dots: the BPF file system takes no such names");
    }
    let persist = fields.flag("persist", defaults.persist);
    if let Some(at) = fields.get("persist", &Kind::Flag)
        && !persist
        && acceleration == Acceleration::On
    {
        at.rule("must be true with acceleration: bytes on their way from app to app would be lost with the programs");
    }
    let port = |at: &At<'_>| at.integer(1, 65535).and_then(|port| u16::try_from(port).ok());
    Some(KernelConfig {
        acceleration,
        pin_path,
        persist,
        stats: fields.flag("stats", defaults.stats),
        exclude_ports: fields.each("exclude_ports", Kind::Integer(1, 65535), port),
        exclude_cidrs: fields.each("exclude_cidrs", Kind::Cidr, cidr),
    })
}

/// `10.0.0.0/8`, or an address alone.
fn cidr(at: &At<'_>) -> Option<IpNet> {
    if let Value::Text(text) = &at.node.value
        && let Ok(ip) = text.parse::<IpAddr>()
    {
        return Some(IpNet::from(ip));
    }
    at.parse::<IpNet>(&Kind::Cidr).map(|net| net.trunc())
}
