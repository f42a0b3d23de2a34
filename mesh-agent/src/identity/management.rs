//! The connecting end of TLS to a management server. Everything is read anew with each stream.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::identity::material::{IdentityError, Trusted, keys, provider, roots};
use crate::identity::names::Verifier;
use crate::model::tls::ClientTls;

/// A connection that speaks TLS.
pub type ManagementStream = tokio_rustls::client::TlsStream<TcpStream>;

/// What a client needs for its handshakes.
#[derive(Clone, Debug)]
pub struct ManagementClient {
    config: Arc<ClientConfig>,
    sni: Option<String>,
}

impl ManagementClient {
    /// Reads what `tls` names. `protocol` is what will be spoken inside (ALPN, RFC 7301).
    ///
    /// # Errors
    /// If something cannot be read, or is no certificate or key.
    pub fn new(tls: &ClientTls, protocol: &[u8]) -> Result<Self, IdentityError> {
        let trusted = Trusted { roots: Some(roots(&tls.trusted)?), names: tls.names.clone(), accepts_anybody: false };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS 1.2 and 1.3 need")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(trusted)));
        let mut config = match &tls.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => builder.with_client_cert_resolver(keys(certificate)?),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Self { config: Arc::new(config), sni: tls.sni.clone() })
    }

    /// Shakes hands with `host`.
    ///
    /// # Errors
    /// If the connection breaks, the server is not who it should be, or does not want us.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<ManagementStream> {
        let name = self.sni.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }
}
