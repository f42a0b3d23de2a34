//! The key of a request's scope (`ScopedRoutes.ScopeKeyBuilder`), read as Envoy reads it.

use std::borrow::Cow;
use std::iter;

use crate::model::scope::{Extractor, Pick};
use crate::route::RequestView;

/// The fragments of a request's key; `None` if one cannot be made.
pub fn key<'r>(extractors: &'r [Extractor], request: &'r impl RequestView) -> Option<Vec<Cow<'r, str>>> {
    extractors.iter().map(|extractor| fragment(extractor, request)).collect()
}

fn fragment<'r>(extractor: &'r Extractor, request: &'r impl RequestView) -> Option<Cow<'r, str>> {
    let value: Cow<'r, str> = match extractor.header.as_str() {
        ":method" => request.method().into(),
        ":path" => request.path().into(),
        ":authority" | "host" => request.authority().into(),
        ":scheme" => request.scheme().into(),
        name => request.header(name).next()?,
    };
    match value {
        Cow::Borrowed(value) => pick(extractor, value).map(Cow::Borrowed),
        Cow::Owned(value) => pick(extractor, &value).map(|found| Cow::Owned(found.to_owned())),
    }
}

fn pick<'v>(extractor: &Extractor, value: &'v str) -> Option<&'v str> {
    let mut elements = match extractor.separator.as_str() {
        "" => None,
        separator => Some(value.split(separator)),
    };
    let mut whole = iter::once(value);
    let mut each = iter::from_fn(|| match &mut elements {
        Some(elements) => elements.next(),
        None => whole.next(),
    });
    match &extractor.pick {
        Pick::Index(index) => each.nth(*index),
        // An element that is nothing but the key has an empty value.
        Pick::Element { separator, key } => each
            .map(|element| element.split_once(separator.as_str()).unwrap_or((element, "")))
            .find(|(found, _)| found == key)
            .map(|(_, value)| value),
    }
}

#[cfg(test)]
mod tests {
    use super::key;
    use crate::model::scope::{Extractor, Pick};
    use crate::route::tests::request;

    fn made(pick: Pick, separator: &str, line: &str) -> Option<String> {
        let extractor = Extractor { header: "x-scope".into(), separator: separator.into(), pick };
        let request = request(line);
        key(&[extractor], &request).map(|fragments| fragments[0].to_string())
    }

    #[test]
    fn an_element_is_found_by_place_or_by_key() {
        let element = || Pick::Element { separator: "=".into(), key: "v".into() };
        let cases = [
            (Pick::Index(0), "", "x-scope: a;b", Some("a;b")),
            (Pick::Index(1), ";", "x-scope: a;b", Some("b")),
            (Pick::Index(2), ";", "x-scope: a;b", None),
            (Pick::Index(1), ";", "x-scope: a;;b", Some("")),
            (Pick::Index(0), "", "x-other: a", None),
            (Pick::Index(0), "", "x-scope: a, x-scope: b", Some("a")),
            (element(), ";", "x-scope: u=1;v=2;v=3", Some("2")),
            (element(), ";", "x-scope: v=a=b", Some("a=b")),
            (element(), ";", "x-scope: u=1;v", Some("")),
            (element(), "", "x-scope: v=1;u=2", Some("1;u=2")),
            (element(), ";", "x-scope: vv=1", None),
        ];
        for (pick, separator, headers, expected) in cases {
            let found = made(pick.clone(), separator, &format!("GET / a {headers}"));
            assert_eq!(found.as_deref(), expected, "{pick:?} of {headers}");
        }
    }

    #[test]
    fn a_key_needs_all_of_its_fragments() {
        let of = |header: &str| Extractor { header: header.into(), separator: String::new(), pick: Pick::Index(0) };
        let request = request("GET /p host x-one: 1");
        assert_eq!(key(&[of("x-one"), of(":authority")], &request).expect("both"), ["1", "host"]);
        assert_eq!(key(&[of("x-one"), of("x-two")], &request), None);
    }
}
