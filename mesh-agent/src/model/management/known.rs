//! What is known of the resources a management server was asked for: for operators, who ask what is live, since when, and what was
//! refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::resource::ResourceKind;

/// By kind and name.
pub type KnownResources = BTreeMap<ResourceKind, HashMap<Arc<str>, Known>>;

/// What is known of one resource. Of one that is asked for, and has not come yet, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What was accepted last: it is live, or waits for what it refers to.
    pub accepted: Option<Accepted>,
    /// What was refused since.
    pub refused: Option<Refused>,
    /// It was asked for and did not come in time, or the server said that it is not there.
    pub is_missing: bool,
}

/// A resource that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its version.
    pub version: Arc<str>,
    /// When it came.
    pub at: SystemTime,
}

/// A resource that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its version, or that of the response.
    pub version: String,
    /// When it came.
    pub at: SystemTime,
    /// Why.
    pub reason: String,
}
