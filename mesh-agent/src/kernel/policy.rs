//! Policy in the kernel: rules of the model, compiled into the tables that the programs walk through.
//!
//! ```text
//! model::authz ──> compile ──> table ──> maps ──> the programs' walk (mesh-common) ──> events ──> names
//! ```

pub(crate) mod compile;
pub(crate) mod maps;
pub(crate) mod names;
pub(crate) mod table;
