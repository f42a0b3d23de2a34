//! Where something is kept that may be long or secret (`envoy.config.core.v3.DataSource`).

use std::path::PathBuf;

use crate::decode::fields::Fields;
use crate::model::tls::DataSource;

/// The same message by two names: what may stand in it differs, and the reference tells them apart.
pub(crate) const PUBLIC: &str = "envoy.config.core.v3.DataSource of a certificate";
pub(crate) const SECRET: &str = "envoy.config.core.v3.DataSource of a secret";

/// Anything that everybody may read.
pub(crate) fn public(fields: &Fields<'_>) -> Option<DataSource> {
    const BYTES: (&str, &str) = ("inline_bytes", "write inline_string");
    fields.require_one_of(&["filename", "environment_variable", "inline_string"], &[BYTES]);
    kept(fields).or_else(|| fields.text("inline_string").map(|text| DataSource::Inline(text.into())))
}

/// What nobody else may know.
pub(crate) fn secret(fields: &Fields<'_>) -> Option<DataSource> {
    const WHERE: &str = "a secret does not stand in a configuration; write filename or environment_variable";
    let refused = [("inline_bytes", WHERE), ("inline_string", WHERE)];
    fields.require_one_of(&["filename", "environment_variable"], &refused);
    kept(fields)
}

fn kept(fields: &Fields<'_>) -> Option<DataSource> {
    fields.refuse("watched_directory", "it is read for every stream");
    let file = fields.text("filename").map(|path| DataSource::File(PathBuf::from(path)));
    file.or_else(|| fields.text("environment_variable").map(|name| DataSource::Environment(name.to_owned())))
}
