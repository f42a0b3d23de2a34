//! The rings of events, read by a thread of their own.
//!
//! Connections are told of in one ring for all pods. To be woken for each would cost the app that connects more than all the rest, so
//! the programs wake nobody while there is room, and the thread looks twenty times a second. The rings of the pods have refusals alone in
//! them, and wake it. Either way it reads all there is, up to a limit, and then rests for ten milliseconds: a storm costs a hundred
//! wake-ups a second and not one each. What comes meanwhile waits in the ring, whose size is the bound.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use mesh_common::config::MAX_WORKLOADS;
use mesh_common::counter::Counter;
use mesh_common::decide::Way;
use mesh_common::event::{self as raw, Event as Record};
use mesh_common::flow::{Addr, PortBe};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::timeout;
use tracing::warn;

use crate::kernel::policy::names::RuleNames;
use crate::model::event::{ConnectionId, Event, Kind, Numbers, Reason};
use crate::model::flow::{Direction, PodId};

/// A ring of events.
pub(crate) type Ring = RingBuf<MapData>;

/// Where events go.
pub(crate) type Sink = Box<dyn FnMut(Event) + Send>;

/// Whose programs fill a ring; `None` are those that serve all pods.
type Owner = Option<PodId>;

enum Change {
    Added(Owner, Box<Ring>),
    Retired(PodId),
}

/// The thread that reads the rings. Ends when dropped.
#[derive(Debug)]
pub(crate) struct EventThread {
    changes: Option<Sender<Change>>,
    thread: Option<JoinHandle<()>>,
}

impl EventThread {
    pub(crate) fn start(sink: Sink, names: RuleNames) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (changes, made) = channel(MAX_WORKLOADS as usize);
        let work = move || LocalSet::new().block_on(&runtime, follow_all(made, sink, names));
        let thread = thread::Builder::new().name("kernel-events".to_owned()).spawn(work)?;
        Ok(Self { changes: Some(changes), thread: Some(thread) })
    }

    /// One more ring to read.
    pub(crate) fn add(&self, owner: Owner, ring: Ring) {
        self.tell(Change::Added(owner, Box::new(ring)));
    }

    /// That pod's program ends: its ring is read a little longer, then freed.
    pub(crate) fn retire(&self, pod: PodId) {
        self.tell(Change::Retired(pod));
    }

    fn tell(&self, change: Change) {
        if self.changes.as_ref().is_some_and(|changes| changes.try_send(change).is_err()) {
            warn!("a pod came or went, and the thread that reads its events was not told: too many at once");
        }
    }
}

impl Drop for EventThread {
    fn drop(&mut self) {
        drop(self.changes.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ends, and its rings' tasks with it, when nobody can add a ring any more.
async fn follow_all(mut changes: Receiver<Change>, sink: Sink, names: RuleNames) {
    let sink = Rc::new(RefCell::new(sink));
    let mut readers: HashMap<PodId, AbortHandle> = HashMap::new();
    while let Some(change) = changes.recv().await {
        match change {
            Change::Added(owner, ring) => match wait_for(*ring) {
                Ok(ring) => {
                    let patience = if owner.is_none() { LOOK_EVERY } else { Duration::MAX };
                    let reader = spawn_local(follow(ring, patience, Rc::clone(&sink), names.clone())).abort_handle();
                    readers.extend(owner.map(|pod| (pod, reader)));
                }
                Err(error) => warn!(%error, "a ring of events cannot be waited for; its events are lost"),
            },
            Change::Retired(pod) => {
                let Some(reader) = readers.remove(&pod) else { continue };
                spawn_local(async move {
                    tokio::time::sleep(LAST_WORDS).await;
                    reader.abort();
                });
            }
        }
    }
}

#[allow(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
fn wait_for(ring: Ring) -> io::Result<AsyncFd<Ring>> {
    // SAFETY: a ring owns the descriptor of its map, and is the same as long as it lives.
    Ok(unsafe { AsyncFd::register(ring) }?)
}

async fn follow(mut ring: AsyncFd<Ring>, patience: Duration, sink: Rc<RefCell<Sink>>, names: RuleNames) {
    loop {
        match timeout(patience, ring.readable_mut()).await {
            Ok(Ok(mut ready)) => {
                if read(ready.get_inner_mut(), &mut sink.borrow_mut(), &names).is_continue() {
                    ready.clear_ready();
                }
            }
            // Nobody was woken. What is more than one reading takes is there at the next.
            Err(_) => drop(read(ring.get_mut(), &mut sink.borrow_mut(), &names)),
            Ok(Err(error)) => return warn!(%error, "a ring of events cannot be waited for; its events are lost"),
        }
        tokio::time::sleep(REST).await;
    }
}

/// Reads what is there; `Break` if there is more.
fn read(ring: &mut Ring, sink: &mut Sink, names: &RuleNames) -> ControlFlow<()> {
    for _ in 0..MOST_AT_ONCE {
        let Some(item) = ring.next() else { return ControlFlow::Continue(()) };
        match parse(&item).as_ref().and_then(|record| told(record, names)) {
            Some(event) => sink(event),
            None => warn!(bytes = item.len(), "an event of another version of the kernel programs"),
        }
    }
    ControlFlow::Break(())
}

#[allow(unsafe_code, reason = "bytes that the kernel programs wrote become the record they wrote")]
fn parse(bytes: &[u8]) -> Option<Record> {
    if bytes.len() != size_of::<Record>() {
        return None;
    }
    // SAFETY: the length is right, any bytes make a record (`Pod`), and nothing is assumed of where they lie.
    Some(unsafe { bytes.as_ptr().cast::<Record>().read_unaligned() })
}

/// The record as the rest of the agent knows it.
fn told(record: &Record, names: &RuleNames) -> Option<Event> {
    let kind = match record.kind()? {
        raw::Kind::Opened => Kind::Opened,
        raw::Kind::Ongoing => Kind::Ongoing,
        raw::Kind::Closed => Kind::Closed,
        raw::Kind::Broken => Kind::Broken,
        raw::Kind::Failed => Kind::Failed,
        raw::Kind::Denied => Kind::Denied,
    };
    let why = *Counter::ALL.get(record.why as usize)?;
    let (local, remote) = (end(record.local, record.local_port), end(record.remote, record.remote_port));
    let (direction, client, server) = match record.way() {
        Way::Outbound => (Direction::Outbound, local, remote),
        Way::Inbound => (Direction::Inbound, remote, local),
    };
    Some(Event {
        kind,
        pod: PodId(record.pod),
        direction,
        connection: ConnectionId {
            since: record.since,
            pod: PodId(record.pod),
            ports: (record.local_port.get(), record.remote_port.get()),
        },
        client,
        asked: end(record.asked, record.asked_port),
        server,
        reason: Reason { label: why.describe().0, bypass: !is_the_mesh_s(why) },
        policy: names.name(record.set, record.rule),
        age: Duration::from_nanos(record.at.saturating_sub(record.since)),
        numbers: Numbers {
            sent: record.sent,
            received: record.received,
            segments_out: record.segments_out,
            segments_in: record.segments_in,
            retransmits: record.retransmits,
            round_trip: (record.srtt_us > 0).then(|| Duration::from_micros(record.srtt_us.into())),
        },
    })
}

/// Whether the mesh itself decided where the connection goes, or that it goes nowhere.
fn is_the_mesh_s(why: Counter) -> bool {
    matches!(why, Counter::Direct | Counter::DeniedNoEndpoint | Counter::DeniedPolicy | Counter::InboundDeniedPolicy)
}

fn end(addr: Addr, port: PortBe) -> SocketAddr {
    SocketAddr::new(addr.into(), port.get())
}

/// How old news of a connection may be when it is read.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const REST: Duration = Duration::from_millis(10);
/// How long the ends of a pod's connections may come after its own.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A full ring and more: a limit for what is written while it is read.
const MOST_AT_ONCE: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(record: &Record) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<Record>()];
        let at = std::mem::offset_of!(Record, at);
        bytes[at..at + 8].copy_from_slice(&record.at.to_ne_bytes());
        let why = std::mem::offset_of!(Record, why);
        bytes[why..why + 4].copy_from_slice(&record.why.to_ne_bytes());
        bytes
    }

    #[test]
    fn records_of_another_version_are_nobody() {
        let record = Record::new(raw::Kind::Opened, Way::Outbound, 0, Counter::PassedExcluded);
        assert_eq!(parse(&bytes(&record)).map(|record| record.why), Some(record.why));
        assert!(parse(&bytes(&record)[1..]).is_none() && parse(&[]).is_none());
        let mut unknown = record;
        unknown.why = 4711;
        assert!(told(&unknown, &RuleNames::default()).is_none());
    }

    #[test]
    fn the_client_is_the_client_whoever_tells() {
        let mut record = Record::new(raw::Kind::Closed, Way::Outbound, 3, Counter::PassedExcluded);
        (record.since, record.at, record.srtt_us) = (5, 12, 40);
        (record.local, record.local_port) = (Addr::v4(u32::from_ne_bytes([10, 0, 0, 1])), PortBe::new(4000));
        (record.remote, record.remote_port) = (Addr::v4(u32::from_ne_bytes([10, 0, 0, 2])), PortBe::new(80));
        let (client, server) = ("10.0.0.1:4000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let out = told(&record, &RuleNames::default()).unwrap();
        assert_eq!((out.client, out.server, out.direction), (client, server, Direction::Outbound));
        assert_eq!((out.age, out.numbers.round_trip), (Duration::from_nanos(7), Some(Duration::from_micros(40))));
        let mut inbound = Record::new(raw::Kind::Closed, Way::Inbound, 3, Counter::InboundExcluded);
        (inbound.local, inbound.local_port) = (record.remote, record.remote_port);
        (inbound.remote, inbound.remote_port) = (record.local, record.local_port);
        let inbound = told(&inbound, &RuleNames::default()).unwrap();
        assert_eq!((inbound.client, inbound.server, inbound.numbers.round_trip), (client, server, None));
    }
}
