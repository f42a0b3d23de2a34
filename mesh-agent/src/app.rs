//! Wiring, top to bottom: settings to running agent.

use crate::settings;

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Placeholder until the wiring lands.
    #[error("the agent is not wired yet")]
    NotYet,
}

/// Runs the agent until it has drained.
///
/// # Errors
/// See [`AppError`]. Nothing stays behind.
pub fn run(settings: &settings::Run) -> Result<(), AppError> {
    let _ = settings;
    Err(AppError::NotYet)
}
