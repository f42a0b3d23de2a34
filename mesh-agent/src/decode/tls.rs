//! TLS to endpoints (a cluster's `UpstreamTlsContext`) and to a management server (the same, or gRPC's own `SslCredentials`).
//!
//! A management server's certificates are written down: what it would send could not be had without them.

mod material;
mod name;

use crate::decode::at::At;
use crate::decode::data_source::{PEM, SECRET, pem, secret};
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
pub(crate) use crate::decode::tls::material::secret as secret_resource;
use crate::decode::tls::material::{CERTIFICATE, SDS, VALIDATION, certificate, secret_name, validation};
use crate::model::tls::{Certificate, ClientTls, Kept, Trust, UpstreamTls, Versions};

pub(crate) const UPSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
pub(crate) const DOWNSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const COMMON: &str = "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext";
const COMBINED: &str =
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext";
const PARAMETERS: &str = "envoy.extensions.transport_sockets.tls.v3.TlsParameters";
pub(crate) const SSL: &str = "envoy.config.core.v3.GrpcService.GoogleGrpc.SslCredentials";

/// `UpstreamTlsContext`.
pub(crate) fn upstream(fields: &Fields<'_>) -> Option<UpstreamTls> {
    let sni = fields.text("sni").map(str::to_owned);
    fields.only_flag("allow_renegotiation", false);
    fields.only_flag("auto_host_sni", false);
    let by_sni = fields.flag("auto_sni_san_validation", false);
    if by_sni && sni.is_none() {
        fields.missing("sni");
    }
    fields.refuse("max_session_keys", "a few sessions are kept to be resumed");
    fields.refuse("enforce_rsa_key_usage", "it is what is done");
    let common = fields.require_message("common_tls_context", COMMON, common)?;
    if by_sni && common.trust.here.accepts_anybody {
        fields.at().rule("with ACCEPT_UNTRUSTED nobody looks at auto_sni_san_validation: write one of them");
    }
    Some(UpstreamTls { sni, by_sni, ..common })
}

/// `SslCredentials`.
pub(crate) fn ssl(fields: &Fields<'_>) -> Option<ClientTls> {
    let trusted = fields.require_message("root_certs", PEM, pem);
    let chain = fields.message("cert_chain", PEM, pem);
    let key = fields.message("private_key", SECRET, secret);
    let set = |name, message| fields.get(name, &Kind::Message(message)).is_some();
    match (set("cert_chain", PEM), set("private_key", SECRET)) {
        (true, false) => fields.missing("private_key"),
        (false, true) => fields.missing("cert_chain"),
        _ => {}
    }
    let certificate = chain.zip(key).map(|(chain, key)| Certificate { chain, key });
    Some(ClientTls { sni: None, trusted: trusted?, names: Vec::new(), certificate })
}

/// TLS of a cluster as TLS of a management server, which `at` names it as.
pub(crate) fn to_management(tls: &UpstreamTls, at: &At<'_>) -> Option<ClientTls> {
    if tls.secrets().next().is_some() {
        at.rule("what the server is known by has to be there before it: write tls_certificates and validation_context");
    }
    if tls.alpn.iter().any(|protocol| protocol != "h2") {
        at.rule("the cluster's alpn_protocols must be h2, as gRPC is");
    }
    if tls.versions != Versions::Both {
        at.rule("to a management server TLS 1.2 and 1.3 are spoken: leave tls_params out");
    }
    if tls.trust.here.accepts_anybody {
        at.rule("a management server cannot be anybody: write trusted_ca");
    }
    let certificate = match &tls.identity {
        Some(Kept::Here(certificate)) => Some(certificate.clone()),
        Some(Kept::Secret(_)) => return None,
        None => None,
    };
    let names = if tls.by_sni { Vec::new() } else { tls.trust.here.names.clone() };
    Some(ClientTls { sni: tls.sni.clone(), trusted: tls.trust.here.trusted.clone()?, names, certificate })
}

fn common(fields: &Fields<'_>) -> Option<UpstreamTls> {
    let versions = fields.message("tls_params", PARAMETERS, parameters).unwrap_or_default();
    fields.refuse("tls_certificate_provider_instance", "write tls_certificate_sds_secret_configs");
    fields.refuse("custom_tls_certificate_selector", "there is one certificate");
    fields.refuse("custom_handshaker", "there is only one");
    fields.refuse("key_log", "keys are not written down");
    let alpn = fields.each("alpn_protocols", Kind::Text, |at| {
        let protocol = at.text()?;
        // A length of one byte stands before each (RFC 7301, 3.1).
        (!(1..=255).contains(&protocol.len())).then(|| at.rule("must be 1 to 255 bytes long"));
        Some(protocol.to_owned())
    });
    let identity = identity(fields);
    let trust = trust(fields);
    Some(UpstreamTls { sni: None, by_sni: false, identity, trust: trust?, alpn, versions })
}

/// Who we are: written down, or to be asked for, or nobody.
fn identity(fields: &Fields<'_>) -> Option<Kept<Certificate>> {
    const HERE: &str = "tls_certificates";
    const ASKED: &str = "tls_certificate_sds_secret_configs";
    let mut here = fields.messages(HERE, CERTIFICATE, certificate);
    let mut asked = fields.messages(ASKED, SDS, secret_name);
    fields.one_of(&[HERE, ASKED], &[]);
    for (name, message) in [(HERE, CERTIFICATE), (ASKED, SDS)] {
        if let Some(at) = fields.get(name, &Kind::list(Kind::Message(message)))
            && at.list().is_some_and(|all| all.len() > 1)
        {
            at.rule("must be one");
        }
    }
    here.pop().map(Kept::Here).or_else(|| asked.pop().map(Kept::Secret))
}

/// Whom we trust.
fn trust(fields: &Fields<'_>) -> Option<Trust> {
    let names = ["validation_context", "validation_context_sds_secret_config", "combined_validation_context"];
    fields.require_one_of(&names, &[]);
    let here = fields.message(names[0], VALIDATION, |fields| validation(fields, true));
    let asked = fields.message(names[1], SDS, secret_name);
    let both = fields.message(names[2], COMBINED, |fields| {
        let here = fields.require_message("default_validation_context", VALIDATION, |fields| validation(fields, false));
        let secret = fields.require_message("validation_context_sds_secret_config", SDS, secret_name);
        for older in ["validation_context_certificate_provider", "validation_context_certificate_provider_instance"] {
            fields.refuse(older, "write validation_context_sds_secret_config");
        }
        Some(Trust { here: here?, secret: Some(secret?) })
    });
    let here = here.map(|here| Trust { here, secret: None });
    let asked = asked.map(|secret| Trust { secret: Some(secret), ..Trust::default() });
    here.or(asked).or(both)
}

/// `TlsParameters`.
fn parameters(fields: &Fields<'_>) -> Option<Versions> {
    const OLD: &str = "TLS 1.2 is the oldest that is spoken";
    const SAFE: &str = "what is safe is spoken, and nothing else";
    let old = [("TLSv1_0", 1, OLD), ("TLSv1_1", 2, OLD)];
    let from = [("TLS_AUTO", 0, false), ("TLSv1_2", 3, false), ("TLSv1_3", 4, true)];
    let to = [("TLS_AUTO", 0, true), ("TLSv1_2", 3, false), ("TLSv1_3", 4, true)];
    let above_12 = fields.choice_or_later("tls_minimum_protocol_version", &from, &old);
    let up_to_13 = fields.choice_or_later("tls_maximum_protocol_version", &to, &old);
    for chosen in ["cipher_suites", "ecdh_curves", "signature_algorithms", "compliance_policies"] {
        fields.refuse(chosen, SAFE);
    }
    match (above_12?, up_to_13?) {
        (false, true) => Some(Versions::Both),
        (false, false) => Some(Versions::Tls12),
        (true, true) => Some(Versions::Tls13),
        (true, false) => {
            fields.at().rule("the oldest version must not be newer than the newest");
            None
        }
    }
}
