//! Whether a server is who it should be: its chain by the library's rules, its names by the configuration's.
//!
//! Where the configuration names nobody, the name that was asked for has to be in the certificate, as everywhere but in a mesh.
//! Where it does, one of those has to be (Envoy's `match_typed_subject_alt_names`), and what was asked for does not matter.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

use crate::identity::material::{Trusted, provider};
use crate::model::matcher::StringMatchKind;
use crate::model::tls::SubjectName;

/// Judges certificates of servers.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Arc<RootCertStore>,
    names: Vec<SubjectName>,
    accepts_anybody: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(Trusted { roots, names, accepts_anybody }: Trusted) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { roots: roots.unwrap_or_else(|| Arc::new(RootCertStore::empty())), names, accepts_anybody, algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.accepts_anybody {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        if self.names.is_empty() {
            verify_server_name(&parsed, asked)?;
        } else {
            let certificate = EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
            if !self.names.iter().any(|name| has(&certificate, name)) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn has(certificate: &EndEntityCert<'_>, name: &SubjectName) -> bool {
    match name {
        SubjectName::Dns(matcher) => {
            let exact = match &matcher.kind {
                // By the library, which knows what a wildcard stands for, and that case means nothing.
                StringMatchKind::Exact(name) => {
                    // Text that is an address is no DNS name.
                    ServerName::try_from(name.as_str()).ok().filter(|name| matches!(name, ServerName::DnsName(_)))
                }
                _ => None,
            };
            exact.is_some_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
                || certificate.valid_dns_names().any(|name| matcher.matches(name))
        }
        SubjectName::Uri(matcher) => certificate.valid_uri_names().any(|name| matcher.matches(name)),
        SubjectName::Ip(ip) => certificate.verify_is_valid_for_subject_name(&ServerName::from(*ip)).is_ok(),
    }
}
