//! `response: { pass: … }`: an answer's body handed on as it arrives, unbuffered.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep, sleep};

use crate::downstream::dial::Dial;
use crate::downstream::inbound::{Flow, Inbound};
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
    /// When the service has been silent for too long; made when it is first waited for.
    patience: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl<D: Dial> Passed<D> {
    fn new(flow: Flow<D>, stall: Duration) -> Passed<D> {
        Passed {
            flow,
            stall,
            patience: None,
            waiting: false,
        }
    }

    /// Whether nothing came for too long, counted from when somebody began to wait for it.
    fn has_stalled(&mut self, context: &mut Context<'_>) -> bool {
        let stall = self.stall;
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(stall)));
        if !self.waiting {
            self.waiting = true;
            patience.as_mut().reset(Instant::now() + stall);
        }
        patience.as_mut().poll(context).is_ready()
    }
}

impl<D: Dial> Body for Passed<D> {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let Poll::Ready(chunk) = self.flow.poll_chunk(context) else {
            return match self.has_stalled(context) {
                true => Poll::Ready(Some(Err("the service stopped sending".into()))),
                false => Poll::Pending,
            };
        };
        self.waiting = false;
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
