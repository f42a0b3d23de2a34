//! Where resources come from that are not written down (`envoy.config.core.v3.ConfigSource`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::model::management::{ConfigSource, FileSource, Origin};

pub(crate) const CONFIG_SOURCE: &str = "envoy.config.core.v3.ConfigSource";
const AGGREGATED: &str = "envoy.config.core.v3.AggregatedConfigSource";
const PATH: &str = "envoy.config.core.v3.PathConfigSource";
const WATCHED: &str = "envoy.config.core.v3.WatchedDirectory";

/// Envoy's default for `initial_fetch_timeout`.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// `ConfigSource`, wherever one may stand.
pub(crate) fn config_source(fields: &Fields<'_>) -> Option<ConfigSource> {
    let refused =
        [("api_config_source", "write ads, and the server in dynamic_resources.ads_config"), ("self", "write ads")];
    let which = fields.require_one_of(&["ads", "path_config_source", "path"], &refused);
    fields.message("ads", AGGREGATED, |_| Some(()));
    let file = fields.message("path_config_source", PATH, file_source);
    // Deprecated, and still taken by Envoy 1.40.
    let file = file.or_else(|| Some(FileSource { path: file_path(fields, "path", false)?, watched: None }));
    fields.only_choice("resource_api_version", "V3", 2);
    fields.refuse("authorities", "resources are named by plain names");
    let initial_fetch_timeout = fields.limit("initial_fetch_timeout", Some(FETCH_TIMEOUT));
    // Empty text is none.
    if which == Some("path") && fields.text("path").is_none() {
        fields.missing("path");
    }
    let origin = match which? {
        "ads" => Origin::Server,
        _ => Origin::File(Arc::new(file?)),
    };
    Some(ConfigSource { origin, initial_fetch_timeout })
}

/// The same where only the management server can have what is asked for.
pub(crate) fn server_source(fields: &Fields<'_>) -> Option<ConfigSource> {
    let source = config_source(fields)?;
    if source.origin != Origin::Server {
        fields.at().rule("must be ads: what goes by keys or hosts does not come from files");
    }
    Some(source)
}

fn file_source(fields: &Fields<'_>) -> Option<FileSource> {
    let path = file_path(fields, "path", true);
    let watched = fields.message("watched_directory", WATCHED, |fields| fields.require_text("path").map(PathBuf::from));
    fields.refuse("poll_interval", "the kernel tells when a file changes; nothing is polled");
    Some(FileSource { path: path?, watched })
}

fn file_path(fields: &Fields<'_>, name: &'static str, is_required: bool) -> Option<PathBuf> {
    let text = if is_required { fields.require_text(name) } else { fields.text(name) };
    let path = PathBuf::from(text?);
    let at = fields.get(name, &Kind::Text)?;
    if ["pb", "pb_text"].iter().any(|other| path.extension().is_some_and(|it| it.eq_ignore_ascii_case(other))) {
        at.rule("must be YAML or JSON: other forms are not read from files");
    } else if path.file_name().is_none() || ends_with_slash(&path) {
        at.rule("must be a file");
    }
    Some(path)
}

fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last() == Some(&b'/')
}
