//! The connecting end of TLS to the endpoints of a cluster.
//!
//! Made of the configuration alone: whatever was kept elsewhere has been read ([`crate::identity::settle_cluster`]), and secrets that came
//! by themselves are given. What cannot be had makes a client that shakes no hands and says why, so that a cluster that is live
//! without its secret fails connections, as in Envoy, and does not send plain text.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection};
use tokio::net::TcpStream;

use crate::identity::material::{Held, IdentityError, Material, Trusted, keys, provider, trusted};
use crate::identity::names::Verifier;
use crate::identity::stream::TlsStream;
use crate::model::tls::{Kept, SecretName, UpstreamTls, Versions};

/// How the endpoints of one cluster are spoken to. Clients that are made anew differ, even of the same.
pub struct Client {
    id: u64,
    ready: Result<Ready, Arc<str>>,
    /// In which second since the first it was last told that there is no TLS; 0: in none.
    told: AtomicU64,
}

struct Ready {
    config: Arc<ClientConfig>,
    /// Which name is asked for; the endpoint's address if none.
    name: Option<ServerName<'static>>,
}

/// What will be spoken inside, which is offered where the configuration says nothing else (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// Nothing that has a name.
    None,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Client {
    /// A client of `tls` with the secrets that are there.
    #[must_use]
    pub fn new<'a>(tls: &UpstreamTls, secret: impl Fn(&SecretName) -> Option<&'a Material>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { id, ready: Ready::new(tls, secret).map_err(Arc::from), told: AtomicU64::new(0) }
    }

    /// Tells it from every other client.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether there can be handshakes.
    ///
    /// # Errors
    /// Why there can be none.
    pub fn is_ready(&self) -> Result<(), Arc<str>> {
        self.ready.as_ref().map(drop).map_err(Arc::clone)
    }

    /// Whether it may be told loudly that there is no TLS: each connection can fail, and once a minute is enough.
    pub fn may_complain(&self) -> bool {
        static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
        let (now, last) = (FIRST.elapsed().as_secs() + 1, self.told.load(Ordering::Relaxed));
        (last == 0 || now >= last + 60)
            && self.told.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Shakes hands with the endpoint at `address`.
    ///
    /// # Errors
    /// If the connection breaks, the endpoint is not who it should be, does not want us, or does not speak what is to be spoken.
    pub async fn connect(&self, tcp: TcpStream, address: IpAddr, alpn: Alpn) -> io::Result<TlsStream> {
        let Ready { config, name } = self.ready.as_ref().map_err(|why| io::Error::other(&**why))?;
        let name = name.clone().unwrap_or_else(|| ServerName::from(address));
        let fallback = || alpn.name().map(|name| vec![name.to_vec()]).unwrap_or_default();
        let offered = if config.alpn_protocols.is_empty() { fallback() } else { config.alpn_protocols.clone() };
        let session = ClientConnection::new_with_alpn(Arc::clone(config), name, offered).map_err(io::Error::other)?;
        let stream = TlsStream::new(tcp, session.into());
        stream.shake_hands().await?;
        match (stream.protocol(), alpn.name()) {
            (Some(chosen), Some(wanted)) if chosen != wanted => {
                let what = String::from_utf8_lossy(&chosen).into_owned();
                Err(io::Error::other(format!("the endpoint has chosen to speak {what:?}")))
            }
            _ => Ok(stream),
        }
    }
}

impl Ready {
    fn new<'a>(tls: &UpstreamTls, secret: impl Fn(&SecretName) -> Option<&'a Material>) -> Result<Self, String> {
        let lacking = |name: &SecretName, what: &str| format!("secret {:?} is {what}", name.name);
        let own = match &tls.identity {
            None => None,
            Some(Kept::Here(certificate)) => Some(keys(certificate).map_err(|error| error.to_string())?),
            Some(Kept::Secret(name)) => match secret(name) {
                Some(Material(Held::Keys(keys))) => Some(Arc::clone(keys)),
                Some(Material(Held::Trust(_))) => return Err(lacking(name, "no certificate")),
                None => return Err(lacking(name, "not there")),
            },
        };
        let mut trust = trusted(&tls.trust.here).map_err(|error| error.to_string())?;
        if let Some(name) = &tls.trust.secret {
            match secret(name) {
                Some(Material(Held::Trust(more))) => trust.add(more),
                Some(Material(Held::Keys(_))) => return Err(lacking(name, "no validation context")),
                None => return Err(lacking(name, "not there")),
            }
        }
        if tls.by_sni {
            trust.names.clear();
        }
        let name = tls.sni.as_ref().map(|sni| server_name(sni)).transpose().map_err(|error| error.to_string())?;
        let versions: &[_] = match tls.versions {
            Versions::Both => &[&TLS13, &TLS12],
            Versions::Tls12 => &[&TLS12],
            Versions::Tls13 => &[&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("ring has what TLS 1.2 and 1.3 need")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(trust)));
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(keys) => builder.with_client_cert_resolver(keys),
        };
        config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        // Never those of another client: whoever resumes is not looked at again.
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self { config: Arc::new(config), name })
    }
}

/// The name of `sni`, which must be one that can be asked for.
pub(super) fn server_name(sni: &str) -> Result<ServerName<'static>, IdentityError> {
    let name = ServerName::try_from(sni.to_owned()).ok().filter(|name| matches!(name, ServerName::DnsName(_)));
    name.ok_or_else(|| IdentityError::NoName(sni.to_owned()))
}

impl Trusted {
    /// What came by itself, added to what is written down: as protobuf merges one message into another.
    fn add(&mut self, more: &Self) {
        self.roots = more.roots.clone().or(self.roots.take());
        self.names.extend(more.names.iter().cloned());
        self.accepts_anybody |= more.accepts_anybody;
    }
}

impl Alpn {
    fn name(self) -> Option<&'static [u8]> {
        match self {
            Self::None => None,
            Self::Http1 => Some(b"http/1.1"),
            Self::Http2 => Some(b"h2"),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("lacks", &self.ready.as_ref().err()).finish()
    }
}

/// Sessions that a client keeps. rustls takes eight for one server, which is one name or address, and forgets the oldest server first:
/// this is four of them.
const SESSIONS: usize = 32;
