//! The head of an HTTP/1 request, line by line (RFC 9112 §3, §5, §6). Stricter than any parser behind
//! it, so that nobody behind us can read another message out of the same bytes.

use crate::ascii;
use crate::engine::code::Code;
use crate::server::guard::framing::Limits;
use crate::server::guard::line;
use crate::server::guard::refusal::Refusal;
use crate::server::host;

/// How the body of a message whose head is complete is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
}

/// A complete head: its length in bytes, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub length: usize,
    pub framing: Framing,
    /// Bytes and number of the header lines, towards which chunk extensions and trailers count too.
    pub header_bytes: usize,
    pub headers: usize,
    /// It has the header that [`hide_upgrade`] is for.
    pub asks_upgrade: bool,
    /// HTTP/1.1, without a body, and nothing is asked of the connection but to go on or to end.
    pub is_plain: bool,
    /// It asks for the connection to end.
    pub asks_end: bool,
}

/// A head that is still arriving. `advance` is always given the head from its first byte.
#[derive(Debug, Default)]
pub struct Scan {
    /// Where the line that is not complete yet begins, and where the search for its end goes on.
    line_start: usize,
    resume: usize,
    request_line: Option<RequestLine>,
    blank_lines: usize,
    header_bytes: usize,
    headers: usize,
    fields: Fields,
}

#[derive(Debug)]
struct RequestLine {
    is_http_10: bool,
    /// Of a target in absolute form.
    authority: Option<Authority>,
}

#[derive(Debug)]
struct Authority {
    host: Vec<u8>,
    /// That of the target's scheme.
    default_port: &'static [u8],
}

/// What the framing of a message depends on.
#[derive(Debug, Default)]
struct Fields {
    /// The target has an authority too, so that the host is kept to be compared with it.
    is_compared: bool,
    /// Empty where it is not kept.
    host: Option<Vec<u8>>,
    content_length: Option<u64>,
    chunked: bool,
    asks_upgrade: bool,
    asks_end: bool,
    /// Something else of `Connection`, or `Expect`.
    asks_else: bool,
}

/// The methods that a route may have, and those that are answered although no route has them.
const KNOWN_METHODS: [&[u8]; 8] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE",
];

/// The names that a spelling with `_` could stand for behind a gateway that makes no difference.
const FRAMING_NAMES: [&str; 10] = [
    "content-length",
    "transfer-encoding",
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// Well below what `http` takes of a target.
const PLAIN_TARGET_MOST: usize = 16 * 1024;

/// The bytes of [`is_plain_target`].
static IS_PLAIN: [bool; 256] = ascii::letters_digits_and(b"/?-._~%&=+:@!$'()*,;");

const UPGRADE: &[u8] = b"upgrade";

/// What `Connection` may not name: it would be taken off by us and missed by whoever relies on it.
const NEVER_HOP_BY_HOP: [&str; 5] = [
    "host",
    "content-length",
    "transfer-encoding",
    "authorization",
    "cookie",
];

/// The longest method, space, and version beside a target.
const REQUEST_LINE_EXTRA: usize = 64;

impl Scan {
    /// The head, once it is complete.
    pub fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Head>, Refusal> {
        loop {
            let from = self.resume - self.line_start;
            let Some(line) = line::next(&bytes[self.line_start..], from)? else {
                self.check_unfinished(bytes.len() - self.line_start, limits)?;
                self.resume = self.line_start.max(line::resume(bytes));
                return Ok(None);
            };
            let line_length = line.len() + 2;
            let is_end = line.is_empty() && self.request_line.is_some();
            if !is_end {
                self.take_line(line, limits)?;
            }
            self.line_start += line_length;
            self.resume = self.line_start;
            if is_end {
                return self.finish().map(Some);
            }
        }
    }

    /// A line that never ends is refused once it is longer than any that would be taken.
    fn check_unfinished(&self, length: usize, limits: &Limits) -> Result<(), Refusal> {
        if self.request_line.is_none() {
            if length > limits.uri + REQUEST_LINE_EXTRA {
                return Err(uri_too_long());
            }
        } else if self.header_bytes + length > limits.header_bytes {
            return Err(headers_too_large());
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        if self.request_line.is_some() {
            return self.take_field(line, limits);
        }
        if line.is_empty() {
            // RFC 9112 §2.2: one empty line before the request line is ignored.
            self.blank_lines += 1;
            if self.blank_lines > 1 {
                return Err(Refusal::bad("empty lines stand before the request line"));
            }
            return Ok(());
        }
        let request_line = request_line(line, limits)?;
        self.fields.is_compared = request_line.authority.is_some();
        self.request_line = Some(request_line);
        Ok(())
    }

    fn take_field(&mut self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        self.header_bytes += line.len() + 2;
        self.headers += 1;
        if self.header_bytes > limits.header_bytes || self.headers > limits.headers {
            return Err(headers_too_large());
        }
        let (name, value) = line::field(line)?;
        if shadows_framing(name) {
            return Err(Refusal::bad(
                "a header's name is a framing header's, but for `_`",
            ));
        }
        self.fields.take(name, value)
    }

    fn finish(&mut self) -> Result<Head, Refusal> {
        let request_line = self
            .request_line
            .as_ref()
            .expect("the head ends after its request line");
        let fields = &self.fields;
        match (&fields.host, request_line.is_http_10) {
            (None, false) => return Err(Refusal::bad("there is no Host")),
            (host, _) => check_authority(host.as_deref(), request_line)?,
        }
        if fields.chunked && fields.content_length.is_some() {
            return Err(Refusal::bad("Content-Length beside Transfer-Encoding"));
        }
        if fields.chunked && request_line.is_http_10 {
            return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
        }
        Ok(Head {
            length: self.line_start,
            framing: if fields.chunked {
                Framing::Chunked
            } else {
                Framing::Length(fields.content_length.unwrap_or(0))
            },
            header_bytes: self.header_bytes,
            headers: self.headers,
            asks_upgrade: fields.asks_upgrade,
            is_plain: !request_line.is_http_10 && !fields.has_body() && !fields.asks_else(),
            asks_end: fields.asks_end,
        })
    }
}

fn check_authority(host: Option<&[u8]>, request_line: &RequestLine) -> Result<(), Refusal> {
    match (host, &request_line.authority) {
        (Some(host), Some(authority))
            if !host::same(host, &authority.host, authority.default_port) =>
        {
            Err(Refusal::bad("the target's authority is not the Host"))
        }
        _ => Ok(()),
    }
}

impl Fields {
    fn has_body(&self) -> bool {
        self.chunked || self.content_length.is_some_and(|length| length > 0)
    }

    fn asks_else(&self) -> bool {
        self.asks_upgrade || self.asks_else
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        // By their lengths first: few names have one of these.
        match name.len() {
            7 if name.eq_ignore_ascii_case(UPGRADE) => {
                self.asks_upgrade = true;
                Ok(())
            }
            4 if name.eq_ignore_ascii_case(b"host") => self.take_host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.asks_else = true;
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                match value.eq_ignore_ascii_case(b"close") {
                    true => self.asks_end = true,
                    false => self.asks_else |= !value.eq_ignore_ascii_case(b"keep-alive"),
                }
                check_connection(value)
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.take_content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.take_transfer_encoding(value)
            }
            _ => Ok(()),
        }
    }

    fn take_host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.host.is_some() {
            return Err(Refusal::bad("there are two Hosts"));
        }
        if !host::is_valid(value) {
            return Err(Refusal::bad("the Host is not valid"));
        }
        self.host = Some(match self.is_compared {
            true => value.to_vec(),
            false => Vec::new(),
        });
        Ok(())
    }

    /// A second line is refused even if it is equal: nobody honest sends one.
    fn take_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.content_length.is_some() {
            return Err(Refusal::bad("there are two Content-Lengths"));
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::bad("the Content-Length is not a number"));
        }
        let length = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
            .filter(|length| *length <= i64::MAX as u64)
            .ok_or_else(|| Refusal::new(Code::BodyTooLarge, "the Content-Length is too large"))?;
        self.content_length = Some(length);
        Ok(())
    }

    fn take_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked {
            return Err(Refusal::bad("there are two Transfer-Encodings"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::bad("the Transfer-Encoding is not `chunked`"));
        }
        self.chunked = true;
        Ok(())
    }
}

fn check_connection(value: &[u8]) -> Result<(), Refusal> {
    for option in value.split(|byte| *byte == b',') {
        let option = option.trim_ascii();
        if NEVER_HOP_BY_HOP
            .iter()
            .any(|name| option.eq_ignore_ascii_case(name.as_bytes()))
        {
            return Err(Refusal::bad(
                "Connection names a header that is not hop-by-hop",
            ));
        }
    }
    Ok(())
}

/// Whether `name`, with `-` for `_`, is a header that frames or routes messages.
pub fn shadows_framing(name: &[u8]) -> bool {
    memchr::memchr(b'_', name).is_some()
        && FRAMING_NAMES.iter().any(|framing| {
            framing.len() == name.len()
                && framing
                    .bytes()
                    .zip(name)
                    .all(|(left, right)| left == dashed(*right))
        })
}

/// Writes `trailer` over the name `upgrade`: as long, as much hop-by-hop, and dropped as `upgrade` is.
///
/// No protocol is switched to here; but of a connection that was asked to, hyper (1.12) drops what it
/// has not written yet when it ends it, and the answer is cut for a client that reads slowly.
pub fn hide_upgrade(head: &mut [u8]) {
    let mut rest = head;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at_mut(end + 1);
        if let Some((name, [b':', ..])) = line.split_at_mut_checked(UPGRADE.len())
            && name.eq_ignore_ascii_case(UPGRADE)
        {
            name.copy_from_slice(b"trailer");
        }
        rest = after;
    }
}

fn dashed(byte: u8) -> u8 {
    if byte == b'_' {
        b'-'
    } else {
        byte.to_ascii_lowercase()
    }
}

fn request_line(line: &[u8], limits: &Limits) -> Result<RequestLine, Refusal> {
    let mut spaces = memchr::memchr_iter(b' ', line);
    let (Some(first), Some(second), None) = (spaces.next(), spaces.next(), spaces.next()) else {
        return Err(Refusal::bad("the request line has not three parts"));
    };
    let (method, target) = (&line[..first], &line[first + 1..second]);
    let version = &line[second + 1..];
    check_method(method)?;
    if target.len() > limits.uri {
        return Err(uri_too_long());
    }
    let authority = target_authority(method, target)?;
    Ok(RequestLine {
        is_http_10: is_http_10(version)?,
        authority,
    })
}

/// Whether the method is one that is known here.
pub fn check_method(method: &[u8]) -> Result<(), Refusal> {
    if KNOWN_METHODS.contains(&method) {
        return Ok(());
    }
    if !line::is_token(method) {
        return Err(Refusal::bad("the method is not a token"));
    }
    if KNOWN_METHODS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(method))
    {
        return Err(Refusal::bad("methods are written in upper case"));
    }
    Err(Refusal::new(
        Code::UnknownMethod,
        "the method is not known here",
    ))
}

fn is_http_10(version: &[u8]) -> Result<bool, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ if version.len() >= 5 && version[..5].eq_ignore_ascii_case(b"http/") => {
            Err(Refusal::new(
                Code::VersionNotSupported,
                "the version is neither HTTP/1.1 nor HTTP/1.0",
            ))
        }
        _ => Err(Refusal::bad("the request line does not end with a version")),
    }
}

/// Checks the target's form; its authority if it is in absolute form.
fn target_authority(method: &[u8], target: &[u8]) -> Result<Option<Authority>, Refusal> {
    if target == b"*" {
        return match method {
            b"OPTIONS" => Ok(None),
            _ => Err(Refusal::bad("the target `*` is for OPTIONS")),
        };
    }
    if !is_target_text(target) {
        return Err(Refusal::bad(
            "the target has a character that may not stand there",
        ));
    }
    if target.first() == Some(&b'/') {
        return Ok(None);
    }
    let (rest, default_port): (&[u8], &'static [u8]) = if starts_with_scheme(target, b"http://") {
        (&target[7..], b"80")
    } else if starts_with_scheme(target, b"https://") {
        (&target[8..], b"443")
    } else {
        return Err(Refusal::bad("the target is neither a path nor a URL"));
    };
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let authority = &rest[..end];
    if !host::is_valid(authority) {
        return Err(Refusal::bad("the target's authority is not valid"));
    }
    Ok(Some(Authority {
        host: authority.to_vec(),
        default_port,
    }))
}

fn starts_with_scheme(target: &[u8], scheme: &[u8]) -> bool {
    target
        .get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Whether a target holds only what a URL may hold, as browsers and clients write it: no control
/// byte, no space, no fragment, nothing outside ASCII.
pub fn is_target_text(target: &[u8]) -> bool {
    is_plain_target(target) || is_other_target(target)
}

/// Whether it is a path, and perhaps a query, of nothing but bytes that `http` takes anywhere in one.
fn is_plain_target(target: &[u8]) -> bool {
    target.first() == Some(&b'/')
        && target.len() <= PLAIN_TARGET_MOST
        && ascii::is_all_of(target, &IS_PLAIN)
}

fn is_other_target(target: &[u8]) -> bool {
    target
        .iter()
        .all(|&byte| byte.is_ascii_graphic() && byte != b'#')
        && http::Uri::try_from(target).is_ok()
}

fn uri_too_long() -> Refusal {
    Refusal::new(
        Code::UriTooLong,
        "the target is longer than `server.limits.uri`",
    )
}

/// Shared with the chunk scanner, whose extensions and trailers count into the same limit.
pub fn headers_too_large() -> Refusal {
    Refusal::new(
        Code::HeadersTooLarge,
        "the headers are larger than `server.limits.header_bytes` or more than `server.limits.headers`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_in_a_target_is_taken_anywhere_in_it() {
        for byte in (0..=u8::MAX).filter(|byte| IS_PLAIN[usize::from(*byte)]) {
            for target in [[b'/', byte, b'?', byte], [b'/', b'/', byte, byte]] {
                assert!(is_plain_target(&target));
                assert!(is_other_target(&target), "{}", target.escape_ascii());
            }
        }
        let longest = [b'/'; PLAIN_TARGET_MOST];
        assert!(is_other_target(&longest));
    }
}
