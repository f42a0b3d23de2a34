//! Extensions: a message of one of several types, named by `@type` (`google.protobuf.Any`).

use crate::decode::at::At;
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::problem::Problem;

/// A decoder for one type of message that an `Any` may hold.
pub(crate) type AnyDecoder<'d, T> = (&'static str, &'d dyn Fn(&Fields<'_>) -> Option<T>);

impl Fields<'_> {
    /// A required `Any` that holds one of `known`. `later` are types that have a reason for not being there yet.
    pub(crate) fn any<T>(
        &self,
        name: &'static str,
        known: &[AnyDecoder<'_, T>],
        later: &[(&'static str, &'static str)],
    ) -> Option<T> {
        let at = self.require(name, &Kind::Any(known.iter().map(|(name, _)| *name).collect()))?;
        read_any(&at, known, later)
    }

    /// The same where it need not be there.
    pub(crate) fn optional_any<T>(
        &self,
        name: &'static str,
        known: &[AnyDecoder<'_, T>],
        later: &[(&'static str, &'static str)],
    ) -> Option<T> {
        let at = self.get(name, &Kind::Any(known.iter().map(|(name, _)| *name).collect()))?;
        read_any(&at, known, later)
    }
}

/// See [`Fields::any`].
pub(crate) fn read_any<T>(
    at: &At<'_>,
    known: &[AnyDecoder<'_, T>],
    later: &[(&'static str, &'static str)],
) -> Option<T> {
    let names = || known.iter().map(|(name, _)| *name).collect();
    let entries = at.entries("google.protobuf.Any")?;
    let Some(entry) = entries.iter().find(|entry| entry.key == TYPE) else {
        At { path: at.path.field(TYPE), ..*at }.report(Problem::Missing);
        return None;
    };
    let kind = At { node: &entry.value, path: at.path.field(TYPE), context: at.context };
    // The part before the last slash (`type.googleapis.com`) says where a schema could be had and means nothing here.
    let found = kind.text()?.rsplit('/').next().unwrap_or_default();
    if let Some((name, decode)) = known.iter().find(|(name, _)| *name == found) {
        return Fields::read(*at, name, |fields| {
            fields.asked.borrow_mut().push((TYPE, false));
            decode(fields)
        });
    }
    match later.iter().find(|(name, _)| *name == found) {
        Some((found, why)) => kind.report(Problem::RefusedType { found, why }),
        None => kind.report(Problem::UnknownType { found: found.to_owned(), supported: names() }),
    }
    None
}

/// The key that names the message type of an `Any`.
const TYPE: &str = "@type";
