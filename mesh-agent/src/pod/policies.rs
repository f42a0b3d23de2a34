//! The policies of the mesh: compiled for the workloads of this node, and in the kernel before it goes past the agent.
//!
//! Where the kernel can't judge, the agent does: a service whose policy it can't hold is not the kernel's to serve, and a port
//! of a workload stays claimed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tracing::warn;

use crate::kernel::levels::Entries;
use crate::kernel::maps::TableError;
use crate::kernel::policy::compile::{Compiled, Known, compile};
use crate::kernel::policy::maps::{KernelPolicies, pod_addrs};
use crate::kernel::policy::names::RuleNames;
use crate::kernel::policy::table::PolicyTable;
use crate::model::authz::Rules;
use crate::model::flow::{Direction, Pod};
use crate::model::service::{ByKernel, Claimed, Claims, Protocol, Services};

/// Who may have what.
type Ruled = BTreeMap<SocketAddr, Arc<[Rules]>>;

/// The policies of services, and what all policies share.
pub(crate) struct Policies {
    services: PolicyTable,
    names: RuleNames,
    last: ByKernel,
    /// Destinations of which it was said that the agent judges.
    left: BTreeSet<SocketAddr>,
}

impl Policies {
    pub(crate) fn new(maps: KernelPolicies) -> Result<Self, TableError> {
        let names = RuleNames::default();
        let services = PolicyTable::new(Box::new(maps), names.clone())?;
        Ok(Self { services, names, last: ByKernel::default(), left: BTreeSet::new() })
    }

    /// Names of rules, for events.
    pub(crate) fn names(&self) -> &RuleNames {
        &self.names
    }

    /// How much the maps of the policies of services hold.
    pub(crate) fn entries(&self) -> [Entries; 6] {
        self.services.entries()
    }

    /// What was to be held last.
    pub(crate) fn last(&self) -> &ByKernel {
        &self.last
    }

    /// Makes the policies of services hold, and answers for which services they do, or need not.
    pub(crate) fn put(&mut self, next: &ByKernel, known: &[Known]) -> Services {
        self.last = next.clone();
        let addresses = known.iter().map(|known| (known.pod, pod_addrs(&known.addresses)));
        self.services.set_pods(addresses.collect());
        let compiled = self.compile(&next.rules, known, Direction::Outbound);
        let failed = self.services.put(&compiled);
        let judged = |address: &SocketAddr| {
            !next.rules.contains_key(address) || (compiled.contains_key(address) && !failed.contains(address))
        };
        let mut services = next.services.clone();
        services.0.retain(|(protocol, address), _| *protocol == Protocol::Udp || judged(address));
        services
    }

    /// These services, which have no policy, are others than they were.
    pub(crate) fn note(&mut self, services: &Services) {
        self.last.services.0.extend(services.0.iter().map(|(key, service)| (*key, Arc::clone(service))));
    }

    /// Makes the policies of a workload with these addresses hold, in the table of its inbound program, and answers what of `next` it
    /// is to bring to the agent: all but the ports at which every policy holds.
    pub(crate) fn put_inbound(
        &mut self,
        table: Option<&mut PolicyTable>,
        next: &Claims,
        addresses: &[IpAddr],
        known: &[Known],
    ) -> Claimed {
        let claimed = next.of(addresses);
        let Some(table) = table else { return claimed };
        let rules = next.straight(addresses);
        let compiled = self.compile(&rules, known, Direction::Inbound);
        let failed = table.put(&compiled);
        let holds = |address: &SocketAddr| compiled.contains_key(address) && !failed.contains(address);
        let open: BTreeSet<_> = rules.keys().filter(|address| !holds(address)).map(SocketAddr::port).collect();
        claimed.without(rules.keys().map(SocketAddr::port).filter(|port| !open.contains(port)))
    }

    /// Takes away what `next` does not have.
    pub(crate) fn prune(&mut self, next: &ByKernel) {
        self.services.prune(&next.rules);
    }

    pub(crate) fn tick(&mut self, looks: bool) {
        tick(&mut self.services, looks);
    }

    /// Those that the kernel understands. Of the others it is said once that the agent judges.
    fn compile(&mut self, rules: &Ruled, known: &[Known], direction: Direction) -> BTreeMap<SocketAddr, Compiled> {
        let mut understood = BTreeMap::new();
        for (address, rules) in rules {
            match compile(rules, known, direction) {
                Ok(compiled) => {
                    self.left.remove(address);
                    understood.insert(*address, compiled);
                }
                Err(why) => {
                    if self.left.insert(*address) {
                        warn!(%address, %why, "the agent judges by these rules, not the kernel");
                    }
                }
            }
        }
        understood
    }
}

/// To be called about once a second; now and then with a look at the maps.
pub(crate) fn tick(table: &mut PolicyTable, looks: bool) {
    table.tick();
    if looks && let Err(error) = table.reconcile() {
        warn!(%error, "the kernel's policies could not be compared with what they should be; trying again");
    }
}

/// The workloads that rules can mean.
pub(crate) fn known<'a>(pods: impl IntoIterator<Item = &'a Arc<Pod>>) -> Vec<Known> {
    let known = |pod: &Arc<Pod>| Known {
        pod: pod.id.0,
        identity: Arc::clone(&pod.identity),
        addresses: pod.workload.addresses.clone(),
    };
    pods.into_iter().map(known).collect()
}
