//! An answer as it arrives: its head, checked, and its body part by part. The connection goes back to
//! its pool with the last part; an answer that is dropped before that closes it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::SizeHint;
use tokio::time::timeout;

use crate::downstream::attempt::Attempt;
use crate::downstream::connection::{Broken, Head, Lease};
use crate::downstream::dial::Dial;
use crate::downstream::fault::{self, Fault};
use crate::downstream::headers;
use crate::downstream::http1::{HEAD_BYTES, HEAD_LINES};
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
    /// `None` once the body has ended.
    lease: Option<Lease<D::Io>>,
    pool: Arc<Pool<D>>,
    keep_alive: Option<Duration>,
    /// Its place is given back with the end of the body.
    attempt: Option<Arc<Attempt>>,
}

impl<D: Dial> Inbound<D> {
    pub fn accept(
        head: Head,
        lease: Lease<D::Io>,
        pool: Arc<Pool<D>>,
        attempt: Arc<Attempt>,
    ) -> Result<Inbound<D>, Fault> {
        let headers = match lease {
            Lease::One(_) => head.headers,
            Lease::Two(_) => checked(head.status, head.headers)?,
        };
        let flow = Flow {
            status: head.status,
            lease: Some(lease),
            pool,
            keep_alive: head.keep_alive,
            attempt: Some(attempt),
        };
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
}

impl<D: Dial> Flow<D> {
    /// Adds the next part of the body to `into`; `None` at its end.
    pub async fn fill(&mut self, into: &mut BytesMut) -> Option<Result<(), Fault>> {
        std::future::poll_fn(|context| {
            let Some(lease) = &mut self.lease else {
                return Poll::Ready(None);
            };
            let filled = ready!(lease.poll_fill(into, context));
            Poll::Ready(self.after(filled, context))
        })
        .await
    }

    /// The next part of the body as it comes; `None` at its end.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(None);
        };
        let data = ready!(lease.poll_data(context));
        Poll::Ready(self.after(data, context))
    }

    /// Lets the connection go with the last part: whoever counts along asks for no more.
    fn after<P>(
        &mut self,
        part: Option<Result<P, Broken>>,
        context: &mut Context<'_>,
    ) -> Option<Result<P, Fault>> {
        match part {
            Some(Err(broken)) => {
                self.lease = None;
                Some(Err(fault::of_body(&broken, self.status.as_u16())))
            }
            Some(Ok(part)) => {
                let lease = self.lease.as_mut();
                if lease.is_some_and(|lease| lease.is_at_end(context)) {
                    self.give_back();
                }
                Some(Ok(part))
            }
            None => {
                self.give_back();
                None
            }
        }
    }

    /// What is still to come, as far as it is known.
    pub fn size_hint(&self) -> SizeHint {
        match &self.lease {
            Some(lease) => lease.size_hint(),
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
        let to_the_end = std::future::poll_fn(|context| {
            while let Some(Ok(_)) = ready!(self.poll_chunk(context)) {}
            Poll::Ready(())
        });
        let _ = timeout(DRAINED_WITHIN, to_the_end).await;
    }

    fn give_back(&mut self) {
        self.release();
        if let Some(Lease::One(one)) = self.lease.take() {
            self.pool.give_back(one, self.keep_alive);
        }
    }
}

impl<D: Dial> Drop for Flow<D> {
    /// Dropping the rest of a body on a shared connection resets its stream, which is budgeted.
    fn drop(&mut self) {
        if let Some(Lease::Two(two)) = self.lease.take() {
            two.abandon();
        }
    }
}

/// Checks what the client library has let pass of an HTTP/2 head, and takes out what is meant for the
/// connection.
fn checked(status: StatusCode, mut headers: HeaderMap) -> Result<HeaderMap, Fault> {
    let rejected = |code, detail| Err(Fault::new(code, Known::Rejected).with_detail(detail));
    if headers.len() > HEAD_LINES {
        return rejected(Code::TooLarge, "the answer has too many header lines");
    }
    // The library only stops reading at its limit: a head that came in one piece may be longer.
    if headers::written_size(&headers) > HEAD_BYTES {
        return rejected(Code::TooLarge, "the head of the answer is too large");
    }
    if headers::lengths_differ(&headers) || headers::is_transfer_coded(&headers) {
        let fault = Fault::answered(Code::ProtocolError, status.as_u16());
        return Err(fault.with_detail("the answer's framing is not clear"));
    }
    headers::keep_end_to_end(&mut headers);
    Ok(headers)
}
