//! What is asked for and let go, and when.

use std::sync::Arc;
use std::time::Duration;

use crate::app::demand::Demands;
use crate::app::live::Live;
use crate::app::sockets::Sockets;
use crate::dns::Resolver;
use crate::file;
use crate::model::cluster::Cluster;
use crate::model::config::Config;
use crate::model::resource::Resource;
use crate::snapshot::{Change, Cold, LiveFilter};
use crate::telemetry::Telemetry;

/// A listener for bytes to cluster `c`, which comes on demand and is let go after five seconds.
pub(in crate::app) fn on_demand() -> (Config, Live) {
    let config = "{ mesh: { on_demand: true, on_demand_ttl: 5s },
        dynamic_resources: { cds_config: { ads: {}, resource_api_version: V3 }, ads_config: { api_type: DELTA_GRPC,
        transport_api_version: V3, grpc_services: [{ google_grpc: { target_uri: 'plane:1', stat_prefix: x } }] } },
        static_resources: { listeners: [{ name: l, address: { socket_address: { address: 10.0.0.1, port_value: 80 } },
        bind_to_port: false, filter_chains: [{ filters: [{ name: tcp, typed_config: {
        '@type': t/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, cluster: c } }] }] }] } }";
    let config = parse(config);
    let (rollout, demands) = Demands::start(&config);
    let sockets = Sockets::new(1, Duration::ZERO);
    let mut live = Live { rollout, resolver: Resolver::start(&[]), sockets, mesh: None, demands };
    live.change(vec![Change::Put(Resource::Listener(Arc::clone(&config.listeners[0])))]);
    (config, live)
}

pub(in crate::app) fn cluster() -> Arc<Cluster> {
    Arc::clone(
        &parse("static_resources: { clusters: [{ name: c, load_assignment: { cluster_name: c } }] }").clusters[0],
    )
}

pub(in crate::app) fn cold(live: &Live) -> Cold {
    match &live.rollout.current().listeners()[0].chains[0].filter {
        LiveFilter::Tcp(chain) => Cold::Cluster(chain.clusters.pick(0)),
        LiveFilter::Http(_) => panic!("HTTP"),
    }
}

fn parse(text: &str) -> Config {
    file::parse(text, |_| Vec::new()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn is_demanded(live: &Live) -> bool {
    live.rollout.builder().is_demanded(&"c".into())
}

fn demands(live: &Live) -> &Demands {
    live.demands.as_ref().expect("on demand")
}

async fn seconds(live: &mut Live, count: usize) {
    for _ in 0..count {
        tokio::time::advance(Duration::from_secs(1)).await;
        live.tick(&Telemetry::new(1));
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_what_has_come_is_told_at_once_and_waits_are_counted_once() {
    let (_, mut live) = on_demand();
    let cold = cold(&live);
    live.demand(vec![cold.clone(), cold.clone()]);
    live.demand(vec![cold.clone()]);
    live.change(vec![Change::Put(Resource::Cluster(cluster()))]);
    let mut asker = demands(&live).asker();
    assert!(asker.has_heard());
    live.demand(vec![cold]);
    assert!(asker.has_heard());
    assert_eq!(demands(&live).standing().lock().unwrap().asked, 1);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_waits_for_is_not_let_go() {
    let (_, mut live) = on_demand();
    live.demand(vec![cold(&live)]);
    seconds(&mut live, 10).await;
    assert!(is_demanded(&live), "the longest wait is longer than that");
    seconds(&mut live, 10).await;
    assert!(!is_demanded(&live));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nobody_looked_is_not_time_in_which_nobody_used_it() {
    let (_, mut live) = on_demand();
    live.demand(vec![cold(&live)]);
    live.change(vec![Change::Put(Resource::Cluster(cluster()))]);
    for _ in 0..3 {
        seconds(&mut live, 1).await;
        tokio::time::advance(Duration::from_secs(1000)).await;
        live.rollout.current().clusters().for_each(|cluster| cluster.touch());
    }
    seconds(&mut live, 3).await;
    assert!(is_demanded(&live));
    seconds(&mut live, 5).await;
    assert!(!is_demanded(&live));
}
