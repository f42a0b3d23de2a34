//! What a session hands out: updates to be judged, and what went missing.

use std::fmt;

use bytes::Bytes;

use crate::model::resource::ResourceKind;
use crate::xds::session::Name;

/// What changes by one response. May be empty: it has to be decided all the same, since the server waits for an ACK.
#[derive(Debug)]
pub struct Update {
    /// To be handed back with the decision.
    pub ticket: Ticket,
    /// Version of the response.
    pub version: String,
    /// Resources that are new or differ from what is live, in the order of the response.
    pub resources: Vec<Incoming>,
    /// Resources that are gone.
    pub removed: Vec<Name>,
    /// What was wrong with the response itself. The session will say so to the server; here for whoever else wants to know.
    pub faults: Vec<Fault>,
}

/// Names an update that waits for a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// What kind of resources it holds.
    pub kind: ResourceKind,
    pub(super) stream: u64,
    pub(super) nonce: String,
}

/// A resource as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Its name.
    pub name: Name,
    /// Its version: its own in delta, the response's in SotW.
    pub version: Name,
    /// The encoded message, of the kind the update says.
    pub body: Bytes,
}

/// Why a resource, or something in a response, is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose fault it is, if it has a name.
    pub name: Option<Name>,
    /// What is wrong, as a line that names the place.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A resource that is taken not to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name.
    pub name: Name,
    /// Why it is thought not to exist.
    pub why: Why,
}

/// Why a resource is taken not to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was asked for and did not come in time.
    NeverCame,
    /// Its time to live has passed without news of it.
    Expired,
}

/// Why a message is no response to judge.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no stream it could belong to.
    #[error("a response without a stream")]
    NoStream,
    /// It is not a discovery response.
    #[error("not a discovery response: {0}")]
    Garbage(#[from] prost::DecodeError),
    /// Its type is none that the agent knows.
    #[error("a response of type {0:?}, which is not supported")]
    UnknownType(String),
    /// Nobody asked for anything of that kind.
    #[error("a {0} response that nobody asked for")]
    NotAskedFor(ResourceKind),
}

impl Unusable {
    /// Whether server and client no longer understand each other. To answer a type that was not asked for would ask for it.
    #[must_use]
    pub fn ends_stream(&self) -> bool {
        matches!(self, Self::Garbage(_) | Self::NoStream)
    }
}
