//! Why a message is not let through.

use crate::engine::code::Code;

/// What the client is told in place of an answer; the connection ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub detail: &'static str,
}

impl Refusal {
    pub fn new(code: Code, detail: &'static str) -> Refusal {
        Refusal { code, detail }
    }

    /// Broken framing or syntax: 400.
    pub fn bad(detail: &'static str) -> Refusal {
        Refusal::new(Code::BadRequest, detail)
    }
}
