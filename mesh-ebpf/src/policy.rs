//! Policy of connections that the agent does not see: the walk of mesh-common over these maps.

use aya_ebpf::maps::lpm_trie::Key;
use mesh_common::policy::{Asked, Judgement, RuleNet, RulePort, RuleSet, RuleTables, RuleWho, RuledKey, judge};

use crate::maps::{RULE_NETS, RULE_PORTS, RULE_SETS, RULE_WHO, RULED};

/// What was said, and by which set of rules.
#[derive(Clone, Copy)]
pub(crate) struct Said {
    pub(crate) judgement: Judgement,
    pub(crate) set: u32,
}

/// The set of rules of a destination, if it has one.
#[inline(always)]
pub(crate) fn of(destination: &RuledKey) -> Option<u32> {
    // SAFETY: the map is not preallocated: an entry that is replaced meanwhile is freed after this program has run.
    unsafe { RULED.get(destination) }.copied()
}

/// Asks the policy of a destination. What has none may be connected to.
#[inline(always)]
pub(crate) fn ask(asked: impl FnOnce() -> Asked, set: Option<u32>) -> Said {
    match set {
        Some(set) => Said { judgement: judge(set, &Maps, &asked()), set },
        None => Said { judgement: Judgement::Allowed, set: 0 },
    }
}

impl Said {
    /// Set and rule, as an event tells them.
    #[inline(always)]
    pub(crate) fn rule(self) -> (u32, u32) {
        match self.judgement {
            Judgement::Denied(rule) => (self.set, rule),
            Judgement::Allowed | Judgement::Unknown => (0, 0),
        }
    }
}

struct Maps;

impl RuleTables for Maps {
    #[inline(always)]
    fn set(&self, set: u32) -> Option<RuleSet> {
        // SAFETY: as above; sets are written once.
        unsafe { RULE_SETS.get(set) }.copied()
    }

    #[inline(always)]
    fn net(&self, key: &RuleNet) -> Option<u64> {
        RULE_NETS.get(Key::new(RuleNet::BITS, *key)).copied()
    }

    #[inline(always)]
    fn port(&self, key: &RulePort) -> Option<u64> {
        RULE_PORTS.get(Key::new(RulePort::BITS, *key)).copied()
    }

    #[inline(always)]
    fn who(&self, key: &RuleWho) -> Option<u64> {
        // SAFETY: as above.
        unsafe { RULE_WHO.get(key) }.copied()
    }
}
