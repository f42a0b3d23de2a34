//! Where resources come from that are not written down (`envoy.config.core.v3.ConfigSource`).

use std::time::Duration;

use crate::decode::fields::Fields;
use crate::model::management::ConfigSource;

pub(crate) const CONFIG_SOURCE: &str = "envoy.config.core.v3.ConfigSource";
const AGGREGATED: &str = "envoy.config.core.v3.AggregatedConfigSource";

/// Envoy's default for `initial_fetch_timeout`.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// `ConfigSource`, wherever one may stand.
pub(crate) fn config_source(fields: &Fields<'_>) -> Option<ConfigSource> {
    let refused = [
        ("path", "write ads"),
        ("path_config_source", "resources do not come from files of their own yet; write ads"),
        ("api_config_source", "write ads, and the server in dynamic_resources.ads_config"),
        ("self", "write ads"),
    ];
    let which = fields.require_one_of(&["ads"], &refused);
    fields.message("ads", AGGREGATED, |_| Some(()));
    fields.only_choice("resource_api_version", "V3", 2);
    fields.refuse("authorities", "resources are named by plain names");
    let initial_fetch_timeout = fields.limit("initial_fetch_timeout", Some(FETCH_TIMEOUT));
    which.map(|_| ConfigSource { initial_fetch_timeout })
}
