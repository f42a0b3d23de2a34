//! Policy of what goes past the agent: refused in `connect` and at the door, told with the policy's name, changed without a gap.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context as _;
use mesh_agent::model::authz::{Action, Fact, Policy, Rules, Test};
use mesh_agent::model::config;
use mesh_agent::model::event::Kind;
use mesh_agent::model::flow::Direction;
use mesh_agent::model::service::{ByKernel, Claims, Protocol, Service, Services, Shortcuts as _, Straight};
use mesh_agent::model::workload::Mode;

use crate::events::Told;
use crate::rig::{Rig, connect, listen};
use crate::rig_or_skip;

fn first_only(config: &mut config::Mesh) {
    config.workloads.truncate(1);
}

fn rules(action: Action, policies: &[(&str, Test)]) -> Rules {
    let policy = |(name, test): &(&str, Test)| Policy {
        name: Arc::from(*name),
        permissions: vec![Test::Any],
        principals: vec![test.clone()],
    };
    Rules { stat_prefix: "test".to_owned(), action, policies: policies.iter().map(policy).collect() }
}

fn from(ip: IpAddr) -> Test {
    Test::Fact(Fact::Source(ip.into()))
}

fn not(test: Test) -> Test {
    Test::Not(Box::new(test))
}

/// One endpoint for each service, and who may have it.
fn services(each: &[(&str, SocketAddr, Rules)]) -> anyhow::Result<ByKernel> {
    let mut next = ByKernel { inbound: Claims { all: true, ..Claims::default() }, ..ByKernel::default() };
    let mut services = BTreeMap::new();
    for (asked, endpoint, rules) in each {
        let asked: SocketAddr = asked.parse()?;
        let service = Service {
            listener: "test".into(),
            shares: vec![(Some(*endpoint), 1.0)],
            resting: Vec::new(),
            by_client: None,
        };
        services.insert((Protocol::Tcp, asked), Arc::new(service));
        next.rules.insert(asked, vec![rules.clone()].into());
    }
    next.services = Services(services);
    Ok(next)
}

fn set(rig: &mut Rig, next: &ByKernel) {
    rig.mesh.forget(next);
    rig.mesh.learn(next);
}

fn refused(rig: &Rig, asked: &str) -> bool {
    let refusal = connect(rig.pod("app"), &[asked]);
    refusal.is_err_and(|error| error.to_string().contains("Operation not permitted"))
}

#[test]
fn who_may_not_is_refused_while_it_connects() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let told = Told::by(&mut rig)?;
    let [v4, v6] = rig.pod("server").at(81);
    let _servers = [listen(rig.pod("server"), v4)?, listen(rig.pod("server"), v6)?];
    let own = rig.pod("app").at(0).map(|own| own.ip());
    let deny = |test| rules(Action::Deny, &[("other", from("192.0.2.1".parse().expect("an address"))), ("lab", test)]);
    let next = services(&[
        ("10.96.0.1:80", v4, deny(from(own[0]))),
        ("10.96.0.2:80", v4, deny(not(from(own[0])))),
        ("[fd00:96::1]:80", v6, deny(from(own[1]))),
        ("[fd00:96::2]:80", v6, deny(not(from(own[1])))),
    ])?;
    set(&mut rig, &next);
    for (n, asked) in ["10.96.0.1:80", "[fd00:96::1]:80", "[::ffff:10.96.0.1]:80"].into_iter().enumerate() {
        assert!(refused(&rig, asked), "{asked}");
        let denied = told.wait(n)?;
        assert_eq!(
            (denied.kind, denied.reason.label, denied.policy.as_deref()),
            (Kind::Denied, "denied_policy", Some("lab"))
        );
        assert_eq!((denied.asked.port(), denied.asked.ip().is_ipv4()), (80, asked.contains("10.96")));
        assert_eq!(denied.direction, Direction::Outbound);
    }
    for asked in ["10.96.0.2:80", "[fd00:96::2]:80", "[::ffff:10.96.0.2]:80"] {
        connect(rig.pod("app"), &[asked]).context(asked)?;
    }
    assert_eq!((rig.count("denied_policy"), rig.count("direct"), rig.count("steered")), (3, 3, 0));
    Ok(())
}

#[test]
fn what_nothing_allows_is_refused_and_a_name_is_known() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let told = Told::by(&mut rig)?;
    let to = rig.pod("server").at(81)[0];
    let _server = listen(rig.pod("server"), to)?;
    let who = || Test::Fact(Fact::Identity(None));
    set(
        &mut rig,
        &services(&[
            ("10.96.0.1:80", to, rules(Action::Allow, &[("nobody", not(who()))])),
            ("10.96.0.2:80", to, rules(Action::Allow, &[("anybody", who())])),
            ("10.96.0.3:80", to, rules(Action::Allow, &[])),
        ])?,
    );
    assert!(refused(&rig, "10.96.0.1:80") && refused(&rig, "10.96.0.3:80"));
    connect(rig.pod("app"), &["10.96.0.2:80"])?;
    assert_eq!(told.wait(0)?.policy, None, "none of them allowed it");
    Ok(())
}

#[test]
fn a_bound_source_is_the_source() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let to = rig.pod("server").at(81)[0];
    let _server = listen(rig.pod("server"), to)?;
    // A second address, which no configuration mentions.
    let own = rig.pod("app").v4();
    let other = std::net::Ipv4Addr::from(u32::from(own) ^ 0x80);
    let added = rig.pod("app").run("sh", &["-c", &format!("ip address add {other}/32 dev lo")])?;
    anyhow::ensure!(added.status.success(), "{}", added.text());
    set(&mut rig, &services(&[("10.96.0.1:80", to, rules(Action::Allow, &[("second", from(other.into()))]))])?);
    assert!(refused(&rig, "10.96.0.1:80"));
    let error = connect(rig.pod("app"), &["--from", &format!("{own}:0"), "10.96.0.1:80"]).expect_err("refused");
    assert!(error.to_string().contains("Operation not permitted"), "{error}");
    let allowed = rig.count("direct");
    connect(rig.pod("app"), &["--from", &format!("{other}:0"), "10.96.0.1:80"])?;
    assert_eq!((rig.count("direct"), rig.count("denied_policy")), (allowed + 1, 2));
    Ok(())
}

#[test]
fn rules_change_without_a_gap() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let to = rig.pod("server").at(81)[0];
    let _server = listen(rig.pod("server"), to)?;
    let own: IpAddr = rig.pod("app").v4().into();
    let allow = |name: &str| rules(Action::Allow, &[(name, from(own))]);
    let deny = |name: &str| rules(Action::Deny, &[(name, from(own))]);
    for round in 0..5 {
        let (yes, no) = (format!("yes {round}"), format!("no {round}"));
        set(&mut rig, &services(&[("10.96.0.1:80", to, allow(&yes))])?);
        connect(rig.pod("app"), &["10.96.0.1:80"])?;
        let next = services(&[("10.96.0.1:80", to, deny(&no))])?;
        // Already when the kernel forgets.
        rig.mesh.forget(&next);
        assert!(refused(&rig, "10.96.0.1:80"));
        rig.mesh.learn(&next);
        rig.mesh.tick();
        assert!(refused(&rig, "10.96.0.1:80"));
    }
    // Without rules everybody may.
    let mut open = services(&[("10.96.0.1:80", to, deny("no"))])?;
    open.rules.clear();
    set(&mut rig, &open);
    rig.mesh.tick();
    rig.mesh.tick();
    connect(rig.pod("app"), &["10.96.0.1:80"])?;
    // And nothing is left of what was.
    let maps = harness::footprint::Footprint::of(std::process::id())?.maps;
    let left = harness::footprint::map_entries(&maps)?;
    assert!(left.iter().all(|(name, entries)| !name.contains("RULE") || *entries == 0), "{left:?}");
    Ok(())
}

#[test]
fn what_the_kernel_does_not_understand_is_the_agents() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with first_only; "app", "server");
    let to = rig.pod("server").at(81)[0];
    let many = (0..65).map(|n| Test::Fact(Fact::Port(n..=n))).collect();
    set(&mut rig, &services(&[("10.96.0.1:80", to, rules(Action::Deny, &[("many", Test::One(many))]))])?);
    connect(rig.pod("app"), &["10.96.0.1:80"])?;
    assert_eq!(rig.wait_accepted(0)?.destination, Some("10.96.0.1:80".parse()?));
    assert_eq!((rig.count("direct"), rig.count("steered")), (0, 1));
    Ok(())
}

#[test]
fn a_set_that_is_not_whole_fails_by_mode() -> anyhow::Result<()> {
    let enforce = |config: &mut config::Mesh| {
        first_only(config);
        config.workloads[0].mode = Mode::Enforce;
    };
    let mut rig = rig_or_skip!(with enforce; "app", "server");
    let to = rig.pod("server").at(81)[0];
    let _server = listen(rig.pod("server"), to)?;
    set(&mut rig, &services(&[("10.96.0.1:80", to, rules(Action::Deny, &[("x", from("192.0.2.1".parse()?))]))])?);
    connect(rig.pod("app"), &["10.96.0.1:80"])?;
    lose_sets(&rig)?;
    assert!(refused(&rig, "10.96.0.1:80"));
    assert_eq!((rig.count("failed_no_policy"), rig.count("denied_failed")), (1, 1));
    // The next look finds it.
    for _ in 0..10 {
        rig.mesh.tick();
    }
    connect(rig.pod("app"), &["10.96.0.1:80"])?;
    Ok(())
}

/// Takes the first set of rules out of the kernel.
fn lose_sets(rig: &Rig) -> anyhow::Result<()> {
    let maps = harness::footprint::Footprint::of(std::process::id())?.maps;
    let shown = rig.pod("app").run("bpftool", &["-j", "map", "show"])?;
    let shown: serde_json::Value = serde_json::from_str(shown.lines.last().context("maps")?)?;
    let ours = |map: &&serde_json::Value| {
        map["name"] == "RULE_SETS" && map["id"].as_u64().is_some_and(|id| maps.contains(&(id as u32)))
    };
    for map in shown.as_array().context("a list")?.iter().filter(ours) {
        let delete = ["map", "delete", "id", &map["id"].to_string(), "key", "1", "0", "0", "0"].map(str::to_owned);
        // Only one of them has it.
        rig.pod("app").run("bpftool", &delete.each_ref().map(String::as_str))?;
    }
    Ok(())
}

#[test]
fn who_may_not_come_in_finds_nobody() -> anyhow::Result<()> {
    let mut rig = rig_or_skip!(with |config: &mut config::Mesh| {
        config.workloads.retain(|workload| workload.name.as_str() == "server");
    }; "server", "friend", "stranger");
    let told = Told::by(&mut rig)?;
    let to = rig.pod("server").at(81);
    let _servers =
        to.map(|to| listen(rig.pod("server"), to)).into_iter().collect::<anyhow::Result<Vec<TcpListener>>>()?;
    let friends = rig.pod("friend").at(0).map(|friend| from(friend.ip()));
    let allow: Arc<[Rules]> = vec![rules(Action::Allow, &[("friends", Test::One(friends.to_vec()))])].into();
    let straight =
        |endpoint: SocketAddr| Straight { address: Some(endpoint.ip()), endpoint, rules: Arc::clone(&allow) };
    // Each family has a listener at a port of its own address; both claim it.
    for to in to {
        let ports = [(Some(to.ip()), 81)].into();
        let next =
            ByKernel { inbound: Claims { all: false, ports, straight: vec![straight(to)] }, ..ByKernel::default() };
        set(&mut rig, &next);
        connect(rig.pod("friend"), &[&to.to_string()])?;
        assert!(connect(rig.pod("stranger"), &[&to.to_string()]).is_err());
    }
    assert_eq!((rig.count("inbound_denied_policy") > 1, rig.count("inbound_steered")), (true, 0));
    let denied = (0..20).find_map(|n| told.wait(n).ok().filter(|event| event.kind == Kind::Denied)).context("told")?;
    assert_eq!((denied.reason.label, denied.direction), ("inbound_denied_policy", Direction::Inbound));
    assert_eq!((denied.client.ip(), denied.asked), (rig.pod("stranger").v4().into(), to[0]));
    // A listener for any address is asked also at one that nobody wrote down.
    let more = std::net::Ipv4Addr::from(u32::from(rig.pod("server").v4()) ^ 0x80);
    let added = rig.pod("server").run("sh", &["-c", &format!("ip address add {more}/24 dev eth0")])?;
    anyhow::ensure!(added.status.success(), "{}", added.text());
    let at = SocketAddr::new(more.into(), 81);
    let _server = listen(rig.pod("server"), at)?;
    let any = Straight { address: None, endpoint: to[0], rules: Arc::clone(&allow) };
    let inbound = Claims { all: false, ports: [(None, 81)].into(), straight: vec![any] };
    set(&mut rig, &ByKernel { inbound, ..ByKernel::default() });
    connect(rig.pod("friend"), &[&at.to_string()])?;
    assert!(connect(rig.pod("stranger"), &[&at.to_string()]).is_err());
    // Where it is not the kernel's, it is the agent's.
    set(&mut rig, &ByKernel { inbound: Claims { all: true, ..Claims::default() }, ..ByKernel::default() });
    connect(rig.pod("stranger"), &[&to[0].to_string()])?;
    assert_eq!(rig.wait_accepted(0)?.direction, Direction::Inbound);
    Ok(())
}
