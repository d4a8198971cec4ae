//! A route's `input`: what a request must look like before any call is made.

use crate::engine::reply::Problem;
use crate::engine::request::{Accepted, Request};
use crate::plan::Route;

/// Types and checks everything `input` names and parses the body where the route reads it.
/// All violations are reported at once (`invalid_input`), or 415 for a body that is not JSON.
pub fn accept(_route: &Route, _request: Request) -> Result<Accepted, Problem> {
    unimplemented!()
}
