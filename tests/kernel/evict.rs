//! An endpoint goes away: the apps that talk to it by a service are told, and nobody else.

use std::thread;
use std::time::{Duration, Instant};

use harness::tcp::echo;
use mesh_agent::model::service::Protocol;

use crate::rig::{Rig, connect};
use crate::rig_or_skip;
use crate::service::{first_only, learn, services};
use crate::udp::{datagrams, servers};

/// Waits for something that is counted.
pub(crate) fn wait(rig: &Rig, name: &str, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while rig.count(name) < count {
        assert!(Instant::now() < deadline, "{name} is {}", rig.count(name));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_of_an_endpoint_that_is_gone_are_reset() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with |config: &mut mesh_agent::model::config::Mesh| {
        first_only(config);
        // What the app asks for by the endpoint's own address is not steered either.
        config.kernel.exclude_ports = vec![81];
    }; "app", "server");
    for (family, service) in [(0, "10.96.0.1:80"), (1, "[fd00:96::1]:80"), (0, "[::ffff:10.96.0.1]:80")] {
        let (gone, stays) = (rig.pod("server").at(81)[family], rig.pod("server").at(82)[family]);
        let [old, new] = rig.pod("server").enter(|| [gone, stays].map(|at| echo(at).expect("a free address")));
        let name = service.replace("::ffff:", "").replace("[10.96.0.1]", "10.96.0.1");
        learn(&mut rig, &services(Protocol::Tcp, &[(&name, &[(gone, 1.0)])]));
        let before = rig.count("evicted_tcp");
        let pod = rig.pod("app").clone();
        let by_service = {
            let (pod, service) = (pod.clone(), service.to_owned());
            thread::spawn(move || connect(&pod, &["--read", &service]))
        };
        let by_itself = {
            let pod = pod.clone();
            thread::spawn(move || connect(&pod, &["--read", &gone.to_string()]))
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while old.clients().len() < 2 {
            assert!(Instant::now() < deadline, "both connect");
            thread::sleep(Duration::from_millis(2));
        }
        let began = Instant::now();
        learn(&mut rig, &services(Protocol::Tcp, &[(&name, &[(stays, 1.0)])]));
        let error = by_service.join().expect("no panic").expect_err("reset").to_string();
        // A thread that waits in a read is told `EPIPE` since Linux 6.7; who polls, or reads next, `ECONNRESET`.
        assert!(error.contains("reset") || error.contains("Broken pipe"), "{error}");
        println!("reset after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(3));
        assert_eq!(rig.count("evicted_tcp"), before + 1);
        // Who asked for the endpoint itself waits on, until its own patience ends.
        let error = by_itself.join().expect("no panic").expect_err("no answer").to_string();
        assert!(error.contains("temporarily unavailable"), "{error}");
        connect(&pod, &[service])?;
        assert_eq!((rig.count("evicted_tcp"), rig.count("evictions_missed")), (before + 1, 0));
        drop(new);
    }
    Ok(())
}

#[test]
fn connected_udp_moves_to_another_endpoint() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let (at, _servers) = servers(&rig, 2, 0)?;
    for (n, service) in ["10.96.0.1:53", "[::ffff:10.96.0.1]:53"].into_iter().enumerate() {
        learn(&mut rig, &services(Protocol::Udp, &[("10.96.0.1:53", &[(at[0], 1.0)])]));
        let (pod, asked) = (rig.pod("app").clone(), service.to_owned());
        let client = thread::spawn(move || datagrams(&pod, &["--connect", "--times", "150", "--pause", "10", &asked]));
        wait(&rig, "datagrams_direct", n as u64 + 1);
        thread::sleep(Duration::from_millis(300));
        learn(&mut rig, &services(Protocol::Udp, &[("10.96.0.1:53", &[(at[1], 1.0)])]));
        wait(&rig, "evicted_udp", n as u64 + 1);
        let (peer, answers) = client.join().expect("no panic")?;
        assert_eq!(peer, service);
        // An answer of the old endpoint that was under way when the socket moved is dropped by the kernel: at most one, as each is waited for.
        let (answers, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer[1] != "error");
        assert!(lost.len() <= 1, "{lost:?}");
        let strangers: Vec<_> = answers.iter().filter(|answer| answer[1] != service).collect();
        assert!(strangers.is_empty(), "{strangers:?} of {}", answers.len());
        let (first, last) = (&answers[0][2], &answers[answers.len() - 1][2]);
        assert_eq!((first, last), (&at[0].to_string(), &at[1].to_string()));
        let moves = answers.windows(2).filter(|pair| pair[0][2] != pair[1][2]).count();
        assert_eq!((moves, rig.count("evictions_missed")), (1, 0));
    }
    Ok(())
}
