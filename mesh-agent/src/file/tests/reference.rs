//! `docs/config-reference.md` says what the decoders read. `BLESS=1` rewrites it.

use std::fs;

use super::{COMPLETE, bless, decode};
use crate::decode::{reference, resource};
use crate::file::yaml;
use crate::model::resource::ResourceKind;

const BEGIN: &str = "<!-- Generated from the decoders: BLESS=1 cargo test -p mesh-agent file::tests::reference -->\n";

#[test]
fn is_what_the_decoders_read() {
    reference::clear();
    decode(COMPLETE).unwrap();
    for secret in [
        "{ name: s, tls_certificate: { certificate_chain: { filename: /c }, private_key: { filename: /k } } }",
        "{ name: s, validation_context: { trusted_ca: { filename: /ca } } }",
    ] {
        resource(ResourceKind::Secret, &yaml::parse(secret).0.unwrap(), Vec::new()).unwrap();
    }
    assert_eq!(reference::never_set(), Vec::<String>::new(), "complete.yaml must set every field that is supported");

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config-reference.md");
    let written = fs::read_to_string(path).unwrap();
    let (prose, _) = written.split_once(BEGIN).expect("the generated part begins with its mark");
    let expected = format!("{prose}{BEGIN}\n{}", reference::markdown());
    if bless() {
        fs::write(path, expected).unwrap();
    } else {
        assert!(written == expected, "docs/config-reference.md is out of date; run this test with BLESS=1");
    }
}
