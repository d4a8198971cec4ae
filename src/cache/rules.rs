//! What a shared cache may store and when it may use it (RFC 9111, RFC 5861): pure functions over
//! headers.
//!
//! Nothing here reads a clock: when an answer came and how old it is by now is said by whoever asks.
//! Heuristic freshness (§4.2.2) is off; an answer that names no lifetime is stored only to be validated.
//! Where the RFC leaves a choice, less is stored and less is served. The words themselves are read by
//! `control`.

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use crate::cache::control::{self, Control};

/// The statuses a cache need not be told to keep (RFC 9110 §15.1), but 206. They are those whose
/// caching we know, too (RFC 9111 §5.2.2.3).
const KNOWN: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// What belongs to a connection or to the proxy before us, and not to the answer (RFC 9111 §3.1,
/// RFC 9110 §7.6.1).
static NOT_STORED: [HeaderName; 10] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
];

/// What a 304 does not change: it speaks of the stored body, whose bytes stay (RFC 9111 §3.2), or to
/// one client alone.
static NOT_FRESHENED: [HeaderName; 10] = [
    // The length of the stored body; §3.2 forbids to change it.
    header::CONTENT_LENGTH,
    // How the stored bytes are coded, and which part they are.
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    // Sums over the stored bytes; in a 304 they may be sums over nothing.
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
    // What the stored body is known by. A server that compresses names it `W/"a"` in a 200 and `"a"`
    // in the 304.
    header::ETAG,
    // For the client that asked, and not for those who are served later.
    header::SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
];

/// What a stored answer promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How long it is fresh, counted from its making, for a shared cache (RFC 9111 §4.2.1).
    pub lifetime: Duration,
    /// How old it was when it came: `corrected_initial_age` (RFC 9111 §4.2.3). Its age later is this
    /// and the time since.
    pub initial_age: Duration,
    /// RFC 5861 §3.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 §4.
    pub stale_if_error: Option<Duration>,
    /// Nothing forbids to serve it stale: not `must-revalidate`, `proxy-revalidate`, `no-cache` or
    /// `s-maxage` (RFC 9111 §4.2.4, §5.2.2.10).
    pub may_serve_stale: bool,
    /// `no-cache`: it is not used before it was validated, however fresh (RFC 9111 §5.2.2.4).
    pub always_validate: bool,
}

/// Why an answer is not stored (RFC 9111 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Neither GET nor HEAD.
    Method,
    /// The request says `no-store` (§5.2.1.5).
    RequestNoStore,
    /// The answer to part of a request (§3.3).
    Partial,
    /// Not final, or of this one request only, or unknown beside `must-understand` (§5.2.2.3).
    Status,
    /// The answer says `no-store` (§5.2.2.5).
    NoStore,
    /// §5.2.2.7.
    Private,
    /// The request had `authorization` and the answer does not say that it is for everybody (§3.5).
    Authorization,
    /// It varies by what no request can repeat (§4.1).
    Vary,
    /// It sets a cookie, which others must not be handed (§7.3).
    SetCookie,
    /// It names no lifetime and nothing to validate it by.
    NoFreshness,
    /// It must be validated before any use and has nothing to validate it by.
    NoValidator,
}

impl NotStored {
    /// The word for `cache-status; detail` (RFC 9211 §2.8).
    pub fn word(self) -> &'static str {
        match self {
            NotStored::Method => "method",
            NotStored::RequestNoStore => "request-no-store",
            NotStored::Partial => "partial",
            NotStored::Status => "status",
            NotStored::NoStore => "no-store",
            NotStored::Private => "private",
            NotStored::Authorization => "authorization",
            NotStored::Vary => "vary",
            NotStored::SetCookie => "set-cookie",
            NotStored::NoFreshness => "no-freshness",
            NotStored::NoValidator => "no-validator",
        }
    }
}

/// Whether a shared cache may store this answer, and would gain by it (RFC 9111 §3). `no-store` holds
/// beside `must-understand` too, where §5.2.2.3 would have it passed over.
pub fn may_store(
    method: &Method,
    request: &HeaderMap,
    status: u16,
    answer: &HeaderMap,
) -> Result<(), NotStored> {
    let asked = Control::of_request(request);
    let control = Control::of_answer(answer);
    let known = KNOWN.contains(&status);
    let for_everybody = control.public || control.must_revalidate || control.s_maxage.is_some();
    let seconds = control.s_maxage.or(control.max_age);
    let explicit = seconds.is_some() || answer.contains_key(header::EXPIRES);
    let validator = !validators(answer).is_empty();
    let never_fresh =
        control.no_cache || (!lets_stale(&control) && seconds == Some(Duration::ZERO));
    let obstacles = [
        (
            method != Method::GET && method != Method::HEAD,
            NotStored::Method,
        ),
        (asked.no_store, NotStored::RequestNoStore),
        (status == 206, NotStored::Partial),
        (
            !is_of_the_resource(status) || (control.must_understand && !known),
            NotStored::Status,
        ),
        (control.no_store, NotStored::NoStore),
        (control.private, NotStored::Private),
        (
            request.contains_key(header::AUTHORIZATION) && !for_everybody,
            NotStored::Authorization,
        ),
        (vary(answer) == Vary::Anything, NotStored::Vary),
        (
            answer.contains_key(header::SET_COOKIE),
            NotStored::SetCookie,
        ),
        (!explicit && !(known && validator), NotStored::NoFreshness),
        (never_fresh && !validator, NotStored::NoValidator),
    ];
    match obstacles.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, obstacle)) => Err(obstacle),
        None => Ok(()),
    }
}

/// Whether a status is final and says something of the resource. 304, 412 and 416 speak of the
/// conditions and the range of one request, which are not part of a key.
fn is_of_the_resource(status: u16) -> bool {
    (200..600).contains(&status) && !matches!(status, 304 | 412 | 416)
}

/// Whether nothing forbids a stale answer (RFC 9111 §4.2.4). `s-maxage` forbids it as
/// `proxy-revalidate` does (§5.2.2.10).
fn lets_stale(control: &Control) -> bool {
    !control.must_revalidate
        && !control.proxy_revalidate
        && !control.no_cache
        && control.s_maxage.is_none()
}

/// What an answer promises that came at `received`, `took` after its request was sent. An answer
/// without a date was made when it came (RFC 9110 §6.6.1).
pub fn freshness(answer: &HeaderMap, received: SystemTime, took: Duration) -> Freshness {
    let control = Control::of_answer(answer);
    let made = date(answer, &header::DATE).unwrap_or(received);
    let apparent_age = received.duration_since(made).unwrap_or_default();
    let corrected_age = age(answer).saturating_add(took);
    let seconds = control.s_maxage.or(control.max_age);
    Freshness {
        lifetime: seconds.unwrap_or_else(|| until_expires(answer, made)),
        initial_age: apparent_age.max(corrected_age),
        stale_while_revalidate: control.stale_while_revalidate,
        stale_if_error: control.stale_if_error,
        may_serve_stale: lets_stale(&control),
        always_validate: control.no_cache,
    }
}

/// The lifetime by `expires`: its first line counts (RFC 9111 §4.2.1), and what is no date has passed
/// (§5.3).
fn until_expires(answer: &HeaderMap, made: SystemTime) -> Duration {
    let expires = answer.get(header::EXPIRES).and_then(date_of);
    expires
        .and_then(|expires| expires.duration_since(made).ok())
        .unwrap_or_default()
}

/// `age`: the first member counts, and what is no number is ignored (RFC 9111 §5.1).
fn age(answer: &HeaderMap) -> Duration {
    let lines = answer.get_all(header::AGE).iter();
    let first = lines
        .flat_map(|line| control::members(line.as_bytes()))
        .next();
    first.and_then(control::delta_seconds).unwrap_or_default()
}

/// The first line of `name` that is a date.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    headers.get_all(name).iter().find_map(date_of)
}

fn date_of(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// What in a request an answer depends on (RFC 9111 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// `*`, or something that is no name: no other request is known to be alike.
    Anything,
    /// These headers, sorted, each once.
    Names(Vec<HeaderName>),
}

/// Reads `vary` (RFC 9110 §12.5.5).
pub fn vary(answer: &HeaderMap) -> Vary {
    let mut names = Vec::new();
    for line in answer.get_all(header::VARY) {
        for member in line.as_bytes().split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() {
                continue;
            }
            // `*` is a name by its letters.
            match HeaderName::from_bytes(member) {
                Ok(name) if member != b"*" => names.push(name),
                _ => return Vary::Anything,
            }
        }
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    Vary::Names(names)
}

/// Takes away what is not stored with an answer (RFC 9111 §3.1): what belongs to the connection, also
/// by its own word, and to a proxy.
pub fn trim(answer: &mut HeaderMap) {
    let named: Vec<HeaderName> = answer
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|member| HeaderName::from_bytes(member.trim_ascii()).ok())
        .collect();
    for name in named.iter().chain(&NOT_STORED) {
        answer.remove(name);
    }
}

/// The request headers that ask whether a stored answer is still good (RFC 9111 §4.3.1). Empty if it
/// has nothing to be known by.
pub fn validators(stored: &HeaderMap) -> HeaderMap {
    let mut conditions = HeaderMap::new();
    if let Some(tag) = tag(stored) {
        conditions.insert(header::IF_NONE_MATCH, tag.clone());
    }
    let mut lines = stored.get_all(header::LAST_MODIFIED).iter();
    if let Some(modified) = lines.find(|line| date_of(line).is_some()) {
        conditions.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
    conditions
}

/// Whether a 304 is about this stored answer (RFC 9111 §4.3.4). If it is not, nothing may be made of
/// it, and the request is sent once more without conditions.
///
/// Tags are compared weakly, where §4.3.4 would have a strong tag found again as it was: servers that
/// compress weaken the tag of a 200 and not that of its 304, and no parts are put together here, for
/// which alone it would matter.
pub fn confirms(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    let same_date = match (
        date(stored, &header::LAST_MODIFIED),
        date(not_modified, &header::LAST_MODIFIED),
    ) {
        (Some(stored), Some(now)) => Some(stored == now),
        _ => None,
    };
    match (tag(stored), tag(not_modified)) {
        (Some(stored), Some(now)) => opaque(stored.as_bytes()) == opaque(now.as_bytes()),
        (None, Some(_)) => same_date == Some(true),
        (_, None) => same_date != Some(false),
    }
}

/// A 304 that `confirms` it has come: updates the stored headers (RFC 9111 §3.2, §4.3.4). What speaks
/// of the stored bytes stays, `set-cookie` does not come in. Where the 304 has no `date` or no `age`,
/// the stored one goes, for it speaks of the time before.
///
/// Afterwards `may_store` and `vary` are asked anew: a 304 may bring `no-store`.
pub fn freshen(stored: &mut HeaderMap, by: &HeaderMap) {
    let mut by = by.clone();
    trim(&mut by);
    for name in &NOT_FRESHENED {
        by.remove(name);
    }
    stored.remove(header::DATE);
    stored.remove(header::AGE);
    // All lines of a name take the place of all its lines before.
    stored.extend(by);
}

/// Whether the conditions of a GET or HEAD are answered by a 304 from this answer (RFC 9111 §4.3.2):
/// `if-none-match` by weak comparison (RFC 9110 §13.1.2), without it `if-modified-since`. An answer
/// that is not good is given as it is (RFC 9110 §13.2.1).
pub fn is_not_modified(request: &HeaderMap, answer_status: u16, answer: &HeaderMap) -> bool {
    if !(200..300).contains(&answer_status) {
        return false;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        return matches_a_tag(request, answer);
    }
    let mut lines = request.get_all(header::IF_MODIFIED_SINCE).iter();
    // More than one is none (RFC 9110 §13.1.3).
    let (Some(since), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let name = if answer.contains_key(header::LAST_MODIFIED) {
        header::LAST_MODIFIED
    } else {
        header::DATE
    };
    match (date(answer, &name), date_of(since)) {
        (Some(modified), Some(since)) => modified <= since,
        _ => false,
    }
}

fn matches_a_tag(request: &HeaderMap, answer: &HeaderMap) -> bool {
    let lines = || request.get_all(header::IF_NONE_MATCH).iter();
    if lines().all(|line| line.as_bytes().trim_ascii() == b"*") {
        return true;
    }
    let Some(tag) = tag(answer) else {
        return false;
    };
    let tag = opaque(tag.as_bytes());
    lines().any(|line| {
        // A backslash escapes nothing here (RFC 9110 §8.8.3).
        let mut quoted = false;
        let mut members = line.as_bytes().split(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        members.any(|member| opaque(member) == tag)
    })
}

/// The `etag` of an answer. One without its quotes will do, if it can stand in a list: whoever sends it
/// so compares it so.
fn tag(answer: &HeaderMap) -> Option<&HeaderValue> {
    let value = answer.get(header::ETAG)?;
    let tag = opaque(value.as_bytes());
    let bare = tag
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let good = match bare {
        Some(inner) => !inner.contains(&b'"'),
        None => {
            let parts = |byte: &u8| matches!(byte, b'"' | b',' | b' ' | b'\t');
            !tag.is_empty() && tag != b"*" && !tag.iter().any(parts)
        }
    };
    good.then_some(value)
}

/// A tag without the mark of a weak one: what weak comparison compares (RFC 9110 §8.8.3.2).
fn opaque(tag: &[u8]) -> &[u8] {
    let tag = tag.trim_ascii();
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// How a stored answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// As it is.
    Fresh,
    /// As it is, for the client puts up with a stale one (`max-stale`).
    Stale,
    /// As it is, while it is validated behind the client's back (RFC 5861 §3).
    Refresh,
    /// Once it has been validated.
    Validate,
    /// Not at all, and nobody may be asked: 504 (`only-if-cached`, RFC 9111 §5.2.1.7).
    Refuse,
}

/// How a stored answer of this age may be used for a request that says this (RFC 9111 §4, §5.2.1).
pub fn usable(request: &Control, freshness: &Freshness, age: Duration) -> Use {
    match unvalidated(request, freshness, age) {
        Some(usage) => usage,
        None if request.only_if_cached => Use::Refuse,
        None => Use::Validate,
    }
}

/// How it may be used without being validated first, if it may.
fn unvalidated(request: &Control, freshness: &Freshness, age: Duration) -> Option<Use> {
    let too_old = request.max_age.is_some_and(|most| age > most);
    if request.no_cache || freshness.always_validate || too_old {
        return None;
    }
    if age < freshness.lifetime {
        let left = freshness.lifetime - age;
        let enough = request.min_fresh.is_none_or(|least| left >= least);
        return enough.then_some(Use::Fresh);
    }
    if !freshness.may_serve_stale || request.min_fresh.is_some() {
        return None;
    }
    let stale_for = age - freshness.lifetime;
    let client_lets = match request.max_stale {
        Some(most) => stale_for <= most,
        // Who limits the age wants nothing stale (§5.2.1.1); who says nothing leaves it to the service.
        None => request.max_age.is_none(),
    };
    let service_lets = within(stale_for, freshness.stale_while_revalidate);
    match (client_lets, service_lets) {
        (true, true) => Some(Use::Refresh),
        (true, false) if request.max_stale.is_some() => Some(Use::Stale),
        _ => None,
    }
}

/// Whether a stored answer of this age may stand in for an error of the service, by `stale-if-error`
/// of the answer or, before it, of the request (RFC 5861 §4). How long a client would wish it fresh
/// does not matter then, that it wants it validated does.
pub fn stands_in(request: &Control, freshness: &Freshness, age: Duration) -> bool {
    let stale_for = age.saturating_sub(freshness.lifetime);
    let most = request.stale_if_error.or(freshness.stale_if_error);
    freshness.may_serve_stale && !request.no_cache && within(stale_for, most)
}

fn within(span: Duration, most: Option<Duration>) -> bool {
    most.is_some_and(|most| span <= most)
}

/// Whether what is stored of a URL is no longer good once this has been answered so (RFC 9111 §4.4):
/// an unsafe method, also one that nobody knows, and an answer that is no error.
pub fn invalidates(method: &Method, status: u16) -> bool {
    !method.is_safe() && (200..400).contains(&status)
}

#[cfg(test)]
mod tests {}
