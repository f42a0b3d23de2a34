//! A workload while it runs: the agent's sockets in it, and what the kernel knows of it.

use std::os::fd::AsFd;
use std::sync::Arc;

use mesh_common::flow::{Family, PortBe};
use mesh_common::workload::{Mode, Workload};
use tracing::warn;

use crate::kernel::loader::{self, Inbound, Pinning};
use crate::kernel::policy::compile::Known;
use crate::model::flow::{Direction, Pod};
use crate::model::service::{Claimed, Claims};
use crate::model::workload;
use crate::pod::mesh::{Mesh, MeshError, PodListener};
use crate::pod::registry::{Key, Member};
use crate::pod::sockets::Listeners;

/// A workload while it runs.
pub(super) struct Running {
    pub(super) member: Member,
    /// Where the agent listens for what it sends, by family.
    pub(super) outbound: [PortBe; 2],
    /// The program that looks at what comes in; workloads that share a namespace have none.
    pub(super) inbound: Option<Inbound>,
    /// What the agent claims of what comes in.
    pub(super) claimed: Claimed,
    /// What is to be claimed when the kernel learns.
    pub(super) next: Claimed,
}

impl Running {
    /// What the kernel shall know from now on.
    pub(super) fn claim(&mut self, claimed: Claimed) {
        self.claimed = claimed;
        self.tell();
    }

    /// What could not be told is told again at the next look.
    pub(super) fn tell(&mut self) {
        let done = self.inbound.as_mut().map_or(Ok(()), |inbound| inbound.claim(&self.claimed));
        if let Err(error) = done {
            warn!(workload = %self.member.pod.workload.name, %error, "what comes in may be steered by an older configuration");
        }
    }
}

impl Mesh {
    /// Opens the workload's sockets inside its namespace, and has what comes in to it looked at: what is not claimed passes from the
    /// first connection on, and by the policies that hold now. `known` are the workloads that these may mean.
    pub(super) fn add(&mut self, member: Member, claims: &Claims, known: &[Known]) -> Result<(), MeshError> {
        let options = self.options;
        let name = &member.pod.workload.name;
        let outbound = Listeners::open(name, &member.netns, Direction::Outbound, options.workers)?;
        let ports = [outbound.port(Family::V4), outbound.port(Family::V6)];
        let workload = kernel_workload(&member.pod, ports);
        self.outbound.show(&workload, outbound.first())?;
        self.listen(&member.pod, Direction::Outbound, outbound);
        let addresses = &member.pod.workload.addresses;
        let mut claimed = claims.of(addresses);
        let inbound = match member.key {
            Key::Netns => {
                let listeners = Listeners::open(name, &member.netns, Direction::Inbound, options.workers)?;
                for listener in listeners.all() {
                    if let Err(error) = self.steering.mark(listener.as_fd()) {
                        warn!(%error, "a listener in a pod is not marked as the agent's: its connections are listed twice");
                    }
                }
                let (mut inbound, told) = loader::inbound(
                    &workload,
                    listeners.first(),
                    self.policies.names(),
                    options.kernel_log,
                    &self.folder,
                )?;
                claimed = self.policies.put_inbound(Some(&mut inbound.policies), claims, addresses, known);
                inbound.claim(&claimed)?;
                let pinning = Pinning { folder: &self.folder, persist: self.persist };
                inbound.attach((member.netns.as_fd(), member.netns.cookie()), pinning)?;
                if let (Some(log), Some(ring)) = (&self.log, told.logger) {
                    log.add(Some(member.pod.id), ring);
                }
                match &self.events {
                    Some(events) => events.add(Some(member.pod.id), told.events),
                    None => self.rings.push((Some(member.pod.id), told.events)),
                }
                self.listen(&member.pod, Direction::Inbound, listeners);
                Some(inbound)
            }
            Key::Cgroup(_) => {
                warn!(workload = %name, "it shares its network namespace: what comes in to it is not steered");
                None
            }
        };
        self.pods.push(Arc::clone(&member.pod));
        self.members.push(Running { member, outbound: ports, inbound, next: claimed.clone(), claimed });
        Ok(())
    }

    fn listen(&mut self, pod: &Arc<Pod>, direction: Direction, listeners: Listeners) {
        let listener = |(worker, listener)| PodListener { worker, direction, pod: Arc::clone(pod), listener };
        self.listeners.extend(listeners.into_workers().map(listener));
    }
}

/// As the kernel is to know it.
pub(super) fn kernel_workload(pod: &Pod, [v4, v6]: [PortBe; 2]) -> Workload {
    let mode = match pod.workload.mode {
        workload::Mode::Permissive => Mode::Permissive,
        workload::Mode::Enforce => Mode::Enforce,
    };
    Workload::new(pod.id.0, mode, v4, v6)
}
