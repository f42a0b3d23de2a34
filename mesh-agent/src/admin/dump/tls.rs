//! TLS of a cluster. A key that stands in the configuration is not shown; one that is kept elsewhere is shown as where.

use serde_json::{Value, json};

use crate::admin::dump::management::config_source;
use crate::admin::dump::object::Object;
use crate::admin::dump::route::string_match;
use crate::model::matcher::{StringMatch, StringMatchKind};
use crate::model::tls::{
    Certificate, DataSource, Kept, SecretName, SubjectName, Trust, UpstreamTls, Validation, Versions,
};

const UPSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// `envoy.config.core.v3.TransportSocket`.
pub(super) fn transport_socket(tls: &UpstreamTls) -> Value {
    let (own, asked) = match &tls.identity {
        Some(Kept::Here(own)) => (Some(json!([certificate(own)])), None),
        Some(Kept::Secret(name)) => (None, Some(json!([secret_name(name)]))),
        None => (None, None),
    };
    let (trust_key, trust) = trust(&tls.trust);
    let common = Object::default()
        .maybe("tls_params", parameters(tls.versions))
        .list("alpn_protocols", &tls.alpn, |protocol| json!(protocol))
        .maybe("tls_certificates", own)
        .maybe("tls_certificate_sds_secret_configs", asked)
        .set(trust_key, trust)
        .done();
    let context = Object::typed(UPSTREAM)
        .maybe("sni", tls.sni.as_deref())
        .maybe("auto_sni_san_validation", tls.by_sni.then_some(true))
        .set("common_tls_context", common)
        .done();
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}

fn trust(trust: &Trust) -> (&'static str, Value) {
    match &trust.secret {
        None => ("validation_context", validation(&trust.here)),
        Some(name) if trust.here == Validation::default() => {
            ("validation_context_sds_secret_config", secret_name(name))
        }
        Some(name) => {
            let both = json!({
                "default_validation_context": validation(&trust.here),
                "validation_context_sds_secret_config": secret_name(name),
            });
            ("combined_validation_context", both)
        }
    }
}

fn validation(validation: &Validation) -> Value {
    let verification = validation.accepts_anybody.then_some("ACCEPT_UNTRUSTED");
    Object::default()
        .maybe("trusted_ca", validation.trusted.as_ref().map(public))
        .list("match_typed_subject_alt_names", &validation.names, subject_name)
        .maybe("trust_chain_verification", verification)
        .done()
}

fn subject_name(name: &SubjectName) -> Value {
    let (kind, matcher) = match name {
        SubjectName::Dns(matcher) => ("DNS", string_match(matcher)),
        SubjectName::Uri(matcher) => ("URI", string_match(matcher)),
        SubjectName::Ip(ip) => {
            let kind = StringMatchKind::Exact(ip.to_string());
            ("IP_ADDRESS", string_match(&StringMatch { kind, ignore_case: false }))
        }
    };
    json!({ "san_type": kind, "matcher": matcher })
}

fn certificate(certificate: &Certificate) -> Value {
    json!({ "certificate_chain": public(&certificate.chain), "private_key": secret(&certificate.key) })
}

fn secret_name(name: &SecretName) -> Value {
    json!({ "name": &*name.name, "sds_config": config_source(&name.source) })
}

fn parameters(versions: Versions) -> Option<Value> {
    match versions {
        Versions::Both => None,
        Versions::Tls12 => Some(json!({ "tls_maximum_protocol_version": "TLSv1_2" })),
        Versions::Tls13 => Some(json!({ "tls_minimum_protocol_version": "TLSv1_3" })),
    }
}

fn public(source: &DataSource) -> Value {
    match source {
        DataSource::Inline(text) => json!({ "inline_string": text.as_str() }),
        elsewhere => kept(elsewhere),
    }
}

/// As Envoy says it.
fn secret(source: &DataSource) -> Value {
    match source {
        DataSource::Inline(_) => json!({ "inline_string": "[redacted]" }),
        elsewhere => kept(elsewhere),
    }
}

fn kept(source: &DataSource) -> Value {
    match source {
        DataSource::File(path) => json!({ "filename": path }),
        DataSource::Environment(name) => json!({ "environment_variable": name }),
        DataSource::Read(from, _) => kept(from),
        DataSource::Inline(_) => json!({}),
    }
}
