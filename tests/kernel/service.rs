//! Services that the kernel serves by itself: the connection goes to an endpoint, the agent sees nothing of it, the app sees the
//! service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::tcp::echo;
use mesh_agent::model::config;
use mesh_agent::model::service::{ByKernel, Claims, Protocol, Service, Services, Shortcuts as _};
use mesh_agent::pod::Limits;

use crate::rig::{Rig, address, connect};
use crate::rig_or_skip;

/// Only the first pod is meshed: what happens at the other end is not this file's matter.
pub(crate) fn first_only(config: &mut config::Mesh) {
    config.workloads.truncate(1);
}

/// Services with their endpoints, each with its share.
pub(crate) fn services(protocol: Protocol, each: &[(&str, &[(SocketAddr, f64)])]) -> Services {
    let service = |(address, endpoints): &(&str, &[(SocketAddr, f64)])| {
        let shares = endpoints.iter().map(|(endpoint, share)| (Some(*endpoint), *share)).collect();
        let address: SocketAddr = address.parse().expect("an address");
        (
            (protocol, address),
            Arc::new(Service { listener: "test".into(), shares, resting: Vec::new(), by_client: None }),
        )
    };
    Services(each.iter().map(service).collect())
}

/// And whatever comes in is the agent's.
pub(crate) fn by_kernel(services: &Services) -> ByKernel {
    ByKernel { services: services.clone(), inbound: Claims { all: true, ..Claims::default() }, ..ByKernel::default() }
}

pub(crate) fn learn(rig: &mut Rig, services: &Services) {
    let next = by_kernel(services);
    rig.mesh.forget(&next);
    rig.mesh.learn(&next);
}

#[test]
fn a_connection_goes_to_an_endpoint_and_the_app_sees_the_service() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let [v4, v6] = rig.pod("server").at(81);
    let servers = rig.pod("server").enter(|| [v4, v6].map(echo));
    let [server4, server6] = servers.map(|server| server.expect("a free address"));
    let (to4, to6) = ([(v4, 1.0)], [(v6, 1.0)]);
    learn(&mut rig, &services(Protocol::Tcp, &[("10.96.0.1:80", &to4), ("[fd00:96::1]:80", &to6)]));
    for asked in ["10.96.0.1:80", "[fd00:96::1]:80", "[::ffff:10.96.0.1]:80"] {
        let told = connect(rig.pod("app"), &[asked])?;
        assert_eq!(address(&told["peer"])?, asked.parse::<SocketAddr>()?);
    }
    // Another port of the same address is the agent's.
    connect(rig.pod("app"), &["10.96.0.1:443"])?;
    assert_eq!(rig.wait_accepted(0)?.destination, Some("10.96.0.1:443".parse()?));
    assert_eq!((rig.count("direct"), rig.count("steered")), (3, 1));
    // The endpoints saw the app itself.
    let own = rig.pod("app").at(0).map(|own| own.ip());
    let deadline = Instant::now() + Duration::from_secs(5);
    while (server4.clients().len(), server6.clients().len()) != (2, 1) {
        assert!(Instant::now() < deadline, "{:?} and {:?}", server4.clients(), server6.clients());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(server4.clients().iter().chain(&server6.clients()).all(|client| own.contains(&client.ip())));
    Ok(())
}

#[test]
fn a_service_without_endpoints_is_refused() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app");
    learn(&mut rig, &services(Protocol::Tcp, &[("10.96.0.1:80", &[])]));
    let error = connect(rig.pod("app"), &["10.96.0.1:80"]).expect_err("refused").to_string();
    assert!(error.contains("Operation not permitted"), "{error}");
    assert_eq!((rig.count("denied_no_endpoint"), rig.count("steered")), (1, 0));
    // When it is no longer the kernel's, it is the agent's.
    learn(&mut rig, &Services::default());
    connect(rig.pod("app"), &["10.96.0.1:80"])?;
    assert_eq!(rig.count("steered"), 1);
    Ok(())
}

#[test]
fn levels_of_maps_follow_the_services() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let read = rig.mesh.figures_reader();
    let levels = |rig: &mut Rig| {
        // Twice: what nothing refers to goes at the next look.
        rig.mesh.tick();
        rig.mesh.tick();
        let maps = read().maps;
        ["NETNS", "SERVICES", "CHOICES"].map(|map| maps.iter().find(|it| it.map == map).expect(map).entries)
    };
    assert_eq!(levels(&mut rig), [1, 0, 0]);
    let [v4, v6] = rig.pod("server").at(81);
    let (to4, both) = ([(v4, 1.0)], [(v4, 1.0), (v6, 1.0)]);
    learn(&mut rig, &services(Protocol::Tcp, &[("10.96.0.1:80", &to4), ("10.96.0.2:80", &both)]));
    assert_eq!(levels(&mut rig), [1, 2, 3]);
    learn(&mut rig, &services(Protocol::Tcp, &[("10.96.0.1:80", &to4)]));
    assert_eq!(levels(&mut rig), [1, 1, 1]);
    learn(&mut rig, &Services::default());
    assert_eq!(levels(&mut rig), [1, 0, 0]);
    Ok(())
}

#[test]
fn endpoints_get_their_shares() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let weights = [10.0, 30.0, 60.0];
    let endpoints: [_; 3] = std::array::from_fn(|n| (rig.pod("server").at(81 + n as u16)[0], weights[n]));
    let servers = rig.pod("server").enter(|| endpoints.map(|(at, _)| echo(at).expect("a free address")));
    learn(&mut rig, &services(Protocol::Tcp, &[("10.96.0.1:80", &endpoints)]));
    connect(rig.pod("app"), &["--times", "2000", "10.96.0.1:80"])?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while servers.iter().map(|server| server.clients().len()).sum::<usize>() < 2000 {
        assert!(Instant::now() < deadline, "not all connections arrived");
        std::thread::sleep(Duration::from_millis(5));
    }
    let seen = servers.each_ref().map(|server| server.clients().len() as f64 / 20.0);
    // Four standard deviations of a draw of 2000.
    assert!(seen.iter().zip(weights).all(|(seen, weight)| (seen - weight).abs() < 4.5), "{seen:?}");
    assert_eq!(rig.count("direct"), 2000);
    Ok(())
}

#[test]
fn no_connection_fails_while_endpoints_change() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let endpoints: [_; 4] = std::array::from_fn(|n| (rig.pod("server").at(81 + n as u16)[0], 1.0 + n as f64));
    let _servers = rig.pod("server").enter(|| endpoints.map(|(at, _)| echo(at).expect("a free address")));
    learn(&mut rig, &services(Protocol::Tcp, &[("10.96.0.1:80", &endpoints)]));
    let Rig { mesh, world, .. } = &mut rig;
    let done = AtomicBool::new(false);
    let (updates, told) = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let told = connect(world.pod("app"), &["--times", "1000", "10.96.0.1:80"]);
            done.store(true, Ordering::Relaxed);
            told
        });
        let mut updates = 0_usize;
        while !done.load(Ordering::Relaxed) {
            // Order, size and weights change at once. No endpoint ever goes: connections to one that did would be reset, rightly.
            let from = updates % 4;
            let some: Vec<_> = endpoints.iter().cycle().skip(from).take(4 + updates % 3).copied().collect();
            let next = by_kernel(&services(Protocol::Tcp, &[("10.96.0.1:80", &some)]));
            mesh.forget(&next);
            mesh.learn(&next);
            if updates.is_multiple_of(7) {
                mesh.tick();
            }
            updates += 1;
        }
        (updates, client.join().expect("no panic"))
    });
    told?;
    println!("{updates} updates during 1000 connections");
    assert!(updates > 10);
    assert_eq!((rig.count("direct"), rig.count("failed_no_choice"), rig.count("steered")), (1000, 0, 0));
    Ok(())
}

#[test]
fn ten_thousand_services_are_learnt_and_forgotten() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let server = rig.pod("server").at(81)[0];
    let _server = rig.pod("server").enter(|| echo(server))?;
    let address = |n: u32| SocketAddr::from(([10, 96, (n >> 8) as u8, n as u8], 80));
    let endpoints: Vec<_> = (0..10_u16).map(|n| (Some(SocketAddr::from(([10, 1, 1, 1], 1 + n))), 1.0)).collect();
    let service = |n: u32| {
        let shares = if n == 9999 { vec![(Some(server), 1.0)] } else { endpoints.clone() };
        (
            (Protocol::Tcp, address(n)),
            Arc::new(Service {
                listener: format!("{n}").as_str().into(),
                shares,
                resting: Vec::new(),
                by_client: None,
            }),
        )
    };
    let all = Services((0..10_000).map(service).collect());
    let began = Instant::now();
    learn(&mut rig, &all);
    let learnt = began.elapsed();
    let told = connect(rig.pod("app"), &["--times", "100", &address(9999).to_string()])?;
    println!("10,000 services, 99,991 endpoints: learnt in {learnt:?}; connect {} us", told["micros"]);
    assert_eq!(rig.count("direct"), 100);
    let began = Instant::now();
    // Nine looks: the maps are as they should be, and the looks are cheap.
    for _ in 0..90 {
        rig.mesh.tick();
    }
    println!("a look: {:?}", began.elapsed() / 9);
    learn(&mut rig, &Services::default());
    rig.mesh.tick();
    let maps = harness::footprint::Footprint::of(std::process::id())?.maps;
    let left = harness::footprint::map_entries(&maps)?;
    let left = |map: &str| left.iter().filter(|(name, _)| name == map).map(|(_, entries)| *entries).collect::<Vec<_>>();
    // What stays says which numbers are taken.
    assert_eq!((left("SERVICES"), left("CHOICES"), left("SLOTS")), (vec![1], vec![0], vec![0]));
    Ok(())
}

#[test]
fn what_finds_no_room_goes_through_the_agent() -> anyhow::Result<()> {
    if !harness::world::is_root() {
        eprintln!("skipped: needs root");
        return Ok(());
    }
    let mut rig =
        Rig::start_within(&["app", "server"], Limits { services: 2, choices: 3, ..Limits::default() }, first_only)?;
    let server = rig.pod("server").at(81)[0];
    let _server = rig.pod("server").enter(|| echo(server))?;
    let (one, three) = ([(server, 1.0)], [(server, 1.0); 3]);
    let all = services(Protocol::Tcp, &[("10.96.0.1:80", &one), ("10.96.0.2:80", &three), ("10.96.0.3:80", &one)]);
    learn(&mut rig, &all);
    for service in ["10.96.0.1:80", "10.96.0.3:80"] {
        connect(rig.pod("app"), &[service])?;
    }
    assert_eq!((rig.count("direct"), rig.count("steered"), rig.mesh.services_left_out()), (2, 0, 1));
    connect(rig.pod("app"), &["10.96.0.2:80"])?;
    assert_eq!(rig.wait_accepted(0)?.destination, Some("10.96.0.2:80".parse()?));
    Ok(())
}

#[test]
fn an_endpoint_that_refuses_refuses_the_app() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    // Nobody listens there, and the app is told so at once, by the endpoint itself.
    let dead = rig.pod("server").at(9)[0];
    learn(&mut rig, &services(Protocol::Tcp, &[("10.96.0.1:80", &[(dead, 1.0)])]));
    let began = Instant::now();
    let error = connect(rig.pod("app"), &["10.96.0.1:80"]).expect_err("refused").to_string();
    assert!(error.contains("refused"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(rig.count("direct"), 1);
    Ok(())
}
