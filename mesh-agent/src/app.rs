//! Wiring, top to bottom: from settings and a configuration to a running agent, and to its end.
//!
//! Two kinds of threads: the control runtime (this file: admin, name resolution, the workloads' comings and goings, signals) and
//! the data threads ([`crate::proxy`]). Sockets are bound before anything is steered to them, and steering stops before they close.

mod accelerate;
mod bind;
mod demand;
mod dynamic;
mod live;
mod memory;
mod parties;
mod sockets;

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::admin::{self, Admin, Readiness, WorkloadView};
use crate::dns::Resolver;
use crate::drain::{self, Outcome, Signals, Trigger};
use crate::identity::{self, IdentityError};
use crate::kernel::pin;
use crate::model::config::{Accelerated, Config};
use crate::model::flow::Pod;
use crate::model::management::{ConfigSource, Origin};
use crate::model::name::ClusterName;
use crate::model::resource::Resource;
use crate::model::service::ByKernel;
use crate::model::workload::Workload;
use crate::pod::{Limits, Mesh, MeshError, Options};
use crate::proxy::{Command, DataThreads, Entry, EntryKey, ServerFirst, ThreadError, Tools};
use crate::rollout::Rollout;
use crate::settings;
use crate::snapshot::{Applied, Change, Need, Rejected};
use crate::telemetry::{KernelCounter, Telemetry};
use crate::transport;
use crate::xds;

pub use bind::BindError;
use demand::Demands;
use dynamic::Dynamic;
use live::Live;
use memory::Memory;
use sockets::Sockets;

/// How long the first look-up of names may hold up the start.
const WARM_UP: Duration = Duration::from_secs(5);
/// How often the workloads and the kernel's maps are looked after.
const TICK: Duration = Duration::from_secs(1);
/// How long a handshake may take that had begun when steering stopped: within a pod microseconds, from outside a round trip.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No runtime could be made.
    #[error("cannot start the control runtime: {0}")]
    Runtime(#[source] io::Error),
    /// See [`drain::SignalError`].
    #[error(transparent)]
    Signals(#[from] drain::SignalError),
    /// See [`admin::BindError`].
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    /// See [`BindError`].
    #[error(transparent)]
    Bind(#[from] BindError),
    /// See [`MeshError`].
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// See [`ThreadError`].
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// The configuration contradicts itself.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Rejected(Vec<Rejected>),
    /// There can be no TLS as a cluster wants it.
    #[error("cluster {:?}: transport_socket: {source}", .cluster.as_str())]
    Identity {
        /// The cluster.
        cluster: ClusterName,
        /// What is missing, or wrong.
        source: IdentityError,
    },
    /// There is no thread for the client of the management server.
    #[error("cannot start the client of the management server: {0}")]
    Client(#[source] io::Error),
    /// Something is to come by itself, and nobody brings it.
    #[error("{} {:?} is needed, and no management server is configured that has it", .0.kind.noun(), .0.name)]
    NoSource(Need),
}

/// Runs the agent until it has drained.
///
/// # Errors
/// See [`AppError`]. Nothing stays behind.
pub fn run(mut config: Config, settings: &settings::Run) -> Result<Outcome, AppError> {
    settle(&mut config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Runtime)?;
    let outcome = runtime.block_on(agent(Arc::new(config), settings));
    // A look-up of a name blocks a thread of its own for as long as the host's resolver likes.
    runtime.shutdown_background();
    outcome
}

/// Whether `config` could go live: names that do not exist, addresses taken twice, certificates that are none. Opens nothing but files.
///
/// # Errors
/// [`AppError::Rejected`] and [`AppError::Identity`].
pub fn check(config: &Config) -> Result<(), AppError> {
    let mut config = config.clone();
    settle(&mut config)?;
    start(&mut Demands::start(&config).0, &config).map(drop)
}

/// Reads what clusters name on this host.
fn settle(config: &mut Config) -> Result<(), AppError> {
    for cluster in &mut config.clusters {
        let failed = |source| AppError::Identity { cluster: cluster.name.clone(), source };
        *cluster = identity::settle_cluster(cluster).map_err(failed)?;
    }
    Ok(())
}

/// Makes the file's configuration live. Everything must be there, unless it may come from elsewhere: what is wanted of that.
fn start(rollout: &mut Rollout, config: &Config) -> Result<Vec<(Need, ConfigSource)>, AppError> {
    let Applied { rejected, wanted, .. } = rollout.change(written(config), &mut None::<Mesh>);
    if !rejected.is_empty() {
        return Err(AppError::Rejected(rejected));
    }
    let has_server = config.dynamic.as_ref().is_some_and(|dynamic| dynamic.ads.is_some());
    match wanted.iter().find(|(_, source)| source.origin == Origin::Server && !has_server) {
        Some((need, _)) => Err(AppError::NoSource(need.clone())),
        None => Ok(wanted),
    }
}

/// What stands in the file, as changes.
fn written(config: &Config) -> Vec<Change> {
    let clusters = config.clusters.iter().cloned().map(Resource::Cluster);
    let listeners = config.listeners.iter().cloned().map(Resource::Listener);
    let udp = config.udp_listeners.iter().cloned().map(Resource::UdpListener);
    clusters.chain(listeners).chain(udp).map(Change::Put).collect()
}

async fn agent(config: Arc<Config>, settings: &settings::Run) -> Result<Outcome, AppError> {
    let mut signals = Signals::install()?;
    raise_descriptor_limit();
    let workers = settings.data.workers();
    let (trigger, watcher) = drain::pair();
    let telemetry = Telemetry::new(workers);
    let readiness = Readiness::default();

    let (mut rollout, demands) = Demands::start(&config);
    let resolver = Resolver::start(&config.clusters);
    let wanted = start(&mut rollout, &config)?;

    if config.listeners.is_empty() && config.mesh.workloads.is_empty() && config.dynamic.is_none() {
        tracing::warn!("the configuration has no listeners and no workloads: there is nothing to serve");
    }
    let admin_listeners = admin::Listeners::bind(&settings.admin.socket, config.admin)?;
    let mut sockets = Sockets::new(workers, settings.drain.timeout);
    for listener in &config.listeners {
        sockets.reserve(listener)?;
    }
    let mut live = Live { rollout, resolver, sockets, mesh: None, demands };
    let mut dynamic = Dynamic::start(&config, wanted).map_err(AppError::Client)?;
    let pods = Arc::new(Mutex::new(Vec::new()));
    let acceleration = Arc::new(OnceLock::new());
    telemetry.set_management(dynamic::standing(&dynamic, &live.demands));
    let admin = Arc::new(Admin {
        config: Arc::clone(&config),
        node: xds::identity::encode(&config.node),
        snapshots: live.rollout.reader(),
        telemetry: Arc::clone(&telemetry),
        workloads: workload_views(&config, &pods, &readiness, settings.kernel.disabled),
        management: dynamic::standing(&dynamic, &live.demands),
        known: dynamic::known(&dynamic),
        acceleration: Arc::clone(&acceleration),
        readiness: readiness.clone(),
        drain: trigger.clone(),
    });
    let admin = tokio::spawn(admin.serve(admin_listeners));

    tokio::select! {
        () = warm_up(&mut live, &mut dynamic) => {}
        outcome = signals.drain(&trigger, settings.drain.timeout) => return Ok(outcome),
    }
    // Not earlier: what is steered from now on waits until the data threads accept it, and what an earlier agent left in the kernel
    // serves until its names are looked up again.
    live.mesh = start_mesh(&config, settings, workers, &acceleration, live.rollout.by_kernel())?;
    if live.mesh.as_ref().is_some_and(Mesh::accelerates) {
        transport::expect_bytes_past_tcp();
    }
    if let Some(mesh) = &mut live.mesh {
        *pods.lock().unwrap_or_else(PoisonError::into_inner) = mesh.pods().to_vec();
        let mut past = telemetry.past(parties::naming(live.rollout.reader(), Arc::clone(&pods)));
        mesh.tell_events(move |event| past.record(&event))?;
        telemetry.set_kernel_figures(mesh.figures_reader());
        let read = mesh.counter_reader();
        telemetry.set_kernel_counters(move || {
            read().into_iter().map(|(name, help, count)| KernelCounter { name, help, count }).collect()
        });
    }
    let server_first = Arc::new(ServerFirst::default());
    let tools = (0..workers).map(|index| Tools {
        snapshots: live.rollout.reader(),
        steering: live.mesh.as_ref().map(Mesh::steering),
        telemetry: telemetry.worker(index),
        drain: watcher.clone(),
        server_first: Arc::clone(&server_first),
        asker: live.demands.as_ref().map(Demands::asker),
    });
    let threads = DataThreads::start(tools.collect())?;
    live.settle(&threads).await?;
    if let Some(mesh) = &mut live.mesh {
        let started = mesh.pods().to_vec();
        serve_pods(&started, mesh, &threads).await?;
    }
    readiness.set();
    tracing::info!(
        listeners = live.rollout.current().listeners().len(),
        clusters = live.rollout.current().clusters().count(),
        workloads = pods.lock().unwrap_or_else(PoisonError::into_inner).len(),
        workers,
        "serving"
    );

    let outcome = tokio::select! {
        outcome = signals.drain(&trigger, settings.drain.timeout) => outcome,
        error = look_after(&mut live, &mut dynamic, &threads, &pods, &telemetry, &trigger) => return Err(error.into()),
    };
    tracing::info!(?outcome, "drained");
    threads.join();
    drop(live);
    admin.abort();
    // Its end, not only the wish for it: the admin socket's file goes with the task.
    let _ = admin.await;
    Ok(outcome)
}

fn start_mesh(
    config: &Config,
    settings: &settings::Run,
    workers: usize,
    acceleration: &OnceLock<Accelerated>,
    by_kernel: &ByKernel,
) -> Result<Option<Mesh>, MeshError> {
    let unused = config.mesh.workloads.is_empty() || settings.kernel.disabled;
    let pins = &config.mesh.kernel.pin_path;
    if unused && pin::are_left_behind(pins) {
        tracing::warn!(
            pins = %pins.display(),
            "what an agent before has left in the kernel goes on, and this agent does not look after it; it is removed by: \
             mesh-agent uninstall --pin-path {}",
            pins.display()
        );
    }
    if config.mesh.workloads.is_empty() {
        return Ok(None);
    }
    if settings.kernel.disabled {
        tracing::warn!(
            workloads = config.mesh.workloads.len(),
            "without kernel programs no workload is steered here: only listeners bound to a port serve"
        );
        return Ok(None);
    }
    let workers = NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN);
    let accelerate = acceleration.get_or_init(|| accelerate::decide(&config.mesh.kernel)).on;
    let options = Options { workers, kernel_log: settings.kernel.log, accelerate, limits: Limits::default() };
    Mesh::start(&config.mesh, options, by_kernel).map(Some)
}

/// Waits for the first answer for every name, and for the management server's first resources, but not for ever.
async fn warm_up(live: &mut Live, dynamic: &mut Option<Dynamic>) {
    let deadline = Instant::now() + WARM_UP;
    let mut names = true;
    loop {
        let waits_for_server = dynamic.as_ref().is_some_and(|dynamic| dynamic.is_warming(&live.rollout));
        if !(waits_for_server || (names && live.resolver.warming())) {
            return;
        }
        tokio::select! {
            answer = live.resolver.next() => dynamic::follow(dynamic, live.resolved(answer)),
            () = tokio::time::sleep_until(deadline), if names => {
                names = false;
                if live.resolver.warming() {
                    tracing::warn!("some names are still being looked up; their clusters have no endpoints yet");
                }
            }
            event = dynamic::next(dynamic) => {
                if let Some(dynamic) = dynamic {
                    dynamic.take(event, live);
                }
            }
        }
    }
}

async fn serve_pods(pods: &[Arc<Pod>], mesh: &mut Mesh, threads: &DataThreads) -> Result<(), ThreadError> {
    for index in 0..threads.count() {
        for pod in pods {
            threads.send(index, Command::AddPod(Arc::clone(pod))).await?;
        }
    }
    for socket in mesh.take_listeners() {
        let entry = Entry::Pod(socket.pod, socket.direction);
        threads.send(socket.worker, Command::Listen(entry, socket.listener)).await?;
    }
    Ok(())
}

/// What goes on while the agent serves. Ends only with an error.
async fn look_after(
    live: &mut Live,
    dynamic: &mut Option<Dynamic>,
    threads: &DataThreads,
    pods: &Mutex<Vec<Arc<Pod>>>,
    telemetry: &Telemetry,
    trigger: &Trigger,
) -> ThreadError {
    let mut memory = Memory::default();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let draining = trigger.watcher().signaled();
    tokio::pin!(draining);
    let mut steering = true;
    let mut arrived = None;
    loop {
        tokio::select! {
            () = &mut draining, if steering => {
                steering = false;
                // What connects from now on goes its own way; what is on its way here is still accepted.
                if let Some(mesh) = &mut live.mesh {
                    mesh.stop_steering();
                }
                arrived = Some(Instant::now() + if live.mesh.is_some() { ON_ITS_WAY } else { Duration::ZERO });
            }
            () = tokio::time::sleep_until(arrived.unwrap_or_else(Instant::now)), if arrived.is_some() => {
                arrived = None;
                trigger.close();
            }
            answer = live.resolver.next() => dynamic::follow(dynamic, live.resolved(answer)),
            event = dynamic::next(dynamic) => {
                if let Some(dynamic) = dynamic {
                    dynamic.take(event, live);
                }
                if let Err(error) = live.settle(threads).await {
                    return error;
                }
            }
            asked = Live::asked(&mut live.demands) => dynamic::follow(dynamic, live.demand(asked)),
            _ = tick.tick() => {
                dynamic::follow(dynamic, live.tick(telemetry));
                memory.look_after(telemetry.active_connections(), std::time::Instant::now());
                let gone = live.mesh.as_mut().map(Mesh::tick).unwrap_or_default();
                for pod in gone {
                    if let Err(error) = forget(&pod, threads, pods).await {
                        return error;
                    }
                }
                if steering && let Err(error) = welcome(live, threads, pods).await {
                    return error;
                }
            }
        }
    }
}

/// Serves the workloads that are back.
async fn welcome(live: &mut Live, threads: &DataThreads, pods: &Mutex<Vec<Arc<Pod>>>) -> Result<(), ThreadError> {
    let Some(mesh) = &mut live.mesh else { return Ok(()) };
    let back = mesh.welcome();
    if back.is_empty() {
        return Ok(());
    }
    pods.lock().unwrap_or_else(PoisonError::into_inner).extend(back.iter().cloned());
    serve_pods(&back, mesh, threads).await
}

async fn forget(pod: &Arc<Pod>, threads: &DataThreads, pods: &Mutex<Vec<Arc<Pod>>>) -> Result<(), ThreadError> {
    tracing::info!(workload = %pod.workload.name, "workload is gone; its sockets are closed");
    pods.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other.id != pod.id);
    for index in 0..threads.count() {
        threads.send(index, Command::RemovePod(Arc::clone(pod))).await?;
        threads.send(index, Command::Stop(EntryKey::Pod(pod.id))).await?;
    }
    Ok(())
}

/// How the admin interface lists the workloads.
fn workload_views(
    config: &Arc<Config>,
    pods: &Arc<Mutex<Vec<Arc<Pod>>>>,
    readiness: &Readiness,
    disabled: bool,
) -> Box<dyn Fn() -> Vec<WorkloadView> + Send + Sync> {
    let (config, pods, readiness) = (Arc::clone(config), Arc::clone(pods), readiness.clone());
    Box::new(move || {
        let pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
        let view = |workload: &Workload| match pods.iter().find(|pod| pod.workload == *workload) {
            Some(pod) => WorkloadView::meshed(workload, pod.id),
            None if disabled => WorkloadView::unmeshed(workload, "the agent runs without kernel programs".to_owned()),
            None if !readiness.is_set() => WorkloadView::unmeshed(workload, "the agent is starting".to_owned()),
            None => WorkloadView::unmeshed(workload, "its network namespace or cgroup is gone".to_owned()),
        };
        config.mesh.workloads.iter().map(view).collect()
    })
}

/// Every connection costs two descriptors, and shells start programs with 1024.
fn raise_descriptor_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
