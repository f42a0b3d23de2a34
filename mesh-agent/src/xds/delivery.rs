//! What passes between the client and whoever makes resources live.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::resource::ResourceKind;
use crate::xds::session::{Fault, Missing, Name, Session};

/// Turns the bytes of a resource into what it is, or a line that says what is wrong with it and where.
pub type Decode<R> = fn(ResourceKind, &[u8]) -> Result<R, String>;

/// Something that changed. The client goes on when it is replied to.
#[derive(Debug)]
pub struct Delivery<R> {
    /// What changed.
    pub news: News<R>,
    /// Where the reply goes.
    pub reply: oneshot::Sender<Reply>,
}

/// What changed.
#[derive(Debug)]
pub enum News<R> {
    /// A response came. Everything may be empty: then it tells that the server has answered for this kind.
    Update {
        /// The kind of resources.
        kind: ResourceKind,
        /// The version of the response.
        version: String,
        /// What is new or different.
        changed: Vec<(Name, R)>,
        /// What is gone.
        removed: Vec<Name>,
        /// What was refused already, as far as it has a name. The server will hear of it.
        refused: Vec<Name>,
    },
    /// Resources that are taken not to exist.
    Missing(Vec<Missing>),
}

/// What is made of it.
#[derive(Debug, Default)]
pub struct Reply {
    /// Resources of the update that cannot go live.
    pub refused: Vec<Fault>,
    /// What is wanted from now on, and what no longer.
    pub wishes: Vec<Wish>,
}

/// A change of what is wanted. Of several for one resource, the last one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Something is wanted.
    For(Want),
    /// It is wanted no longer.
    Without(ResourceKind, Name),
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// Whatever the server thinks this node needs.
    All(ResourceKind),
    /// One by its name.
    One {
        /// Its kind.
        kind: ResourceKind,
        /// Its name.
        name: Name,
        /// When it is taken not to exist; never if `None`.
        patience: Option<Duration>,
    },
}

impl Wish {
    pub(super) fn tell(&self, session: &mut Session) {
        match self {
            Self::For(want) => want.tell(session),
            Self::Without(kind, name) => session.unsubscribe(*kind, name),
        }
    }
}

impl Want {
    pub(super) fn tell(&self, session: &mut Session) {
        match self {
            Self::All(kind) => session.subscribe_to_all(*kind),
            Self::One { kind, name, patience } => session.subscribe(*kind, name, *patience),
        }
    }
}
