//! From a target to a connected stream.
