//! TLS as a configuration says it: who we are, whom we trust, and where that is kept.
//!
//! Nothing is read here: files change while an agent runs, so whoever needs what is in them reads them then.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::matcher::StringMatch;

/// `envoy.config.core.v3.DataSource`: where something is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Environment(String),
    /// In the configuration itself.
    Inline(Arc<str>),
}

/// How a client speaks TLS (`UpstreamTlsContext`, `SslCredentials`). TLS 1.2 and 1.3 are spoken.
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

/// `TlsCertificate`, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `certificate_chain`: our own first.
    pub chain: DataSource,
    /// `private_key`.
    pub key: DataSource,
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

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Inline(_) => f.write_str("the configuration"),
        }
    }
}
