//! How one call, or one element of a `for_each`, ended, and how the context document shows it.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName};

use crate::engine::code::Code;
use crate::engine::fetch::{Answer, CacheNote, Lasting};
use crate::json::{self, Value, write_text};
use crate::plan::CallPart;
use crate::policy::memory::Reservation;

/// Where a call's body came from: the word of `$.NAME.source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Live,
    /// A kept answer that is good still.
    Cache,
    /// The last good answer, in place of a failure.
    Stale,
    Fallback,
    Skipped,
    Failed,
}

#[derive(Debug)]
pub struct Outcome {
    pub origin: Origin,
    pub body: Option<json::Body>,
    /// Of an answer of the service, kept or not; null otherwise.
    pub status: Option<u16>,
    pub headers: HeaderMap,
    /// Keeps what the body takes counted.
    pub held: Option<Arc<Reservation>>,
    /// What the cache did for the call itself, also where it failed.
    pub note: Option<CacheNote>,
    pub lasting: Option<Lasting>,
    /// Why it failed, also where a fallback answered, with the status the service gave.
    pub error: Option<(Code, Option<u16>)>,
    shown: Shown,
}

/// Parts as JSON, made when they are first read.
#[derive(Debug, Default)]
struct Shown {
    whole: OnceLock<Box<[u8]>>,
    status: OnceLock<Box<[u8]>>,
    headers: OnceLock<Box<[u8]>>,
    error: OnceLock<Box<[u8]>>,
}

impl Outcome {
    /// The service has answered, now or, as `note` tells, before.
    pub fn answered(answer: Answer, note: Option<CacheNote>) -> Outcome {
        Outcome {
            origin: match note {
                Some(note) if note.is_of_cache() => Origin::Cache,
                _ => Origin::Live,
            },
            body: answer.body,
            status: Some(answer.status),
            headers: answer.headers,
            held: answer.held,
            note,
            lasting: answer.lasting,
            error: None,
            shown: Shown::default(),
        }
    }

    /// A fallback has answered: `origin` is which.
    pub fn stood_in(
        origin: Origin,
        body: Option<json::Body>,
        code: Code,
        status: Option<u16>,
    ) -> Outcome {
        Outcome {
            origin,
            body,
            ..Outcome::failed(code, status)
        }
    }

    pub fn failed(code: Code, status: Option<u16>) -> Outcome {
        Outcome {
            origin: Origin::Failed,
            error: Some((code, status)),
            ..Outcome::skipped()
        }
    }

    pub fn skipped() -> Outcome {
        Outcome {
            origin: Origin::Skipped,
            body: None,
            status: None,
            headers: HeaderMap::new(),
            held: None,
            note: None,
            lasting: None,
            error: None,
            shown: Shown::default(),
        }
    }

    /// The part of the context document that this is; `None` where it is missing.
    pub fn part(&self, part: &CallPart) -> Option<Value<'_>> {
        match part {
            CallPart::Whole => Some(kept(&self.shown.whole, || self.write_whole())),
            CallPart::Body(slot) => self.body.as_ref()?.slot(*slot),
            CallPart::Status => Some(kept(&self.shown.status, || number(self.status))),
            CallPart::Headers(None) => Some(self.headers()),
            CallPart::Headers(Some(name)) => self.headers().get(name.as_str()),
            CallPart::Source => Some(Value::trusted(self.source())),
            CallPart::Error => Some(self.error()),
            CallPart::ErrorCode => self.error().get("code"),
            CallPart::ErrorStatus => self.error().get("status"),
        }
    }

    fn headers(&self) -> Value<'_> {
        kept(&self.shown.headers, || {
            // Null like the status, unless the service's answer is this outcome.
            if !matches!(self.origin, Origin::Live | Origin::Cache) {
                return b"null".to_vec();
            }
            let mut out = Vec::new();
            write_headers(&mut out, &self.headers);
            out
        })
    }

    fn error(&self) -> Value<'_> {
        kept(&self.shown.error, || match self.error {
            None => b"null".to_vec(),
            Some((code, status)) => {
                let mut out = format!("{{\"code\":\"{}\",\"status\":", code.name()).into_bytes();
                out.extend_from_slice(&number(status));
                out.push(b'}');
                out
            }
        })
    }

    /// The word of `source` as JSON.
    fn source(&self) -> &'static [u8] {
        match self.origin {
            Origin::Live => b"\"live\"",
            Origin::Cache => b"\"cache\"",
            Origin::Stale => b"\"stale\"",
            Origin::Fallback => b"\"fallback\"",
            Origin::Skipped => b"\"skipped\"",
            Origin::Failed => b"\"failed\"",
        }
    }

    fn write_whole(&self) -> Vec<u8> {
        let body = self.body.as_ref().map_or(Value::NULL, |body| body.whole());
        let mut out = b"{\"body\":".to_vec();
        out.extend_from_slice(body.bytes());
        for (key, value) in [
            ("status", number(self.status).as_slice()),
            ("headers", self.headers().bytes()),
            ("source", self.source()),
            ("error", self.error().bytes()),
        ] {
            out.extend_from_slice(format!(",\"{key}\":").as_bytes());
            out.extend_from_slice(value);
        }
        out.push(b'}');
        out
    }
}

fn kept(cell: &OnceLock<Box<[u8]>>, make: impl FnOnce() -> Vec<u8>) -> Value<'_> {
    Value::trusted(cell.get_or_init(|| make().into_boxed_slice()))
}

fn number(status: Option<u16>) -> Vec<u8> {
    status.map_or_else(
        || b"null".to_vec(),
        |status| status.to_string().into_bytes(),
    )
}

/// Headers as an object: lower-case names, repeated lines joined by `, `, `set-cookie` always an array.
pub fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    out.push(b'{');
    for (place, name) in headers.keys().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_text(out, name.as_str());
        out.push(b':');
        write_header(out, headers, name);
    }
    out.push(b'}');
}

/// One header's value as in [`write_headers`]; an empty text or array if there is none.
pub fn write_header(out: &mut Vec<u8>, headers: &HeaderMap, name: &HeaderName) {
    let values = headers.get_all(name).iter();
    let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    if name != http::header::SET_COOKIE {
        return write_text(out, &Vec::from_iter(texts).join(", "));
    }
    out.push(b'[');
    for (place, text) in texts.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_text(out, &text);
    }
    out.push(b']');
}
