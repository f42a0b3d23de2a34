//! An authority of a test's own: certificates for servers and clients, in PEM, and a server's end of TLS.

use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// The authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub certificate: String,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub chain: String,
    /// The key.
    pub key: String,
}

impl Identity {
    /// The certificate in DER, as peers see it.
    ///
    /// # Errors
    /// If it is none.
    pub fn der(&self) -> anyhow::Result<Vec<u8>> {
        Ok(CertificateDer::from_pem_slice(self.chain.as_bytes())?.to_vec())
    }
}

impl Authority {
    /// A new one, which nobody knows yet.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the test's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Vouches for someone: names that begin with `spiffe://` are URIs, addresses are addresses, others DNS names.
    ///
    /// # Errors
    /// If a name is none.
    pub fn issue(&self, names: &[&str]) -> anyhow::Result<Identity> {
        self.issue_by(names, CertificateParams::default())
    }

    /// The same, for a time that is over.
    ///
    /// # Errors
    /// If a name is none.
    pub fn issue_expired(&self, names: &[&str]) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        self.issue_by(names, params)
    }

    fn issue_by(&self, names: &[&str], mut params: CertificateParams) -> anyhow::Result<Identity> {
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) if name.starts_with("spiffe://") => SanType::URI((*name).try_into()?),
                Err(_) => SanType::DnsName((*name).try_into()?),
            });
        }
        let key = KeyPair::generate()?;
        Ok(Identity { chain: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }

    /// TLS of a server that is `identity`, speaks HTTP/2, and wants a certificate of this authority from clients if `mutual`.
    ///
    /// # Errors
    /// If `identity` is no certificate and key.
    pub fn server(&self, identity: &Identity, mutual: bool) -> anyhow::Result<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let chain = CertificateDer::from_pem_slice(identity.chain.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let mut config = builder.with_single_cert(vec![chain], key).context("a certificate and its key")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}
