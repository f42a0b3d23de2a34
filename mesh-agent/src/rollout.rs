//! The one place where a new configuration goes live.
