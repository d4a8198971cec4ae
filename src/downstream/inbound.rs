//! An answer as it arrives: its head, checked, and its body part by part. The connection goes back to
//! its pool with the last part; an answer that is dropped before that closes it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, SizeHint};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::downstream::attempt::Attempt;
use crate::downstream::connection::{HEAD_BYTES, HEAD_LINES, Lease};
use crate::downstream::dial::Dial;
use crate::downstream::fault::{self, Fault};
use crate::downstream::headers;
use crate::downstream::pool::Pool;
use crate::downstream::tasks::Tasks;
use crate::engine::code::Code;
use crate::policy::retry::Known;

/// What is read of a body that nobody wants, to keep its connection, and for how long.
const WORTH_DRAINING: u64 = 64 * 1024;
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// An answer whose head has arrived.
pub struct Inbound<D: Dial> {
    pub status: StatusCode,
    /// End-to-end headers only.
    pub headers: HeaderMap,
    pub flow: Flow<D>,
}

/// The body of an answer, and the connection that it comes over.
pub struct Flow<D: Dial> {
    status: StatusCode,
    /// Both are `None` once the body has ended.
    incoming: Option<Incoming>,
    lease: Option<Lease<D::Io>>,
    pool: Arc<Pool<D>>,
    keep_alive: Option<Duration>,
    /// The connection may not be used again, whatever comes.
    doubtful: bool,
    /// Its place is given back with the end of the body.
    attempt: Option<Arc<Attempt>>,
}

impl<D: Dial> Inbound<D> {
    /// Takes a head that the client library has parsed, and checks what it has let pass.
    pub fn accept(
        response: Response<Incoming>,
        lease: Lease<D::Io>,
        pool: Arc<Pool<D>>,
        attempt: Arc<Attempt>,
    ) -> Result<Inbound<D>, Fault> {
        let (head, incoming) = response.into_parts();
        let mut headers = head.headers;
        let answered = |code| Fault::answered(code, head.status.as_u16());
        if headers.len() > HEAD_LINES {
            let fault = Fault::new(Code::TooLarge, Known::Rejected);
            return Err(fault.with_detail("the answer has too many header lines"));
        }
        // The library only stops reading at its limit: a head that came in one piece may be longer.
        if headers::written_size(&headers) > HEAD_BYTES {
            let fault = Fault::new(Code::TooLarge, Known::Rejected);
            return Err(fault.with_detail("the head of the answer is too large"));
        }
        if headers::lengths_differ(&headers) || headers::is_transfer_coded(&headers) {
            let fault = answered(Code::ProtocolError);
            return Err(fault.with_detail("the answer's framing is not clear"));
        }
        let flow = Flow {
            status: head.status,
            incoming: Some(incoming),
            lease: Some(lease),
            pool,
            keep_alive: headers::keep_alive_timeout(&headers),
            doubtful: headers::framing_is_doubtful(&headers),
            attempt: Some(attempt),
        };
        headers::keep_end_to_end(&mut headers);
        Ok(Inbound {
            status: head.status,
            headers,
            flow,
        })
    }

    pub fn fault(&self, code: Code) -> Fault {
        Fault::answered(code, self.status.as_u16())
    }

    /// The failure that the status stands for.
    pub fn status_fault(&self) -> Fault {
        let is_gone = matches!(self.status.as_u16(), 404 | 410);
        Fault {
            retry_after: headers::retry_after(&self.headers),
            headers: is_gone.then(|| Arc::new(self.headers.clone())),
            ..self.fault(fault::code_of_status(self.status))
        }
    }

    /// The length of the body, if the head says it.
    pub fn length(&self) -> Option<u64> {
        let text = self.headers.get(CONTENT_LENGTH)?.to_str().ok()?;
        text.parse().ok()
    }
}

impl<D: Dial> Flow<D> {
    /// The next part of the body; `None` at its end. Trailers are dropped.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Fault>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            let Some((lease, incoming)) = self.lease.as_mut().zip(self.incoming.as_mut()) else {
                return Poll::Ready(None);
            };
            match ready!(lease.poll_frame(incoming, context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => {
                        self.see_the_end(context);
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    _ => continue,
                },
                Some(Err(error)) => {
                    (self.lease, self.incoming) = (None, None);
                    let fault = fault::of_body(&error, self.status.as_u16());
                    return Poll::Ready(Some(Err(fault)));
                }
                None => {
                    self.give_back();
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// After the last byte of a known length: whoever counts along asks for no more, so the connection
    /// goes back now.
    fn see_the_end(&mut self, context: &mut Context<'_>) {
        let Some((lease, incoming)) = self.lease.as_mut().zip(self.incoming.as_mut()) else {
            return;
        };
        if incoming.is_end_stream()
            && let Poll::Ready(None) = lease.poll_frame(incoming, context)
        {
            self.give_back();
        }
    }

    /// What is still to come, as far as it is known.
    pub fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }

    /// Gives the attempt's place back before the body has ended.
    pub fn release(&mut self) {
        self.attempt = None;
    }

    /// Nobody wants the rest. A rest that is small, or is there already, is read for the sake of the
    /// connection; nobody waits for it.
    pub fn discard(mut self, tasks: &Tasks) {
        self.release();
        let known_to_be_small = self
            .size_hint()
            .upper()
            .is_some_and(|most| most <= WORTH_DRAINING);
        let mut drained = 0;
        let mut context = Context::from_waker(Waker::noop());
        while drained <= WORTH_DRAINING {
            match self.poll_chunk(&mut context) {
                Poll::Ready(Some(Ok(bytes))) => drained += bytes.len() as u64,
                Poll::Ready(_) => return,
                Poll::Pending if known_to_be_small => {
                    // With no room in the set the connection is closed, which is all that is lost.
                    let _ = tasks.spawn(self.drain());
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    async fn drain(mut self) {
        let to_the_end = async { while let Some(Ok(_)) = self.chunk().await {} };
        let _ = timeout(DRAINED_WITHIN, to_the_end).await;
    }

    fn give_back(&mut self) {
        self.incoming = None;
        self.release();
        if let Some(Lease::One(one)) = self.lease.take()
            && !self.doubtful
        {
            self.pool.give_back(one, self.keep_alive);
        }
    }
}

impl<D: Dial> Drop for Flow<D> {
    /// Dropping the rest of a body on a shared connection resets its stream, which is budgeted.
    fn drop(&mut self) {
        if let Some((Lease::Two(two), incoming)) = self.lease.take().zip(self.incoming.take()) {
            two.abandon(incoming);
        }
    }
}
