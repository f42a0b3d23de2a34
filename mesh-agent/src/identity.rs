//! Who we are and whom we trust: certificates and keys from where they are kept, and the TLS that is made of them.
//!
//! All of rustls is here. What is kept elsewhere is read when it is needed and not remembered, so that what was replaced is used.

mod client;
mod names;
mod source;

pub use client::{Client, IdentityError, TlsStream};
pub use source::{SourceError, read};
