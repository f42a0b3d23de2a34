//! The headers of one message, in order, in one piece of memory.
//!
//! Names and values are copied once, when a head is read, into a text that is cleared and used again for the next message:
//! a request costs no allocation, no hashing and no reference counts. What is removed or replaced leaves its text behind until
//! then. Names are kept in lower case, as HTTP/2 wants them and as Envoy writes them.

use crate::proxy::http::name::{Name, NameSet};

/// A piece of the text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    at: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    /// Of names that are not known; a known name has its text elsewhere.
    spelled: Span,
    value: Span,
}

/// Headers or trailers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    text: Vec<u8>,
    entries: Vec<Entry>,
    present: NameSet,
}

impl Fields {
    /// Forgets all, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.present = NameSet::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory held, for deciding whether to keep it.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Adds a piece of text that is no header's: a path, an authority.
    pub(crate) fn store(&mut self, bytes: &[u8]) -> Span {
        // A head's size is limited to far below 4 GiB.
        let span = Span { at: self.text.len() as u32, len: bytes.len() as u32 };
        self.text.extend_from_slice(bytes);
        span
    }

    pub(crate) fn text(&self, span: Span) -> &[u8] {
        &self.text[span.at as usize..(span.at + span.len) as usize]
    }

    /// Adds a header as it came from a peer: in any case, perhaps not known.
    pub(crate) fn append_raw(&mut self, name: &[u8], value: &[u8]) {
        let spelled = self.store(name);
        let lower = &mut self.text[spelled.at as usize..];
        lower.make_ascii_lowercase();
        let known = Name::of(lower);
        let value = self.store(value);
        self.present.insert(known);
        self.entries.push(Entry { name: known, spelled, value });
    }

    /// Adds a header whose name is in lower case, and answers what it is known as.
    pub(crate) fn append_lower(&mut self, name: &[u8], value: &[u8]) -> Name {
        let known = Name::of(name);
        let spelled = if known == Name::Other { self.store(name) } else { Span::default() };
        let value = self.store(value);
        self.present.insert(known);
        self.entries.push(Entry { name: known, spelled, value });
        known
    }

    /// Adds a header of a known name after those there are.
    pub(crate) fn append(&mut self, name: Name, value: &[u8]) {
        debug_assert_ne!(name, Name::Other);
        let value = self.store(value);
        self.present.insert(name);
        self.entries.push(Entry { name, spelled: Span::default(), value });
    }

    /// Makes `value` the only one of `name`.
    pub(crate) fn set(&mut self, name: Name, value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }

    pub(crate) fn contains(&self, name: Name) -> bool {
        self.present.contains(name)
    }

    /// The first value of a known name.
    pub(crate) fn get(&self, name: Name) -> Option<&[u8]> {
        if !self.contains(name) {
            return None;
        }
        self.entries.iter().find(|entry| entry.name == name).map(|entry| self.text(entry.value))
    }

    /// The first value of a known name, if it is UTF-8.
    pub(crate) fn get_str(&self, name: Name) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All values of a known name.
    pub(crate) fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let entries = if self.contains(name) { self.entries.as_slice() } else { &[] };
        entries.iter().filter(move |entry| entry.name == name).map(|entry| self.text(entry.value))
    }

    /// All values of any name, which must be in lower case.
    pub(crate) fn all_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, name: Name) {
        self.remove_all(NameSet::of(&[name]));
    }

    pub(crate) fn remove_all(&mut self, names: NameSet) {
        if self.present.overlaps(names) {
            self.entries.retain(|entry| !names.contains(entry.name));
            self.present.remove(names);
        }
    }

    /// Removes any name, which must be in lower case.
    pub(crate) fn remove_spelled(&mut self, name: &[u8]) {
        match Name::of(name) {
            Name::Other => {
                let text = &self.text;
                let spelled =
                    |entry: &Entry| &text[entry.spelled.at as usize..(entry.spelled.at + entry.spelled.len) as usize];
                self.entries.retain(|entry| entry.name != Name::Other || spelled(entry) != name);
            }
            known => self.remove(known),
        }
    }

    /// Names and values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|entry| {
            let name = if entry.name == Name::Other { self.text(entry.spelled) } else { entry.name.text() };
            (name, self.text(entry.value))
        })
    }

    /// Whether a comma-separated list header has `token`, in any case.
    pub(crate) fn has_token(&self, name: Name, token: &str) -> bool {
        self.all(name).any(|value| tokens(value).any(|other| other.eq_ignore_ascii_case(token.as_bytes())))
    }
}

/// The elements of a comma-separated list, trimmed; empty ones are left out.
pub(crate) fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Fields, tokens};
    use crate::proxy::http::name::Name;

    #[test]
    fn names_are_recognised_in_any_case() {
        let mut fields = Fields::default();
        fields.append_raw(b"CONTENT-Length", b"3");
        fields.append_raw(b"X-Mine", b"a");
        assert_eq!(fields.get(Name::ContentLength), Some(&b"3"[..]));
        assert_eq!(fields.all_of("x-mine").collect::<Vec<_>>(), [b"a"]);
        assert!(!fields.contains(Name::Host));
    }

    #[test]
    fn set_replaces_all() {
        let mut fields = Fields::default();
        for value in [b"a", b"b"] {
            fields.append(Name::Via, value);
        }
        fields.set(Name::Via, b"c");
        assert_eq!(fields.all(Name::Via).collect::<Vec<_>>(), [b"c"]);
        fields.remove_spelled(b"via");
        assert!(fields.is_empty());
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        assert_eq!(tokens(b" a ,, b").collect::<Vec<_>>(), [b"a", b"b"]);
    }
}
