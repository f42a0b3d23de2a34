//! A management server: whatever it sends, in either form, the session has an answer, a reason to leave it alone, or one to end the
//! stream, and what it remembers stays bounded.
//!
//! The first byte says which form is spoken and what is wanted. After it come messages, each behind its length (two bytes) and a byte
//! that says what happens to it: some of what it holds is refused, the stream breaks, time passes.

#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mesh_agent::model::resource::ResourceKind;
use mesh_agent::xds::session::{Fault, Session, Variant};

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else { return };
    let variant = if first & 1 == 0 { Variant::Sotw } else { Variant::Delta };
    let mut session = Session::new(variant, Bytes::from_static(b"\x0a\x01n"));
    for kind in ResourceKind::ALL {
        if first & 2 != 0 {
            session.subscribe_to_all(kind);
        }
        if first & 4 != 0 {
            session.subscribe(kind, &Arc::from("a"), Some(Duration::from_secs(15)));
        }
    }
    let mut now = Instant::now();
    session.connected(now);
    while let Some(((length, how), after)) = head(rest) {
        let (message, after) = after.split_at(length.min(after.len()));
        rest = after;
        match session.received(Bytes::copy_from_slice(message), now) {
            Ok(update) => {
                let refused = update.resources.iter().filter(|_| how & 1 != 0);
                let fault = |name: &Arc<str>| Fault { name: Some(Arc::clone(name)), text: "no".to_owned() };
                let refused: Vec<_> = refused.map(|it| fault(&it.name)).collect();
                let answer = session.decided(&update.ticket, &refused, now);
                assert!(answer.is_none_or(|answer| answer.len() < 64 << 10), "an answer is short");
            }
            Err(unusable) if unusable.ends_stream() => {
                session.connected(now);
            }
            Err(_) => {}
        }
        if how & 2 != 0 {
            session.connected(now);
        }
        now += Duration::from_secs(u64::from(how >> 4));
        session.overdue(now);
        session.flush(now);
    }
    let _ = session.known(now, SystemTime::UNIX_EPOCH);
});

/// Length of the next message, what happens to it, and all after that.
fn head(rest: &[u8]) -> Option<((usize, u8), &[u8])> {
    let ([low, high, how], after) = rest.split_first_chunk()?;
    Some(((usize::from(u16::from_le_bytes([*low, *high])), *how), after))
}
