//! What is written to the client: the head we make ourselves, and the body as it is asked for.
//!
//! Framing is always ours: a length that is known is said, anything else is sent in chunks, and a
//! stream that breaks off cuts the connection, so that nobody takes a part for the whole.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

use crate::downstream::silence::Silence;
use crate::engine::code::Code;
use crate::engine::fetch::{ByteStream, StreamError};
use crate::engine::reply::{Problem, ReplyBody};
use crate::server::detached::Job;
use crate::server::holding::holding;
use crate::server::known::Known;
use crate::server::link::Ticket;
use crate::server::report::Report;

/// The most that is handed over at once where many answers share a connection: so that it shows
/// when a client takes no more.
const SHARED_FRAME: usize = 16 * 1024;

pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
static PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An answer before it is framed.
pub struct Content {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: ReplyBody,
}

impl Content {
    pub fn problem(problem: &Problem, request_id: &str) -> Content {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, PROBLEM.clone());
        if let Some(seconds) = problem.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        Content {
            status: problem.status,
            headers,
            body: ReplyBody::Bytes(problem.body(request_id).into()),
        }
    }

    /// An answer that is all head.
    pub fn empty(status: u16) -> Content {
        Content {
            status,
            headers: HeaderMap::new(),
            body: ReplyBody::Bytes(Bytes::new()),
        }
    }
}

/// How an answer is to be written.
pub struct Manner {
    /// HEAD: everything but the body.
    pub is_head: bool,
    /// HTTP/2: several answers share the connection.
    pub is_shared: bool,
    /// HTTP/1: the connection ends with this answer.
    pub closes: bool,
    pub write_stall: Duration,
}

/// Frames `content`. What is to happen when it was written goes with the body.
pub fn frame(content: Content, manner: &Manner, ticket: Ticket, after: After) -> Response<Answer> {
    let Content {
        status,
        mut headers,
        body,
    } = content;
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|status| status.as_u16() >= 200)
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let known = Known::of(&headers);
    // No route and no service may set these on an answer of ours.
    known.remove_hop_by_hop(&mut headers);
    let said = match known.has(Known::CONTENT_LENGTH) {
        true => headers.remove(CONTENT_LENGTH),
        false => None,
    };
    let body = frame_body(status, body, said, manner, &mut headers);
    if manner.closes && !manner.is_shared {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let answer = Answer::new(body, manner, ticket, after);
    let mut response = Response::new(answer);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// `said` is the length that a passed answer had: only of use where no body follows.
fn frame_body(
    status: StatusCode,
    body: ReplyBody,
    said: Option<HeaderValue>,
    manner: &Manner,
    headers: &mut HeaderMap,
) -> Part {
    match status.as_u16() {
        204 | 304 => return Part::End,
        // RFC 9110 §15.3.6: it has a length like any other, and that is none.
        205 => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            return Part::End;
        }
        _ => {}
    }
    if manner.is_head {
        let length = match &body {
            ReplyBody::Bytes(bytes) => Some(HeaderValue::from(bytes.len())),
            ReplyBody::Stream(_) => said,
        };
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length);
        }
        return Part::End;
    }
    match body {
        ReplyBody::Bytes(bytes) if bytes.is_empty() => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            Part::End
        }
        ReplyBody::Bytes(bytes) => Part::Bytes(bytes),
        ReplyBody::Stream(stream) => Part::Stream(stream, Silence::default()),
    }
}

/// What happens when an answer was written, or could not be.
pub struct After {
    pub report: Report,
    pub detached: Vec<Job>,
}

/// The body of an answer.
pub struct Answer {
    part: Part,
    stall: Duration,
    after: Option<After>,
    held: Held,
}

/// Where the connection is shared, each frame that is handed over holds the ticket too: HTTP/2 keeps
/// the last ones back until the client makes room, and that is still to wait for the client.
enum Held {
    Alone { _ticket: Ticket },
    Shared(Arc<Ticket>),
}

impl Held {
    fn shared(&self) -> Option<&Arc<Ticket>> {
        match self {
            Held::Alone { .. } => None,
            Held::Shared(ticket) => Some(ticket),
        }
    }
}

enum Part {
    End,
    Bytes(Bytes),
    Stream(ByteStream, Silence),
}

impl Answer {
    fn new(part: Part, manner: &Manner, ticket: Ticket, after: After) -> Answer {
        if manner.is_shared && !matches!(part, Part::End) {
            ticket.waits_for_client();
        }
        Answer {
            part,
            stall: manner.write_stall,
            after: Some(after),
            held: match manner.is_shared {
                true => Held::Shared(Arc::new(ticket)),
                false => Held::Alone { _ticket: ticket },
            },
        }
    }

    /// A body of these bytes and nothing after it: for tests of what lies below.
    #[cfg(test)]
    pub fn plain(bytes: Bytes, ticket: Ticket) -> Answer {
        Answer::of(Part::Bytes(bytes), ticket)
    }

    /// The same of a stream.
    #[cfg(test)]
    pub fn streamed(stream: ByteStream, ticket: Ticket) -> Answer {
        Answer::of(Part::Stream(stream, Silence::default()), ticket)
    }

    #[cfg(test)]
    fn of(part: Part, ticket: Ticket) -> Answer {
        Answer {
            part,
            stall: Duration::from_secs(10),
            after: None,
            held: Held::Alone { _ticket: ticket },
        }
    }

    fn take_bytes(&mut self) -> Bytes {
        let Part::Bytes(bytes) = &mut self.part else {
            return Bytes::new();
        };
        if self.held.shared().is_some() && bytes.len() > SHARED_FRAME {
            return bytes.split_to(SHARED_FRAME);
        }
        let all = std::mem::take(bytes);
        self.part = Part::End;
        all
    }

    fn poll_stream(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let Part::Stream(stream, silence) = &mut self.part else {
            return Poll::Ready(None);
        };
        loop {
            let frame = match Pin::new(&mut *stream).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(silence.poll(self.stall, context));
                    return Poll::Ready(Some(Err("the service sends no more".into())));
                }
            };
            silence.end();
            match frame {
                None => {
                    self.part = Part::End;
                    return Poll::Ready(None);
                }
                // Trailers are dropped.
                Some(Ok(frame)) if !frame.is_data() => {}
                Some(frame) => {
                    // Nobody asks for more once a length that was said is reached.
                    if frame.is_ok() && stream.is_end_stream() {
                        self.part = Part::End;
                    }
                    return Poll::Ready(Some(frame));
                }
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        let polled = match &this.part {
            Part::End => return Poll::Ready(None),
            Part::Bytes(_) => Poll::Ready(Some(Ok(Frame::data(this.take_bytes())))),
            Part::Stream(..) => this.poll_stream(context),
        };
        if let Some(ticket) = this.held.shared() {
            match &polled {
                Poll::Pending => ticket.waits_for_us(),
                Poll::Ready(_) => ticket.waits_for_client(),
            }
        }
        if let (Poll::Ready(Some(Err(_))), Some(after)) = (&polled, &mut this.after) {
            after.report.failed(Code::Truncated);
        }
        match this.held.shared() {
            Some(ticket) => polled.map_ok(|frame| {
                let ticket = ticket.clone();
                frame.map_data(|data| holding(data, ticket))
            }),
            None => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.part, Part::End)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.part {
            Part::End => SizeHint::with_exact(0),
            Part::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Part::Stream(stream, _) => stream.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(After {
            mut report,
            detached,
        }) = self.after.take()
        else {
            return;
        };
        if !matches!(self.part, Part::End) {
            report.failed(Code::ClientGone);
        }
        for job in detached {
            job.queue();
        }
    }
}
