//! Where resources come from that are not written down.

use serde_json::{Value, json};

use crate::admin::dump::object::{Object, duration};
use crate::model::management::ConfigSource;

/// `envoy.config.core.v3.ConfigSource`.
pub(super) fn config_source(source: &ConfigSource) -> Value {
    Object::default()
        .set("ads", json!({}))
        .set("resource_api_version", "V3")
        .set("initial_fetch_timeout", duration(source.initial_fetch_timeout.unwrap_or_default()))
        .done()
}
