//! Services whose client decides: the kernel brings each to the endpoint that the agent would bring it to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::tcp::echo;
use mesh_agent::model::cluster::TableSize;
use mesh_agent::model::config;
use mesh_agent::model::service::{ByClient, Protocol, Service, Services};
use mesh_agent::model::workload::known_as;
use mesh_agent::spread::maglev;

use crate::evict::wait;
use crate::rig::connect;
use crate::rig_or_skip;
use crate::service::{first_only, learn};
use crate::udp::{datagrams, servers};

/// A service of these endpoints, and whom the agent would choose for a client.
fn service(protocol: Protocol, address: &str, members: &[SocketAddr]) -> (Services, impl Fn(IpAddr) -> SocketAddr) {
    let names: Vec<_> = members.iter().map(ToString::to_string).collect();
    let size = TableSize::new(1021).expect("a prime");
    let table = maglev::table(&names, &vec![1.0; members.len()], size).expect("somebody");
    let of_table = table.members.iter().map(|index| members[*index as usize]).collect();
    let by_client = Some(ByClient { members: of_table, table: Arc::new(table.clone()) });
    let shares = members.iter().map(|member| (Some(*member), 1.0)).collect();
    let service = Service { listener: "test".into(), shares, resting: Vec::new(), by_client };
    let members = members.to_vec();
    let theirs = move |ip| members[maglev::find(&table, maglev::of_client(ip)).expect("somebody") as usize];
    (Services([((protocol, address.parse().expect("an address")), Arc::new(service))].into()), theirs)
}

#[test]
fn a_client_comes_to_the_endpoint_that_the_agent_would_choose() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let [own4, own6] = rig.pod("app").at(0).map(|own| own.ip());
    for (family, own, asked) in [(0, own4, "10.96.0.1:80"), (1, own6, "[fd00:96::1]:80")] {
        let members: Vec<_> = (0..5).map(|n| rig.pod("server").at(81 + n)[family]).collect();
        let all =
            rig.pod("server").enter(|| members.iter().map(|at| echo(*at).expect("a free address")).collect::<Vec<_>>());
        let (all_services, theirs) = service(Protocol::Tcp, asked, &members);
        learn(&mut rig, &all_services);
        connect(rig.pod("app"), &["--times", "40", asked])?;
        let theirs = theirs(own);
        let chosen = members.iter().position(|member| *member == theirs).expect("one of them");
        let deadline = Instant::now() + Duration::from_secs(10);
        while all[chosen].clients().len() < 40 {
            let seen: Vec<_> = all.iter().map(|server| server.clients().len()).collect();
            anyhow::ensure!(Instant::now() < deadline, "{seen:?}, all should be at {chosen}");
            std::thread::sleep(Duration::from_millis(5));
        }
        // When that one leaves, the kernel follows the agent again.
        let rest: Vec<_> = members.iter().copied().filter(|member| *member != theirs).collect();
        let (fewer, now_theirs) = service(Protocol::Tcp, asked, &rest);
        learn(&mut rig, &fewer);
        connect(rig.pod("app"), &["--times", "10", asked])?;
        let next = members.iter().position(|member| *member == now_theirs(own)).expect("one of them");
        while all[next].clients().len() < 10 {
            anyhow::ensure!(Instant::now() < deadline, "not at {next}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!((rig.count("direct"), rig.count("failed_no_choice"), rig.count("steered")), (100, 0, 0));
    Ok(())
}

#[test]
fn a_flow_comes_to_the_endpoint_of_its_client() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let (members, _servers) = servers(&rig, 5, 0)?;
    let (all, theirs) = service(Protocol::Udp, "10.96.0.1:53", &members);
    learn(&mut rig, &all);
    let theirs = theirs(rig.pod("app").at(0)[0].ip()).to_string();
    for _ in 0..4 {
        let (_, told) = datagrams(rig.pod("app"), &["10.96.0.1:53"])?;
        anyhow::ensure!(told.iter().all(|answer| answer[2] == theirs) && !told.is_empty(), "{told:?}, not {theirs}");
    }
    Ok(())
}

/// Of its sockets, some are bound to an address that only the kernel sees.
#[test]
fn a_workload_whose_addresses_nobody_wrote_down_is_one_client() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with nameless; "app", "server");
    for (family, asked) in [(0, "10.96.0.1:80"), (1, "[fd00:96::1]:80")] {
        let members: Vec<_> = (0..5).map(|n| rig.pod("server").at(81 + n)[family]).collect();
        let all =
            rig.pod("server").enter(|| members.iter().map(|at| echo(*at).expect("a free address")).collect::<Vec<_>>());
        let (services, theirs) = service(Protocol::Tcp, asked, &members);
        learn(&mut rig, &services);
        let theirs = theirs(known_as(&[], family == 0));
        let chosen = members.iter().position(|member| *member == theirs).expect("one of them");
        connect(rig.pod("app"), &["--times", "10", asked])?;
        let own = rig.pod("app").at(0)[family].to_string();
        connect(rig.pod("app"), &["--from", &own, "--times", "10", asked])?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while all[chosen].clients().len() < 20 {
            let seen: Vec<_> = all.iter().map(|server| server.clients().len()).collect();
            anyhow::ensure!(Instant::now() < deadline, "{seen:?}, all should be at {chosen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

#[test]
fn a_flow_moves_to_the_endpoint_that_is_now_its_clients() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with nameless; "app", "server");
    let (members, _servers) = servers(&rig, 5, 0)?;
    let (all, theirs) = service(Protocol::Udp, "10.96.0.1:53", &members);
    learn(&mut rig, &all);
    let pod = rig.pod("app").clone();
    let plan = ["--connect", "--times", "150", "--pause", "10", "10.96.0.1:53"];
    let client = std::thread::spawn(move || datagrams(&pod, &plan));
    wait(&rig, "datagrams_direct", 1);
    let own = known_as(&[], true);
    let rest: Vec<_> = members.iter().copied().filter(|member| *member != theirs(own)).collect();
    let (fewer, now_theirs) = service(Protocol::Udp, "10.96.0.1:53", &rest);
    learn(&mut rig, &fewer);
    wait(&rig, "evicted_udp", 1);
    let (_, answers) = client.join().expect("no panic")?;
    let last = answers.last().expect("answers");
    assert_eq!((&last[2], rig.count("evictions_missed")), (&now_theirs(own).to_string(), 0), "{last:?}");
    Ok(())
}

/// Only the first is meshed, and the mesh does not know its addresses.
fn nameless(config: &mut config::Mesh) {
    first_only(config);
    config.workloads[0].addresses.clear();
}
