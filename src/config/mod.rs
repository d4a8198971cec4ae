//! The YAML as typed: one struct per object, spans on names, no meaning.
pub mod document;
mod fill;
pub mod node;
mod reader;
mod scalar;
mod text;
mod trap;
