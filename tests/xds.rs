//! The client of management servers, against servers that behave and servers that do not. Needs no root.

#[path = "xds/agent.rs"]
mod agent;
#[path = "xds/beside.rs"]
mod beside;
#[path = "xds/client.rs"]
mod client;
#[path = "xds/csds.rs"]
mod csds;
#[path = "xds/extension.rs"]
mod extension;
#[path = "xds/faults.rs"]
mod faults;
#[path = "xds/files.rs"]
mod files;
#[path = "xds/kept_routes.rs"]
mod kept_routes;
#[path = "xds/last_good.rs"]
mod last_good;
#[path = "xds/on_demand.rs"]
mod on_demand;
#[path = "xds/rig.rs"]
mod rig;
#[path = "xds/scope.rs"]
mod scope;
#[path = "xds/sds.rs"]
mod sds;
#[path = "xds/setup.rs"]
mod setup;
#[path = "xds/tls.rs"]
mod tls;
#[path = "xds/trouble.rs"]
mod trouble;
#[path = "xds/vhds.rs"]
mod vhds;
