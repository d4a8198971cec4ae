//! The register of codes: one line and one page each.
//!
//! R01xx syntax and shape, R02xx references and graph, R03xx time, R04xx templates and paths,
//! R05xx safety, R06xx cost, R07xx the cache. A new code is a line of [`ALL`] and a page `docs/codes/CODE.md`.

/// What a code stands for.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    pub code: &'static str,
    pub title: &'static str,
    /// The page that `explain` prints.
    pub page: &'static str,
}

macro_rules! codes {
    ($($code:literal $title:literal)*) => {
        &[$(Code {
            code: $code,
            title: $title,
            page: include_str!(concat!("../../docs/codes/", $code, ".md")),
        }),*]
    };
}

/// Every code, in order.
pub const ALL: &[Code] = codes! {
    "R0101" "a file is not readable as text"
    "R0102" "not YAML"
    "R0103" "a value that YAML reads as something else"
    "R0104" "a feature of YAML that has no place here"
    "R0105" "too large or too deep"
    "R0106" "a document of no kind"
    "R0107" "unknown key"
    "R0108" "duplicate key"
    "R0109" "missing key"
    "R0110" "the wrong kind of value"
    "R0111" "a value that is not understood"
    "R0112" "keys that exclude each other"
    "R0113" "a name that may not be used"
    "R0114" "defined twice"
    "R0115" "`${…}` that is not understood"
    "R0116" "`${…}` that has no value"
    "R0117" "a named file that cannot be read"
    "R0201" "a name that cannot be read"
    "R0202" "a parameter that the route's path does not have"
    "R0203" "calls form a cycle"
    "R0204" "unknown service"
    "R0205" "a call that cannot be waited for"
    "R0206" "ambiguous routes"
    "R0207" "a default that is never used"
    "R0208" "a loop variable that may not have this name"
    "R0210" "a key that has no place here"
    "R0211" "a wait that changes nothing"
    "R0212" "a call that nobody reads"
    "R0213" "a required call that reads an optional one"
    "R0214" "a bare path as a condition"
    "R0215" "a route that is not understood"
    "R0216" "a status that cannot be answered with"
    "R0217" "a fallback that is never asked"
    "R0218" "a request for many elements that does not say which"
    "R0219" "a key that is the same for all"
    "R0301" "an attempt that can never start"
    "R0302" "a last attempt that can never start"
    "R0303" "a worst case above the route's timeout"
    "R0304" "a hedge that can never go out"
    "R0401" "a text template that is not understood"
    "R0402" "a path that is not understood"
    "R0403" "the path of a call that is not understood"
    "R0404" "a condition that is not understood"
    "R0405" "`${…}` in a condition"
    "R0406" "a loop that is not understood"
    "R0407" "a key of a template that is not understood"
    "R0408" "an object that builds, and does not fit together"
    "R0409" "a pattern that is no I-Regexp"
    "R0410" "a value of a kind that cannot stand here"
    "R0411" "a pattern that is no I-Regexp"
    "R0501" "a write that would be sent twice"
    "R0502" "a fallback call that could write a second time"
    "R0503" "a fallback that asks the service that failed"
    "R0504" "a destination that is not literal"
    "R0505" "a header that cannot be set"
    "R0506" "a TLS setting that cannot be used"
    "R0507" "a body's schema that cannot be used"
    "R0508" "a hedge of a call that writes"
    "R0509" "an old answer in place of a write"
    "R0510" "answers kept of a call that writes"
    "R0511" "answers kept by headers that have no key"
    "R0512" "credentials that are no part of the key"
    "R0601" "many attempts"
    "R0602" "a fan-out larger than the bulkhead"
    "R0603" "less memory than one call may need"
    "R0604" "one request for each element, where a service answers for many"
    "R0605" "any query beside a cache"
    "R0701" "a Redis that cannot be used"
};

/// The entry of a code, in any case.
pub fn find(code: &str) -> Option<&'static Code> {
    ALL.iter()
        .find(|entry| entry.code.eq_ignore_ascii_case(code))
}

/// The page of a code, in any case.
pub fn page(code: &str) -> Option<&'static str> {
    find(code).map(|entry| entry.page)
}
