//! The YAML as typed: one struct per object, spans on names, no meaning.
pub mod document;
pub mod node;
