//! `cache` and `coalesce` of a call: its own, its service's, or those of `defaults`.

use http::{HeaderName, Method, header};

use crate::config::document::{self, Caching, Coalesce, ForwardQuery, Spanned};
use crate::diagnostic::Diagnostic;
use crate::path::Root;
use crate::plan::compile::names::Names;
use crate::plan::{Cache, Part, RequestPart, Source, Ttl};

/// What is written about keeping the answers of one call.
pub struct Written<'d> {
    pub call: &'d document::Call,
    pub cache: Option<&'d Spanned<Caching>>,
    pub coalesce: Option<&'d Spanned<Coalesce>>,
    /// The nearest first.
    pub inherited: &'d [Option<&'d Spanned<Caching>>],
    pub inherited_coalesce: &'d [Option<&'d Spanned<Coalesce>>],
    pub is_passed: bool,
    /// Asked twice it does no harm, and an answer to it is still one later.
    pub asks: bool,
    pub method: &'d Method,
    /// What it sends, its service's and the `defaults`' included.
    pub headers: &'d [(HeaderName, Part)],
    pub forward_headers: &'d [HeaderName],
}

/// How answers are kept, and whether requests are shared. What is inherited says nothing of a write.
pub fn compile(written: &Written<'_>, names: &mut Names) -> (Option<Cache>, bool) {
    if !written.asks {
        refuse(written, names);
        return (None, false);
    }
    let inherited = || written.inherited.iter().flatten().next().copied();
    let nearest = written.cache.or_else(inherited);
    let cache = nearest.and_then(options);
    let cache = cache.filter(|cache| is_kept_by_headers(cache, written, names));
    if let (Some(cache), Some(nearest)) = (&cache, nearest) {
        refuse_credentials(cache, nearest, written, names);
        warn_of_any_query(nearest, written, names);
    }
    let inherited = || written.inherited_coalesce.iter().flatten().next().copied();
    let coalesce = match written.coalesce.or_else(inherited).map(|word| word.value) {
        Some(Coalesce::On) => true,
        Some(Coalesce::Off) => false,
        Some(Coalesce::Auto) | None => cache.is_some(),
    };
    if written.is_passed && cache.is_none() {
        refuse_passed(written, names);
    }
    (cache, coalesce)
}

/// What is passed goes straight to the client; others can have it only where it is kept.
fn refuse_passed(written: &Written<'_>, names: &mut Names) {
    let own = written.coalesce.filter(|own| own.value == Coalesce::On);
    if let Some(own) = own {
        let message = "`coalesce` on a call that is passed and not kept";
        let help = "others are given a passed answer where it is kept: write `cache` beside it";
        let found = Diagnostic::error("R0210", own.key, message);
        names.diagnostics.push(found.help(help));
    }
}

fn options(caching: &Spanned<Caching>) -> Option<Cache> {
    let Caching::On(options) = &caching.value else {
        return None;
    };
    let time = |written: &Option<Spanned<std::time::Duration>>| written.map(|time| time.value);
    Some(Cache {
        ttl: match options.ttl?.value {
            document::Ttl::For(time) => Ttl::For(time),
            document::Ttl::FromHeaders => Ttl::FromHeaders,
        },
        stale_while_revalidate: time(&options.stale_while_revalidate),
        stale_if_error: time(&options.stale_if_error),
        negative: time(&options.negative),
    })
}

/// By RFC 9111 an answer to a POST is not kept: its key has no body.
fn is_kept_by_headers(cache: &Cache, written: &Written<'_>, names: &mut Names) -> bool {
    let has_key = matches!(*written.method, Method::GET | Method::HEAD);
    if cache.ttl != Ttl::FromHeaders || has_key {
        return true;
    }
    // What is inherited was not meant for it.
    if let Some(own) = written.cache {
        let message = "by their headers only answers to GET and HEAD are kept";
        let help = "write how long they are good: `cache: { ttl: 5m }`";
        let found = Diagnostic::error("R0511", own.span, message);
        names.diagnostics.push(found.help(help));
    }
    false
}

/// Credentials that are no part of the key would have one client's answer given to another. With a
/// written time to live every header is a part of it; `authorization` has rules of its own (RFC 9111
/// §3.5).
fn refuse_credentials(
    cache: &Cache,
    nearest: &Spanned<Caching>,
    written: &Written<'_>,
    names: &mut Names,
) {
    if cache.ttl != Ttl::FromHeaders {
        return;
    }
    let sent = written
        .headers
        .iter()
        .filter(|(name, part)| {
            let by_name = !matches!(part, Part::Constant(_)) && holds_credentials(name.as_str());
            by_name || *name != header::AUTHORIZATION && reads_credentials(part, &names.sources)
        })
        .map(|(name, _)| name);
    let forwarded = written.forward_headers.iter();
    let forwarded = forwarded.filter(|name| holds_credentials(name.as_str()));
    for name in sent.chain(forwarded) {
        let own = written.call.headers.iter().flat_map(|list| &list.value);
        let mut own = own.filter(|entry| entry.key.eq_ignore_ascii_case(name.as_str()));
        let forwarded = written.call.forward_headers.iter();
        let mut forwarded = forwarded
            .flat_map(|list| &list.value)
            .filter(|found| found.value.eq_ignore_ascii_case(name.as_str()));
        let span = own.next().map(|entry| entry.key_span);
        let span = span.or_else(|| forwarded.next().map(|found| found.span));
        let message = format!(
            "`{}` sends `{name}`, which is no part of the key of its answers",
            written.call.name.value
        );
        let help =
            "one client would get another's answer: write `ttl: 5m`, for then every header counts";
        let found = Diagnostic::error("R0512", span.unwrap_or(nearest.key), message);
        names.diagnostics.push(
            found
                .also(nearest.key, "kept by the headers of the answer")
                .help(help),
        );
    }
}

fn holds_credentials(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "token",
        "api-key",
        "apikey",
        "session",
        "secret",
        "-auth",
        "jwt",
        "assertion",
        "credential",
    ];
    name == "cookie" || PARTS.iter().any(|part| name.contains(part))
}

/// Whether a header is made of what tells one client from another: its cookies or `authorization`.
fn reads_credentials(part: &Part, sources: &[Source]) -> bool {
    let is_secret = |root: &Root| {
        let part = match sources.get(root.0 as usize) {
            Some(Source::Request(part)) => part,
            _ => return false,
        };
        match part {
            RequestPart::Cookies(_) | RequestPart::Whole | RequestPart::Headers(None) => true,
            RequestPart::Headers(Some(name)) => {
                *name == header::AUTHORIZATION || *name == header::COOKIE
            }
            _ => false,
        }
    };
    match part {
        Part::Constant(_) => false,
        Part::Choice(choice) => choice.queries.iter().any(|query| is_secret(&query.root())),
        Part::Text(text) => text.required_roots().iter().any(is_secret),
        Part::List(parts) => parts.iter().any(|part| reads_credentials(part, sources)),
    }
}

fn warn_of_any_query(nearest: &Spanned<Caching>, written: &Written<'_>, names: &mut Names) {
    let forwarded = written.call.forward_query.as_ref();
    let Some(all) = forwarded.filter(|found| matches!(found.value, ForwardQuery::All)) else {
        return;
    };
    let message = "every parameter that a client makes up is another key of the cache";
    let found = Diagnostic::warning("R0605", all.span, message)
        .also(nearest.key, "answers are kept by this");
    names
        .diagnostics
        .push(found.help("name those that matter: `forward_query: [page]`"));
}

fn refuse(written: &Written<'_>, names: &mut Names) {
    let is_on = |caching: &&Spanned<Caching>| matches!(caching.value, Caching::On(_));
    let shares = |word: &&Spanned<Coalesce>| word.value == Coalesce::On;
    let keys = [
        ("cache", written.cache.filter(is_on).map(|found| found.key)),
        (
            "coalesce",
            written.coalesce.filter(shares).map(|found| found.key),
        ),
    ];
    let is_detached = written
        .call
        .detached
        .as_ref()
        .is_some_and(|found| found.value);
    for (key, span) in keys {
        // Of a detached call it is said elsewhere.
        let Some(span) = span.filter(|_| !is_detached) else {
            continue;
        };
        let message = format!(
            "`{}` writes, and each write has to be made: `{key}` has no place here",
            written.call.name.value
        );
        let help = format!("take `{key}` away, or write `safe: true` if the call only asks");
        names
            .diagnostics
            .push(Diagnostic::error("R0510", span, message).help(help));
    }
}
