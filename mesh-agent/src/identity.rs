//! Who we are and whom we trust: certificates and keys from where they are kept, and the TLS that is made of them.
//!
//! All of rustls is here. What is kept elsewhere is read when it is needed ([`settle`]; for a management server, with each stream), and
//! what was read is part of the configuration from then on: [`Client`]s are made of that alone.

mod client;
mod management;
mod material;
mod names;
mod settle;
mod source;
mod stream;

pub use client::{Alpn, Client};
pub use management::{ManagementClient, ManagementStream};
pub use material::{IdentityError, Material};
pub use settle::{cluster as settle_cluster, secret as settle_secret};
pub use source::{SourceError, read};
pub use stream::TlsStream;
