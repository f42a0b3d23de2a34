//! `mesh-agent workloads`, `mesh-agent connections` and `mesh-agent config`.

use serde::de::DeserializeOwned;

use crate::admin::{self, ConfigView, FileView, KindView, LastGoodView, OnDemandView, WorkloadView};
use crate::cli::table::{Table, age, size};
use crate::cli::{Failure, print};
use crate::settings::Query;
use crate::telemetry::ConnectionView;

/// Prints the workloads of the running agent.
pub(super) fn workloads(query: &Query) -> Result<(), Failure> {
    answer(query, "/workloads", |views: Vec<WorkloadView>| {
        let mut table =
            Table::new(&["NAME", "NAMESPACE", "ACCOUNT", "STATE", "MODE", "ADDRESSES", "NETNS", "CGROUP", "REASON"]);
        for view in views {
            let path = |path: Option<std::path::PathBuf>| path.map_or(String::new(), |path| path.display().to_string());
            let addresses: Vec<_> = view.addresses.iter().map(ToString::to_string).collect();
            table.line(vec![
                view.name,
                view.namespace,
                view.service_account,
                view.state.label().to_owned(),
                view.mode,
                addresses.join(","),
                view.netns.map_or("host".to_owned(), |netns| netns.display().to_string()),
                path(view.cgroup),
                view.reason.unwrap_or_default(),
            ]);
        }
        table
    })
}

/// Prints the open connections of the running agent.
pub(super) fn connections(query: &Query) -> Result<(), Failure> {
    answer(query, "/connections", |views: Vec<ConnectionView>| {
        let mut table = Table::new(&[
            "ID",
            "SOURCE",
            "PEER",
            "ORIGINAL",
            "LISTENER",
            "TIER",
            "PROTOCOL",
            "DESTINATION",
            "AGE",
            "SENT",
            "RECEIVED",
            "RTT",
        ]);
        for view in views {
            table.line(vec![
                view.id.to_string(),
                named(view.source, view.source_kind),
                view.peer.to_string(),
                view.original_destination.map_or(String::new(), |address| address.to_string()),
                view.listener.unwrap_or_default(),
                view.tier.unwrap_or_default(),
                view.protocol.unwrap_or_default(),
                named(view.destination.unwrap_or_default(), view.destination_kind.unwrap_or_default()),
                age(view.age_ms),
                size(view.bytes_sent),
                size(view.bytes_received),
                view.rtt_us.map_or(String::new(), |micros| format!("{micros}us")),
            ]);
        }
        table
    })
}

/// Prints how the running agent stands with its management server, and with files of resources.
pub(super) fn config(query: &Query) -> Result<(), Failure> {
    let socket = &query.admin.socket;
    if query.format.json {
        return print(&String::from_utf8_lossy(&admin::get(socket, "/config")?));
    }
    let Some(view) = admin::get_json::<Option<ConfigView>>(socket, "/config")? else {
        return print("all of the configuration stands in the agent's own file\n");
    };
    let since = view.since_ms.map(age).unwrap_or_default();
    let mut text = match &view.server {
        None if !view.asks_server => String::new(),
        Some(server) => format!("server {server}, for {since}; stream number {}\n", view.streams),
        None if view.streams == 0 => "no server has been reached yet\n".to_owned(),
        None => format!("no server for {since}; what is live stays\n"),
    };
    if let (None, Some(failure)) = (&view.server, &view.last_failure) {
        text.push_str(&format!("last failure: {failure}\n"));
    }
    if let Some(LastGoodView { serving, age_ms, resources, bytes, failure }) = view.last_good {
        if let Some(server) = serving {
            let of = age_ms.map(age).unwrap_or_default();
            text.push_str(&format!(
                "what is live was kept on disk, {of} old, from {server}: no server has answered yet\n"
            ));
        }
        text.push_str(&match failure {
            Some(why) => format!("nothing is kept on disk: {why}\n"),
            None => format!("kept on disk: {resources} resources, {}\n", size(bytes)),
        });
    }
    if let Some(it) = view.on_demand {
        let OnDemandView { clusters, routes, virtual_hosts, warming, missing, cold, expired } = it;
        text.push_str(&format!(
            "on demand: {clusters} clusters, {routes} route configurations and {virtual_hosts} virtual hosts in use, \
             {warming} warming, {missing} missing, {cold} clusters cold; {expired} let go so far\n"
        ));
    }
    if view.asks_server {
        let mut table = Table::new(&KIND);
        view.kinds.into_iter().for_each(|kind| table.line(columns(kind)));
        text.push_str(&table.render());
    }
    if !view.files.is_empty() {
        let mut table = Table::new(&[&["FILE"][..], &KIND].concat());
        for FileView { path, kind, unwatched } in view.files {
            let refusals = [kind.refusal.clone(), unwatched.map(|why| format!("changes are not noticed: {why}"))];
            let refusal = Some(refusals.into_iter().flatten().collect::<Vec<_>>().join("; "));
            table.line([vec![path], columns(KindView { refusal, ..kind })].concat());
        }
        text.push_str(&table.render());
    }
    print(&text)
}

const KIND: [&str; 7] = ["KIND", "VERSION", "AGE", "RESOURCES", "UPDATES", "REFUSED", "LAST-REFUSAL"];

fn columns(kind: KindView) -> Vec<String> {
    vec![
        kind.service,
        kind.version,
        kind.age_ms.map(age).unwrap_or_default(),
        kind.resources.to_string(),
        kind.updates.to_string(),
        kind.refused.to_string(),
        kind.refusal.unwrap_or_default(),
    ]
}

/// A name, or what kind of nameless thing it is.
fn named(name: String, kind: String) -> String {
    if name.is_empty() { kind } else { name }
}

fn answer<T: DeserializeOwned>(
    query: &Query,
    question: &'static str,
    tabulate: impl Fn(Vec<T>) -> Table,
) -> Result<(), Failure> {
    let socket = &query.admin.socket;
    if query.format.json {
        return print(&String::from_utf8_lossy(&admin::get(socket, question)?));
    }
    print(&tabulate(admin::get_json(socket, question)?).render())
}
