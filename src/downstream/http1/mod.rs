//! Exchanges over an HTTP/1.1 connection (RFC 9112), one at a time, driven from inside the call's own
//! future. Ours and not hyper's client, which costs a task or a channel for each connection, buffers
//! that idle connections keep, and a header map for each request.
//!
//! A connection owns bytes only while an exchange needs them: the thread has one buffer that heads and
//! the beginnings of bodies are read into; a long body is read where it will stay.

pub mod answer;
mod chunks;
#[cfg(test)]
mod tests;
pub mod writing;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, BytesMut};
use http_body::SizeHint;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use crate::downstream::connection::Outgoing;
use crate::downstream::http1::answer::{Framing, Head, Parsed, Wanted};
use crate::downstream::http1::chunks::Chunks;
use crate::downstream::http1::writing::{Unwritten, Writing};
use crate::downstream::meter::{Counts, Meter};
use crate::engine::fetch::ByteStream;
use crate::worker;

/// What the head of an answer may hold, interim ones before it included.
pub const HEAD_BYTES: usize = 64 * 1024;
pub const HEAD_LINES: usize = 128;

/// What is read at a time where nobody knows how much will come.
const READ_BYTES: usize = 32 * 1024;

/// How much room is made at once for a body of a known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// For all of it, up to a megabyte: it is collected. Memory that nothing is read into costs nothing.
    Whole,
    /// For a part, which is handed on.
    Part,
}

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Why an exchange broke.
#[derive(Debug)]
pub enum Trouble {
    Io(io::Error),
    /// The service closed the connection where something had to follow.
    Ended,
    /// The head is longer, or has more lines, than is read.
    TooLarge,
    /// What came is not HTTP/1.1, or its framing is not clear.
    Malformed {
        status: Option<u16>,
        detail: &'static str,
    },
    /// The request's own body could not be read to its end.
    SourceBroke,
}

/// A request.
pub struct Message {
    /// From the request line to the empty line.
    pub head: Vec<u8>,
    pub body: Outgoing,
    pub wanted: Wanted,
}

/// One connection.
pub struct One<T> {
    io: Meter<T>,
    counts: Arc<Counts>,
    writing: Writing<ByteStream>,
    reading: Reading,
    /// What was read behind the head, and nobody asked for yet.
    rest: BytesMut,
    /// The service will take another request behind this one.
    persists: bool,
    /// It carried a request before this one.
    used: bool,
    /// After this it takes no further request.
    pub retire_at: Instant,
    /// The worker whose runtime looks after its socket.
    pub worker: usize,
}

enum Reading {
    /// No request is under way.
    Idle,
    Head(Heading),
    /// What is left of a body.
    Body(Rest),
    /// Nothing more can be read.
    Closed,
}

/// A head that is arriving.
struct Heading {
    wanted: Wanted,
    partial: Vec<u8>,
    /// Bytes of interim answers.
    interim: usize,
}

enum Rest {
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

impl<T: AsyncRead + AsyncWrite + Unpin> One<T> {
    pub fn new(io: T, retire_at: Instant) -> One<T> {
        let (io, counts) = Meter::new(io);
        One {
            io,
            counts,
            writing: Writing::default(),
            reading: Reading::Idle,
            rest: BytesMut::new(),
            persists: true,
            used: false,
            retire_at,
            worker: worker::here(),
        }
    }

    pub fn io_mut(&mut self) -> &mut T {
        self.io.inner_mut()
    }

    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    pub fn is_used(&self) -> bool {
        self.used
    }

    pub fn mark_used(&mut self) {
        self.used = true;
    }

    /// Takes a request, to be sent with [`One::poll_head`].
    pub fn begin(&mut self, message: Message) {
        self.reading = Reading::Head(Heading {
            wanted: message.wanted,
            partial: Vec::new(),
            interim: 0,
        });
        self.writing = match message.body {
            Outgoing::Whole(bytes) => Writing::whole(message.head, bytes),
            Outgoing::Streamed(stream) => Writing::streamed(message.head, stream),
        };
    }

    /// Whether the last exchange is complete on both sides, and another may follow it.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.reading, Reading::Idle)
    }

    /// Whether another request may be sent: it is at rest, nothing unread is left, and the service has
    /// not closed.
    pub fn is_reusable(&mut self) -> bool {
        if !self.is_at_rest() {
            return false;
        }
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut self.io).poll_read(&mut context, &mut buffer);
        if polled.is_ready() {
            self.reading = Reading::Closed;
        }
        polled.is_pending()
    }

    /// Sends the request and reads the head of its final answer. The request may still be on its way
    /// then; reading the body goes on with it.
    pub fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, Trouble>> {
        let mut failed = None;
        match self.writing.poll(&mut self.io, context) {
            Poll::Ready(Err(Unwritten::SourceBroke)) => {
                return self.fail(Trouble::SourceBroke);
            }
            // The service may have answered before it closed.
            Poll::Ready(Err(Unwritten::Io(error))) => failed = Some(Trouble::Io(error)),
            _ => {}
        }
        loop {
            match self.poll_heading(context) {
                Poll::Ready(Ok(Some(head))) => {
                    if failed.is_some() {
                        self.persists = false;
                    }
                    self.begin_body(&head);
                    return Poll::Ready(Ok(head));
                }
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(trouble)) => return self.fail(trouble),
                Poll::Pending => match failed {
                    Some(trouble) => return self.fail(trouble),
                    None => return Poll::Pending,
                },
            }
        }
    }

    /// Reads once, and takes a head out of what there is.
    fn poll_heading(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Head>, Trouble>> {
        let Reading::Head(heading) = &mut self.reading else {
            return Poll::Ready(Err(Trouble::Ended));
        };
        BUFFER.with_borrow_mut(|buffer| {
            let bytes = ready!(poll_read(&mut self.io, context, buffer))?;
            if bytes.is_empty() {
                return Poll::Ready(Err(Trouble::Ended));
            }
            let found = heading.take(bytes)?;
            Poll::Ready(Ok(found.map(|(head, rest)| {
                self.rest = rest;
                head
            })))
        })
    }

    fn begin_body(&mut self, head: &Head) {
        self.persists &= head.persists;
        let rest = match head.framing {
            Framing::Empty | Framing::Length(0) => return self.end(),
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Chunks::default()),
            Framing::UntilClose => Rest::UntilClose,
        };
        self.reading = Reading::Body(rest);
    }

    /// Adds what comes next of the body to `into`; `None` at the body's end. Never more than one read.
    pub fn poll_fill(
        &mut self,
        into: &mut BytesMut,
        room: Room,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<(), Trouble>>> {
        if !self.writing.is_done()
            && let Poll::Ready(Err(unwritten)) = self.writing.poll(&mut self.io, context)
        {
            self.persists = false;
            if matches!(unwritten, Unwritten::SourceBroke) {
                return self.fail(Trouble::SourceBroke).map(Some);
            }
        }
        let Reading::Body(rest) = &mut self.reading else {
            return match self.reading {
                Reading::Idle | Reading::Closed => Poll::Ready(None),
                _ => Poll::Ready(Some(Err(Trouble::Ended))),
            };
        };
        let filled = match rest {
            Rest::Length(left) => {
                ready!(poll_length(
                    left,
                    room.bytes().max(into.len()),
                    &mut self.io,
                    &mut self.rest,
                    into,
                    context
                ))
            }
            Rest::Chunked(chunks) => {
                ready!(poll_chunked(
                    chunks,
                    &mut self.io,
                    &mut self.rest,
                    into,
                    context
                ))
            }
            Rest::UntilClose => {
                ready!(poll_until_close(
                    &mut self.io,
                    &mut self.rest,
                    into,
                    context
                ))
            }
        };
        match filled {
            Ok(Filled::More) => Poll::Ready(Some(Ok(()))),
            Ok(Filled::Last) => {
                self.end();
                Poll::Ready(Some(Ok(())))
            }
            Ok(Filled::End) => {
                self.end();
                Poll::Ready(None)
            }
            Err(trouble) => self.fail(trouble).map(Some),
        }
    }

    /// Whether nothing of the body is to come.
    pub fn is_at_end(&self) -> bool {
        matches!(self.reading, Reading::Idle | Reading::Closed)
    }

    /// What is to come of the body, as far as it is known.
    pub fn size_hint(&self) -> SizeHint {
        match &self.reading {
            Reading::Body(Rest::Length(left)) => SizeHint::with_exact(*left),
            Reading::Idle | Reading::Closed => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }

    /// The answer is complete. Bytes behind it belong to nothing that was asked, and a request that
    /// was not sent to its end is in the way of the next.
    fn end(&mut self) {
        let is_clean = self.persists && self.rest.is_empty() && self.writing.is_done();
        self.reading = match is_clean {
            true => Reading::Idle,
            false => Reading::Closed,
        };
        self.rest = BytesMut::new();
    }

    fn fail<R>(&mut self, trouble: Trouble) -> Poll<Result<R, Trouble>> {
        self.reading = Reading::Closed;
        self.rest = BytesMut::new();
        Poll::Ready(Err(trouble))
    }
}

impl Heading {
    /// The final head, if it is complete, and what stands behind it.
    fn take(&mut self, new: &[u8]) -> Result<Option<(Head, BytesMut)>, Trouble> {
        let joined;
        let mut bytes = new;
        if !self.partial.is_empty() {
            let searched = self.partial.len().saturating_sub(3);
            self.partial.extend_from_slice(new);
            if !ends_a_head(&self.partial[searched..]) {
                return self.wait();
            }
            joined = std::mem::take(&mut self.partial);
            bytes = &joined;
        }
        loop {
            // No answer begins with an empty line; what is left of another exchange might.
            if bytes.starts_with(b"\r") || bytes.starts_with(b"\n") {
                return Err(Trouble::Malformed {
                    status: None,
                    detail: "the answer begins with an empty line",
                });
            }
            match answer::parse(bytes, self.wanted)? {
                Parsed::Partial => {
                    self.partial = bytes.to_vec();
                    return self.wait();
                }
                Parsed::Interim(length) => {
                    self.interim += length;
                    bytes = &bytes[length..];
                    if bytes.is_empty() {
                        return self.wait();
                    }
                }
                Parsed::Final(_, length) if self.interim + length > HEAD_BYTES => {
                    return Err(Trouble::TooLarge);
                }
                Parsed::Final(head, length) => {
                    return Ok(Some((head, BytesMut::from(&bytes[length..]))));
                }
            }
        }
    }

    fn wait<H>(&self) -> Result<Option<H>, Trouble> {
        match self.interim + self.partial.len() > HEAD_BYTES {
            true => Err(Trouble::TooLarge),
            false => Ok(None),
        }
    }
}

/// Whether an empty line stands in `bytes`; a head that has none need not be parsed yet.
fn ends_a_head(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| {
        let behind = &bytes[at + 1..];
        behind.starts_with(b"\r\n") || behind.starts_with(b"\n")
    })
}

/// What one read brought of a body.
enum Filled {
    More,
    /// Its last bytes.
    Last,
    /// Nothing: it had ended.
    End,
}

fn poll_length<T: AsyncRead + Unpin>(
    left: &mut u64,
    room: usize,
    io: &mut T,
    rest: &mut BytesMut,
    into: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<Result<Filled, Trouble>> {
    let most = usize::try_from(*left).unwrap_or(usize::MAX);
    let count = match rest.is_empty() {
        false => {
            // Mostly that is all, and need not be divided.
            let taken = match most >= rest.len() {
                true => std::mem::take(rest),
                false => rest.split_to(most),
            };
            add(into, taken)
        }
        true => {
            into.reserve(most.min(room));
            let count = ready!(poll_read_buf(Pin::new(io), context, &mut into.limit(most)))?;
            if count == 0 {
                return Poll::Ready(Err(Trouble::Ended));
            }
            count
        }
    };
    *left -= count as u64;
    Poll::Ready(Ok(match *left {
        0 => Filled::Last,
        _ => Filled::More,
    }))
}

fn poll_chunked<T: AsyncRead + Unpin>(
    chunks: &mut Chunks,
    io: &mut T,
    rest: &mut BytesMut,
    into: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<Result<Filled, Trouble>> {
    let before = into.len();
    loop {
        match rest.is_empty() {
            false => {
                let bytes = rest.split();
                let taken = chunks.decode(&bytes, into)?;
                rest.extend_from_slice(&bytes[taken..]);
            }
            true => {
                let read = BUFFER.with_borrow_mut(|buffer| {
                    let bytes = ready!(poll_read(io, context, buffer))?;
                    if bytes.is_empty() {
                        return Poll::Ready(Err(Trouble::Ended));
                    }
                    let taken = chunks.decode(bytes, into)?;
                    rest.extend_from_slice(&bytes[taken..]);
                    Poll::Ready(Ok(()))
                });
                ready!(read)?;
            }
        }
        match (chunks.is_at_end(), into.len() > before) {
            (true, true) => return Poll::Ready(Ok(Filled::Last)),
            (true, false) => return Poll::Ready(Ok(Filled::End)),
            (false, true) => return Poll::Ready(Ok(Filled::More)),
            (false, false) => {}
        }
    }
}

fn poll_until_close<T: AsyncRead + Unpin>(
    io: &mut T,
    rest: &mut BytesMut,
    into: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<Result<Filled, Trouble>> {
    if !rest.is_empty() {
        add(into, rest.split());
        return Poll::Ready(Ok(Filled::More));
    }
    into.reserve(READ_BYTES.max(into.len()));
    // No more than this beyond whatever limit the reader has.
    let mut part = into.limit(READ_BYTES);
    let count = ready!(poll_read_buf(Pin::new(io), context, &mut part))?;
    Poll::Ready(Ok(match count {
        0 => Filled::End,
        _ => Filled::More,
    }))
}

fn add(into: &mut BytesMut, bytes: BytesMut) -> usize {
    let count = bytes.len();
    match into.is_empty() {
        true => *into = bytes,
        false => into.extend_from_slice(&bytes),
    }
    count
}

fn poll_read<'b, T: AsyncRead + Unpin>(
    io: &mut T,
    context: &mut Context<'_>,
    buffer: &'b mut [u8],
) -> Poll<io::Result<&'b [u8]>> {
    let mut filled = ReadBuf::new(buffer);
    ready!(Pin::new(io).poll_read(context, &mut filled))?;
    let count = filled.filled().len();
    Poll::Ready(Ok(&buffer[..count]))
}

impl Room {
    fn bytes(self) -> usize {
        match self {
            Room::Whole => 1024 * 1024,
            Room::Part => 64 * 1024,
        }
    }
}

// === impl Trouble

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Io(error) => error.fmt(formatter),
            Trouble::Ended => formatter.write_str("the connection was closed"),
            Trouble::TooLarge => formatter.write_str("the head of the answer is too large"),
            Trouble::Malformed { detail, .. } => formatter.write_str(detail),
            Trouble::SourceBroke => formatter.write_str("the request's body broke off"),
        }
    }
}
