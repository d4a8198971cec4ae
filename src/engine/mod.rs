//! Runs one plan against a [`fetch::Fetch`]: order, deadline, fallback, stitching. Knows no socket, no
//! YAML and no name. Read [`run`] first.

pub mod batch;
pub mod cache_status;
pub mod code;
pub mod computed;
pub mod context;
pub mod errors;
pub mod fetch;
pub mod input;
pub mod judge;
pub mod lasting;
pub mod outcome;
pub mod record;
pub mod render;
pub mod reply;
pub mod request;
pub mod run;
pub mod stitch;

#[cfg(test)]
mod tests;
