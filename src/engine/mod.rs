//! Runs one plan against a [`fetch::Fetch`]: order, deadline, fallback, stitching. Knows no socket, no
//! YAML and no name. Read [`run`] first.

pub mod batch;
pub mod code;
pub mod context;
pub mod errors;
pub mod fetch;
pub mod input;
pub mod judge;
pub mod outcome;
pub mod record;
pub mod render;
pub mod reply;
pub mod request;
pub mod run;
pub mod stitch;

#[cfg(test)]
mod tests;
