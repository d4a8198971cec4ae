//! Why an attempt failed. Errors of hyper, h2 and the system become a code of `resilience.md` §4, with
//! what is known about the request; the ladder acts on that, and the engine never sees more.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::downstream::connection::Broken;
use crate::downstream::http1::Trouble;
use crate::downstream::meter::Moved;
use crate::engine::code::Code;
use crate::engine::fetch::CallError;
use crate::policy::retry::{Known, Word};
use crate::policy::retry_after;

/// A failed attempt.
#[derive(Clone, Debug)]
pub struct Fault {
    pub code: Code,
    pub known: Known,
    /// The status the service answered with, if it answered.
    pub status: Option<u16>,
    /// What the answer's `retry-after` asks for.
    pub retry_after: Option<Duration>,
    /// Of a 404 or 410, which may be kept: what the answer says of itself.
    pub headers: Option<Arc<HeaderMap>>,
    /// For operators: nothing of the service's body or address.
    pub detail: Option<Cow<'static, str>>,
}

/// What stood around a request when its connection broke.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The connection had carried a request before.
    pub reused: bool,
    /// Other requests use it at the same time, so that the bytes read may be theirs.
    pub shared: bool,
    /// A replay is still to be had, and the request can be sent again.
    pub may_replay: bool,
    /// The bytes may be sent again even if some were written.
    pub repeatable: bool,
    /// Since the request began.
    pub moved: Moved,
}

impl Fault {
    pub fn new(code: Code, known: Known) -> Fault {
        Fault {
            code,
            known,
            status: None,
            retry_after: None,
            headers: None,
            detail: None,
        }
    }

    pub fn not_sent(code: Code) -> Fault {
        Fault::new(code, Known::NotSent)
    }

    /// An answer that came, but is not what it should be.
    pub fn answered(code: Code, status: u16) -> Fault {
        Fault {
            status: Some(status),
            ..Fault::new(code, Known::Rejected)
        }
    }

    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Fault {
        self.detail = Some(detail.into());
        self
    }

    /// The word of `retry` that this falls under.
    pub fn word(&self) -> Word {
        match self.code {
            Code::ConnectRefused
            | Code::ConnectUnreachable
            | Code::ConnectTimeout
            | Code::DnsFailure
            | Code::DnsTimeout
            | Code::RefusedStream => Word::Connect,
            Code::Reset | Code::StaleConnection | Code::Truncated => Word::Reset,
            Code::TryTimeout | Code::Timeout => Word::Timeout,
            Code::Service4xx
            | Code::Service5xx
            | Code::ServiceLimited
            | Code::ServiceUnavailable
            | Code::UnexpectedStatus => self.status.map_or(Word::None, Word::Status),
            _ => Word::None,
        }
    }
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> CallError {
        let handed_on = matches!(
            fault.code,
            Code::ServiceUnavailable
                | Code::ServiceLimited
                | Code::BreakerOpen
                | Code::BulkheadFull
                | Code::QueueTimeout
                | Code::Overloaded
        ) || fault
            .status
            .is_some_and(|status| status == 429 || status == 503);
        // `try_timeout` is the reason of an attempt; of a call it is a timeout like any other.
        let code = match fault.code {
            Code::TryTimeout => Code::Timeout,
            code => code,
        };
        CallError {
            status: fault.status,
            retry_after: fault
                .retry_after
                .filter(|_| handed_on)
                .map(retry_after::handed_on),
            headers: fault.headers,
            detail: fault.detail.map(Cow::into_owned),
            ..CallError::new(code)
        }
    }
}

/// The code of a status that is no success.
pub fn code_of_status(status: StatusCode) -> Code {
    match status.as_u16() {
        429 => Code::ServiceLimited,
        400..=499 => Code::Service4xx,
        502..=504 => Code::ServiceUnavailable,
        500..=599 => Code::Service5xx,
        // 1xx, 3xx, what is beyond 599, and a 2xx that `success_when` refuses.
        _ => Code::UnexpectedStatus,
    }
}

/// The request could not be sent, or no complete head came back.
pub fn of_head(broken: &Broken, around: Circumstances) -> Fault {
    match broken {
        Broken::One(trouble) => of_trouble(trouble, around),
        Broken::Two { error, unsent } => of_hyper(error, *unsent, around),
    }
}

fn of_trouble(trouble: &Trouble, around: Circumstances) -> Fault {
    match trouble {
        Trouble::Io(error) => of_tls(error).unwrap_or_else(|| broke(false, around)),
        Trouble::Ended => broke(false, around),
        Trouble::TooLarge => too_large(),
        Trouble::Malformed { status, detail } => malformed(*status, detail),
        Trouble::SourceBroke => source_broke(),
    }
}

fn of_hyper(error: &hyper::Error, unsent: bool, around: Circumstances) -> Fault {
    if let Some(fault) = find::<h2::Error>(error).and_then(of_h2) {
        return fault;
    }
    if let Some(fault) = find(error).and_then(of_tls) {
        return fault;
    }
    if find::<SourceBroke>(error).is_some() {
        return source_broke();
    }
    broke(unsent, around)
}

fn too_large() -> Fault {
    Fault::new(Code::TooLarge, Known::Unknown).with_detail("the head of the answer is too large")
}

fn source_broke() -> Fault {
    Fault::new(Code::BadRequest, Known::Unknown).with_detail("the request's body broke off")
}

fn malformed(status: Option<u16>, detail: &'static str) -> Fault {
    let fault = match status {
        Some(status) => Fault::answered(Code::ProtocolError, status),
        None => Fault::new(Code::ProtocolError, Known::Unknown),
    };
    fault.with_detail(detail)
}

/// The connection ended before a head was complete.
fn broke(unsent: bool, around: Circumstances) -> Fault {
    if around.moved.read > 0 && !unsent {
        let code = match around.shared {
            true => Code::Reset,
            false => Code::Truncated,
        };
        return Fault::new(code, Known::Unknown);
    }
    let known = match unsent || around.moved.written == 0 {
        true => Known::NotSent,
        false => Known::Unknown,
    };
    let stale =
        around.reused && around.may_replay && (around.repeatable || known == Known::NotSent);
    match stale {
        true => Fault::new(Code::StaleConnection, known),
        false => Fault::new(Code::Reset, known),
    }
}

/// The body of an answer with this status broke off.
pub fn of_body(broken: &Broken, status: u16) -> Fault {
    let (bad_framing, detail) = match broken {
        Broken::One(Trouble::Malformed { detail, .. }) => (true, Some(*detail)),
        Broken::One(Trouble::Io(error)) => (is_bad_data(error), None),
        Broken::One(_) => (false, None),
        Broken::Two { error, .. } => match find::<h2::Error>(error) {
            Some(error) => (error.is_library(), None),
            None => (find(error).is_some_and(is_bad_data), None),
        },
    };
    let code = match bad_framing {
        true => Code::ProtocolError,
        false => Code::Truncated,
    };
    Fault {
        status: Some(status),
        detail: detail.map(Cow::Borrowed),
        ..Fault::new(code, Known::Unknown)
    }
}

/// As TLS reports records that were tampered with.
fn is_bad_data(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

/// What an HTTP/2 error says by itself; `None` where only the circumstances can tell.
fn of_h2(error: &h2::Error) -> Option<Fault> {
    let reason = error.reason();
    if error.is_library() {
        // Our side found the fault: a head over our limit is refused, all else is bad framing.
        return Some(match reason {
            Some(h2::Reason::REFUSED_STREAM) => too_large(),
            _ => Fault::new(Code::ProtocolError, Known::Unknown),
        });
    }
    if !error.is_remote() {
        return None;
    }
    // A stream ends with the peer's GOAWAY only if it is above the last one that was processed.
    let unprocessed = error.is_go_away() || reason == Some(h2::Reason::REFUSED_STREAM);
    Some(match (unprocessed, reason) {
        (true, _) => Fault::not_sent(Code::RefusedStream),
        (_, Some(h2::Reason::HTTP_1_1_REQUIRED)) => Fault::new(Code::ProtocolError, Known::NotSent)
            .with_detail("the service asks for HTTP/1.1"),
        _ => Fault::new(Code::Reset, Known::Unknown),
    })
}

/// With TLS 1.3 a service refuses our certificate only after the handshake.
fn of_tls(error: &io::Error) -> Option<Fault> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<rustls::Error>()?;
    let fault = Fault::new(crate::downstream::tls::code(error), Known::Unknown);
    Some(fault.with_detail(crate::downstream::tls::detail(error)))
}

/// The body of our own request could not be read to its end: the client's fault, or its absence.
#[derive(Debug)]
pub struct SourceBroke;

impl std::fmt::Display for SourceBroke {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the request's body broke off")
    }
}

impl Error for SourceBroke {}

/// The first error of this type in the chain.
fn find<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(found) = inner.downcast_ref() {
            return Some(found);
        }
        source = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_codes() {
        fn check(status: u16, expected: Code) {
            assert_eq!(
                code_of_status(StatusCode::from_u16(status).unwrap()),
                expected,
                "{status}"
            );
        }
        check(101, Code::UnexpectedStatus);
        check(200, Code::UnexpectedStatus);
        check(304, Code::UnexpectedStatus);
        check(400, Code::Service4xx);
        check(404, Code::Service4xx);
        check(429, Code::ServiceLimited);
        check(500, Code::Service5xx);
        check(501, Code::Service5xx);
        check(502, Code::ServiceUnavailable);
        check(503, Code::ServiceUnavailable);
        check(504, Code::ServiceUnavailable);
        check(505, Code::Service5xx);
        check(999, Code::UnexpectedStatus);
    }

    #[test]
    fn a_break_is_judged_by_the_bytes_that_moved() {
        struct Row {
            reused: bool,
            shared: bool,
            may_replay: bool,
            repeatable: bool,
            read: u64,
            written: u64,
        }
        fn check(row: Row, expected: (Code, Known)) {
            let around = Circumstances {
                reused: row.reused,
                shared: row.shared,
                may_replay: row.may_replay,
                repeatable: row.repeatable,
                moved: Moved {
                    read: row.read,
                    written: row.written,
                },
            };
            let found = broke(false, around);
            assert_eq!((found.code, found.known), expected);
        }
        const STALE: Row = Row {
            reused: true,
            shared: false,
            may_replay: true,
            repeatable: true,
            read: 0,
            written: 90,
        };
        check(STALE, (Code::StaleConnection, Known::Unknown));
        check(
            Row {
                written: 0,
                ..STALE
            },
            (Code::StaleConnection, Known::NotSent),
        );
        // A write without a key: only if no byte of it was written.
        check(
            Row {
                repeatable: false,
                ..STALE
            },
            (Code::Reset, Known::Unknown),
        );
        check(
            Row {
                repeatable: false,
                written: 0,
                ..STALE
            },
            (Code::StaleConnection, Known::NotSent),
        );
        // The replay was used, or the connection was new.
        check(
            Row {
                may_replay: false,
                ..STALE
            },
            (Code::Reset, Known::Unknown),
        );
        check(
            Row {
                reused: false,
                ..STALE
            },
            (Code::Reset, Known::Unknown),
        );
        // A head that was cut.
        check(Row { read: 1, ..STALE }, (Code::Truncated, Known::Unknown));
        check(
            Row {
                read: 1,
                reused: false,
                ..STALE
            },
            (Code::Truncated, Known::Unknown),
        );
        check(
            Row {
                read: 1,
                shared: true,
                ..STALE
            },
            (Code::Reset, Known::Unknown),
        );
    }

    #[test]
    fn only_limits_and_unavailability_hand_on_a_retry_after() {
        fn check(code: Code, status: u16, expected: Option<u32>) {
            let fault = Fault {
                retry_after: Some(Duration::from_secs(2)),
                ..Fault::answered(code, status)
            };
            assert_eq!(CallError::from(fault).retry_after, expected);
        }
        check(Code::ServiceUnavailable, 503, Some(2));
        check(Code::ServiceUnavailable, 502, Some(2));
        check(Code::ServiceLimited, 429, Some(2));
        check(Code::Service5xx, 500, None);
        check(Code::Service4xx, 404, None);
    }

    #[test]
    fn a_cut_attempt_is_a_timeout_of_its_call() {
        let error = CallError::from(Fault::new(Code::TryTimeout, Known::Unknown));
        assert_eq!(error.code, Code::Timeout);
    }
}
