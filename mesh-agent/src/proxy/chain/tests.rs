//! Chains as tables of criteria, and the one that each connection gets.

use std::sync::Arc;
use std::time::Duration;

use super::choose;
use crate::model::filter::{NetworkFilter, TcpProxy, WeightedCluster};
use crate::model::flow::Direction;
use crate::model::listener::{ChainMatch, FilterChain, Listener};
use crate::proxy::connection::Origin;
use crate::snapshot::{Builder, LiveFilter, LiveListener};
use crate::telemetry::{Protocol, Source};

/// A chain that is told by its stat prefix.
fn chain(name: &str, matches: ChainMatch) -> FilterChain {
    let tcp = TcpProxy {
        stat_prefix: name.to_owned(),
        clusters: vec![WeightedCluster { name: "c".into(), weight: 1 }],
        by_client: false,
        idle_timeout: None,
    };
    FilterChain { name: name.to_owned(), matches, authorization: Vec::new(), filter: NetworkFilter::Tcp(Arc::new(tcp)) }
}

fn listener(chains: Vec<FilterChain>, default_chain: Option<FilterChain>) -> Arc<LiveListener> {
    let listener = Listener {
        name: "l".into(),
        address: ([0, 0, 0, 0], 80).into(),
        bind: false,
        catch_all: false,
        direction: Direction::Outbound,
        detect: None,
        chains,
        default_chain,
    };
    let cluster = crate::model::cluster::Cluster {
        tls: None,
        name: "c".into(),
        discovery: crate::model::cluster::Discovery::Static(Default::default()),
        connect_timeout: Duration::from_secs(5),
        protocol: crate::model::cluster::UpstreamProtocol::Http1,
        balance: crate::model::cluster::BalancePolicy::RoundRobin,
        panic_threshold: crate::model::cluster::DEFAULT_PANIC_THRESHOLD,
        weighs_localities: false,
    };
    let (snapshot, rejected) =
        Builder::default().build(&[Arc::new(listener)], &[Arc::new(cluster)], &Default::default());
    assert_eq!(rejected, []);
    Arc::clone(&snapshot.listeners()[0])
}

fn chosen(listener: &LiveListener, peer: &str, destination: &str, protocol: Option<Protocol>) -> String {
    let origin = Origin {
        peer: peer.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
        pod: None,
        direction: Direction::Outbound,
        source: Source::Unknown,
    };
    match choose(listener, &origin, protocol).map(|chain| &chain.filter) {
        Some(LiveFilter::Tcp(chain)) => chain.config.stat_prefix.clone(),
        Some(LiveFilter::Http(_)) => "http".to_owned(),
        None => "none".to_owned(),
    }
}

#[test]
fn the_most_specific_criterion_wins_and_there_is_no_way_back() {
    let nets = |text: &str| vec![text.parse().expect("a network")];
    let listener = listener(
        vec![
            chain("any", ChainMatch::default()),
            chain("net 8", ChainMatch { destination: nets("10.0.0.0/8"), ..ChainMatch::default() }),
            chain("net 16", ChainMatch { destination: nets("10.1.0.0/16"), ..ChainMatch::default() }),
            chain("port 81", ChainMatch { destination_port: Some(81), ..ChainMatch::default() }),
            chain(
                "port 82 from 7",
                ChainMatch { destination_port: Some(82), source: nets("7.0.0.0/8"), ..ChainMatch::default() },
            ),
            chain(
                "h2c",
                ChainMatch {
                    destination: nets("10.1.0.0/16"),
                    application_protocols: vec!["h2c".to_owned()],
                    ..ChainMatch::default()
                },
            ),
        ],
        Some(chain("default", ChainMatch::default())),
    );
    for (peer, destination, protocol, expected) in [
        ("7.7.7.7:1", "9.9.9.9:80", None, "any"),
        ("7.7.7.7:1", "10.2.0.1:80", None, "net 8"),
        ("7.7.7.7:1", "10.1.0.1:80", None, "net 16"),
        ("7.7.7.7:1", "10.1.0.1:80", Some(Protocol::Http2), "h2c"),
        ("7.7.7.7:1", "10.1.0.1:80", Some(Protocol::Opaque), "net 16"),
        // The port decides first, whatever the networks of other chains say.
        ("7.7.7.7:1", "10.1.0.1:81", None, "port 81"),
        ("7.7.7.7:1", "10.1.0.1:82", None, "port 82 from 7"),
        // The port chose its chain, whose source does not fit: no other chain gets its turn but the default.
        ("8.8.8.8:1", "10.1.0.1:82", None, "default"),
        ("[::1]:1", "[::2]:80", None, "any"),
    ] {
        assert_eq!(chosen(&listener, peer, destination, protocol), expected, "{peer} -> {destination} {protocol:?}");
    }
}

#[test]
fn without_a_match_or_a_default_there_is_none() {
    let listener =
        listener(vec![chain("81", ChainMatch { destination_port: Some(81), ..ChainMatch::default() })], None);
    assert_eq!(chosen(&listener, "7.7.7.7:1", "10.1.0.1:80", None), "none");
}
