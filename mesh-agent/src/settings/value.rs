//! Values of flags and variables that are more than a word.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// More data threads than this is a slip of the finger.
pub(super) const MAX_WORKERS: usize = 256;

/// A number of data threads.
pub(super) fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=MAX_WORKERS) => Ok(n),
        _ => Err(format!("expected a number between 1 and {MAX_WORKERS}")),
    }
}

/// A duration: `30s`, `1.5s`, `2m`, `500ms`, `30`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(expected());
    }
    let number: f64 = digits.parse().map_err(|_| expected())?;
    let duration = Duration::try_from_secs_f64(number * factor).map_err(|_| expected())?;
    if duration > MAX_DURATION { Err("at most 24h".to_owned()) } else { Ok(duration) }
}

/// A log filter, kept as text.
pub(super) fn filter(text: &str) -> Result<String, String> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| format!("not a log filter: {error}"))
}

/// Where the admin interface is found unless told otherwise.
pub(super) fn admin_socket() -> PathBuf {
    socket_of(rustix::process::geteuid().is_root(), env::var_os("XDG_RUNTIME_DIR"))
}

/// A plain user's agent, which needs no privilege, has its socket where that user may make one. `XDG_RUNTIME_DIR` is the folder
/// that a log-in makes for it, nobody else's to write.
fn socket_of(is_root: bool, runtime_folder: Option<OsString>) -> PathBuf {
    let folder = match runtime_folder.map(PathBuf::from) {
        Some(folder) if !is_root && folder.is_absolute() => folder,
        _ => PathBuf::from("/run"),
    };
    folder.join("bowline/agent.sock")
}

fn expected() -> String {
    "expected a time such as 30s, 2m or 500ms".to_owned()
}

const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration, socket_of};

    #[test]
    fn a_plain_user_has_a_socket_of_its_own() {
        let folder = || Some("/run/user/1000".into());
        assert_eq!(socket_of(false, folder()).to_str(), Some("/run/user/1000/bowline/agent.sock"));
        assert_eq!(socket_of(true, folder()).to_str(), Some("/run/bowline/agent.sock"));
        assert_eq!(socket_of(false, None).to_str(), Some("/run/bowline/agent.sock"));
        assert_eq!(socket_of(false, Some("relative".into())).to_str(), Some("/run/bowline/agent.sock"));
    }

    #[test]
    fn durations() {
        for (text, millis) in [("30s", 30_000), ("0", 0), ("7", 7_000), ("1.5s", 1_500), ("2m", 120_000), ("20ms", 20)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1 s", "inf", "NaNs", "1e300h", "25h", "+1s", ".5s", "1ss"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
