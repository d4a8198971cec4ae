//! `cache` and `coalesce` of a call: its own, its service's, or those of `defaults`.

use crate::config::document::{self, Caching, Coalesce, Spanned};
use crate::diagnostic::Diagnostic;
use crate::plan::compile::names::Names;
use crate::plan::{Cache, Ttl};

/// What is written about keeping the answers of one call.
pub struct Written<'d> {
    pub call: &'d document::Call,
    pub cache: Option<&'d Spanned<Caching>>,
    pub coalesce: Option<&'d Spanned<Coalesce>>,
    /// The nearest first.
    pub inherited: &'d [Option<&'d Spanned<Caching>>],
    pub inherited_coalesce: &'d [Option<&'d Spanned<Coalesce>>],
    /// Asked twice it does no harm, and an answer to it is still one later.
    pub asks: bool,
}

/// How answers are kept, and whether requests are shared. What is inherited says nothing of a write.
pub fn compile(written: &Written<'_>, names: &mut Names) -> (Option<Cache>, bool) {
    if !written.asks {
        refuse(written, names);
        return (None, false);
    }
    let inherited = || written.inherited.iter().flatten().next().copied();
    let cache = written.cache.or_else(inherited).and_then(options);
    let inherited = || written.inherited_coalesce.iter().flatten().next().copied();
    let coalesce = match written.coalesce.or_else(inherited).map(|word| word.value) {
        Some(Coalesce::On) => true,
        Some(Coalesce::Off) => false,
        Some(Coalesce::Auto) | None => cache.is_some(),
    };
    (cache, coalesce)
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
