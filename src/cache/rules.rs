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
    let keepable = explicit || (known && validator);
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
        (!keepable, NotStored::NoFreshness),
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
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    headers.get_all(name).iter().find_map(date_of)
}

/// A date as it should be written, or in another case (RFC 9111 §4.2).
fn date_of(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?;
    let date = httpdate::parse_http_date(text);
    date.or_else(|_| httpdate::parse_http_date(&in_its_case(text)))
        .ok()
}

/// `Tue, 15 Nov 1994 08:12:31 GMT`, whichever letters are large.
fn in_its_case(date: &str) -> String {
    let mut follows_a_letter = false;
    let cased = date.chars().map(|letter| {
        let is_within = std::mem::replace(&mut follows_a_letter, letter.is_ascii_alphabetic());
        match is_within {
            true => letter.to_ascii_lowercase(),
            false => letter.to_ascii_uppercase(),
        }
    });
    let cased: String = cased.collect();
    match cased.strip_suffix("Gmt") {
        Some(rest) => format!("{rest}GMT"),
        None => cased,
    }
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
            let breaks = |byte: &u8| matches!(byte, b'"' | b',' | b' ' | b'\t');
            !tag.is_empty() && tag != b"*" && !tag.iter().any(breaks)
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Headers as they are written: a line each, `name: value`. Bytes that are no ASCII are Latin-1.
    fn headers(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let value: Vec<u8> = value.trim().chars().map(|letter| letter as u8).collect();
            headers.append(
                HeaderName::from_bytes(name.trim().as_bytes()).unwrap(),
                HeaderValue::from_bytes(&value).unwrap(),
            );
        }
        headers
    }

    /// Tue, 15 Nov 1994 08:12:31 GMT.
    fn received() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_887_151)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const NOW: &str = "Tue, 15 Nov 1994 08:12:31 GMT";
    const MINUTE_AGO: &str = "Tue, 15 Nov 1994 08:11:31 GMT";
    const IN_A_MINUTE: &str = "Tue, 15 Nov 1994 08:13:31 GMT";

    #[test]
    fn what_is_for_everybody_and_of_use_is_stored() {
        fn check(
            (method, request): (&str, &str),
            (status, answer): (u16, &str),
            expected: Option<NotStored>,
        ) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let stored = may_store(&method, &headers(request), status, &headers(answer));
            let row = format!("{method} {request:?} {status} {answer:?}");
            assert_eq!(stored.err(), expected, "{row}");
        }
        let get = ("GET", "");
        let fresh = "cache-control: max-age=60";

        // Methods.
        check(get, (200, fresh), None);
        check(("HEAD", ""), (200, fresh), None);
        for method in ["POST", "PUT", "OPTIONS", "QUERY", "get"] {
            check((method, ""), (200, fresh), Some(NotStored::Method));
        }

        // Any final status with a lifetime, but those of one request.
        for status in [
            200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504,
            599,
        ] {
            check(get, (status, fresh), None);
        }
        for status in [0, 100, 103, 199, 304, 412, 416, 600, 999] {
            check(get, (status, fresh), Some(NotStored::Status));
        }
        check(get, (206, fresh), Some(NotStored::Partial));
        let must = "cache-control: max-age=60, must-understand";
        for status in KNOWN {
            check(get, (status, must), None);
        }
        for status in [201, 302, 500, 599] {
            check(get, (status, must), Some(NotStored::Status));
        }

        // Who forbids it.
        let no_store = "cache-control: max-age=60, No-Store";
        check(get, (200, no_store), Some(NotStored::NoStore));
        check(
            get,
            (200, "cache-control: must-understand, no-store, max-age=60"),
            Some(NotStored::NoStore),
        );
        check(
            ("GET", "cache-control: no-store"),
            (200, fresh),
            Some(NotStored::RequestNoStore),
        );
        check(
            get,
            (200, "cache-control: private, max-age=60"),
            Some(NotStored::Private),
        );
        check(
            get,
            (200, "cache-control: private=\"a\", public, s-maxage=60"),
            Some(NotStored::Private),
        );
        let cookie = "cache-control: public, max-age=60\nset-cookie: a=b";
        check(get, (200, cookie), Some(NotStored::SetCookie));
        let star = "cache-control: max-age=60\nvary: accept, *";
        check(get, (200, star), Some(NotStored::Vary));
        check(get, (200, "cache-control: max-age=60\nvary: accept"), None);
        // What clients say of stored answers does not matter here, nor does a cookie.
        check(("GET", "cache-control: no-cache"), (200, fresh), None);
        check(("GET", "cookie: a=b"), (200, fresh), None);
        check(
            get,
            (200, "cache-control: max-age=60\npragma: no-cache"),
            None,
        );

        // Who has a key to it.
        let known = ("GET", "authorization: FOO");
        check(known, (200, fresh), Some(NotStored::Authorization));
        let expires = format!("expires: {IN_A_MINUTE}\ndate: {NOW}");
        check(known, (200, &expires), Some(NotStored::Authorization));
        check(
            known,
            (200, "cache-control: max-age=60, proxy-revalidate"),
            Some(NotStored::Authorization),
        );
        for word in ["public", "must-revalidate", "s-maxage=60"] {
            let answer = format!("cache-control: max-age=60, {word}");
            check(known, (200, &answer), None);
        }

        // A lifetime or something to be known by.
        check(get, (200, &expires), None);
        check(get, (200, "expires: 0"), None);
        check(get, (200, ""), Some(NotStored::NoFreshness));
        check(
            get,
            (200, "cache-control: public"),
            Some(NotStored::NoFreshness),
        );
        let modified = format!("last-modified: {MINUTE_AGO}");
        for validator in ["etag: \"a\"", "etag: W/\"a\"", "etag: a", &modified] {
            check(get, (200, validator), None);
            check(get, (404, validator), None);
            check(get, (302, validator), Some(NotStored::NoFreshness));
            check(get, (599, validator), Some(NotStored::NoFreshness));
        }
        for validator in ["etag:", "etag: *", "etag: \"a", "last-modified: soon"] {
            check(get, (200, validator), Some(NotStored::NoFreshness));
        }

        // What could never be used takes no room.
        for words in [
            "no-cache, max-age=60",
            "must-revalidate, max-age=0",
            "s-maxage=0",
        ] {
            let answer = format!("cache-control: {words}");
            check(get, (200, &answer), Some(NotStored::NoValidator));
            check(get, (200, &format!("{answer}\netag: \"a\"")), None);
        }
        check(get, (200, "cache-control: max-age=0"), None);
    }

    #[test]
    fn the_lifetime_is_read_where_a_shared_cache_reads_it() {
        fn check(answer: &str, expected: u64) {
            let found = freshness(&headers(answer), received(), Duration::ZERO);
            assert_eq!(found.lifetime, seconds(expected), "{answer:?}");
        }
        let expires = |expires: &str, date: &str| format!("expires: {expires}\ndate: {date}");
        check("", 0);
        check("etag: \"a\"", 0);
        check("cache-control: max-age=60", 60);
        check("cache-control: max-age=0", 0);
        check("cache-control: max-age=-1", 0);
        check("cache-control: max-age=99999999999", 1 << 31);

        // `s-maxage` before `max-age` before `expires`, wherever they stand.
        check("cache-control: max-age=3600, s-maxage=1", 1);
        check(
            "cache-control: s-maxage=3600\ncache-control: max-age=1",
            3600,
        );
        check("cache-control: s-maxage=x, max-age=3600", 0);
        check(
            &format!("cache-control: max-age=0, s-maxage=9\nexpires: {MINUTE_AGO}"),
            9,
        );
        check(
            &format!("cache-control: max-age=0\nexpires: {IN_A_MINUTE}"),
            0,
        );
        check("cache-control: max-age=60\nexpires: 0", 60);
        check(
            &format!("cache-control: public\nexpires: {IN_A_MINUTE}"),
            60,
        );

        // `expires` counts from the answer's date, or from when it came.
        check(&expires(IN_A_MINUTE, NOW), 60);
        check(&expires(IN_A_MINUTE, MINUTE_AGO), 120);
        check(&expires(NOW, NOW), 0);
        check(&expires(MINUTE_AGO, NOW), 0);
        check(&expires(NOW, IN_A_MINUTE), 0);
        check(&expires(IN_A_MINUTE, "foo"), 60);
        check(&format!("expires: {IN_A_MINUTE}"), 60);
        check(
            &format!("{}\ndate: {MINUTE_AGO}", expires(IN_A_MINUTE, "foo")),
            120,
        );

        // The three forms of a date, and no other (RFC 9110 §5.6.7).
        check("expires: Tuesday, 15-Nov-94 08:13:31 GMT", 60);
        check("expires: Tue Nov 15 08:13:31 1994", 60);
        // In any case, but in no other zone.
        check("expires: TUE, 15 nov 1994 08:13:31 gMT", 60);
        check("expires: tuesday, 15-NOV-94 08:13:31 Gmt", 60);
        check("expires: tUE nOV 15 08:13:31 1994", 60);
        check("expires: tue, 15 nov 1994 08:13:31 utc", 0);
        for broken in [
            "",
            "0",
            "-1",
            "60",
            "Tue, 15 Nov 1994 08:13:31 UTC",
            "Tue, 15 Nov 1994 08:13:31 AEST",
            "Tue, 15 Nov 94 08:13:31 GMT",
            "Tue 15 Nov 1994 08:13:31 GMT",
            "Tue, 15  Nov  1994 08:13:31 GMT",
            "Tue, 15-Nov-1994 08:13:31 GMT",
            "Tue, 15 Nov 1994 08.13.31 GMT",
            "Tue, 15 Nov 1994 8:13:31 GMT",
            "Mon, 15 Nov 1994 08:13:31 GMT",
            "Tue, 31 Feb 1995 08:13:31 GMT",
            "Tue, 15 Nov 1994 08:13:31 GMT\u{e9}",
        ] {
            check(&expires(broken, NOW), 0);
        }
        // The first of several counts, and a broken one has passed.
        check(
            &format!("expires: {IN_A_MINUTE}\nexpires: {MINUTE_AGO}"),
            60,
        );
        check(&format!("expires: 0\nexpires: {IN_A_MINUTE}"), 0);
    }

    #[test]
    fn the_age_counts_from_the_making() {
        fn check(answer: &str, took: u64, expected: u64) {
            let found = freshness(&headers(answer), received(), seconds(took));
            assert_eq!(found.initial_age.as_secs(), expected, "{answer:?} {took}");
        }
        check("", 0, 0);
        check("", 3, 3);
        check("age: 7200", 0, 7200);
        check("age: 7200", 3, 7203);
        check("age: 007", 0, 7);

        // The date counts where it makes the answer older.
        check(&format!("date: {NOW}"), 3, 3);
        check(&format!("date: {MINUTE_AGO}"), 3, 60);
        check(&format!("date: {MINUTE_AGO}\nage: 58"), 3, 61);
        check(&format!("date: {IN_A_MINUTE}\nage: 15"), 0, 15);
        check("date: foo\nage: 15", 0, 15);

        // The first member counts.
        check("age: 7200,0", 0, 7200);
        check("age: 0,7200", 0, 0);
        check("age: 7200\nage: 0", 0, 7200);
        check("age: , 60", 0, 60);
        check("age:\nage: 60", 0, 60);

        // What is no number is ignored (§5.1), where `http-cache-tests` would have it stale.
        for broken in [
            "abc",
            "-7200",
            "+1",
            "7200.0",
            "7200;foo=bar",
            "\"60\"",
            "6 0",
            "\u{e9}",
        ] {
            check(&format!("age: {broken}"), 0, 0);
        }
        check("age: abc, 60", 0, 0);

        // What is too much is very long.
        check("age: 99999999999999999999999999", 1, (1 << 31) + 1);
        check("age: 1", u64::MAX, u64::MAX);
    }

    #[test]
    fn what_may_be_served_stale_is_told() {
        fn check(words: &str, may_serve_stale: bool, always_validate: bool) {
            let answer = headers(&format!("cache-control: {words}"));
            let found = freshness(&answer, received(), Duration::ZERO);
            let told = (found.may_serve_stale, found.always_validate);
            assert_eq!(told, (may_serve_stale, always_validate), "{words:?}");
        }
        check("max-age=2", true, false);
        check("max-age=2, public", true, false);
        check("max-age=2, must-revalidate", false, false);
        check("max-age=2, proxy-revalidate", false, false);
        check("max-age=2, s-maxage=2", false, false);
        check("max-age=2, no-cache", false, true);
        check("max-age=2, no-cache=\"a\"", false, true);

        let answer = headers("cache-control: stale-while-revalidate=5, stale-if-error=6");
        let found = freshness(&answer, received(), Duration::ZERO);
        assert_eq!(found.stale_while_revalidate, Some(seconds(5)));
        assert_eq!(found.stale_if_error, Some(seconds(6)));
    }

    #[test]
    fn vary_is_a_set_of_names_or_anything() {
        fn check(answer: &str, expected: Option<&[&str]>) {
            let expected = expected.map_or(Vary::Anything, |names| {
                let names = names.iter().map(|name| name.parse().unwrap());
                Vary::Names(names.collect())
            });
            assert_eq!(vary(&headers(answer)), expected, "{answer:?}");
        }
        check("", Some(&[]));
        check("vary:", Some(&[]));
        check("vary: , ,", Some(&[]));
        check("vary: Foo", Some(&["foo"]));
        check("vary: Foo, Bar,baz", Some(&["bar", "baz", "foo"]));
        check("vary: foo\nvary: Bar, FOO", Some(&["bar", "foo"]));

        check("vary: *", None);
        check("vary: *, *", None);
        check("vary: *\nvary: *", None);
        check("vary: , *", None);
        check("vary:\nvary: *", None);
        check("vary: *, Foo", None);
        check("vary: Foo, *", None);
        // What is no name might have meant any.
        check("vary: foo bar", None);
        check("vary: \"foo\"", None);
        check("vary: foo, \u{e9}", None);
    }

    #[test]
    fn what_belongs_to_the_connection_is_not_stored() {
        let mut answer = headers(
            "connection: a, B,\nconnection: , keep-alive, x y\na: 1\nb: 2\nc: 3\nkeep-alive: 1\nte: x\n\
             proxy-authenticate: x\nproxy-authentication-info: x\nproxy-authorization: x\n\
             proxy-connection: x\ntransfer-encoding: chunked\nupgrade: x\ntrailer: x\netag: \"a\"",
        );
        trim(&mut answer);
        assert_eq!(answer, headers("c: 3\netag: \"a\""));
    }

    #[test]
    fn a_stored_answer_is_validated_by_what_it_is_known_by() {
        fn check(stored: &str, expected: &str) {
            assert_eq!(
                validators(&headers(stored)),
                headers(expected),
                "{stored:?}"
            );
        }
        let modified = format!("last-modified: {MINUTE_AGO}");
        let since = format!("if-modified-since: {MINUTE_AGO}");
        check("cache-control: max-age=60", "");
        check("etag: \"a\"", "if-none-match: \"a\"");
        check("etag: W/\"a, b\"", "if-none-match: W/\"a, b\"");
        check("etag: \"\u{fc}\"", "if-none-match: \"\u{fc}\"");
        check("etag: \"\"", "if-none-match: \"\"");
        check("etag: abc", "if-none-match: abc");
        check(&modified, &since);
        check(
            &format!("{modified}\netag: \"a\""),
            &format!("{since}\nif-none-match: \"a\""),
        );
        // What would match too much or nothing is not sent.
        for broken in [
            "", "*", "W/*", "W/", "\"", "\"a", "\"a\"b\"", "a, \"b\"", "w/\"a\"", "a b",
        ] {
            check(&format!("etag: {broken}"), "");
        }
        check("last-modified: soon", "");
        check(&format!("last-modified: soon\n{modified}"), &since);
    }

    #[test]
    fn a_304_confirms_the_answer_it_is_about() {
        fn check(stored: &str, not_modified: &str, expected: bool) {
            let found = confirms(&headers(stored), &headers(not_modified));
            assert_eq!(found, expected, "{stored:?} {not_modified:?}");
        }
        let old = format!("last-modified: {MINUTE_AGO}");
        let new = format!("last-modified: {NOW}");
        check("etag: \"a\"", "", true);
        check("etag: \"a\"", "etag: \"a\"", true);
        check("etag: \"a\"", "etag: \"b\"", false);
        check("etag: W/\"a\"", "etag: \"a\"", true);
        check("etag: \"a\"", "etag: W/\"a\"", true);
        check(
            &format!("etag: \"a\"\n{old}"),
            &format!("etag: \"a\"\n{new}"),
            true,
        );
        check(
            &format!("etag: \"a\"\n{old}"),
            &format!("etag: \"b\"\n{old}"),
            false,
        );
        check(&format!("etag: \"a\"\n{old}"), &new, false);
        check("etag: \"a\"", &old, true);
        check(&old, "", true);
        check(&old, &old, true);
        check(&old, "last-modified: Tue Nov 15 08:11:31 1994", true);
        check(&old, &new, false);
        check(&old, "last-modified: soon", true);
        // A tag it was not known by before.
        check(&old, &format!("etag: \"a\"\n{old}"), true);
        check(&old, "etag: \"a\"", false);
        check(&old, &format!("etag: \"a\"\n{new}"), false);
    }

    #[test]
    fn a_304_brings_headers_up_to_date() {
        fn check(stored: &str, by: &str, expected: &str) {
            let mut found = headers(stored);
            freshen(&mut found, &headers(by));
            assert_eq!(found, headers(expected), "{stored:?} {by:?}");
        }
        check("a: 1", "", "a: 1");
        check("a: 1\nb: 2", "a: 3\nc: 4", "a: 3\nb: 2\nc: 4");
        check("a: 1\na: 2", "a: 3", "a: 3");
        check("a: 1", "a: 2\na: 3", "a: 2\na: 3");
        for (name, one, other) in [
            ("cache-control", "max-age=1", "no-store"),
            ("content-location", "/foo", "/bar"),
            ("content-type", "text/plain", "text/plain;charset=utf-8"),
            ("clear-site-data", "cache", "cookies"),
            ("content-foo", "1", "2"),
            ("expires", NOW, IN_A_MINUTE),
            ("last-modified", NOW, IN_A_MINUTE),
            ("vary", "a", "b"),
            ("age", "1", "2"),
            ("date", NOW, IN_A_MINUTE),
        ] {
            let line = |value: &str| format!("{name}: {value}");
            check(&line(one), &line(other), &line(other));
            check("", &line(other), &line(other));
        }
        // What speaks of the stored bytes stays as it was.
        for name in [
            "content-length",
            "content-encoding",
            "content-range",
            "content-md5",
            "content-digest",
            "repr-digest",
            "digest",
            "etag",
        ] {
            check(
                &format!("{name}: 1"),
                &format!("{name}: 2"),
                &format!("{name}: 1"),
            );
            check("", &format!("{name}: 2"), "");
        }
        // What is not stored does not come in by this door.
        check("", "set-cookie: a=b\nset-cookie2: a=b", "");
        check("a: 1", "connection: a, close\na: 2\nkeep-alive: x", "a: 1");
        // The age and the date of the time before are gone.
        check(&format!("age: 5\ndate: {MINUTE_AGO}"), "", "");
    }

    #[test]
    fn a_client_that_has_the_answer_is_told_so() {
        fn check(request: &str, status: u16, answer: &str, expected: bool) {
            let found = is_not_modified(&headers(request), status, &headers(answer));
            assert_eq!(found, expected, "{request:?} {status} {answer:?}");
        }
        let tag = "etag: \"abcdef\"";
        check("", 200, tag, false);
        check("if-none-match: \"abcdef\"", 200, tag, true);
        check("if-none-match: \"abcde\"", 200, tag, false);
        check("if-none-match: \"ABCDEF\"", 200, tag, false);
        check("if-none-match: \"abcdef\"", 200, "", false);
        // By weak comparison.
        check("if-none-match: W/\"abcdef\"", 200, tag, true);
        check("if-none-match: \"abcdef\"", 200, "etag: W/\"abcdef\"", true);
        check(
            "if-none-match: W/\"abcdef\"",
            200,
            "etag: W/\"abcdef\"",
            true,
        );
        // Any of a list, on any line.
        check(
            "if-none-match: \"abcdef\", \"1234\", \"5678\"",
            200,
            tag,
            true,
        );
        check(
            "if-none-match: \"1234\",\"abcdef\" , \"5678\"",
            200,
            tag,
            true,
        );
        check(
            "if-none-match: \"1234\", \"5678\", W/\"abcdef\"",
            200,
            tag,
            true,
        );
        check(
            "if-none-match: \"1\"\nif-none-match: \"abcdef\"",
            200,
            tag,
            true,
        );
        check("if-none-match: \"1234\", \"5678\"", 200, tag, false);
        // The letters of a tag.
        check(
            "if-none-match: \"abc\u{fc}\"",
            200,
            "etag: \"abc\u{fc}\"",
            true,
        );
        check(
            "if-none-match: \"x, \", \"a,b\"",
            200,
            "etag: \"a,b\"",
            true,
        );
        check("if-none-match: \"a,b\"", 200, "etag: b", false);
        check("if-none-match: \"a\\\", \"b\"", 200, "etag: \"b\"", true);
        check("if-none-match: \"x, \"abcdef\"", 200, tag, false);
        // Without quotes it is another tag, and as good as it was sent.
        check("if-none-match: abcdef", 200, "etag: abcdef", true);
        check("if-none-match: abcdef", 200, tag, false);
        check("if-none-match: \"abcdef\"", 200, "etag: abcdef", false);
        // Whatever it is.
        check("if-none-match: *", 200, tag, true);
        check("if-none-match: *", 200, "", true);
        check("if-none-match: *, \"a\"", 200, "etag: *", false);
        check("if-none-match:", 200, "etag:", false);

        // By date.
        let old = format!("if-modified-since: {MINUTE_AGO}");
        let now = format!("if-modified-since: {NOW}");
        let modified = format!("last-modified: {MINUTE_AGO}\ndate: {NOW}");
        check(&old, 200, &modified, true);
        check(&now, 200, &modified, true);
        check(
            "if-modified-since: Tuesday, 15-Nov-94 08:11:31 GMT",
            200,
            &modified,
            true,
        );
        check(&old, 200, &format!("last-modified: {NOW}"), false);
        // Without a date of change, that of the answer (§4.3.2), where `http-cache-tests` would have a
        // 304 for an older one.
        check(&now, 200, &format!("date: {NOW}"), true);
        check(&old, 200, &format!("date: {NOW}"), false);
        check(&old, 200, "", false);
        check(
            &now,
            200,
            &format!("last-modified: soon\ndate: {NOW}"),
            false,
        );
        check("if-modified-since: soon", 200, &modified, false);
        check(&format!("{old}\n{old}"), 200, &modified, false);
        // A tag goes before a date.
        let both = format!("{tag}\n{modified}");
        check(&format!("if-none-match: \"x\"\n{now}"), 200, &both, false);
        check(
            "if-none-match: \"abcdef\"\nif-modified-since: soon",
            200,
            &both,
            true,
        );

        // Only what is good.
        check("if-none-match: \"abcdef\"", 203, tag, true);
        for status in [199, 301, 404, 500] {
            check("if-none-match: \"abcdef\"", status, tag, false);
            check("if-none-match: *", status, tag, false);
            check(&now, status, &modified, false);
        }
    }

    /// Fresh for 100 s, after that for 50 s while it is validated and for 70 s in an error.
    fn promise() -> Freshness {
        Freshness {
            lifetime: seconds(100),
            initial_age: Duration::ZERO,
            stale_while_revalidate: Some(seconds(50)),
            stale_if_error: Some(seconds(70)),
            may_serve_stale: true,
            always_validate: false,
        }
    }

    fn asked(words: &str) -> Control {
        Control::of_request(&headers(&format!("cache-control: {words}")))
    }

    #[test]
    fn a_stored_answer_is_used_as_both_sides_allow() {
        let check = |words: &str, freshness: &Freshness, age: u64, expected: Use| {
            let found = usable(&asked(words), freshness, seconds(age));
            assert_eq!(found, expected, "{words:?} {freshness:?} {age}");
        };
        let usual = promise();
        let plain = Freshness {
            stale_while_revalidate: None,
            ..promise()
        };
        let strict = Freshness {
            may_serve_stale: false,
            ..promise()
        };
        let validated = Freshness {
            always_validate: true,
            ..strict.clone()
        };
        // By its age alone.
        check("", &usual, 0, Use::Fresh);
        check("", &usual, 99, Use::Fresh);
        check("", &usual, 100, Use::Refresh);
        check("", &usual, 150, Use::Refresh);
        check("", &usual, 151, Use::Validate);
        check("", &plain, 99, Use::Fresh);
        check("", &plain, 100, Use::Validate);
        check("", &strict, 99, Use::Fresh);
        check("", &strict, 100, Use::Validate);
        check("", &validated, 0, Use::Validate);

        // `no-cache`, and `no-store`, which forbids only to store.
        check("no-cache", &usual, 0, Use::Validate);
        check("no-cache, max-stale", &usual, 0, Use::Validate);
        check("no-store", &usual, 0, Use::Fresh);

        // `max-age` limits the age, and wants nothing stale.
        check("max-age=0", &usual, 1, Use::Validate);
        check("max-age=60", &usual, 60, Use::Fresh);
        check("max-age=60", &usual, 61, Use::Validate);
        check("max-age=1000", &usual, 101, Use::Validate);
        check("max-age=1000, max-stale=10", &plain, 110, Use::Stale);
        check("max-age=105, max-stale=10", &plain, 106, Use::Validate);

        // `min-fresh` wants it fresh for that long yet.
        check("min-fresh=10", &usual, 90, Use::Fresh);
        check("min-fresh=10", &usual, 91, Use::Validate);
        check("min-fresh=2000", &usual, 0, Use::Validate);
        check("min-fresh=0", &usual, 101, Use::Validate);
        check("min-fresh=10, max-stale", &usual, 101, Use::Validate);

        // `max-stale` puts up with it, if the service does not forbid.
        check("max-stale=10", &plain, 110, Use::Stale);
        check("max-stale=10", &plain, 111, Use::Validate);
        check("max-stale", &plain, 1_000_000, Use::Stale);
        check("max-stale=soon", &plain, 101, Use::Validate);
        check("max-stale", &strict, 101, Use::Validate);
        check("max-stale", &validated, 0, Use::Validate);
        // Where the service would have it validated behind, it is.
        check("max-stale=10", &usual, 110, Use::Refresh);
        check("max-stale=10", &usual, 111, Use::Validate);
        check("max-stale=1000", &usual, 151, Use::Stale);

        // `only-if-cached` asks nobody.
        check("only-if-cached", &usual, 99, Use::Fresh);
        check("only-if-cached", &usual, 120, Use::Refresh);
        check("only-if-cached", &usual, 151, Use::Refuse);
        check("only-if-cached, max-stale", &plain, 151, Use::Stale);
        check("only-if-cached, no-cache", &usual, 0, Use::Refuse);
    }

    #[test]
    fn a_stored_answer_stands_in_for_an_error_as_long_as_it_was_said() {
        let check = |words: &str, freshness: &Freshness, age: u64, expected: bool| {
            let found = stands_in(&asked(words), freshness, seconds(age));
            assert_eq!(found, expected, "{words:?} {freshness:?} {age}");
        };
        let usual = promise();
        let silent = Freshness {
            stale_if_error: None,
            ..promise()
        };
        let strict = Freshness {
            may_serve_stale: false,
            ..promise()
        };
        check("", &usual, 0, true);
        check("", &usual, 170, true);
        check("", &usual, 171, false);
        check("", &silent, 101, false);
        check("", &strict, 101, false);
        check("no-cache", &usual, 0, false);
        check("max-age=0", &usual, 170, true);
        check("stale-if-error=0", &usual, 101, false);
        check("stale-if-error=90", &usual, 190, true);
        check("stale-if-error=90", &silent, 190, true);
        check("stale-if-error=90", &strict, 101, false);
    }

    #[test]
    fn what_changes_a_resource_makes_its_answers_invalid() {
        fn check(method: &str, status: u16, expected: bool) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(invalidates(&method, status), expected, "{method} {status}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "M-SEARCH", "get"] {
            check(method, 200, true);
            check(method, 204, true);
            check(method, 303, true);
            check(method, 399, true);
            for status in [100, 400, 404, 500] {
                check(method, status, false);
            }
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            check(method, 200, false);
        }
    }

    /// Headers that matter here, with values that nearly make sense.
    fn any_headers() -> impl Strategy<Value = HeaderMap> {
        let names = [
            header::AGE,
            header::CACHE_CONTROL,
            header::CONNECTION,
            header::DATE,
            header::ETAG,
            header::EXPIRES,
            header::IF_MODIFIED_SINCE,
            header::IF_NONE_MATCH,
            header::LAST_MODIFIED,
            header::VARY,
        ];
        let words: Vec<&[u8]> = vec![
            b"W/",
            b"\"",
            b",",
            b"*",
            b"\\",
            b"9",
            b"max-age=",
            b"Tue, ",
            b"Tuesday, ",
            b"15",
            b"-Nov-",
            b" Nov ",
            b"1994",
            b" 08:12:31",
            b" GMT",
        ];
        let piece = prop_oneof![
            prop::sample::select(words).prop_map(<[u8]>::to_vec),
            prop_oneof![Just(b'\t'), 32u8..127, 128u8..].prop_map(|byte| vec![byte]),
        ];
        let bytes = prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat());
        let value = prop_oneof![
            bytes,
            prop::sample::select(vec![NOW, MINUTE_AGO, "\"a\"", "1"])
                .prop_map(|text| text.as_bytes().to_vec()),
        ];
        let lines = prop::collection::vec((prop::sample::select(names.to_vec()), value), 0..8);
        lines.prop_map(|lines| {
            let lines = lines.into_iter();
            lines.fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, HeaderValue::from_bytes(&value).unwrap());
                headers
            })
        })
    }

    proptest! {
        /// No bytes panic, and an answer is confirmed by its own headers, which change nothing but
        /// what belongs to the connection.
        #[test]
        fn the_headers_of_others_are_harmless(
            request in any_headers(), answer in any_headers(), status: u16, took: u64, at in 0..1u64 << 40
        ) {
            let _ = may_store(&Method::GET, &request, status, &answer);
            let _ = is_not_modified(&request, status, &answer);
            let at = SystemTime::UNIX_EPOCH + seconds(at);
            let freshness = freshness(&answer, at, seconds(took));
            let asked = Control::of_request(&request);
            for age in [Duration::ZERO, freshness.initial_age, Duration::MAX] {
                let _ = (usable(&asked, &freshness, age), stands_in(&asked, &freshness, age));
            }
            let mut answer = answer;
            trim(&mut answer);
            prop_assert!(confirms(&answer, &answer));
            let mut freshened = answer.clone();
            freshen(&mut freshened, &answer);
            prop_assert_eq!(&freshened, &answer);
            freshen(&mut freshened, &request);
        }

        /// What a stored answer is asked for by is what it answers with a 304.
        #[test]
        fn an_answer_matches_its_own_validators(answer in any_headers()) {
            let conditions = validators(&answer);
            let dates = answer.get_all(header::LAST_MODIFIED).iter().count();
            if !conditions.is_empty() && dates < 2 {
                prop_assert!(is_not_modified(&conditions, 200, &answer));
            }
        }
    }
}
