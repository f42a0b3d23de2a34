//! Whole files: good ones to a model, bad ones to the exact lines that are printed, and anything at all without a panic.

mod bad;
mod good;
mod load;
mod mutation;
mod reference;

use crate::file::ConfigErrors;
use crate::model::config::Config;

/// Uses every supported field.
const COMPLETE: &str = include_str!("../../testdata/complete.yaml");

/// The configuration of `text`, or what would be printed; nothing of this host is looked at.
fn decode(text: &str) -> Result<Config, String> {
    super::parse(text, |_| Vec::new()).map_err(|errors| ConfigErrors::new("f".as_ref(), errors).to_string())
}

/// Whether the test should rewrite what it compares with.
pub(crate) fn bless() -> bool {
    std::env::var_os("BLESS").is_some()
}
