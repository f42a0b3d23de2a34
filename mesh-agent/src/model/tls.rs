//! TLS as a configuration says it: who we are, whom we trust, and where that is kept.
//!
//! Nothing is read here: files change while an agent runs, so whoever needs what is in them reads them then. What was read is put beside
//! where it was read from ([`DataSource::Read`]), so that what is made of it depends on the configuration alone. Keys and certificates
//! never show: whatever prints a configuration prints where they are kept.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::management::ConfigSource;
use crate::model::matcher::StringMatch;

/// `envoy.config.core.v3.DataSource`: where something is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Environment(String),
    /// In the configuration itself.
    Inline(Pem),
    /// Where the first says, and this was there when it was read.
    Read(Box<DataSource>, Pem),
}

/// Text that may be a key. Shows only how long it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Arc<str>);

/// How a client speaks TLS to a management server (`UpstreamTlsContext`, `SslCredentials`). TLS 1.2 and 1.3 are spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// `sni`: the name that is asked for; the host's own if `None`.
    pub sni: Option<String>,
    /// `trusted_ca`: certificates, in PEM, of those who may vouch for the server.
    pub trusted: DataSource,
    /// `match_typed_subject_alt_names`: one of them has to be in the server's certificate. Empty: the name that is asked for has to be.
    pub names: Vec<SubjectName>,
    /// Who we are, if the server wants to know.
    pub certificate: Option<Certificate>,
}

/// How TLS is spoken to the endpoints of a cluster (`UpstreamTlsContext`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// `sni`: the name that is asked for. `None`: none is, and the endpoint is known by its address.
    pub sni: Option<String>,
    /// `auto_sni_san_validation`: the endpoint is known by `sni`, whatever `trust` says.
    pub by_sni: bool,
    /// Who we are, if the endpoint wants to know.
    pub identity: Option<Kept<Certificate>>,
    /// Whom we trust.
    pub trust: Trust,
    /// `alpn_protocols`; what is spoken anyway if empty.
    pub alpn: Vec<String>,
    /// Which versions of TLS may be spoken.
    pub versions: Versions,
}

/// Something that is written down where it is used, or comes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept<T> {
    /// Here it is.
    Here(T),
    /// It comes by this name.
    Secret(SecretName),
}

/// `SdsSecretConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// What it is asked for by.
    pub name: Arc<str>,
    /// Who has it.
    pub source: ConfigSource,
}

/// `validation_context`, or that and one that comes by itself: then what is said in both is said twice, and the latter's authorities
/// count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// What is written down.
    pub here: Validation,
    /// What comes by itself.
    pub secret: Option<SecretName>,
}

/// `CertificateValidationContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    /// `trusted_ca`: certificates, in PEM, of those who may vouch for the peer.
    pub trusted: Option<DataSource>,
    /// `match_typed_subject_alt_names`: one of them has to be in the peer's certificate. Empty: the name that is asked for has to be.
    pub names: Vec<SubjectName>,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`: anybody may be there.
    pub accepts_anybody: bool,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// `TlsCertificate`, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `certificate_chain`: our own first.
    pub chain: DataSource,
    /// `private_key`.
    pub key: DataSource,
}

/// `Secret`: something that came by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// What it was asked for by.
    pub name: Arc<str>,
    /// What it is.
    pub content: SecretContent,
}

/// What a secret can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretContent {
    /// Who we are.
    Certificate(Certificate),
    /// Whom we trust.
    Validation(Validation),
}

/// `SubjectAltNameMatcher`: a name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectName {
    /// A DNS name. An exact one is also matched by a certificate for `*.` and the rest of it.
    Dns(StringMatch),
    /// A URI, as a SPIFFE identity is.
    Uri(StringMatch),
    /// An address.
    Ip(IpAddr),
}

impl UpstreamTls {
    /// The secrets it asks for: who we are, and whom we trust.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        let own = match &self.identity {
            Some(Kept::Secret(name)) => Some(name),
            Some(Kept::Here(_)) | None => None,
        };
        own.into_iter().chain(&self.trust.secret)
    }
}

impl Pem {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for Pem {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Inline(_) => f.write_str("the configuration"),
            Self::Read(from, _) => from.fmt(f),
        }
    }
}
