//! The stitched answer, and the problem that stands in its place when the route has failed.

use bytes::Bytes;
use http::HeaderMap;

use crate::engine::code::Code;
use crate::engine::fetch::{ByteStream, Exchange};
use crate::engine::record::Record;

/// What a run ends with. `headers` hold what the route says and `content-type`, `cache-control`,
/// `x-anabranch-degraded`, `proxy-status`, `retry-after` where they apply; `x-request-id`, framing,
/// `date` and `server-timing` are the server's.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: ReplyBody,
    pub record: Record,
    /// To be sent after the answer, from a bounded queue; each has its own timeout from then.
    pub detached: Vec<Exchange>,
}

pub enum ReplyBody {
    Bytes(Bytes),
    Stream(ByteStream),
}

/// An error answer by RFC 9457.
#[derive(Clone, Debug)]
pub struct Problem {
    pub code: Code,
    pub status: u16,
    pub detail: Option<String>,
    /// The name of the call that decided.
    pub call: Option<String>,
    /// The JSON array `errors`.
    pub errors: Vec<u8>,
    pub retry_after: Option<u32>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem {
            code,
            status: code.status(),
            detail: Some(detail.into()),
            call: None,
            errors: b"[]".to_vec(),
            retry_after: None,
        }
    }

    /// The body: `type`, `title`, `status`, `detail`, `instance` (the request id), `call`, `code`, `errors`.
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        use crate::json::write_text;
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(b"{\"type\":\"urn:anabranch:");
        out.extend_from_slice(self.code.name().as_bytes());
        out.extend_from_slice(b"\",\"title\":");
        write_text(&mut out, self.code.title());
        out.extend_from_slice(format!(",\"status\":{}", self.status).as_bytes());
        if let Some(detail) = &self.detail {
            out.extend_from_slice(b",\"detail\":");
            write_text(&mut out, detail);
        }
        out.extend_from_slice(b",\"instance\":");
        write_text(&mut out, request_id);
        if let Some(call) = &self.call {
            out.extend_from_slice(b",\"call\":");
            write_text(&mut out, call);
        }
        out.extend_from_slice(b",\"code\":\"");
        out.extend_from_slice(self.code.name().as_bytes());
        out.extend_from_slice(b"\",\"errors\":");
        out.extend_from_slice(&self.errors);
        out.push(b'}');
        out
    }
}
