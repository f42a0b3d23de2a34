//! The tables an index leads to (RFC 7541, 2.3): one that never changes, and one of what was sent last.

use std::collections::VecDeque;

/// What an entry costs beside its text (RFC 7541, 4.1).
const ENTRY: usize = 32;

/// Entries of the dynamic table, the newest first. Their text lies in one ring of bytes behind them.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    text: Vec<u8>,
    /// Where the next text goes.
    end: usize,
    size: usize,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u32,
    name: u32,
    value: u32,
    hash: Hash,
}

/// By what an entry is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hash {
    pub(super) name: u32,
    pub(super) field: u32,
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), text: Vec::new(), end: 0, size: 0, limit }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Makes room for no more than `limit`.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.evict(0);
    }

    /// The `nth` newest entry.
    pub(super) fn get(&self, nth: usize) -> Option<(&[u8], &[u8])> {
        self.entries.get(nth).map(|entry| self.text_of(entry))
    }

    /// The newest entry of this field.
    pub(super) fn position(&self, name: &[u8], value: &[u8], hash: Hash) -> Option<usize> {
        self.entries.iter().position(|entry| entry.hash == hash && self.text_of(entry) == (name, value))
    }

    /// The newest entry of this name.
    pub(super) fn position_of_name(&self, name: &[u8], hash: Hash) -> Option<usize> {
        self.entries.iter().position(|entry| entry.hash.name == hash.name && self.text_of(entry).0 == name)
    }

    /// Inserts a field; one that is larger than the table empties it.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], hash: Hash) {
        let length = name.len() + value.len();
        self.evict(length + ENTRY);
        if length + ENTRY > self.limit {
            return;
        }
        if self.end + length > self.text.len() {
            self.make_room(length);
        }
        let entry = Entry { at: self.end as u32, name: name.len() as u32, value: value.len() as u32, hash };
        self.text[self.end..self.end + name.len()].copy_from_slice(name);
        self.text[self.end + name.len()..self.end + length].copy_from_slice(value);
        self.end += length;
        self.size += length + ENTRY;
        self.entries.push_front(entry);
    }

    /// Lets the oldest go until `more` fits.
    fn evict(&mut self, more: usize) {
        while self.size + more > self.limit {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.size -= (oldest.name + oldest.value) as usize + ENTRY;
        }
    }

    /// Moves the live text to the front. The memory is twice what lives at most, so this is rare.
    fn make_room(&mut self, length: usize) {
        let begin = self.entries.back().map_or(self.end, |oldest| oldest.at as usize);
        self.text.copy_within(begin..self.end, 0);
        self.end -= begin;
        for entry in &mut self.entries {
            entry.at -= begin as u32;
        }
        if self.end + length > self.text.len() {
            let wanted = (self.text.len() * 2).clamp(512, 2 * self.limit).max(self.end + length);
            self.text.resize(wanted, 0);
        }
    }

    fn text_of(&self, entry: &Entry) -> (&[u8], &[u8]) {
        let text = &self.text[entry.at as usize..(entry.at + entry.name + entry.value) as usize];
        text.split_at(entry.name as usize)
    }
}

/// The static table (RFC 7541, appendix A). Its first entry has index 1.
#[rustfmt::skip]
pub(super) const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"), (b":path", b"/index.html"),
    (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"), (b":status", b"204"), (b":status", b"206"),
    (b":status", b"304"), (b":status", b"400"), (b":status", b"404"), (b":status", b"500"), (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"), (b"accept-language", b""), (b"accept-ranges", b""), (b"accept", b""),
    (b"access-control-allow-origin", b""), (b"age", b""), (b"allow", b""), (b"authorization", b""), (b"cache-control", b""),
    (b"content-disposition", b""), (b"content-encoding", b""), (b"content-language", b""), (b"content-length", b""),
    (b"content-location", b""), (b"content-range", b""), (b"content-type", b""), (b"cookie", b""), (b"date", b""), (b"etag", b""),
    (b"expect", b""), (b"expires", b""), (b"from", b""), (b"host", b""), (b"if-match", b""), (b"if-modified-since", b""),
    (b"if-none-match", b""), (b"if-range", b""), (b"if-unmodified-since", b""), (b"last-modified", b""), (b"link", b""),
    (b"location", b""), (b"max-forwards", b""), (b"proxy-authenticate", b""), (b"proxy-authorization", b""), (b"range", b""),
    (b"referer", b""), (b"refresh", b""), (b"retry-after", b""), (b"server", b""), (b"set-cookie", b""),
    (b"strict-transport-security", b""), (b"transfer-encoding", b""), (b"user-agent", b""), (b"vary", b""), (b"via", b""),
    (b"www-authenticate", b""),
];

/// The first index whose entry has that name.
pub(super) fn static_name(name: &[u8]) -> Option<usize> {
    let letter = match name.first()? {
        b':' => 0,
        letter @ b'a'..=b'z' => usize::from(letter - b'a') + 1,
        _ => return None,
    };
    let (from, to) = BY_LETTER[letter];
    STATIC[from..to].iter().position(|(other, _)| *other == name).map(|nth| from + nth + 1)
}

/// Where in the static table the names begin and end that have the same first letter; pseudo-headers come first.
const BY_LETTER: [(usize, usize); 27] = {
    let mut places = [(0, 0); 27];
    let mut at = 0;
    while at < STATIC.len() {
        let letter = match STATIC[at].0[0] {
            b':' => 0,
            letter => (letter - b'a') as usize + 1,
        };
        if places[letter].1 == 0 {
            places[letter].0 = at;
        }
        at += 1;
        places[letter].1 = at;
    }
    places
};
