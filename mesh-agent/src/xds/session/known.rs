//! What a session knows of its resources, for operators. A session has no clock, so whoever asks brings two.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::model::management::{Accepted, Known, KnownResources, Refused};
use crate::xds::session::subscription::Subscription;
use crate::xds::session::{Name, Session};

impl Session {
    /// Everything that is live, refused or waited for. `now` and `today` are the same moment.
    #[must_use]
    pub fn known(&self, now: Instant, today: SystemTime) -> KnownResources {
        // Before the clock's first moment nothing came.
        let date = |at: Instant| today.checked_sub(now.saturating_duration_since(at)).unwrap_or(SystemTime::UNIX_EPOCH);
        self.kinds.iter().map(|(kind, subscription)| (*kind, known(subscription, date))).collect()
    }
}

fn known(subscription: &Subscription, date: impl Fn(Instant) -> SystemTime) -> HashMap<Name, Known> {
    let held = subscription.all_held().map(|(name, held)| {
        let accepted = Accepted { version: Arc::clone(&held.version), at: date(held.since) };
        (Arc::clone(name), Known { accepted: Some(accepted), ..Known::default() })
    });
    let absent = subscription.absent();
    let absent = absent.map(|(name, is_missing)| (Arc::clone(name), Known { is_missing, ..Known::default() }));
    let mut all: HashMap<_, _> = held.chain(absent).collect();
    for (name, refusal) in subscription.refusals.iter() {
        let refused =
            Refused { version: refusal.version.to_string(), at: date(refusal.at), reason: refusal.reason.clone() };
        all.entry(Arc::clone(name)).or_default().refused = Some(refused);
    }
    all
}
