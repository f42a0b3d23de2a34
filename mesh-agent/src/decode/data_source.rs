//! Where something is kept that may be long or secret (`envoy.config.core.v3.DataSource`).

use std::path::PathBuf;

use crate::decode::base64;
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::node::Value;
use crate::model::tls::{DataSource, Pem};

/// The same message by two names: what may stand in it differs, and the reference tells them apart.
pub(crate) const PEM: &str = "envoy.config.core.v3.DataSource of a certificate or key";
pub(crate) const SECRET: &str = "envoy.config.core.v3.DataSource of a secret";

/// Certificates, or a key.
pub(crate) fn pem(fields: &Fields<'_>) -> Option<DataSource> {
    let names = ["filename", "environment_variable", "inline_string", "inline_bytes"];
    let which = fields.require_one_of(&names, &[]);
    let inline = fields.text("inline_string").map(Pem::from);
    let kept = kept(fields);
    let found = match which? {
        "inline_bytes" => return bytes(fields).map(DataSource::Inline),
        "inline_string" => inline.map(DataSource::Inline),
        _ => kept,
    };
    found.or_else(|| {
        which.inspect(|name| fields.missing(name));
        None
    })
}

/// A secret that is no key.
pub(crate) fn secret(fields: &Fields<'_>) -> Option<DataSource> {
    const WHERE: &str = "a secret does not stand in a configuration; write filename or environment_variable";
    let refused = [("inline_bytes", WHERE), ("inline_string", WHERE)];
    let which = fields.require_one_of(&["filename", "environment_variable"], &refused);
    kept(fields).or_else(|| {
        which.inspect(|name| fields.missing(name));
        None
    })
}

fn kept(fields: &Fields<'_>) -> Option<DataSource> {
    fields.refuse(
        "watched_directory",
        "a file is read when the configuration comes; to a management server, for every stream",
    );
    let file = fields.text("filename").map(|path| DataSource::File(PathBuf::from(path)));
    file.or_else(|| fields.text("environment_variable").map(|name| DataSource::Environment(name.to_owned())))
}

/// PEM as bytes. What is wrong is said without what is there: it may be a key.
fn bytes(fields: &Fields<'_>) -> Option<Pem> {
    let at = fields.get("inline_bytes", &Kind::Base64)?;
    let text = match &at.node.value {
        Value::Text(text) => base64::decode(text).and_then(|bytes| String::from_utf8(bytes).ok()),
        _ => None,
    };
    if text.is_none() {
        at.rule("must be PEM, in Base64");
    }
    text.map(Pem::from)
}
