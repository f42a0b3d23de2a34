//! A JSON object whose absent fields are left out, and the scalars of protobuf's JSON form.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use time::OffsetDateTime;

/// An object being filled.
#[derive(Debug, Default)]
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// An object with its `@type`.
    pub(super) fn typed(message: &str) -> Self {
        Self::default().set("@type", format!("type.googleapis.com/{message}"))
    }

    /// `value` as an `Any`, which says what it is.
    pub(super) fn any(message: &str, value: Value) -> Value {
        let Value::Object(fields) = value else { return value };
        Self(fields).set("@type", format!("type.googleapis.com/{message}")).done()
    }

    pub(super) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    pub(super) fn maybe(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    /// A list that is left out when it is empty, as protobuf's JSON does.
    pub(super) fn list<T>(self, key: &str, items: &[T], each: impl Fn(&T) -> Value) -> Self {
        if items.is_empty() { self } else { self.set(key, items.iter().map(each).collect::<Vec<_>>()) }
    }

    /// A text that is left out when it is empty.
    pub(super) fn text(self, key: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.set(key, value) }
    }

    pub(super) fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// `google.protobuf.Duration`.
pub(super) fn duration(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    match nanos {
        0 => format!("{seconds}s"),
        _ if nanos % 1_000_000 == 0 => format!("{seconds}.{:03}s", nanos / 1_000_000),
        _ if nanos % 1_000 == 0 => format!("{seconds}.{:06}s", nanos / 1_000),
        _ => format!("{seconds}.{nanos:09}s"),
    }
}

/// `google.protobuf.Timestamp`, to the millisecond.
pub(super) fn timestamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, milli) = (at.hour(), at.minute(), at.second(), at.millisecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// A time limit for which Envoy writes "none" as zero.
pub(super) fn limit(limit: Option<Duration>) -> String {
    duration(limit.unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{duration, limit, timestamp};

    #[test]
    fn durations_have_three_six_or_nine_digits() {
        assert_eq!(duration(Duration::from_secs(15)), "15s");
        assert_eq!(duration(Duration::from_millis(250)), "0.250s");
        assert_eq!(duration(Duration::from_micros(1_000_001)), "1.000001s");
        assert_eq!(duration(Duration::from_nanos(7)), "0.000000007s");
        assert_eq!(limit(None), "0s");
    }

    #[test]
    fn moments_have_three_digits() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 120_456_789);
        assert_eq!(timestamp(at), "2023-11-14T22:13:20.120Z");
    }
}
