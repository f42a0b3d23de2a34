//! Values of flags and variables that are more than a word.

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

fn expected() -> String {
    "expected a time such as 30s, 2m or 500ms".to_owned()
}

const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

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
