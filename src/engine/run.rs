//! One execution of a plan: a flat loop that starts every call whose needs are met, awaits the next
//! to finish, settles it, and starts what it unblocked.

use std::sync::Arc;

use crate::engine::fetch::Fetch;
use crate::engine::reply::Reply;
use crate::engine::request::Accepted;
use crate::plan::Route;

/// Runs `route` for one request. Ends by `accepted.request.deadline`.
pub async fn run<F: Fetch>(_route: &Arc<Route>, _accepted: Accepted, _fetch: &F) -> Reply {
    unimplemented!()
}
