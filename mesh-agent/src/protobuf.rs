//! Resources as a control plane sends them: protobuf to the tree that [`crate::decode`] reads, by a table of messages.
//!
//! The tree is the one that the same configuration in YAML gives (proto3's JSON mapping), so there is one decode for both. A table
//! ([`table`]) instead of generated types: a field that the table doesn't know is found and refused like any other that nobody
//! reads, a field that the agent doesn't support costs nothing, and there is nothing to compile.
//!
//! What comes is not trusted: [`read`] bounds depth and number of values, and whatever is no proper encoding is a problem with its
//! place. Envoy's own rules about values are the decoders' business.

mod known;
mod read;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod wire;
mod write;

use crate::decode::{self, Refusal};
use crate::model::resource::{Resource, ResourceKind};
use read::{Read, read};
pub use write::{WriteError, write};

/// Decodes a resource from the bytes of its message (what stands in the `Any`).
///
/// # Errors
/// Everything that is wrong with it. Of bytes that are no proper encoding nothing but that is said.
pub fn resource(kind: ResourceKind, message: &[u8]) -> Result<Resource, Refusal> {
    let Read { root, problems, is_broken } = read(kind.message(), message);
    if is_broken {
        return Err(Refusal { kind, name: decode::resource_name(kind, &root), problems });
    }
    decode::resource(kind, &root, problems)
}
