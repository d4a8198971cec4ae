//! Heads as bytes: of a request, which the guard has let through, and of an answer.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri, request, response};
use http_body::Body;

use crate::json::write_number;
use crate::moment;
use crate::server::answer::Answer;
use crate::server::guard::line;

/// Room for a head of the usual length.
const HEAD_CAPACITY: usize = 512;

/// What a head says that the guard let through, which has so many header lines. `None` where it holds
/// more than `http` does.
pub fn read(head: &Bytes, headers: usize) -> Option<Box<request::Parts>> {
    let mut lines = Lines { head, at: 0 };
    let mut line = lines.next()?;
    if line.is_empty() {
        line = lines.next()?;
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let mut parts = empty();
    parts.method = Method::from_bytes(method).ok()?;
    parts.uri = Uri::from_maybe_shared(head.slice_ref(target)).ok()?;
    parts.headers = fields(head, lines, headers)?;
    Some(parts)
}

/// `GET /` without a header.
pub fn empty() -> Box<request::Parts> {
    Box::new(Request::new(()).into_parts().0)
}

fn fields(head: &Bytes, lines: Lines<'_>, count: usize) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(count.min(64));
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line::split(line)?;
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(headers)
}

/// The lines of a head, each without its CRLF: the guard has seen that every one has it.
struct Lines<'h> {
    head: &'h [u8],
    at: usize,
}

impl<'h> Iterator for Lines<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let rest = &self.head[self.at..];
        let end = memchr::memchr(b'\n', rest)?;
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r")
    }
}

/// The head of an answer.
pub struct Text {
    pub bytes: Vec<u8>,
    /// It says that the connection ends with this answer.
    pub ends_connection: bool,
}

/// The head of an answer whose body is `answer`, framed as the body says of itself. `asks_end`: the client
/// wants the connection to end.
pub fn write(head: response::Parts, answer: &Answer, asks_end: bool) -> Text {
    let mut bytes = Vec::with_capacity(HEAD_CAPACITY);
    write_status(&mut bytes, head.status);
    let mut says_end = false;
    let mut is_dated = false;
    for (name, value) in &head.headers {
        says_end |= name == header::CONNECTION;
        is_dated |= name == header::DATE;
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(piece);
        }
    }
    if !answer.is_end_stream() {
        match answer.size_hint().exact() {
            Some(length) => {
                bytes.extend_from_slice(b"content-length: ");
                write_number(&mut bytes, length);
                bytes.extend_from_slice(b"\r\n");
            }
            None => bytes.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
    }
    if !is_dated {
        bytes.extend_from_slice(b"date: ");
        write_date(&mut bytes);
        bytes.extend_from_slice(b"\r\n");
    }
    if asks_end && !says_end {
        bytes.extend_from_slice(b"connection: close\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Text {
        bytes,
        ends_connection: asks_end || says_end,
    }
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let reason = status.canonical_reason().unwrap_or_default();
    for piece in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}

thread_local! {
    /// The second that was written last, and how it is written (RFC 9110 §5.6.7).
    static DATE: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

fn write_date(out: &mut Vec<u8>) {
    let since_epoch = moment::wall().duration_since(UNIX_EPOCH);
    let second = since_epoch.unwrap_or_default().as_secs();
    DATE.with_borrow_mut(|(written, text)| {
        if *written != second {
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *written = second;
        }
        out.extend_from_slice(text.as_bytes());
    });
}
