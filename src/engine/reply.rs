//! The stitched answer, and the problem that stands in its place when the route has failed.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::engine::code::Code;
use crate::engine::errors;
use crate::engine::fetch::{ByteStream, Exchange, StreamError};
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

impl ReplyBody {
    /// The body of a passed answer. One that is there to its end already, as small ones mostly are, is
    /// sent as it is, without what watches over a stream.
    pub fn passed(mut stream: ByteStream) -> ReplyBody {
        // Without a length it is not known that nothing follows.
        if stream.size_hint().exact().is_none_or(|length| length == 0) {
            return ReplyBody::Stream(stream);
        }
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(first) = Pin::new(&mut stream).poll_frame(&mut context) else {
            return ReplyBody::Stream(stream);
        };
        match first {
            Some(Ok(frame)) if frame.is_data() && stream.is_end_stream() => {
                ReplyBody::Bytes(frame.into_data().unwrap_or_default())
            }
            first => ReplyBody::Stream(Begun { first, stream }.boxed_unsync()),
        }
    }
}

/// A stream whose first frame was taken.
struct Begun {
    first: Option<Result<Frame<Bytes>, StreamError>>,
    stream: ByteStream,
}

impl Body for Begun {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.stream).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let taken = match &self.first {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        let left = self.stream.size_hint();
        match left.exact() {
            Some(left) => SizeHint::with_exact(left + taken as u64),
            None => SizeHint::default(),
        }
    }
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
    pub errors: Cow<'static, [u8]>,
    pub retry_after: Option<u32>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem {
            code,
            status: code.status(),
            detail: Some(detail.into()),
            call: None,
            errors: errors::NONE,
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
