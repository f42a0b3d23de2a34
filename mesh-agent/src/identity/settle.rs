//! Reads what a configuration names, before it goes live, and says at once if nothing can be made of it.

use std::sync::Arc;

use crate::identity::client::server_name;
use crate::identity::material::{IdentityError, keys, trusted};
use crate::identity::source::read;
use crate::model::cluster::Cluster;
use crate::model::tls::{Certificate, DataSource, Kept, Secret, SecretContent, Validation};

/// The cluster with all that it names read. What comes by itself is not there yet. Blocks for as long as the file system does.
///
/// # Errors
/// If something cannot be read, or is no certificate or key.
pub fn cluster(cluster: &Arc<Cluster>) -> Result<Arc<Cluster>, IdentityError> {
    let Some(tls) = &cluster.tls else { return Ok(Arc::clone(cluster)) };
    let mut tls = tls.clone();
    tls.sni.as_deref().map(server_name).transpose()?;
    if let Some(Kept::Here(certificate)) = &mut tls.identity {
        settle_certificate(certificate)?;
    }
    settle_validation(&mut tls.trust.here)?;
    Ok(Arc::new(Cluster { tls: Some(tls), ..Cluster::clone(cluster) }))
}

/// The same of a secret.
///
/// # Errors
/// As above.
pub fn secret(secret: &Arc<Secret>) -> Result<Arc<Secret>, IdentityError> {
    let mut content = secret.content.clone();
    match &mut content {
        SecretContent::Certificate(certificate) => settle_certificate(certificate)?,
        SecretContent::Validation(validation) => settle_validation(validation)?,
    }
    Ok(Arc::new(Secret { name: Arc::clone(&secret.name), content }))
}

fn settle_certificate(certificate: &mut Certificate) -> Result<(), IdentityError> {
    settle(&mut certificate.chain)?;
    settle(&mut certificate.key)?;
    keys(certificate).map(drop)
}

fn settle_validation(validation: &mut Validation) -> Result<(), IdentityError> {
    validation.trusted.as_mut().map(settle).transpose()?;
    trusted(validation).map(drop)
}

fn settle(source: &mut DataSource) -> Result<(), IdentityError> {
    if matches!(source, DataSource::File(_) | DataSource::Environment(_)) {
        *source = DataSource::Read(Box::new(source.clone()), read(source)?);
    }
    Ok(())
}
