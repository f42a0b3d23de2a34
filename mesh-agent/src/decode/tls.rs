//! TLS to a management server: a cluster's `UpstreamTlsContext`, or gRPC's own `SslCredentials`.
//!
//! Stricter than Envoy, which takes any certificate where none is trusted, and any name where none is given: a server that could be
//! anybody would decide where everything goes. The two forms say the same, so they become the same.

use crate::decode::data_source::{PUBLIC, SECRET, public, secret};
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::matcher::{STRING, string_match};
use crate::model::matcher::{StringMatch, StringMatchKind};
use crate::model::tls::{Certificate, ClientTls, SubjectName};

pub(crate) const UPSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
pub(crate) const DOWNSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const COMMON: &str = "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext";
const VALIDATION: &str = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext";
const CERTIFICATE: &str = "envoy.extensions.transport_sockets.tls.v3.TlsCertificate";
const NAME: &str = "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher";
pub(crate) const SSL: &str = "envoy.config.core.v3.GrpcService.GoogleGrpc.SslCredentials";

const DISCOVERED: &str = "secrets are not discovered yet; name files";

/// `UpstreamTlsContext`.
pub(crate) fn upstream(fields: &Fields<'_>) -> Option<ClientTls> {
    let sni = fields.text("sni").map(str::to_owned);
    fields.only_flag("allow_renegotiation", false);
    fields.only_flag("auto_host_sni", false);
    fields.only_flag("auto_sni_san_validation", false);
    fields.refuse("max_session_keys", "a connection to a management server lasts");
    fields.refuse("enforce_rsa_key_usage", "it is what is done");
    let common = fields.require_message("common_tls_context", COMMON, common)?;
    Some(ClientTls { sni, ..common })
}

/// `SslCredentials`.
pub(crate) fn ssl(fields: &Fields<'_>) -> Option<ClientTls> {
    let trusted = fields.require_message("root_certs", PUBLIC, public);
    let chain = fields.message("cert_chain", PUBLIC, public);
    let key = fields.message("private_key", SECRET, secret);
    let set = |name, message| fields.get(name, &Kind::Message(message)).is_some();
    match (set("cert_chain", PUBLIC), set("private_key", SECRET)) {
        (true, false) => fields.missing("private_key"),
        (false, true) => fields.missing("cert_chain"),
        _ => {}
    }
    let certificate = chain.zip(key).map(|(chain, key)| Certificate { chain, key });
    Some(ClientTls { sni: None, trusted: trusted?, names: Vec::new(), certificate })
}

fn common(fields: &Fields<'_>) -> Option<ClientTls> {
    fields.refuse("tls_params", "TLS 1.2 and 1.3 are spoken, with what is safe in them");
    fields.refuse("tls_certificate_sds_secret_configs", DISCOVERED);
    fields.refuse("tls_certificate_provider_instance", DISCOVERED);
    fields.refuse("custom_tls_certificate_selector", "there is one certificate");
    fields.refuse("custom_handshaker", "there is only one");
    fields.refuse("key_log", "keys are not written down");
    fields.each("alpn_protocols", Kind::Only("h2"), |at| {
        (at.text()? != "h2").then(|| at.rule("must be h2, as gRPC is"));
        Some(())
    });
    let certificates = fields.messages("tls_certificates", CERTIFICATE, certificate);
    if certificates.len() > 1
        && let Some(at) = fields.get("tls_certificates", &Kind::list(Kind::Message(CERTIFICATE)))
    {
        at.rule("must be one");
    }
    let later = [("validation_context_sds_secret_config", DISCOVERED), ("combined_validation_context", DISCOVERED)];
    fields.require_one_of(&["validation_context"], &later);
    let (trusted, names) = fields.message("validation_context", VALIDATION, |fields| {
        let trusted = fields.require_message("trusted_ca", PUBLIC, public);
        let names = fields.messages("match_typed_subject_alt_names", NAME, subject_name);
        only_the_usual(fields);
        Some((trusted?, names))
    })?;
    Some(ClientTls { sni: None, trusted, names, certificate: certificates.into_iter().next() })
}

fn only_the_usual(fields: &Fields<'_>) {
    fields.refuse("match_subject_alt_names", "write match_typed_subject_alt_names");
    fields.refuse("verify_certificate_hash", "a certificate is known by who vouches for it");
    fields.refuse("verify_certificate_spki", "a certificate is known by who vouches for it");
    fields.refuse("require_signed_certificate_timestamp", "there is no log to ask");
    fields.refuse("crl", "revocations are not looked at");
    fields.only_flag("only_verify_leaf_cert_crl", false);
    fields.only_flag("allow_expired_certificate", false);
    fields.only_choice("trust_chain_verification", "VERIFY_TRUST_CHAIN", 0);
    fields.refuse("max_verify_depth", "a chain may have six certificates");
    fields.refuse("watched_directory", "files are read for every stream");
    fields.refuse("custom_validator_config", "there are none");
    fields.refuse("ca_certificate_provider_instance", DISCOVERED);
    fields.refuse("system_root_certs", "say who is trusted in trusted_ca");
    fields.only_flag("suppress_client_ca_list", false);
}

fn certificate(fields: &Fields<'_>) -> Option<Certificate> {
    let chain = fields.require_message("certificate_chain", PUBLIC, public);
    let key = fields.require_message("private_key", SECRET, secret);
    fields.refuse("pkcs12", "write certificate_chain and private_key");
    fields.refuse("password", "a key's file is protected by who may read it");
    fields.refuse("private_key_provider", "keys are read from files");
    fields.refuse("watched_directory", "files are read for every stream");
    fields.refuse("ocsp_staple", "a client has none to show");
    fields.refuse("signed_certificate_timestamp", "a client has none to show");
    fields.refuse("tls_params", "TLS 1.2 and 1.3 are spoken, with what is safe in them");
    Some(Certificate { chain: chain?, key: key? })
}

fn subject_name(fields: &Fields<'_>) -> Option<SubjectName> {
    let types = [("DNS", 2, Type::Dns), ("URI", 3, Type::Uri), ("IP_ADDRESS", 4, Type::Ip)];
    let later = [
        ("EMAIL", 1, "servers are known by DNS, URI or IP_ADDRESS"),
        ("OTHER_NAME", 5, "servers are known by DNS, URI or IP_ADDRESS"),
        ("SAN_TYPE_UNSPECIFIED", 0, "write DNS, URI or IP_ADDRESS"),
    ];
    let kind = Kind::Choice(types.iter().map(|it| it.0).collect());
    let kind = fields.require("san_type", &kind).and_then(|_| fields.choice_or_later("san_type", &types, &later));
    fields.refuse("oid", "it is for OTHER_NAME");
    let matcher = fields.require_message("matcher", STRING, string_match);
    match (kind?, matcher?) {
        (Type::Dns, matcher) => Some(SubjectName::Dns(matcher)),
        (Type::Uri, matcher) => Some(SubjectName::Uri(matcher)),
        (Type::Ip, StringMatch { kind: StringMatchKind::Exact(text), .. })
            if text.parse::<std::net::IpAddr>().is_ok() =>
        {
            text.parse().ok().map(SubjectName::Ip)
        }
        (Type::Ip, _) => {
            fields.at().rule("an IP_ADDRESS is matched by exact, as an address");
            None
        }
    }
}

/// `SanType`.
#[derive(Clone, Copy, Debug)]
enum Type {
    Dns,
    Uri,
    Ip,
}
