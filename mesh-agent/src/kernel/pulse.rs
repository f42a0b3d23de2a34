//! The agent's signs of life: the time, written into a map twice a second.
//!
//! A thread of its own does it and nothing else. A control thread that is busy with a large configuration must not look dead: the
//! price would be traffic that goes past the mesh. What the pulse does tell is that the process as a whole no longer runs: stopped,
//! or starved of CPU. A process that is gone is noticed at once, by its sockets.
#![allow(unsafe_code, reason = "clock_gettime has no safe wrapper among the enabled parts of this workspace's crates")]

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aya::maps::{Array, MapData};
use mesh_common::config;
use mesh_common::names;
use tracing::warn;

use crate::kernel::maps::{TableError, refused};

/// The map.
pub(crate) type PulseMap = Array<MapData, config::Pulse>;

/// Beats until it is dropped.
#[derive(Debug)]
pub(crate) struct Pulse {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// The first beat is done when this returns.
    pub(crate) fn start(mut map: PulseMap) -> io::Result<Self> {
        beat(&mut map).map_err(io::Error::other)?;
        let (end, ended) = mpsc::channel();
        let work = move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = beat(&mut map) {
                    warn!(%error, "the kernel is not told that the agent lives");
                }
            }
        };
        let thread = thread::Builder::new().name("pulse".to_owned()).spawn(work)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn beat(map: &mut PulseMap) -> Result<(), TableError> {
    let pulse = config::Pulse { at: now(), limit: nanoseconds(LIMIT) };
    map.set(0, pulse, 0).map_err(refused(names::PULSE))
}

/// By the clock that `bpf_ktime_get_ns` reads.
fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the structure it is given; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    part(now.tv_sec) * NANOSECONDS + part(now.tv_nsec)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const EVERY: Duration = Duration::from_millis(500);
/// Three beats may be late before the fourth is missed.
const LIMIT: Duration = Duration::from_secs(2);
const NANOSECONDS: u64 = 1_000_000_000;
