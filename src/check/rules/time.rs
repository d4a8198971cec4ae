//! Whether the route's timeout can hold what its calls may take.

use crate::check::rules::Facts;
use crate::diagnostic::Diagnostic;
use crate::plan::{Role, timeline};
use crate::policy::hedge::After;

/// R0303: the longest path takes longer than the route has.
pub fn worst_case(facts: &Facts<'_>) -> Option<Diagnostic> {
    let route = facts.route;
    let timeline = timeline::of(route, facts.services);
    if timeline.worst <= route.timeout {
        return None;
    }
    let steps = timeline.path.iter().map(|call| {
        let bar = timeline.bars.iter().find(|bar| bar.call == *call);
        let length = bar.map_or(0, |bar| bar.length.as_millis());
        format!("{} {length} ms", route.calls[call.0].name)
    });
    let path = Vec::from_iter(steps).join(" -> ");
    let worst = timeline.worst.as_millis();
    let limit = route.timeout.as_millis();
    let message = format!("the worst case is {worst} ms, the route has {limit} ms");
    let span = match &facts.document.timeout {
        Some(timeout) => timeout.span,
        None => facts.document.route.span,
    };
    let help =
        format!("the longest path is {path}: raise the route's `timeout` or lower one of these");
    Some(Diagnostic::warning("R0303", span, message).help(help))
}

/// R0304: the call's time is over before its hedge goes out.
pub fn late_hedges(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (call, document) in facts.route.calls.iter().zip(&facts.document.calls) {
        let (Some(After::Fixed(after)), Some(written)) = (call.hedge, &document.hedge) else {
            continue;
        };
        let left = timeline::call_time(facts.route.timeout);
        let time = match call.role {
            Role::Detached => call.timeout.unwrap_or(left),
            _ => call.timeout.map_or(left, |timeout| timeout.min(left)),
        };
        if after < time {
            continue;
        }
        let message = format!(
            "the hedge can never go out: it waits {} ms, the call has {} ms",
            after.as_millis(),
            time.as_millis()
        );
        let help = "lower `after`, or raise the timeout";
        let span = written.value.after.span;
        found.push(Diagnostic::warning("R0304", span, message).help(help));
    }
    found
}
