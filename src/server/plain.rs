//! Requests of HTTP/1.1 that are all head and ask nothing of their connection, one after the other: what
//! nearly all are. The guard has read every byte of such a head already, and its answer is a head and
//! bytes; hyper would read it once more, and keeps its buffers and a machine for bodies for as long as a
//! connection is open. Whatever else comes on a connection is hyper's, from there to its end.

mod head;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::downstream::http1::writing::Writing;
use crate::engine::code::Code;
use crate::server::connection::Serve;
use crate::server::drain::{Drain, Phase};
use crate::server::guard::refusal::Refusal;
use crate::server::guard::{Guard, Next};
use crate::server::link::Link;

/// How it goes on with a connection.
pub enum Then {
    /// Something is to be read that is not for here.
    Other,
    /// The connection is to be ended.
    End,
    /// It is to be cut: nothing can be said any more.
    Cut,
}

/// Answers plain requests until something else comes.
pub async fn serve<I, S>(
    guard: &mut Guard<I>,
    link: &Arc<Link>,
    service: &Arc<S>,
    drain: &Drain,
) -> Then
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Serve,
{
    let mut closing = pin!(drain.reached(Phase::Closing));
    loop {
        let next = poll_fn(|context| {
            if let Poll::Ready(next) = guard.poll_next(context) {
                // Of a socket that broke nothing more comes either.
                return Poll::Ready(next.unwrap_or(Next::End));
            }
            closing.as_mut().poll(context).map(|()| Next::End)
        });
        let (head, headers, mut asks_end) = match next.await {
            Next::Plain {
                head,
                headers,
                asks_end,
            } => (head, headers, asks_end),
            Next::Other => return Then::Other,
            Next::End => return Then::End,
        };
        let ticket = link.begin();
        let parts = head::read(&head, headers).unwrap_or_else(|| {
            link.refuse_head(ticket.number(), unreadable());
            asks_end = true;
            head::empty()
        });
        drop(head);
        let answered = {
            let mut work = service.clone().serve(ticket, parts, None);
            poll_fn(|context| match Pin::new(&mut work).poll(context) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending => guard.poll_gone(context).map(|()| None),
            })
            .await
        };
        let Some(response) = answered else {
            return Then::Cut;
        };
        let (head, answer) = response.into_parts();
        let text = head::write(head, &answer, asks_end);
        let mut writing = Writing::streamed(text.bytes, answer);
        let written = poll_fn(|context| match writing.poll(guard, context) {
            Poll::Ready(written) => Poll::Ready(written.is_ok()),
            Poll::Pending => guard.poll_gone(context).map(|()| false),
        });
        if !written.await {
            return Then::Cut;
        }
        if text.ends_connection {
            return Then::End;
        }
    }
}

/// With the limits that are there by default every head can be read that the guard lets through.
fn unreadable() -> Refusal {
    Refusal::new(
        Code::HeadersTooLarge,
        "a header is longer, or there are more, than can be held",
    )
}
