//! The examples of RFC 7541, appendix C, and what must not be taken for a header block.

use super::{Decoder, Encoder, HpackError, huffman};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<String, HpackError> {
    let mut text = String::new();
    decoder.decode(block, |name, value| {
        text.push_str(&format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
    })?;
    Ok(text)
}

fn check(decoder: &mut Decoder, hex: &str, expect: &str) {
    let expect = expect.split('|').map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(decoded(decoder, &bytes(hex)).expect(hex), expect, "{hex}");
}

#[test]
fn literals_of_appendix_c2() {
    check(
        &mut Decoder::new(),
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        "custom-key: custom-header",
    );
    check(&mut Decoder::new(), "040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path");
    check(&mut Decoder::new(), "1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret");
    check(&mut Decoder::new(), "82", ":method: GET");
}

#[test]
fn requests_of_appendix_c3_and_c4() {
    let first = ":method: GET|:scheme: http|:path: /|:authority: www.example.com";
    let second = ":method: GET|:scheme: http|:path: /|:authority: www.example.com|cache-control: no-cache";
    let third = ":method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|custom-key: custom-value";
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::new();
        for (block, expect) in blocks.into_iter().zip([first, second, third]) {
            check(&mut decoder, block, expect);
        }
    }
}

#[test]
fn responses_of_appendix_c6_push_old_entries_out() {
    let mut decoder = Decoder::new();
    // The table of the example holds 256 bytes: said by a size update before the first block.
    check(
        &mut decoder,
        "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
         63c7 8f0b 97c8 e9ae 82ae 43d3",
        ":status: 302|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com",
    );
    check(
        &mut decoder,
        "4883 640e ffc1 c0bf",
        ":status: 307|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com",
    );
    check(
        &mut decoder,
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf
         cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ":status: 200|cache-control: private|date: Mon, 21 Oct 2013 20:13:22 GMT|location: https://www.example.com\
         |content-encoding: gzip|set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    );
}

#[test]
fn what_is_no_block_is_refused() {
    for (block, expect) in [
        ("80", HpackError::Index),
        ("be", HpackError::Index),
        ("7f 00 01 61", HpackError::Index),
        ("ff ff ff ff ff 0f", HpackError::Overflow),
        ("ff 80 80 80 80 80 80 00", HpackError::Overflow),
        ("ff 80", HpackError::Truncated),
        ("40", HpackError::Truncated),
        ("40 05 61 62", HpackError::Truncated),
        ("40 01 61", HpackError::Truncated),
        // Larger than announced, and after a field.
        ("3f e2 1f", HpackError::TableSize),
        ("82 20", HpackError::TableSize),
        // Padding of eight bits, of zeros, and the symbol that ends a string.
        ("40 01 61 81 ff", HpackError::Huffman),
        ("40 01 61 81 18", HpackError::Huffman),
        ("40 01 61 84 ff ff ff ff", HpackError::Huffman),
    ] {
        assert_eq!(decoded(&mut Decoder::new(), &bytes(block)), Err(expect), "{block}");
    }
}

#[test]
fn every_symbol_of_the_code_is_read() {
    // The code is canonical, so it can be written from its lengths alone.
    let lengths = huffman::lengths();
    let mut code: u32 = 0;
    let mut last = 0;
    let mut order: Vec<usize> = (0..256).collect();
    order.sort_by_key(|symbol| (lengths[*symbol], *symbol));
    for symbol in order {
        let length = u32::from(lengths[symbol]);
        code <<= length - last;
        last = length;
        let padded = u64::from(code) << (64 - length) | u64::MAX >> length;
        let text = padded.to_be_bytes();
        let mut read = Vec::new();
        huffman::decode(&text[..length.div_ceil(8) as usize], &mut read).expect("a symbol and its padding");
        assert_eq!(read, [symbol as u8]);
        code += 1;
    }
    assert_eq!(code, (1 << 30) - 1, "only the end of the string is left");
}

#[test]
fn names_of_the_static_table_are_found() {
    for (nth, (name, _)) in super::table::STATIC.iter().enumerate() {
        let first = super::table::static_name(name).expect("it is there");
        assert!(first <= nth + 1 && super::table::STATIC[first - 1].0 == *name, "{name:?}: {first}");
    }
    for name in [&b"x-own"[..], b"accepts", b"", b":protocol", b"Accept"] {
        assert_eq!(super::table::static_name(name), None, "{name:?}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let mut sizes = Vec::new();
    for round in 0..200_u32 {
        if round == 100 {
            encoder.resize(100);
            encoder.resize(300);
        }
        let id = round.to_string();
        let fields = [
            (":status", "200"),
            (":status", "418"),
            ("accept", "*/*"),
            ("accept-ranges", "bytes"),
            ("content-type", "application/grpc"),
            ("server", "bowline"),
            ("x-request-id", id.as_str()),
            ("x-own", if round % 3 == 0 { "fizz" } else { "" }),
            ("authorization", "secret"),
            ("www-authenticate", "x"),
        ];
        let mut block = Vec::new();
        encoder.begin(&mut block);
        for (name, value) in fields {
            encoder.field(&mut block, name.as_bytes(), value.as_bytes());
        }
        let expect: String = fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        assert_eq!(decoded(&mut decoder, &block).expect("what we wrote"), expect, "round {round}");
        sizes.push(block.len());
    }
    assert!(sizes[10] < sizes[0] / 3, "what repeats is indexed: {} then {}", sizes[0], sizes[10]);
}
