//! Where resources come from that are not written down.

use serde_json::{Value, json};

use crate::admin::dump::object::{Object, duration};
use crate::model::management::{ConfigSource, Origin};

/// `envoy.config.core.v3.ConfigSource`.
pub(super) fn config_source(source: &ConfigSource) -> Value {
    let (which, from) = match &source.origin {
        Origin::Server => ("ads", json!({})),
        Origin::File(file) => {
            let watched = file.watched.as_ref().map(|folder| json!({ "path": folder }));
            (
                "path_config_source",
                Object::default().set("path", json!(file.path)).maybe("watched_directory", watched).done(),
            )
        }
    };
    Object::default()
        .set(which, from)
        .set("resource_api_version", "V3")
        .set("initial_fetch_timeout", duration(source.initial_fetch_timeout.unwrap_or_default()))
        .done()
}
