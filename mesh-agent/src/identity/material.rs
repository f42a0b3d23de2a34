//! Certificates, keys and authorities as TLS takes them, and what a secret holds of them. None of it shows itself.

use std::fmt;
use std::sync::{Arc, LazyLock};

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::identity::source::{SourceError, read};
use crate::model::tls::{Certificate, DataSource, SecretContent, SubjectName, Validation};

/// There can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Something is not where it should be.
    #[error("cannot read {0}")]
    Source(#[from] SourceError),
    /// What is there is not in PEM.
    #[error("{from}: {problem}")]
    Pem {
        /// Where it is.
        from: DataSource,
        /// What is wrong with it. Not the parser's error: that one has the line, which may be a whole key.
        problem: &'static str,
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
    /// What is asked for by `sni` is no name.
    #[error("sni: {0:?} is not a DNS name")]
    NoName(String),
}

/// Who we are.
pub(super) type Keys = Arc<SingleCertAndKey>;

/// Whom we trust.
#[derive(Clone, Default)]
pub(super) struct Trusted {
    /// Who may vouch.
    pub(super) roots: Option<Arc<RootCertStore>>,
    /// For whom.
    pub(super) names: Vec<SubjectName>,
    /// Nobody need.
    pub(super) accepts_anybody: bool,
}

/// What a secret holds, ready for use.
#[derive(Clone)]
pub struct Material(pub(super) Held);

#[derive(Clone)]
pub(super) enum Held {
    Keys(Keys),
    Trust(Trusted),
}

impl Material {
    /// What `content` holds. Nothing is read that was not read before.
    ///
    /// # Errors
    /// If it is no certificate or no key, or they do not belong together.
    pub fn new(content: &SecretContent) -> Result<Self, IdentityError> {
        match content {
            SecretContent::Certificate(certificate) => keys(certificate).map(|it| Self(Held::Keys(it))),
            SecretContent::Validation(validation) => trusted(validation).map(|it| Self(Held::Trust(it))),
        }
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Held::Keys(_) => "a certificate",
            Held::Trust(_) => "a validation context",
        })
    }
}

/// The one way in which anything is signed and encrypted.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));
    Arc::clone(&PROVIDER)
}

/// A certificate and its key.
pub(super) fn keys(Certificate { chain, key: from }: &Certificate) -> Result<Keys, IdentityError> {
    let text = read(from)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_str().as_bytes());
    let key = key.map_err(not_pem(from))?;
    let certified = CertifiedKey::from_der(certificates(chain)?, key, &provider()).map_err(unusable(from))?;
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

/// Everybody who may vouch for a peer.
pub(super) fn roots(from: &DataSource) -> Result<Arc<RootCertStore>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(from)? {
        roots.add(certificate).map_err(unusable(from))?;
    }
    Ok(Arc::new(roots))
}

pub(super) fn trusted(validation: &Validation) -> Result<Trusted, IdentityError> {
    let Validation { trusted, names, accepts_anybody } = validation;
    let roots = trusted.as_ref().map(roots).transpose()?;
    Ok(Trusted { roots, names: names.clone(), accepts_anybody: *accepts_anybody })
}

fn certificates(from: &DataSource) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = read(from)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_str().as_bytes()).collect();
    let all = all.map_err(not_pem(from))?;
    if all.is_empty() { Err(IdentityError::Empty(from.clone())) } else { Ok(all) }
}

fn not_pem(from: &DataSource) -> impl Fn(pem::Error) -> IdentityError {
    |error| {
        let problem = match error {
            pem::Error::MissingSectionEnd { .. } => "a section in PEM has no end; have its newlines been lost?",
            pem::Error::IllegalSectionStart { .. } => {
                "a line that begins a section in PEM holds more; have its newlines been lost?"
            }
            pem::Error::Base64Decode(_) => "what stands in a section in PEM is not in Base64",
            pem::Error::NoItemsFound => "no items found",
            _ => "it is not in PEM",
        };
        IdentityError::Pem { from: from.clone(), problem }
    }
}

fn unusable(from: &DataSource) -> impl Fn(rustls::Error) -> IdentityError {
    |source| IdentityError::Unusable { from: from.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tls::Pem;

    #[test]
    fn what_is_wrong_with_a_key_is_said_without_it() {
        let base64 = "TUlJRXZRSUJBREFOQmdrcWhraUc5dzBCQVFF".to_owned();
        let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        let cases = [
            // Newlines lost, or two characters each.
            (format!("{begin}\\n{base64}\\n{end}\\n"), "begins a section"),
            (format!("{begin} {base64} {end}"), "has no end"),
            (format!("{begin}\n{base64}{end}"), "has no end"),
            (format!("{begin}\n{base64}\n"), "has no end"),
            (format!("{begin}\n{base64}*\n{end}\n"), "Base64"),
            (base64, "no items found"),
        ];
        for (text, why) in cases {
            let key = DataSource::Inline(Pem::from(text));
            let Err(error) = keys(&Certificate { chain: key.clone(), key }) else { panic!("{why}") };
            let told = format!("{error} {error:?}");
            assert!(told.contains(why), "{told}");
            // Neither as text nor as numbers.
            assert!(!told.contains("TUlJ") && !told.contains("84, 85, 108"), "{told}");
        }
    }
}
