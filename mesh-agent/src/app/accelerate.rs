//! Whether bytes go from socket to socket: what the configuration says, or what the self-test says.

use std::time::Duration;

use crate::kernel::selftest::{self, Tried};
use crate::model::config::{Accelerated, Acceleration, KernelConfig};

/// Decides, and says so once if it was for the agent to decide.
pub(super) fn decide(kernel: &KernelConfig) -> Accelerated {
    match kernel.acceleration {
        Acceleration::On => Accelerated { on: true, because: vec!["it is configured so".to_owned()] },
        Acceleration::Off => Accelerated { on: false, because: vec!["it is configured so".to_owned()] },
        // See the decoder: with the programs, bytes on their way would go.
        Acceleration::Auto if !kernel.persist => {
            Accelerated { on: false, because: vec!["the programs do not persist".to_owned()] }
        }
        Acceleration::Auto => {
            let accelerated = judge(&selftest::run(LONGEST));
            let Accelerated { on, because } = &accelerated;
            tracing::info!(on, because = %because.join("; "), "acceleration");
            accelerated
        }
    }
}

fn judge(tried: &Tried) -> Accelerated {
    match tried.objections() {
        objections if objections.is_empty() => {
            Accelerated { on: true, because: vec!["apps notice nothing in the self-test".to_owned()] }
        }
        because => Accelerated { on: false, because },
    }
}

/// Far more than it takes, for machines that are starting everything at once. They start without acceleration.
const LONGEST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::selftest::Check;

    #[test]
    fn one_difference_is_enough() {
        let check = |same| Check { name: "a".into(), ordinary: "b".into(), accelerated: "c".into(), same };
        assert!(judge(&Tried::All(vec![check(true), check(true)])).on);
        let off = judge(&Tried::All(vec![check(true), check(false)]));
        assert_eq!(off, Accelerated { on: false, because: vec!["a: c, instead of b".to_owned()] });
        assert!(!judge(&Tried::Not("no cgroup".to_owned())).on);
    }

    #[test]
    fn without_pins_nothing_is_tried() {
        let kernel = KernelConfig { persist: false, ..KernelConfig::default() };
        assert_eq!(decide(&kernel).because, ["the programs do not persist"]);
    }
}
