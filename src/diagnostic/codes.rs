//! The register of codes: one line and one page each.
//!
//! R01xx syntax and shape, R02xx references and graph, R03xx time, R04xx templates and paths,
//! R05xx safety, R06xx cost. A new code is a line of [`ALL`] and a page `docs/codes/CODE.md`.

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
