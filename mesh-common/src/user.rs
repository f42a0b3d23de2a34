//! Lets user space put these types into aya's typed maps.
#![allow(unsafe_code, reason = "aya asks for a promise about the layout of map keys and values")]

use crate::accelerate::{Leg, Pair};
use crate::config::{Knobs, Pulse};
use crate::datagram::Flows;
use crate::event::Event;
use crate::flow::{Addr, FlowKey, Hidden, NetKey};
use crate::kept::Kept;
use crate::policy::{PodAddrs, RuleNet, RulePort, RuleSet, RuleWho, RuledKey};
use crate::service::{Block, Choice, ChoiceKey, Service, ServiceKey};
use crate::workload::{ListenerKey, Workload};

// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for NetKey {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for FlowKey {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for Hidden {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for Knobs {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for Flows {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for ServiceKey {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for Service {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for ChoiceKey {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for Choice {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for Block {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for Workload {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for Pulse {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for ListenerKey {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for Event {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for Kept {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for Leg {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for Pair {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for Addr {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for RuledKey {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for RuleSet {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for RuleNet {}
// SAFETY: `repr(C)`, integers only, padding is a field.
unsafe impl aya::Pod for RulePort {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for RuleWho {}
// SAFETY: `repr(C)`, integers only, no padding.
unsafe impl aya::Pod for PodAddrs {}
