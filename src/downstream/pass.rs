//! `response: { pass: … }`: an answer's body handed on as it arrives, unbuffered.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::downstream::dial::Dial;
use crate::downstream::inbound::{Flow, Inbound};
use crate::downstream::silence::Silence;
use crate::engine::fetch::{Head, StreamError};

/// The head of a passed answer. A service that sends nothing of its body for as long as `stall`
/// breaks the stream.
pub fn head<D: Dial>(inbound: Inbound<D>, method: &Method, stall: Duration) -> Head {
    let Inbound {
        status,
        headers,
        flow,
    } = inbound;
    Head {
        status: status.as_u16(),
        headers: without_length(headers, method),
        body: Passed::new(flow, stall).boxed_unsync(),
    }
}

/// The body is framed anew, so its length is not for the service to say; an answer to HEAD has no
/// body that could say it.
fn without_length(mut headers: HeaderMap, method: &Method) -> HeaderMap {
    if *method != Method::HEAD {
        headers.remove(CONTENT_LENGTH);
    }
    headers
}

struct Passed<D: Dial> {
    flow: Flow<D>,
    stall: Duration,
    silence: Silence,
}

impl<D: Dial> Passed<D> {
    fn new(flow: Flow<D>, stall: Duration) -> Passed<D> {
        Passed {
            flow,
            stall,
            silence: Silence::default(),
        }
    }
}

impl<D: Dial> Body for Passed<D> {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = &mut *self;
        let Poll::Ready(chunk) = this.flow.poll_chunk(context) else {
            ready!(this.silence.poll(this.stall, context));
            return Poll::Ready(Some(Err("the service stopped sending".into())));
        };
        this.silence.end();
        Poll::Ready(chunk.map(|chunk| match chunk {
            Ok(bytes) => Ok(Frame::data(bytes)),
            Err(fault) => Err(fault.code.name().into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.flow.size_hint().upper() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.flow.size_hint()
    }
}
