//! What TLS is made of, wherever it stands: certificates with their keys, and who is trusted. And the resource that brings either
//! (`Secret`).
//!
//! Stricter than Envoy, which takes any certificate where nobody is trusted: a peer that could be anybody has to be asked for.

use std::sync::Arc;

use crate::decode::data_source::{PEM, pem};
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::management::{CONFIG_SOURCE, config_source};
use crate::decode::tls::name::{NAME, subject_name};
use crate::model::tls::{Certificate, Secret, SecretContent, SecretName, Validation};

pub(super) const VALIDATION: &str = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext";
pub(super) const CERTIFICATE: &str = "envoy.extensions.transport_sockets.tls.v3.TlsCertificate";
pub(super) const SDS: &str = "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig";
/// Of TLS versions and ciphers, at a certificate.
const SAFE: &str = "write tls_params of the context";

/// `Secret`.
pub(crate) fn secret(fields: &Fields<'_>) -> Option<Secret> {
    let name = fields.name("name").map(Arc::from);
    let refused = [
        ("session_ticket_keys", "sessions are resumed by what stays in this process"),
        ("generic_secret", "nothing that is supported needs one"),
    ];
    fields.require_one_of(&["tls_certificate", "validation_context"], &refused);
    let certificate = fields.message("tls_certificate", CERTIFICATE, certificate).map(SecretContent::Certificate);
    let trust = fields.message("validation_context", VALIDATION, |fields| validation(fields, true));
    Some(Secret { name: name?, content: certificate.or(trust.map(SecretContent::Validation))? })
}

/// `SdsSecretConfig`.
pub(super) fn secret_name(fields: &Fields<'_>) -> Option<SecretName> {
    if fields.require_text("name").is_none() {
        fields.message("sds_config", CONFIG_SOURCE, config_source);
        return None;
    }
    let name = fields.name("name").map(Arc::from);
    // Without one, Envoy looks among the secrets of the file.
    let source = fields.require_message("sds_config", CONFIG_SOURCE, config_source);
    Some(SecretName { name: name?, source: source? })
}

/// `CertificateValidationContext`. `alone`: nothing else says who is trusted.
pub(super) fn validation(fields: &Fields<'_>, alone: bool) -> Option<Validation> {
    let names = fields.messages("match_typed_subject_alt_names", NAME, subject_name);
    let trusted = fields.message("trusted_ca", PEM, pem);
    let accepts_anybody =
        fields.choice("trust_chain_verification", &[("VERIFY_TRUST_CHAIN", 0, false), ("ACCEPT_UNTRUSTED", 1, true)]);
    let is_set = |name| fields.get(name, &Kind::Message(PEM)).is_some();
    match (accepts_anybody, is_set("trusted_ca")) {
        (true, true) => fields.at().rule("with ACCEPT_UNTRUSTED nobody looks at trusted_ca: write one of them"),
        (false, false) if alone => fields.missing("trusted_ca"),
        _ => {}
    }
    if accepts_anybody && !names.is_empty() {
        fields.at().rule("with ACCEPT_UNTRUSTED nobody looks at match_typed_subject_alt_names: write one of them");
    }
    only_the_usual(fields);
    Some(Validation { trusted, names, accepts_anybody })
}

fn only_the_usual(fields: &Fields<'_>) {
    fields.refuse("match_subject_alt_names", "write match_typed_subject_alt_names");
    fields.refuse("verify_certificate_hash", "a certificate is known by who vouches for it");
    fields.refuse("verify_certificate_spki", "a certificate is known by who vouches for it");
    fields.refuse("require_signed_certificate_timestamp", "there is no log to ask");
    fields.refuse("crl", "revocations are not looked at");
    fields.only_flag("only_verify_leaf_cert_crl", false);
    fields.only_flag("allow_expired_certificate", false);
    fields.refuse("max_verify_depth", "a chain may have six certificates");
    fields.refuse("watched_directory", "files are read when the configuration comes");
    fields.refuse("custom_validator_config", "there are none");
    fields.refuse("ca_certificate_provider_instance", "write validation_context_sds_secret_config");
    fields.refuse("system_root_certs", "say who is trusted in trusted_ca");
    fields.only_flag("suppress_client_ca_list", false);
}

/// `TlsCertificate`.
pub(super) fn certificate(fields: &Fields<'_>) -> Option<Certificate> {
    let chain = fields.require_message("certificate_chain", PEM, pem);
    let key = fields.require_message("private_key", PEM, pem);
    fields.refuse("pkcs12", "write certificate_chain and private_key");
    fields.refuse("password", "a key's file is protected by who may read it");
    fields.refuse("private_key_provider", "keys are in PEM");
    fields.refuse("watched_directory", "files are read when the configuration comes");
    fields.refuse("ocsp_staple", "none is shown");
    fields.refuse("signed_certificate_timestamp", "none is shown");
    fields.refuse("tls_params", SAFE);
    Some(Certificate { chain: chain?, key: key? })
}
