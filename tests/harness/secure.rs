//! A server's end of TLS: who it is can be changed while it runs, and whoever shook hands is remembered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// See the module. Copies are the same end.
#[derive(Clone, Debug)]
pub struct Tls {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    seen: Vec<Handshake>,
}

/// What a client said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// The name it asked for.
    pub sni: Option<String>,
    /// What was agreed on to be spoken.
    pub alpn: Option<String>,
    /// Its certificate, in DER.
    pub certificate: Option<Vec<u8>>,
}

impl Tls {
    /// Speaks these protocols inside, or whatever the client likes if there are none.
    #[must_use]
    pub fn new(mut config: ServerConfig, alpn: &[&str]) -> Self {
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { state: Arc::new(Mutex::new(State { config: Arc::new(config), seen: Vec::new() })) }
    }

    /// Is someone else from now on. What is spoken inside stays.
    pub fn become_other(&self, mut config: ServerConfig) {
        let mut state = self.lock();
        config.alpn_protocols.clone_from(&state.config.alpn_protocols);
        state.config = Arc::new(config);
    }

    /// Everybody who shook hands, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Handshake> {
        self.lock().seen.clone()
    }

    /// Shakes hands. A client that breaks off says so itself.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> Option<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.lock().config);
        let stream = TlsAcceptor::from(config).accept(tcp).await.ok()?;
        let session = stream.get_ref().1;
        let handshake = Handshake {
            sni: session.server_name().map(str::to_owned),
            alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            certificate: session.peer_certificates().and_then(|chain| chain.first()).map(|it| it.to_vec()),
        };
        self.lock().seen.push(handshake);
        Some(stream)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
