//! The head of an answer: parsed by `httparse`, its framing decided as RFC 9112 §6.3 says, and what
//! belongs to the connection alone taken out.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use httparse::{Error, Header, ParserConfig, Response, Status};

use crate::downstream::headers;
use crate::downstream::http1::{HEAD_LINES, Trouble};

/// The head of a final answer.
#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    /// End-to-end headers only.
    pub headers: HeaderMap,
    pub framing: Framing,
    /// The connection may carry another request behind this answer.
    pub persists: bool,
    /// How long the service says it keeps an idle connection.
    pub keep_alive: Option<Duration>,
}

/// How the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, whatever the head says of a length.
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

/// What stands at the front of some bytes; with the length of the head.
pub enum Parsed {
    Partial,
    /// 1xx, but for 101.
    Interim(usize),
    Final(Head, usize),
}

/// What is wanted of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// It is one to HEAD.
    pub bodiless: bool,
    /// All headers of a success; else those that say how to take its body. Of what is no success all
    /// are kept.
    pub all_headers: bool,
}

/// What is read of each head; the names of [`headers::HOP_BY_HOP`] that say something to us among them.
const OF_OURS: [&str; 6] = [
    "content-length",
    "content-type",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-encoding",
];

/// Takes the head that `bytes` begin with, as far as it is `wanted`. What is not HTTP/1.1, or is not clearly
/// framed, is [`Trouble::Malformed`]; too many lines are [`Trouble::TooLarge`].
pub fn parse(bytes: &[u8], wanted: Wanted) -> Result<Parsed, Trouble> {
    let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; HEAD_LINES];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut lines,
    );
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(Parsed::Partial),
        Err(Error::TooManyHeaders) => return Err(Trouble::TooLarge),
        Err(_) => return Err(malformed(None, "the answer's head is not HTTP/1.1")),
    };
    let status = StatusCode::from_u16(response.code.unwrap_or_default())
        .map_err(|_| malformed(None, "the answer's status is no number from 100 to 999"))?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Parsed::Interim(length));
    }
    let mut reader = Reader {
        status,
        is_http_10: response.version == Some(0),
        keeps_all: wanted.all_headers || !status.is_success(),
        has_type: false,
        headers: HeaderMap::new(),
        length: None,
        is_chunked: false,
        closes: false,
        keeps: false,
        keep_alive: None,
        named: Vec::new(),
    };
    if reader.keeps_all {
        reader.headers.reserve(response.headers.len());
    }
    let mut source = Source {
        bytes: &bytes[..length],
        kept: None,
    };
    for line in &*response.headers {
        reader.take(line, &mut source)?;
    }
    Ok(Parsed::Final(reader.finish(wanted.bodiless), length))
}

/// The bytes of a head; a copy of them is made for the values that are kept.
struct Source<'b> {
    bytes: &'b [u8],
    kept: Option<Bytes>,
}

impl Source<'_> {
    fn value(&mut self, value: &[u8]) -> Bytes {
        let start = value.as_ptr() as usize - self.bytes.as_ptr() as usize;
        let kept = self
            .kept
            .get_or_insert_with(|| Bytes::copy_from_slice(self.bytes));
        kept.slice(start..start + value.len())
    }
}

/// Reads the lines of one head.
struct Reader {
    status: StatusCode,
    is_http_10: bool,
    keeps_all: bool,
    /// A `content-type` was there.
    has_type: bool,
    headers: HeaderMap,
    length: Option<u64>,
    is_chunked: bool,
    /// What `Connection` says.
    closes: bool,
    keeps: bool,
    keep_alive: Option<Duration>,
    /// Headers that `Connection` names.
    named: Vec<HeaderName>,
}

impl Reader {
    fn take(&mut self, line: &Header<'_>, source: &mut Source<'_>) -> Result<(), Trouble> {
        if !self.keeps_all && self.is_of_no_use(line) {
            return Ok(());
        }
        let name = HeaderName::from_bytes(line.name.as_bytes())
            .map_err(|_| self.malformed("the answer has a header without a proper name"))?;
        if headers::is_hop_by_hop(&name) {
            return self.take_of_connection(&name, line.value);
        }
        if name == CONTENT_LENGTH {
            self.take_length(line.value)?;
            if !self.keeps_all {
                return Ok(());
            }
        }
        let value = HeaderValue::from_maybe_shared(source.value(line.value))
            .map_err(|_| self.malformed("the answer has a header with a control character"))?;
        self.headers.append(name, value);
        Ok(())
    }

    /// Whether this line changes nothing about how a success is taken.
    fn is_of_no_use(&mut self, line: &Header<'_>) -> bool {
        let mut ours = OF_OURS.iter();
        match ours.find(|name| name.eq_ignore_ascii_case(line.name)) {
            None => true,
            // The first one counts; that it is JSON is what is taken for granted.
            Some(&"content-type") => {
                std::mem::replace(&mut self.has_type, true) || line.value == b"application/json"
            }
            Some(_) => false,
        }
    }

    fn take_of_connection(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Trouble> {
        // What is no text says nothing that we would understand.
        let text = std::str::from_utf8(value).unwrap_or_default();
        match name.as_str() {
            "connection" => {
                for token in headers::parts(text) {
                    self.closes |= token.eq_ignore_ascii_case("close");
                    self.keeps |= token.eq_ignore_ascii_case("keep-alive");
                    self.named.extend(HeaderName::try_from(token));
                }
            }
            "keep-alive" => {
                self.keep_alive = self.keep_alive.or(headers::keep_alive_of(text));
            }
            "transfer-encoding" => {
                // Anything else was not asked for, and a second `chunked` is no coding we know.
                if self.is_chunked {
                    return Err(self.unclear());
                }
                for token in headers::parts(text) {
                    if self.is_chunked || !token.eq_ignore_ascii_case("chunked") {
                        return Err(self.unclear());
                    }
                    self.is_chunked = true;
                }
                if !self.is_chunked || self.is_http_10 {
                    return Err(self.unclear());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 §6.3: the same length may be said twice.
    fn take_length(&mut self, value: &[u8]) -> Result<(), Trouble> {
        for part in value.split(|byte| *byte == b',') {
            let digits = part.trim_ascii();
            let length = Some(digits)
                .filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
                .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            match (self.length, length) {
                (None, Some(length)) => self.length = Some(length),
                (Some(known), Some(length)) if known == length => {}
                _ => return Err(self.unclear()),
            }
        }
        Ok(())
    }

    fn finish(mut self, bodiless: bool) -> Head {
        // The length is not `Connection`'s to hide (RFC 9110 §7.6.1).
        for name in self.named.iter().filter(|name| **name != CONTENT_LENGTH) {
            self.headers.remove(name);
        }
        let framing = match (self.is_chunked, self.length) {
            _ if bodiless || matches!(self.status.as_u16(), 101 | 204 | 304) => Framing::Empty,
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        };
        let is_doubtful = self.is_chunked && self.length.is_some();
        let persists = !self.closes
            && (self.keeps || !self.is_http_10)
            && framing != Framing::UntilClose
            && self.status != StatusCode::SWITCHING_PROTOCOLS
            // Framed in two ways: what follows on the connection cannot be trusted.
            && !is_doubtful;
        Head {
            status: self.status,
            headers: self.headers,
            framing,
            persists,
            keep_alive: self.keep_alive,
        }
    }

    fn unclear(&self) -> Trouble {
        self.malformed("the answer's framing is not clear")
    }

    fn malformed(&self, detail: &'static str) -> Trouble {
        malformed(Some(self.status.as_u16()), detail)
    }
}

fn malformed(status: Option<u16>, detail: &'static str) -> Trouble {
    Trouble::Malformed { status, detail }
}
