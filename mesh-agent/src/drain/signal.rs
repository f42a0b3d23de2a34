//! The signals that end the agent: the first one drains, the second one does not wait.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::drain::{Outcome, Phase, Trigger};

/// The handlers could not be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot handle SIGTERM and SIGINT")]
pub struct SignalError(#[from] io::Error);

/// SIGTERM and SIGINT, from the moment it was made.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes both signals over. To be called once, early: until then they kill the process.
    ///
    /// # Errors
    /// The kernel or the runtime refused.
    pub fn install() -> Result<Self, SignalError> {
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first signal, or until somebody else starts `trigger`; then drains for `timeout` at most. A signal
    /// during that ends it at once.
    pub async fn drain(&mut self, trigger: &Trigger, timeout: Duration) -> Outcome {
        tokio::select! {
            () = self.next() => {}
            () = trigger.shared.reached(Phase::Draining) => {}
        }
        let finish = trigger.finish(timeout);
        tokio::pin!(finish);
        tokio::select! {
            outcome = &mut finish => return outcome,
            () = self.next() => trigger.end(),
        }
        finish.await
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
