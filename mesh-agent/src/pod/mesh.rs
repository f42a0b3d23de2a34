//! The mesh on this node, from the configured workloads to sockets that listen inside them.

mod error;
mod figures;
mod running;
mod shortcuts;

use std::collections::BTreeSet;
use std::fmt;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;

use mesh_common::ABI_VERSION;
use mesh_common::accelerate::Directions;
use mesh_common::config::Knobs;
use mesh_common::workload::Workload;
use tracing::{debug, info, warn};

use crate::kernel::cgroup::Cgroups;
use crate::kernel::counters::{Count, Counters};
use crate::kernel::direct::DirectSockets;
use crate::kernel::events::{EventThread, Ring};
use crate::kernel::loader::{self, Inbound, Pinning, Programs};
use crate::kernel::log::LogThread;
use crate::kernel::outbound::OutboundListeners;
use crate::kernel::pin::folder::Folder;
use crate::kernel::plan::{Excluded, State};
use crate::kernel::pulse::Pulse;
use crate::kernel::runs::RunStats;
use crate::kernel::services::{Limits, ServiceTable};
use crate::kernel::steering::KernelSteering;
use crate::kernel::sync::Sync;
use crate::model::config;
use crate::model::event::Event;
use crate::model::flow::{Direction, Pod, PodId, Steering};
use crate::model::service::{ByKernel, Shortcuts as _};
use crate::pod::evict::Evictor;
use crate::pod::mesh::figures::Board;
use crate::pod::mesh::running::{Running, kernel_workload};
use crate::pod::netns::Netns;
use crate::pod::own_cgroup::OwnCgroup;
use crate::pod::policies::{self, Policies};
use crate::pod::registry::{self, Key};
use crate::pod::seeker::Seeker;

pub use error::MeshError;

/// How to start a [`Mesh`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Data workers; each gets a listener of its own on every pod's ports.
    pub workers: NonZeroUsize,
    /// Pass what the kernel programs log on to the agent's log.
    pub kernel_log: bool,
    /// Let bytes go from socket to socket.
    pub accelerate: bool,
    /// How much the kernel may be asked to hold.
    pub limits: Limits,
}

/// A listening, non-blocking socket inside a pod.
#[derive(Debug)]
pub struct PodListener {
    /// Which data worker it is for, from 0.
    pub worker: usize,
    /// What arrives there. Outbound: ask [`Steering`] for the original destination. Inbound: the accepted socket's own address
    /// is the original destination.
    pub direction: Direction,
    /// Whose connections arrive.
    pub pod: Arc<Pod>,
    /// The socket.
    pub listener: TcpListener,
}

/// The running mesh. To be dropped after the last connection: then the programs stay without it, or go, as was configured.
pub struct Mesh {
    // In the order in which they are dropped: the kernel forgets the workloads, then the programs go, then the agent moves home.
    sync: Sync,
    services: ServiceTable,
    outbound: OutboundListeners,
    policies: Policies,
    members: Vec<Running>,
    counters: Counters,
    board: Board,
    /// Workloads are no longer the mesh's to hold back: what cannot be steered passes.
    lets_go: bool,
    ticks: u32,
    _pulse: Pulse,
    programs: Programs,
    folder: Folder,
    persist: bool,
    log: Option<LogThread>,
    rings: Vec<(Option<PodId>, Ring)>,
    events: Option<EventThread>,
    own_cgroup: OwnCgroup,
    steering: Arc<KernelSteering>,
    seeker: Seeker,
    options: Options,
    evictor: Evictor,
    pods: Vec<Arc<Pod>>,
    listeners: Vec<PodListener>,
}

impl Mesh {
    /// Finds the workloads, opens their sockets, then loads and attaches the kernel programs: nothing is steered before
    /// something listens, and before the kernel knows what it does by itself (`first`). What an agent before has pinned is taken over;
    /// until the kernel is shown the new listeners, each workload is treated by its mode.
    ///
    /// # Errors
    /// See [`MeshError`]. Nothing stays behind that was not there before.
    pub fn start(config: &config::Mesh, options: Options, first: &ByKernel) -> Result<Self, MeshError> {
        // First: everything below would fail for the same reason, with a worse message.
        loader::may_load()?;
        let cgroups = Cgroups::find()?;
        let home = Netns::home()?;
        let directions = directions(options.accelerate);
        let folder = Folder::take_over(&config.kernel.pin_path)?;
        let parts = loader::load(options.kernel_log, options.limits, !directions.is_none(), &folder)?;
        let sync = Sync::over(Box::new(parts.tables))?;
        let members = registry::find(&config.workloads, &config.trust_domain, &home, &cgroups, sync.wanted())
            .map_err(MeshError::Workloads)?;
        let own_cgroup = OwnCgroup::enter(&cgroups)?;
        let excluded = Excluded::new(&config.kernel.exclude_ports, &config.kernel.exclude_cidrs);
        let log = if options.kernel_log { Some(LogThread::start().map_err(MeshError::Log)?) } else { None };
        if let (Some(log), Some(ring)) = (&log, parts.logger) {
            log.add(None, ring);
        }
        // Also of those that went while no agent ran: events and sockets may still tell of them.
        let known = PodId(sync.wanted().last_pod());
        let last = members.iter().map(|member| member.pod.id).fold(known, PodId::max);
        let steering = Arc::new(KernelSteering::new(parts.kept, parts.legs));
        let direct = DirectSockets::new(Arc::clone(&steering), parts.flows);
        let mut mesh = Self {
            sync,
            services: ServiceTable::new(Box::new(parts.services), options.limits)?,
            outbound: parts.outbound,
            policies: Policies::new(parts.policies)?,
            members: Vec::new(),
            counters: parts.counters,
            board: Board::new(parts.levels, RunStats::start(config.kernel.stats)?),
            lets_go: false,
            ticks: 0,
            _pulse: Pulse::start(parts.pulse).map_err(MeshError::Pulse)?,
            programs: parts.programs,
            folder,
            persist: config.kernel.persist,
            log,
            rings: vec![(None, parts.events)],
            events: None,
            steering,
            evictor: Evictor::start(direct).map_err(MeshError::Evictions)?,
            seeker: Seeker::new(&config.trust_domain, home, cgroups.clone(), last),
            options,
            pods: Vec::new(),
            listeners: Vec::new(),
            own_cgroup,
        };
        let knobs = Knobs { agent_cgroup: mesh.own_cgroup.id(), abi: ABI_VERSION, accelerate: directions.bits() };
        mesh.sync.set(State { knobs, excluded, ..mesh.sync.wanted().clone() })?;
        let known = policies::known(members.iter().map(|member| &member.pod));
        for member in members {
            mesh.add(member, &first.inbound, &known)?;
        }
        // Not later: what the agent was handed while it starts would end with it, and be judged as the agent before was told.
        mesh.forget(first);
        mesh.learn(first);
        let pinning = Pinning { folder: &mesh.folder, persist: mesh.persist };
        mesh.programs.attach(&cgroups.open()?, pinning)?;
        mesh.sync.set(mesh.wanted())?;
        mesh.forget_other_links();
        mesh.folder.settle(mesh.persist);
        info!(pods = mesh.pods.len(), "the kernel programs are attached");
        Ok(mesh)
    }

    /// What the data path asks of the kernel.
    #[must_use]
    pub fn steering(&self) -> Arc<dyn Steering> {
        Arc::clone(&self.steering) as _
    }

    /// Whether bytes may come to the agent's sockets past TCP.
    #[must_use]
    pub fn accelerates(&self) -> bool {
        self.sync.wanted().knobs.accelerate != 0
    }

    /// The workloads that run now.
    #[must_use]
    pub fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }

    /// The sockets to accept from; the second call has none.
    pub fn take_listeners(&mut self) -> Vec<PodListener> {
        std::mem::take(&mut self.listeners)
    }

    /// To be called about once a second: forgets the workloads whose namespace or cgroup is gone, puts the kernel's maps
    /// right where they drifted, and answers who went. The caller closes their listeners and connections.
    pub fn tick(&mut self) -> Vec<Arc<Pod>> {
        let (stay, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.members).into_iter().partition(|running| running.member.is_there());
        self.members = stay;
        for Running { member, outbound, .. } in &gone {
            self.outbound.hide(&kernel_workload(&member.pod, *outbound));
            warn!(workload = %member.pod.workload.name, "the workload is gone: its network namespace or cgroup was removed");
            self.pods.retain(|pod| pod.id != member.pod.id);
            self.listeners.retain(|listener| listener.pod.id != member.pod.id);
            self.rings.retain(|(owner, _)| *owner != Some(member.pod.id));
            self.events.iter().for_each(|events| events.retire(member.pod.id));
            self.log.iter().for_each(|log| log.retire(member.pod.id));
            self.seeker.miss(member.pod.workload.clone());
        }
        self.ticks = self.ticks.wrapping_add(1);
        let mut done = self.sync.set(self.wanted());
        let looks = self.ticks.is_multiple_of(TICKS_PER_LOOK);
        if self.sync.is_behind() || looks {
            done = self.sync.reconcile().map(drop);
        }
        self.services.tick();
        if !gone.is_empty() {
            self.learn_again();
        }
        self.look_after_policies(looks);
        self.members.iter_mut().for_each(Running::tell);
        if looks {
            done = done.and(self.services.reconcile().map(drop));
        }
        self.show_figures(looks);
        if let Err(error) = done {
            warn!(%error, "the kernel's maps could not be updated; trying again");
        }
        let leave = |running: Running| {
            running.inbound.into_iter().for_each(Inbound::detach);
            running.member.pod
        };
        gone.into_iter().map(leave).collect()
    }

    /// To be called after [`Self::tick`]: meshes the workloads that are back, and answers which. What they connect is steered from
    /// the next tick on, when the caller has given their listeners to the data threads.
    pub fn welcome(&mut self) -> Vec<Arc<Pod>> {
        let running: Vec<_> = self.members.iter().map(|running| &running.member).collect();
        let found = self.seeker.look(&running);
        if found.is_empty() {
            return Vec::new();
        }
        let known = policies::known(self.pods.iter().chain(found.iter().map(|member| &member.pod)));
        let claims = self.policies.last().inbound.clone();
        let mut back = Vec::new();
        for member in found {
            let pod = Arc::clone(&member.pod);
            match self.add(member, &claims, &known) {
                Ok(()) => {
                    self.seeker.forgive(&pod.workload.name);
                    info!(workload = %pod.workload.name, "the workload is back");
                    back.push(pod);
                }
                Err(error) => {
                    self.listeners.retain(|listener| listener.pod.id != pod.id);
                    // A namespace is there before its loopback is up.
                    if self.seeker.fail(pod.workload.clone()) == FAILURES_TOLD {
                        let error: &dyn std::error::Error = &error;
                        warn!(workload = %pod.workload.name, error, "the workload is here and cannot be meshed; trying again");
                    } else {
                        debug!(workload = %pod.workload.name, %error, "not meshed yet; trying again");
                    }
                }
            }
        }
        if !back.is_empty() {
            self.learn_again();
        }
        back
    }

    /// To be called when draining starts: for new connections there is no agent from now on; those that are here go on.
    pub fn stop_steering(&mut self) {
        if !self.persist {
            // They stay known: a handshake that is under way ends at the agent, and services are served until the programs go.
            self.lets_go = true;
            if let Err(error) = self.sync.set(self.wanted()) {
                warn!(%error, "the kernel still holds some workloads back; trying again");
            }
        }
        for Running { member, outbound, inbound, .. } in &mut self.members {
            self.outbound.hide(&kernel_workload(&member.pod, *outbound));
            match inbound {
                Some(inbound) if self.persist => inbound.hide_listeners(),
                _ => inbound.take().into_iter().for_each(Inbound::detach),
            }
        }
    }

    /// How many services the kernel should serve and cannot, for want of room or because it refused.
    #[must_use]
    pub fn services_left_out(&self) -> usize {
        self.services.left_out()
    }

    /// Reads what the kernel programs counted so far: name, help, value. For another thread to keep.
    pub fn counter_reader(&self) -> impl Fn() -> Vec<Count> + Send + std::marker::Sync + 'static {
        let (counters, evictions) = (self.counters.clone(), self.evictor.counts());
        move || counters.read().into_iter().chain(evictions()).collect()
    }

    /// Has the events of the kernel programs told to `sink`, on a thread of its own. Those from before have waited. To be
    /// called once.
    ///
    /// # Errors
    /// [`MeshError::Events`].
    pub fn tell_events(&mut self, sink: impl FnMut(Event) + Send + 'static) -> Result<(), MeshError> {
        let thread = EventThread::start(Box::new(sink), self.policies.names().clone()).map_err(MeshError::Events)?;
        self.rings.drain(..).for_each(|(owner, ring)| thread.add(owner, ring));
        self.events = Some(thread);
        Ok(())
    }

    /// Detaches what an agent before has left and this one has no use for.
    fn forget_other_links(&self) {
        let inbound = self.members.iter().filter(|running| running.inbound.is_some());
        let inbound = inbound.map(|running| loader::inbound_link(running.member.netns.cookie()));
        let wanted: BTreeSet<_> = inbound.chain(self.programs.names().map(str::to_owned)).collect();
        self.folder.forget_other_links(|name| wanted.contains(name));
    }

    /// What the maps should say of the workloads that run.
    fn wanted(&self) -> State {
        let mut state = self.without_workloads();
        for Running { member, outbound, .. } in &self.members {
            let workload = kernel_workload(&member.pod, *outbound);
            let workload = if self.lets_go { workload.permissive() } else { workload };
            match member.key {
                Key::Netns => {
                    let home = |&address| (address, member.netns.cookie());
                    state.locals.extend(member.pod.workload.addresses.iter().map(home));
                    state.netns.insert(member.netns.cookie(), workload)
                }
                Key::Cgroup(id) => {
                    state.cgroups.insert(id, workload);
                    state.netns.insert(member.netns.cookie(), Workload::by_cgroup())
                }
            };
        }
        state
    }

    fn without_workloads(&self) -> State {
        let State { knobs, ref excluded, .. } = *self.sync.wanted();
        State { knobs, excluded: excluded.clone(), ..State::default() }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // One that did not come to run leaves what it found.
        if self.persist || !self.folder.is_settled() {
            return;
        }
        if let Err(error) = self.sync.set(self.without_workloads()) {
            warn!(%error, "the kernel keeps a workload until its maps go");
        }
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("pods", &self.pods).finish_non_exhaustive()
    }
}

/// What of the traffic is accelerated.
fn directions(accelerate: bool) -> Directions {
    if accelerate { Directions::TO_AGENT.and(Directions::TO_APP).and(Directions::APPS) } else { Directions::default() }
}

/// How often a workload cannot be meshed, a second apart, until that is told.
const FAILURES_TOLD: u32 = 3;
/// Reading the maps back takes a thousand system calls; drift is not urgent.
const TICKS_PER_LOOK: u32 = 10;
