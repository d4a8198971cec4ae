//! Bodies as bytes: checks them, finds the parts that are asked for, splices them without decoding.
//!
//! Nothing here builds a tree. A body is checked once, from its first byte to its last
//! ([`Scan`]); on the way the ranges of the parts that a plan asks for ([`Demand`]) are kept. What is
//! later read inside such a part is found by skipping over bytes that are known to be JSON ([`Value`]).
//! Numbers therefore keep their digits and objects their order, and memory is bounded by the body.
//!
//! This module knows no path language and no limits of its own: `path` says what is read, the plan
//! says how much is allowed. Read `scan.rs` for what is accepted (`pass.rs`, `blocks.rs` and `token.rs` for
//! how that is quick), `value.rs` for what is found.

#[cfg(any(test, target_arch = "x86_64"))]
mod blocks;
mod body;
mod demand;
mod keys;
mod number;
mod pass;
mod scan;
mod text;
mod token;
mod value;
#[cfg(target_arch = "x86_64")]
mod vector;

#[cfg(test)]
mod tests;

pub use body::Body;
pub use demand::{Demand, Slot, Step};
pub use scan::{Fault, Limits, Scan};
pub use text::{hexadecimal, write_number, write_text};
pub use value::{Children, Elements, Kind, Members, Value};
