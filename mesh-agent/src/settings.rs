//! Command line and environment, validated into one struct per module.
