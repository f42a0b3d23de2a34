//! What fuzzing of the session starts from: conversations in which everything happens that the protocol has. `BLESS=1` rewrites them.

use std::fs;
use std::path::Path;

use super::*;

#[test]
fn seeds_are_conversations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds/session");
    let wrapped = |name: &str, seconds: i64| with_ttl(resource(CDS, name), seconds);
    let seeds = [
        // Everything and names, in SotW; and in delta.
        (
            "sotw",
            6,
            [
                response(CDS, "1", "1", &["a=1", "b=1"]),
                response(EDS, "2", "1", &["a"]),
                response(CDS, "3", "2", &["a=2"]),
            ],
        ),
        (
            "delta",
            7,
            [
                delta(CDS, "1", &["a@1", "b@1"], &[]),
                delta_of(CDS, "2", vec![wrapped("a@2", 5)], &["b"]),
                delta(RDS, "3", &["a@1"], &["b"]),
            ],
        ),
    ];
    for (name, first, messages) in seeds {
        let mut seed = vec![first];
        for (at, message) in messages.iter().enumerate() {
            seed.extend(u16::try_from(message.len()).expect("a short message").to_le_bytes());
            // The second is refused, after the third the stream breaks, and time passes.
            seed.push([0x10, 0x11, 0xf2][at]);
            seed.extend(message);
        }
        let file = folder.join(name);
        if crate::file::tests::bless() {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(&file, &seed).expect("a file");
        }
        assert_eq!(fs::read(&file).ok(), Some(seed), "{name}: run again with BLESS=1");
    }
}
