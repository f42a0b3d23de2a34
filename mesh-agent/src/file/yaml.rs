//! YAML 1.2 (and so JSON) to the tree that the decoders read.
//!
//! Built from the parser's events rather than its values, to keep every position, to refuse a key that stands twice, and to
//! bound depth and size before memory is spent: an alias is a copy here, and each copy counts. A key tagged `!ignore` is left
//! out with its value, as in Envoy: it is the place for anchors.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::decode::{ConfigError, Entry, MAX_ERRORS, Node, Place, Position, Problem, Value, push_field};

/// Deepest nesting; protobuf's own limit for messages.
const MAX_DEPTH: usize = 100;
/// Most memory the tree may take, aliases copied.
const MAX_TREE_BYTES: usize = 256 << 20;

/// The tree of `text`, if it is sound enough to be looked at, and everything wrong with it.
pub(crate) fn parse(text: &str) -> (Option<Node>, Vec<ConfigError>) {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let outcome = loop {
        match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => break Ok(()),
            Some(Ok((event, span))) => {
                if let Err(error) = builder.event(event, position(&span.start)) {
                    break Err(error);
                }
            }
            Some(Err(error)) => {
                break Err(builder.error(position(error.marker()), Problem::Syntax(error.info().to_owned())));
            }
        }
    };
    let Builder { root, mut errors, .. } = builder;
    match outcome {
        Ok(()) => {
            let start = Position { line: 1, column: 1 };
            (Some(root.unwrap_or(Node { position: Some(start), value: Value::Map(Vec::new()) })), errors)
        }
        Err(error) => {
            errors.push(error);
            (None, errors)
        }
    }
}

#[derive(Debug, Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Frame>,
    /// Finished nodes with an anchor, and what a copy of each costs.
    anchors: HashMap<usize, (Node, usize)>,
    bytes: usize,
    errors: Vec<ConfigError>,
}

/// A list or map whose end has not come.
#[derive(Debug)]
struct Frame {
    position: Position,
    anchor: usize,
    /// Size of the tree when it was opened.
    before: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<Key> },
}

#[derive(Debug)]
struct Key {
    name: String,
    position: Position,
    ignored: bool,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, at: Position) -> Result<(), ConfigError> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(self.error(at, Problem::Yaml("more than one document in the file")));
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::Alias(anchor) => self.alias(anchor, at)?,
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), at)?,
            Event::SequenceStart(anchor, tag) => {
                self.open(Content::List(Vec::new()), anchor, tag.as_deref(), at)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.open(Content::Map { entries: Vec::new(), key: None }, anchor, tag.as_deref(), at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), ConfigError> {
        let Some((_, cost)) = self.anchors.get(&anchor) else {
            return Err(self.error(at, Problem::Yaml("an alias inside of what it stands for")));
        };
        // Counted before it is copied.
        self.spend(*cost, at)?;
        let (node, _) = &self.anchors[&anchor];
        let value = node.value.clone();
        self.add(Node { position: Some(at), value })
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), ConfigError> {
        let cost = size_of::<Entry>() + text.len();
        self.spend(cost, at)?;
        if let Some(Frame { content: Content::Map { key: key @ None, .. }, .. }) = self.open.last_mut() {
            let ignored = tag.is_some_and(|tag| tag.handle == "!" && tag.suffix == "ignore");
            *key = Some(Key { name: text.to_owned(), position: at, ignored });
            return Ok(());
        }
        let value = match tag {
            None if style == ScalarStyle::Plain => resolve(text),
            None => Value::Text(text.to_owned()),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Value::Text(text.to_owned()),
            Some(_) => return Err(self.error(at, Problem::Yaml("tags other than !!str have no meaning here"))),
        };
        let node = Node { position: Some(at), value };
        self.anchor(anchor, &node, cost);
        self.add(node)
    }

    fn open(
        &mut self,
        content: Content,
        anchor: usize,
        tag: Option<&Tag>,
        position: Position,
    ) -> Result<(), ConfigError> {
        if self.open.len() == MAX_DEPTH {
            return Err(self.error(position, Problem::TooMuch { what: "deep", limit: format!("{MAX_DEPTH} levels") }));
        }
        if tag.is_some() {
            return Err(self.error(position, Problem::Yaml("tags other than !!str have no meaning here")));
        }
        if let Some(Frame { content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(self.error(position, Problem::Yaml("a key must be text")));
        }
        let before = self.bytes;
        self.spend(size_of::<Entry>(), position)?;
        self.open.push(Frame { position, anchor, before, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), ConfigError> {
        let Frame { position, anchor, before, content } = self.open.pop().expect("the parser closes what it opened");
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(self.without_duplicates(entries)),
        };
        let node = Node { position: Some(position), value };
        self.anchor(anchor, &node, self.bytes - before);
        self.add(node)
    }

    fn anchor(&mut self, anchor: usize, node: &Node, cost: usize) {
        if anchor != 0 {
            // The kept copy is memory too; it was not an alias that asked for it, so the limit is checked at the next node.
            self.bytes = self.bytes.saturating_add(cost);
            self.anchors.insert(anchor, (node.clone(), cost));
        }
    }

    /// Adds a finished value to what is open.
    fn add(&mut self, node: Node) -> Result<(), ConfigError> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Frame { content: Content::List(items), .. }) => items.push(node),
            Some(Frame { content: Content::Map { entries, key }, .. }) => match key.take() {
                Some(Key { ignored: true, .. }) => {}
                Some(Key { name, position, .. }) => {
                    entries.push(Entry { key: name.into(), position: Some(position), value: node });
                }
                None => {
                    let at = node.position.expect("every node of a text has a position");
                    return Err(self.error(at, Problem::Yaml("a key must be text")));
                }
            },
        }
        Ok(())
    }

    /// `entries` with the first of each key, after reporting the others.
    fn without_duplicates(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|a, b| entries[*a].key.cmp(&entries[*b].key));
        let mut repeated = vec![false; entries.len()];
        for same in order.chunk_by(|a, b| entries[*a].key == entries[*b].key) {
            // The sort is stable, so the first of them is the first that was written.
            for index in &same[1..] {
                repeated[*index] = true;
                self.duplicate(&entries[*index], &entries[same[0]]);
            }
        }
        let mut repeated = repeated.into_iter();
        entries.retain(|_| repeated.next() == Some(false));
        entries
    }

    fn duplicate(&mut self, entry: &Entry, first: &Entry) {
        if let (Some(position), Some(first)) = (entry.position, first.position)
            && self.errors.len() < MAX_ERRORS
        {
            let mut error = self.error(position, Problem::DuplicateKey { first });
            push_field(&mut error.place.path, &entry.key);
            self.errors.push(error);
        }
    }

    fn spend(&mut self, bytes: usize, at: Position) -> Result<(), ConfigError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= MAX_TREE_BYTES {
            return Ok(());
        }
        let limit = format!("{} MiB in memory with all aliases copied", MAX_TREE_BYTES >> 20);
        Err(self.error(at, Problem::TooMuch { what: "large", limit }))
    }

    /// An error at the value that is being built.
    fn error(&self, position: Position, problem: Problem) -> ConfigError {
        let mut path = String::new();
        for frame in &self.open {
            match &frame.content {
                Content::List(items) => path.push_str(&format!("[{}]", items.len())),
                Content::Map { key: Some(key), .. } => push_field(&mut path, &key.name),
                Content::Map { key: None, .. } => {}
            }
        }
        ConfigError { place: Place { position: Some(position), path }, problem }
    }
}

fn position(marker: &Marker) -> Position {
    // Files are read up to a size that 32 bits can count.
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position { line: count(marker.line()), column: count(marker.col() + 1) }
}

/// A plain scalar by YAML 1.2's core schema.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| i128::from_str_radix(digits, radix).ok());
    if let Some(value) = text.parse().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8)) {
        return Value::Int(value);
    }
    // Rust also reads `inf` and `nan`, which are words in YAML.
    let numeric = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        && text.bytes().any(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(value) if numeric => Value::Float(value),
        _ => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
