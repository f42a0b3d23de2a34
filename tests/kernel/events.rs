//! What goes past the agent, the kernel programs tell: who, where to, how much to the byte, and how it ended.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use mesh_agent::model::config;
use mesh_agent::model::event::{Event, Kind};
use mesh_agent::model::flow::Direction;
use mesh_agent::model::workload::Mode;

use crate::rig::{Rig, address, connect, listen, starve};
use crate::rig_or_skip;

/// What was told so far.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Event>>>);

impl Told {
    pub(crate) fn by(rig: &mut Rig) -> anyhow::Result<Self> {
        let told = Self::default();
        let sink = told.clone();
        rig.mesh.tell_events(move |event| sink.0.lock().unwrap_or_else(PoisonError::into_inner).push(event))?;
        Ok(told)
    }

    fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The nth event.
    pub(crate) fn wait(&self, n: usize) -> anyhow::Result<Event> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.all().len() <= n {
            ensure!(Instant::now() < deadline, "told only {:#?}", self.all());
            thread::sleep(Duration::from_millis(2));
        }
        Ok(self.all().swap_remove(n))
    }
}

/// Port 22 goes past the agent; only the first pod is meshed.
fn past(config: &mut config::Mesh) {
    config.kernel.exclude_ports = vec![22];
    config.workloads.truncate(1);
}

/// A server in a pod that answers one connection.
fn serve(
    rig: &Rig,
    pod: &str,
    address: SocketAddr,
    answer: impl FnOnce(&mut TcpStream) -> std::io::Result<()> + Send + 'static,
) -> anyhow::Result<JoinHandle<std::io::Result<()>>> {
    let listener: TcpListener = listen(rig.pod(pod), address)?;
    Ok(thread::spawn(move || answer(&mut listener.accept()?.0)))
}

fn kinds(told: &Told) -> Vec<Kind> {
    told.all().iter().map(|event| event.kind).collect()
}

#[test]
fn bytes_are_told_to_the_byte_whoever_closes_first() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with past; "app", "other");
    let told = Told::by(&mut rig)?;
    let to = rig.pod("other").at(22);
    let mapped: SocketAddr = format!("[::ffff:{}]:22", rig.pod("other").v4()).parse()?;
    let mut n = 0;
    for (asked, server) in [(to[0], to[0]), (to[1], to[1]), (mapped, to[0])] {
        // The client closes first, by halves; at once; the server closes first.
        for (arguments, server_first) in [(vec!["--finish"], false), (vec![], false), (vec!["--read"], true)] {
            let answered = serve(&rig, "other", server, move |stream| {
                stream.read_exact(&mut [0; 70_001])?;
                stream.write_all(&[b'y'; 30_003])?;
                if server_first {
                    stream.shutdown(Shutdown::Write)?;
                }
                std::io::copy(stream, &mut std::io::sink()).map(drop)
            })?;
            let asked = asked.to_string();
            let said =
                connect(rig.pod("app"), &[&["--send", "70001", "--take", "30003", &asked], &*arguments].concat())?;
            answered.join().expect("no panic")?;
            let (opened, closed) = (told.wait(n)?, told.wait(n + 1)?);
            n += 2;
            let what = format!("{asked} {arguments:?}: {closed:#?}");
            assert_eq!((opened.kind, closed.kind), (Kind::Opened, Kind::Closed), "{what}");
            assert_eq!((closed.numbers.sent, closed.numbers.received), (70_001, 30_003), "{what}");
            assert_eq!((opened.numbers.sent, opened.numbers.received), (0, 0), "{what}");
            assert!(closed.numbers.segments_out > 3 && closed.numbers.segments_in > 3, "{what}");
            assert!(closed.numbers.round_trip.is_some() && closed.age > Duration::ZERO, "{what}");
            for event in [opened, closed] {
                assert_eq!((event.direction, event.reason.label), (Direction::Outbound, "passed_excluded"));
                assert_eq!((event.server, event.asked), (server, server));
                assert_eq!(event.client.port(), address(&said["local"])?.port());
                assert_eq!(event.pod, rig.mesh.pods()[0].id);
                assert_ne!(event.connection.since, 0);
            }
        }
    }
    Ok(())
}

#[test]
fn what_comes_in_past_the_agent_is_told_as_well() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with past; "app", "client");
    let told = Told::by(&mut rig)?;
    for (n, to) in rig.pod("app").at(22).into_iter().enumerate() {
        let answered = serve(&rig, "app", to, |stream| {
            stream.read_exact(&mut [0; 1000])?;
            stream.write_all(&[b'y'; 500])?;
            std::io::copy(stream, &mut std::io::sink()).map(drop)
        })?;
        let said = connect(rig.pod("client"), &["--send", "1000", "--take", "500", "--finish", &to.to_string()])?;
        answered.join().expect("no panic")?;
        let (opened, closed) = (told.wait(2 * n)?, told.wait(2 * n + 1)?);
        assert_eq!((opened.kind, closed.kind), (Kind::Opened, Kind::Closed));
        assert_eq!((closed.numbers.sent, closed.numbers.received), (500, 1000));
        assert_eq!((closed.direction, closed.reason.label), (Direction::Inbound, "inbound_excluded"));
        assert_eq!((closed.client, closed.server), (address(&said["local"])?, to));
    }
    Ok(())
}

#[test]
fn what_the_agent_measures_is_not_told() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with past; "app", "client");
    let told = Told::by(&mut rig)?;
    // Steered on the way out, on the way in, and within the pod.
    connect(rig.pod("app"), &["10.96.0.1:80"])?;
    rig.wait_accepted(0)?;
    let to = rig.pod("app").at(80)[0];
    let _app = listen(rig.pod("app"), to)?;
    rig.pod("client").enter(|| TcpStream::connect(to))?;
    rig.wait_accepted(1)?;
    rig.pod("app").enter(|| TcpStream::connect(to))?;
    // One that is told: nothing was before it.
    let past = rig.pod("client").at(22)[0];
    let _other = listen(rig.pod("client"), past)?;
    connect(rig.pod("app"), &[&past.to_string()])?;
    assert_eq!(told.wait(0)?.asked, past);
    assert_eq!(rig.count("unwatched"), 0);
    Ok(())
}

#[test]
fn ends_are_told_apart() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with past; "app", "other");
    let told = Told::by(&mut rig)?;
    let to = rig.pod("other").at(22)[0];
    // Nobody is there.
    assert!(connect(rig.pod("app"), &[&to.to_string()]).is_err());
    let failed = told.wait(0)?;
    assert_eq!((failed.kind, failed.server, failed.numbers.sent), (Kind::Failed, to, 0));
    // The client resets.
    let answered = serve(&rig, "other", to, |stream| stream.read_exact(&mut [0; 10]))?;
    connect(rig.pod("app"), &["--send", "10", "--reset", &to.to_string()])?;
    // The bytes may go with the reset.
    let _ = answered.join().expect("no panic");
    told.wait(2)?;
    // The server resets: it closes with bytes unread.
    let answered = serve(&rig, "other", to, |stream| {
        stream.peek(&mut [0; 1])?;
        Ok(())
    })?;
    connect(rig.pod("app"), &["--send", "10", "--read", &to.to_string()]).expect_err("a reset");
    answered.join().expect("no panic")?;
    told.wait(4)?;
    assert_eq!(kinds(&told), [Kind::Failed, Kind::Opened, Kind::Broken, Kind::Opened, Kind::Broken]);
    Ok(())
}

#[test]
fn refusals_are_told() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with |config: &mut config::Mesh| config.workloads[0].mode = Mode::Enforce; "app");
    let told = Told::by(&mut rig)?;
    if !starve(rig.pod("app"))? {
        return Ok(());
    }
    connect(rig.pod("app"), &["10.96.0.1:80"]).expect_err("refused");
    let denied = told.wait(0)?;
    assert_eq!((denied.kind, denied.reason.label), (Kind::Denied, "denied_failed"));
    assert_eq!(denied.asked, "10.96.0.1:80".parse()?);
    Ok(())
}

#[test]
fn a_long_connection_is_told_of_now_and_then() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with past; "app", "other");
    let told = Told::by(&mut rig)?;
    let to = rig.pod("other").at(22)[0];
    let answered = serve(&rig, "other", to, |stream| {
        let mut ping = [0; 3];
        while stream.read_exact(&mut ping).is_ok() {
            stream.write_all(&[b'y'; 5])?;
        }
        Ok(())
    })?;
    // Six and a half seconds, and a report after five.
    connect(rig.pod("app"), &["--rounds", "65", "--send", "3", "--take", "5", &to.to_string()])?;
    answered.join().expect("no panic")?;
    told.wait(2)?;
    let events = told.all();
    assert_eq!(kinds(&told), [Kind::Opened, Kind::Ongoing, Kind::Closed]);
    let (ongoing, closed) = (&events[1], &events[2]);
    assert!(ongoing.age >= Duration::from_secs(5), "{ongoing:#?}");
    assert!((3..195).contains(&ongoing.numbers.sent) && ongoing.numbers.sent.is_multiple_of(3), "{ongoing:#?}");
    assert!(ongoing.numbers.received.is_multiple_of(5), "{ongoing:#?}");
    assert_eq!((closed.numbers.sent, closed.numbers.received), (195, 325));
    assert!(events.iter().all(|event| event.connection == closed.connection));
    Ok(())
}

#[test]
fn a_full_ring_is_counted_and_what_is_in_it_is_whole() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with past; "app", "other");
    // Nobody reads, and nobody listens: each attempt is told once. A ring of a mebibyte holds 8191 records of 128 bytes.
    let to = rig.pod("other").at(22)[0];
    let peer = rig.pod("app").run(
        harness::binaries::peer()?.to_str().context("a path of UTF-8")?,
        &["connect", "--times", "9600", "--refused", &to.to_string()],
    )?;
    ensure!(peer.status.success(), "{}", peer.text());
    let lost = rig.count("events_lost_socket");
    let told = Told::by(&mut rig)?;
    let last = usize::try_from(9600 - lost)?;
    told.wait(last - 1)?;
    thread::sleep(Duration::from_millis(50));
    assert_eq!(told.all().len(), last);
    assert!(lost > 1000 && last > 7000, "{lost} lost, {last} told");
    assert!(told.all().iter().all(|event| event.kind == Kind::Failed && event.server == to));
    Ok(())
}
