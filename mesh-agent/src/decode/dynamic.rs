//! `dynamic_resources`: which resources come from elsewhere, and how to talk to who has them.

use std::sync::Arc;
use std::time::Duration;

use crate::decode::at::Context;
use crate::decode::data_source::{SECRET, secret};
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::management::{CONFIG_SOURCE, config_source};
use crate::decode::tls::{SSL, ssl, to_management};
use crate::model::cluster::{Cluster, Discovery, UpstreamProtocol};
use crate::model::management::{Dynamic, Management, Origin, Server, Token};
use crate::model::name::ClusterName;

pub(crate) const DYNAMIC: &str = "envoy.config.bootstrap.v3.Bootstrap.DynamicResources";
const API: &str = "envoy.config.core.v3.ApiConfigSource";
const GRPC_SERVICE: &str = "envoy.config.core.v3.GrpcService";
const ENVOY_GRPC: &str = "envoy.config.core.v3.GrpcService.EnvoyGrpc";
const GOOGLE_GRPC: &str = "envoy.config.core.v3.GrpcService.GoogleGrpc";
const CALL_CREDENTIALS: &str = "envoy.config.core.v3.GrpcService.GoogleGrpc.CallCredentials";
const FROM_PLUGIN: &str = "envoy.config.core.v3.GrpcService.GoogleGrpc.CallCredentials.MetadataCredentialsFromPlugin";
const FILE_BASED: &str = "envoy.config.grpc_credential.v3.FileBasedMetadataConfig";
const CHANNEL_CREDENTIALS: &str = "envoy.config.core.v3.GrpcService.GoogleGrpc.ChannelCredentials";
const HEADER: &str = "envoy.config.core.v3.HeaderValue";

/// How long a connection to a target may take that no cluster describes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `clusters` are those of the file: a management server is one of them.
pub(crate) fn dynamic(fields: &Fields<'_>, context: &Context, clusters: &[Arc<Cluster>]) -> Option<Dynamic> {
    let dynamic = Dynamic {
        ads: fields.message("ads_config", API, |fields| management(fields, context, clusters)),
        clusters: fields.message("cds_config", CONFIG_SOURCE, config_source),
        listeners: fields.message("lds_config", CONFIG_SOURCE, config_source),
    };
    for later in ["lds_resources_locator", "cds_resources_locator"] {
        fields.refuse(later, "resources are named by plain names");
    }
    let has_ads = fields.get("ads_config", &Kind::Message(API)).is_some();
    let mut sources = dynamic.clusters.iter().chain(&dynamic.listeners);
    if !has_ads && sources.any(|source| source.origin == Origin::Server) {
        fields.missing("ads_config");
    }
    Some(dynamic)
}

fn management(fields: &Fields<'_>, context: &Context, clusters: &[Arc<Cluster>]) -> Option<Management> {
    let types = [("GRPC", 2, false), ("DELTA_GRPC", 3, true)];
    let later = [
        ("REST", 1, "write GRPC or DELTA_GRPC"),
        ("AGGREGATED_GRPC", 5, "resources are named by plain names; write GRPC"),
        ("AGGREGATED_DELTA_GRPC", 6, "resources are named by plain names; write DELTA_GRPC"),
        ("DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE", 0, "write GRPC or DELTA_GRPC"),
    ];
    let kind = Kind::Choice(vec!["GRPC", "DELTA_GRPC"]);
    let incremental =
        fields.require("api_type", &kind).and_then(|_| fields.choice_or_later("api_type", &types, &later));
    if fields.get("transport_api_version", &Kind::Only("V3")).is_none() {
        fields.missing("transport_api_version");
    }
    version(fields, "transport_api_version");
    fields.only_flag("set_node_on_first_message_only", true);
    fields.refuse("cluster_names", "write grpc_services");
    for later in ["refresh_delay", "request_timeout"] {
        fields.refuse(later, "it is for REST");
    }
    fields.refuse("rate_limit_settings", "requests answer responses, which the server can send more slowly");
    fields.refuse("config_validators", "there are none");
    let servers = fields.messages("grpc_services", GRPC_SERVICE, |fields| server(fields, context, clusters));
    if fields
        .get("grpc_services", &Kind::list(Kind::Message(GRPC_SERVICE)))
        .is_none_or(|at| at.node.value.is_empty_list())
    {
        fields.missing("grpc_services");
    }
    Some(Management { incremental: incremental?, servers })
}

fn server(fields: &Fields<'_>, context: &Context, clusters: &[Arc<Cluster>]) -> Option<Server> {
    fields.require_one_of(&["envoy_grpc", "google_grpc"], &[]);
    let by_cluster = fields.message("envoy_grpc", ENVOY_GRPC, |fields| envoy_grpc(fields, context, clusters));
    let by_target = fields.message("google_grpc", GOOGLE_GRPC, google_grpc);
    fields.refuse("timeout", "a stream of resources has no end");
    fields.refuse("retry_policy", "attempts go on, 0.5s apart at first and 30s in the end");
    let metadata = fields.messages("initial_metadata", HEADER, |fields| {
        fields.refuse("raw_value", "write value");
        let key = fields.require_text("key").map(str::to_ascii_lowercase);
        let value = fields.header_value("value").unwrap_or_default();
        Some((key?, value))
    });
    let server = by_cluster.or(by_target)?;
    Some(Server { metadata, ..server })
}

fn envoy_grpc(fields: &Fields<'_>, context: &Context, clusters: &[Arc<Cluster>]) -> Option<Server> {
    fields.refuse("authority", "the authority is the server's address");
    fields.refuse("retry_policy", "attempts go on, 0.5s apart at first and 30s in the end");
    fields.refuse("max_receive_message_length", "the limit is 64 MiB");
    fields.only_flag("skip_envoy_headers", true);
    let name = fields.require_text("cluster_name").map(ClusterName::from)?;
    let at = fields.get("cluster_name", &Kind::Text)?;
    context.wanted_clusters.borrow_mut().push((name.clone(), at.place()));
    // One that has an error in it is not here, and the error has been told.
    let cluster = clusters.iter().find(|cluster| cluster.name == name)?;
    if !matches!(cluster.protocol, UpstreamProtocol::Http2(_)) {
        at.rule("the cluster must speak HTTP/2, as gRPC does: see HttpProtocolOptions.explicit_http_config");
    }
    let places = match &cluster.discovery {
        Discovery::Static(endpoints) => {
            endpoints.endpoints.iter().map(|it| (it.address.ip().to_string(), it.address.port())).collect()
        }
        Discovery::StrictDns { hosts, .. } => hosts.endpoints.iter().map(|it| (it.host.clone(), it.port)).collect(),
        Discovery::Eds(_) => {
            at.rule("the server's own endpoints cannot come from it: write type: STATIC or STRICT_DNS");
            return None;
        }
    };
    if Vec::is_empty(&places) {
        at.rule("the cluster has no endpoints");
    }
    let (name, connect_timeout) = (name.to_string(), cluster.connect_timeout);
    let tls = cluster.tls.as_ref().and_then(|tls| to_management(tls, &at));
    Some(Server { name, places, connect_timeout, metadata: Vec::new(), token: None, tls })
}

fn google_grpc(fields: &Fields<'_>) -> Option<Server> {
    fields.require_text("stat_prefix");
    let tls = fields.message("channel_credentials", CHANNEL_CREDENTIALS, |fields| {
        const WHICH: &str = "write ssl_credentials, or nothing";
        fields.require_one_of(&["ssl_credentials"], &[("google_default", WHICH), ("local_credentials", WHICH)]);
        fields.message("ssl_credentials", SSL, ssl)
    });
    fields.refuse("config", "there is nothing to be configured this way");
    fields.refuse("per_stream_buffer_limit_bytes", "requests wait in a queue of 64");
    fields.refuse("channel_args", "there is nothing to be configured this way");
    fields.only_text("credentials_factory_name", CREDENTIALS);
    let mut token = None;
    let given = fields.messages("call_credentials", CALL_CREDENTIALS, |fields| {
        const LATER: &str = "write from_plugin";
        let refused = [
            ("access_token", LATER),
            ("google_compute_engine", LATER),
            ("google_refresh_token", LATER),
            ("service_account_jwt_access", LATER),
            ("google_iam", LATER),
            ("sts_service", LATER),
        ];
        fields.require_one_of(&["from_plugin"], &refused);
        token = fields.message("from_plugin", FROM_PLUGIN, |fields| {
            fields.only_text("name", CREDENTIALS);
            fields.any("typed_config", &[(FILE_BASED, &file_based)], &[])
        });
        Some(())
    });
    if given.len() > 1
        && let Some(at) = fields.get("call_credentials", &Kind::list(Kind::Message(CALL_CREDENTIALS)))
    {
        at.rule("only one token can be sent");
    }
    let target = fields.require_text("target_uri")?.to_owned();
    let Some(place) = place(&target) else {
        if let Some(at) = fields.get("target_uri", &Kind::Text) {
            at.rule("must be host:port, with or without dns:/// before it");
        }
        return None;
    };
    let connect_timeout = CONNECT_TIMEOUT;
    Some(Server { name: target, places: vec![place], connect_timeout, metadata: Vec::new(), token, tls })
}

fn file_based(fields: &Fields<'_>) -> Option<Token> {
    let kept = fields.require_message("secret_data", SECRET, secret);
    let header = fields.text("header_key").unwrap_or("authorization").to_ascii_lowercase();
    let prefix = fields.text("header_prefix").unwrap_or_default().to_owned();
    Some(Token { header, prefix, kept: kept? })
}

/// Only v3 is spoken; `AUTO` means v2 to Envoy, which knows it no longer.
fn version(fields: &Fields<'_>, name: &'static str) {
    fields.only_choice(name, "V3", 2);
}

/// `dns:///host:port`, or `host:port`, where host may be an IPv6 address in brackets.
fn place(target: &str) -> Option<(String, u16)> {
    let (host, port) = target.strip_prefix("dns:///").unwrap_or(target).rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|it| it.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => host,
    };
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    (is_host && (!host.contains(':') || target.contains('['))).then(|| (host.to_owned(), port))
}

const CREDENTIALS: &str = "envoy.grpc_credentials.file_based_metadata";

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn targets() {
        for (target, host, port) in [
            ("istiod:15010", "istiod", 15010),
            ("dns:///a.b:1", "a.b", 1),
            ("[::1]:80", "::1", 80),
            ("1.2.3.4:5", "1.2.3.4", 5),
        ] {
            assert_eq!(place(target), Some((host.to_owned(), port)), "{target}");
        }
        for bad in [
            "",
            "host",
            "host:",
            ":80",
            "host:0",
            "host:65536",
            "::1:80",
            "[x]:80",
            "unix:/run/xds",
            "http://a:1",
            "a/b:1",
        ] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
