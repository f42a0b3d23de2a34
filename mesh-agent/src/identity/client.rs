//! The connecting end of TLS.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::identity::names::Verifier;
use crate::identity::source::{SourceError, read};
use crate::model::tls::{Certificate, ClientTls, DataSource};

/// A connection that speaks TLS.
pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// What a client needs for its handshakes.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    sni: Option<String>,
}

/// There can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Something is not where it should be.
    #[error("cannot read {0}")]
    Source(#[from] SourceError),
    /// What is there is not in PEM.
    #[error("{from}: {source}")]
    Pem {
        /// Where it is.
        from: DataSource,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// There is no certificate in it.
    #[error("{0}: there is no certificate in it")]
    Empty(DataSource),
    /// A certificate that nobody can be trusted by, or a key that is not the certificate's.
    #[error("{from}: {source}")]
    Unusable {
        /// Where it is.
        from: DataSource,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

impl Client {
    /// Reads what `tls` names. `protocol` is what will be spoken inside (ALPN, RFC 7301).
    ///
    /// # Errors
    /// If something cannot be read, or is no certificate or key.
    pub fn new(tls: &ClientTls, protocol: &[u8]) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&tls.trusted)? {
            roots.add(certificate).map_err(unusable(&tls.trusted))?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(roots, tls.names.clone(), provider.signature_verification_algorithms);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS 1.2 and 1.3 need")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &tls.certificate {
            None => builder.with_no_client_auth(),
            Some(Certificate { chain, key: from }) => {
                let pem = |source| IdentityError::Pem { from: from.clone(), source };
                let key = PrivateKeyDer::from_pem_slice(read(from)?.as_bytes()).map_err(pem)?;
                builder.with_client_auth_cert(certificates(chain)?, key).map_err(unusable(from))?
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Self { config: Arc::new(config), sni: tls.sni.clone() })
    }

    /// Shakes hands with `host`.
    ///
    /// # Errors
    /// If the connection breaks, the server is not who it should be, or does not want us.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<TlsStream> {
        let name = self.sni.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }
}

fn certificates(from: &DataSource) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = read(from)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let all = all.map_err(|source| IdentityError::Pem { from: from.clone(), source })?;
    if all.is_empty() { Err(IdentityError::Empty(from.clone())) } else { Ok(all) }
}

fn unusable(from: &DataSource) -> impl Fn(rustls::Error) -> IdentityError {
    |source| IdentityError::Unusable { from: from.clone(), source }
}
