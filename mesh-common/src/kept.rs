//! What lies with a socket (`BPF_MAP_TYPE_SK_STORAGE`): the end it hides, and what is kept of it while it is watched.
//!
//! One value and not two, because each costs every connection an allocation in the middle of its handshake. A new place is all zeros:
//! nothing is hidden, nobody watches. The kernel frees it with the socket, so no bound has to be guessed and no entry can be left behind.

use crate::event::Watched;
use crate::flow::Hidden;

/// Both of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The end it hides, or [`Hidden::NOTHING`].
    pub hidden: Hidden,
    /// What is kept while it is watched, or [`Watched::NOT`].
    pub watched: Watched,
}

impl Kept {
    /// Hides nothing, and nobody watches.
    pub const NOTHING: Self = Self { hidden: Hidden::NOTHING, watched: Watched::NOT };

    /// For a socket that only hides an end.
    #[inline(always)]
    #[must_use]
    pub const fn hiding(hidden: Hidden) -> Self {
        Self { hidden, ..Self::NOTHING }
    }

    /// For a socket that is only watched, or marked as the agent's.
    #[inline(always)]
    #[must_use]
    pub const fn watching(watched: Watched) -> Self {
        Self { watched, ..Self::NOTHING }
    }

    /// The end it hides, if it hides one.
    #[inline(always)]
    #[must_use]
    pub const fn hidden(&self) -> Option<Hidden> {
        if self.hidden.is_nothing() { None } else { Some(self.hidden) }
    }
}

const _: () = assert!(size_of::<Kept>() == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Counter;
    use crate::decide::Way;
    use crate::flow::{Addr, PortBe};

    #[test]
    fn zeros_hide_nothing_and_are_not_watched() {
        let kept = Kept::NOTHING;
        assert_eq!((kept.hidden(), kept.watched.is_watched(), kept.watched.is_agent()), (None, false, false));
        let hidden = Hidden::service(1, Addr::v4(1), PortBe::new(80));
        assert_eq!(Kept::hiding(hidden).hidden(), Some(hidden));
        let watched = Kept::watching(Watched::new(Way::Outbound, 1, Counter::Direct, 0));
        assert!(watched.watched.is_watched() && watched.hidden().is_none());
        let agent = Kept::watching(Watched::agent());
        assert!(agent.watched.is_agent() && !agent.watched.is_watched());
    }
}
