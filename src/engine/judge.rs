//! Whether a service's answer is a success: `success_when`, asked by the ladder for each attempt.

use http::HeaderMap;

use crate::engine::fetch::Answer;
use crate::engine::outcome::Outcome;
use crate::json::{self, Value};
use crate::path::{Env, Frame, Root, Scope};
use crate::plan::{CallId, Route, Source};

/// `success_when` of the call, or by default a status of 2xx. `body` is `$.reply.body`.
pub fn is_success(
    route: &Route,
    call: CallId,
    status: u16,
    headers: &HeaderMap,
    body: Option<&json::Body>,
) -> bool {
    let Some(condition) = &route.calls[call.0].success_when else {
        return (200..300).contains(&status);
    };
    let reply = Outcome::answered(
        Answer {
            status,
            headers: headers.clone(),
            body: body.cloned(),
            held: None,
            lasting: None,
        },
        None,
    );
    let scope = ReplyScope {
        route,
        reply: &reply,
    };
    condition.holds(&Env {
        scope: &scope,
        frame: None,
    })
}

/// `$.reply`, and nothing else.
pub struct ReplyScope<'r> {
    pub route: &'r Route,
    pub reply: &'r Outcome,
}

impl Scope for ReplyScope<'_> {
    fn value<'a>(&'a self, root: Root, _frame: Option<&'a Frame<'a>>) -> Option<Value<'a>> {
        match &self.route.sources[root.0 as usize] {
            Source::Reply(part) => self.reply.part(part),
            _ => None,
        }
    }
}
