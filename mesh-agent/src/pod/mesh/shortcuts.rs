//! What the kernel does by itself for the workloads that run: policies first, then services and ports, and the other way round
//! when it is to stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::service::{ByKernel, Protocol, Services, Shortcuts};
use crate::pod::evict::Scope;
use crate::pod::mesh::{Mesh, Running};
use crate::pod::policies;

impl Mesh {
    /// Makes the policies of `next` hold, and answers what the kernel can do by itself where they do.
    fn prepare(&mut self, next: &ByKernel) -> Services {
        let known = policies::known(&self.pods);
        for running in &mut self.members {
            let addresses = &running.member.pod.workload.addresses;
            let table = running.inbound.as_mut().map(|inbound| &mut inbound.policies);
            running.next = self.policies.put_inbound(table, &next.inbound, addresses, &known);
        }
        self.policies.put(next, &known)
    }

    /// Rules may mean workloads, and other workloads run now.
    pub(super) fn learn_again(&mut self) {
        let last = self.policies.last().clone();
        self.forget(&last);
        self.learn(&last);
    }

    pub(super) fn look_after_policies(&mut self, looks: bool) {
        self.policies.tick(looks);
        for inbound in self.members.iter_mut().filter_map(|running| running.inbound.as_mut()) {
            policies::tick(&mut inbound.policies, looks);
        }
    }
}

impl Shortcuts for Mesh {
    fn forget(&mut self, next: &ByKernel) {
        let services = self.prepare(next);
        self.services.forget(&services);
        for running in &mut self.members {
            running.claim(running.claimed.both(&running.next));
        }
    }

    fn learn(&mut self, next: &ByKernel) {
        let services = self.prepare(next);
        let before = self.services.until(&services);
        self.services.learn(&services);
        let members = &self.members;
        self.evictor.changed(&before, &services, || scope(members));
        for running in &mut self.members {
            running.claim(running.next.clone());
            if let Some(inbound) = &mut running.inbound {
                inbound.policies.prune(&next.inbound.straight(&running.member.pod.workload.addresses));
            }
        }
        self.policies.prune(next);
    }

    fn change(&mut self, next: &ByKernel, services: &[(Protocol, SocketAddr)]) {
        let named = services.iter().filter_map(|key| Some((*key, Arc::clone(next.services.0.get(key)?))));
        let after = Services(named.collect());
        let before = self.services.until(&after);
        self.policies.note(&after);
        self.services.change(&after);
        let members = &self.members;
        self.evictor.some_changed(&before, &after, || scope(members));
    }
}

/// Whose connections may have lost their endpoint.
fn scope(members: &[Running]) -> Scope {
    let each = members.iter().map(|it| (it.member.netns.cookie(), Arc::clone(&it.member.netns)));
    Scope {
        pods: members.iter().map(|it| Arc::clone(&it.member.pod)).collect(),
        namespaces: each.collect::<BTreeMap<_, _>>().into_values().collect(),
    }
}
