//! Configuration files: YAML or JSON with positions, to a tree that [`crate::decode`] reads.
