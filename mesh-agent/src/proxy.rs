//! The way of the data.
