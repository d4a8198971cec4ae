//! Whether a service's answer is a success: `success_when`, asked by the ladder for each attempt.

use http::HeaderMap;

use crate::json;
use crate::plan::{CallId, Route};

/// `success_when` of the call, or by default a status of 2xx. `body` is `$.reply.body`.
pub fn is_success(
    _route: &Route,
    _call: CallId,
    _status: u16,
    _headers: &HeaderMap,
    _body: Option<&json::Body>,
) -> bool {
    unimplemented!()
}
