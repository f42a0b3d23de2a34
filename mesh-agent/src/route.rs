//! Which route a request takes: route configurations compiled into tables that hold no names, only cluster slots.
//!
//! Matching is pure. It sees a request through [`RequestView`], so that it works on any representation of one, and it follows
//! Envoy: the virtual host by the most specific domain, then the first route whose criteria all hold.

mod header;
mod host;
mod path;
mod query;
mod redirect;
mod scope;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;

pub use redirect::location;
pub use scope::key as scope_key;
pub use table::{CompileError, CompiledRoute, Outcome, RouteTable};
pub(crate) use table::{serves, weighted};

/// A request as far as routing looks at it.
pub trait RequestView {
    /// `:method`.
    fn method(&self) -> &str;
    /// `:scheme`.
    fn scheme(&self) -> &str;
    /// `:authority` or `Host`, as sent.
    fn authority(&self) -> &str;
    /// `:path`: path and query.
    fn path(&self) -> &str;
    /// Each value of a regular header (its name in lower case), in order.
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>>;
}
