//! Values without a schema (`google.protobuf.Struct`): what a node says about itself beyond its name.

/// Any value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// Nothing.
    Null,
    /// A boolean.
    Flag(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Metadata>),
    /// Named values in the order they were written.
    Map(Vec<(String, Metadata)>),
}

/// A number, equal to one that is written in the same bits: configurations are compared, not calculated.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Number {}
