//! What one client request may cost the services.

use crate::check::rules::Facts;
use crate::diagnostic::Diagnostic;

/// More attempts than these make an outage worse.
const MOST_ATTEMPTS: u32 = 3;

/// R0601: more than three attempts.
pub fn many_attempts(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let calls = facts.route.calls.iter().zip(&facts.document.calls);
    let many = calls.filter(|(call, _)| call.retry.attempts > MOST_ATTEMPTS);
    many.map(|(call, document)| {
        let attempts = call.retry.attempts;
        let span = document
            .retry
            .as_ref()
            .map_or(document.name.span, |retry| retry.span);
        let message =
            format!("{attempts} attempts: a service in trouble gets {attempts} times its load");
        Diagnostic::warning("R0601", span, message)
            .help("two or three are enough; beyond that a `fallback` helps more")
    })
    .collect()
}
