//! How often a call is tried, and how long one attempt may take.

use std::time::Duration;

use crate::config::document::{self, RetryOn, Spanned};
use crate::diagnostic::{Diagnostic, Span};
use crate::plan::Retry;
use crate::plan::compile::names::Names;
use crate::plan::timeline::backoffs;

/// Less than this gives no attempt a chance.
pub const LEAST_ATTEMPT: Duration = Duration::from_millis(10);

/// What `retry` says, of the call itself or inherited.
pub fn compile(
    own: Option<&Spanned<document::Retry>>,
    inherited: Option<&Spanned<document::Retry>>,
    repeatable: bool,
    names: &mut Names,
) -> Retry {
    let built_in = Retry {
        attempts: if repeatable { 2 } else { 1 },
        connect: true,
        reset: true,
        timeout: true,
        // 429 only where its `retry-after` fits, which `policy::retry` sees to.
        statuses: vec![429, 502, 503, 504],
        backoff: (Duration::from_millis(25), Duration::from_millis(250)),
    };
    let Some(written) = own.or(inherited) else {
        return built_in;
    };
    let options = match &written.value {
        document::Retry::Off => {
            return Retry {
                attempts: 1,
                ..built_in
            };
        }
        document::Retry::On(options) => options,
    };
    let document::RetryOptions {
        attempts,
        only,
        backoff,
    } = options;
    let mut retry = Retry {
        attempts: attempts
            .as_ref()
            .map_or(built_in.attempts, |attempts| attempts.value),
        ..built_in
    };
    if let Some(backoff) = backoff {
        retry.backoff = (backoff.value.from, backoff.value.to);
    }
    if let Some(only) = only {
        let has = |word| only.value.iter().any(|entry| entry.value == word);
        retry.connect = has(RetryOn::Connect);
        retry.reset = has(RetryOn::Reset);
        retry.timeout = has(RetryOn::Timeout);
        retry.statuses = only
            .value
            .iter()
            .filter_map(|entry| match entry.value {
                RetryOn::Status(status) => Some(status),
                _ => None,
            })
            .collect();
    }
    let is_connect_only = !retry.reset && !retry.timeout && retry.statuses.is_empty();
    if repeatable || retry.attempts <= 1 || is_connect_only {
        return retry;
    }
    if own.is_some() {
        let found = Diagnostic::error("R0501", written.span, "a write that would be sent twice");
        let help = "write `only: [connect]`, which is sure never to have arrived, or give the call an \
                    `idempotency_key`, or `safe: true` if it only asks";
        names.diagnostics.push(found.help(help));
    }
    // What `service` or `defaults` say is no word about this write.
    Retry {
        attempts: 1,
        ..retry
    }
}

/// (timeout − the upper ends of the backoffs) ÷ attempts; less than 10 ms leaves one attempt.
pub fn attempt_clock(retry: &mut Retry, time: Duration, written: Option<Duration>) -> Duration {
    if let Some(written) = written {
        return written.min(time);
    }
    let each = time.saturating_sub(backoffs(retry)) / retry.attempts.max(1);
    if each < LEAST_ATTEMPT {
        retry.attempts = 1;
        return time;
    }
    each
}

pub fn warn_late_attempts(
    retry: &Retry,
    time: Duration,
    attempt: Duration,
    span: Span,
    names: &mut Names,
) {
    if retry.attempts < 2 || attempt.saturating_mul(retry.attempts - 1) < time {
        return;
    }
    let message = format!(
        "the last of {} attempts can never start: the others take {} ms, the call has {} ms",
        retry.attempts,
        (attempt * (retry.attempts - 1)).as_millis(),
        time.as_millis()
    );
    let help = "lower `attempt_timeout` or `attempts`, or raise `timeout`";
    names
        .diagnostics
        .push(Diagnostic::warning("R0302", span, message).help(help));
}
