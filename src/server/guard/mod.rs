//! Stands at the socket and reads the raw bytes of every head and of chunk framing before anybody else
//! does, keep-alive and pipelining included. A plain request it gives to [`plain`](crate::server::plain) as a
//! whole ([`Guard::poll_next`]), all else is read through it by hyper.
//!
//! Hyper drops a Content-Length beside Transfer-Encoding and takes a bare LF before a handler could
//! see it; so what reaches hyper here is known to be one strict message after the other, byte for byte
//! as the client sent it, but for the name of `upgrade` ([`head::hide_upgrade`]). In the place of a
//! message that is refused hyper is given a request of our own, which is answered with the refusal in
//! its turn, after the answers to what came before it, and ends the connection. A body that breaks off
//! ends there, and whoever reads it asks the [`Link`] why.
//!
//! It also holds the clocks that only somebody at the socket can: for a head, for an idle connection,
//! and for a peer that does not read. It knows nothing of routes. Read [`framing`] next.

pub mod chunk;
pub mod framing;
pub mod head;
pub mod line;
pub mod refusal;

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::engine::code::Code;
use crate::moment;
use crate::plan::settings::{Limits, Timeouts};
use crate::server::guard::framing::Framing;
use crate::server::guard::refusal::Refusal;
use crate::server::link::Link;
use crate::server::woken::Woken;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    One,
    Two,
}

/// What comes next on a connection of HTTP/1.
#[derive(Debug)]
pub enum Next {
    /// The head of a plain request, which is all of it.
    Plain {
        head: Bytes,
        /// How many header lines it has.
        headers: usize,
        asks_end: bool,
    },
    /// Anything else, a refusal too. It is there to be read.
    Other,
    /// The client sends no more.
    End,
}

/// The client connection preface of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What hyper is given in the place of a message that is refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// How much is read at once where bytes are looked at.
const READ_SIZE: usize = 8 * 1024;

/// After a connection's last answer: what the client still sends is read and dropped for a while, for
/// closing over unread bytes would reset the connection and take the answer with it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

pub struct Guard<I> {
    io: I,
    link: Arc<Link>,
    timeouts: Timeouts,
    accepted: Instant,
    stage: Stage,
    framing: Framing,
    /// What arrived and was not handed over; empty, and without memory, while nothing is half there.
    buffer: BytesMut,
    /// So many bytes at the front of `buffer` are fit to be handed over.
    passed: usize,
    /// What is waited for, and until when.
    waiting: Option<(Wait, Instant)>,
    /// Fires at that moment or before it, since most waits end early and the next one is as good with
    /// the clock of the last.
    read_clock: Option<Clock>,
    write_clock: Option<Pin<Box<Sleep>>>,
    shutdown: Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// HTTP/1: every byte of framing is looked at.
    Framed,
    /// HTTP/2: bytes go through as they are.
    Opaque,
    /// The stand-in was handed over; nothing else is read.
    Refused,
    /// Hyper is told that the client sends no more.
    Ended,
}

/// What the read clock runs for; the number is that of the heads passed when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Head(u64),
    Idle(u64),
}

enum Shutdown {
    Open,
    Lingering(Pin<Box<Sleep>>, usize),
    Done,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Guard<I> {
    pub fn new(io: I, link: Arc<Link>, limits: &Limits, timeouts: &Timeouts) -> Guard<I> {
        Guard {
            io,
            link,
            timeouts: timeouts.clone(),
            accepted: moment::now(),
            stage: Stage::Framed,
            framing: Framing::new(framing::Limits {
                header_bytes: limits.header_bytes,
                headers: limits.headers,
                uri: limits.uri,
            }),
            buffer: BytesMut::new(),
            passed: 0,
            waiting: None,
            read_clock: None,
            write_clock: None,
            shutdown: Shutdown::Open,
        }
    }

    /// Waits until it can be told what the client speaks; `None` if it never began to.
    pub async fn protocol(&mut self) -> io::Result<Option<Protocol>> {
        let protocol = poll_fn(|context| self.poll_protocol(context)).await?;
        if protocol == Some(Protocol::Two) {
            self.stage = Stage::Opaque;
            self.passed = self.buffer.len();
            self.waiting = None;
            self.read_clock = None;
        }
        Ok(protocol)
    }

    fn poll_protocol(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Protocol>>> {
        loop {
            let seen = self.buffer.len().min(PREFACE.len());
            if self.buffer[..seen] != PREFACE[..seen] {
                return Poll::Ready(Ok(Some(Protocol::One)));
            }
            if seen == PREFACE.len() {
                return Poll::Ready(Ok(Some(Protocol::Two)));
            }
            let some = (!self.buffer.is_empty()).then_some(Protocol::One);
            match self.poll_fill(context)? {
                Poll::Ready(0) => return Poll::Ready(Ok(some)),
                Poll::Ready(_) => {}
                Poll::Pending => {
                    ready!(self.poll_read_clock(context));
                    return Poll::Ready(Ok(some));
                }
            }
        }
    }

    /// Waits for what comes next, for whoever answers plain requests without hyper.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Next>> {
        loop {
            match self.stage {
                Stage::Framed if self.passed == 0 => {}
                Stage::Ended => return Poll::Ready(Ok(Next::End)),
                _ => return Poll::Ready(Ok(Next::Other)),
            }
            if self.examine() {
                let last = self.framing.last().filter(|_| self.stage == Stage::Framed);
                if let Some(&head::Head {
                    is_plain: true,
                    headers,
                    asks_end,
                    ..
                }) = last
                {
                    return Poll::Ready(Ok(Next::Plain {
                        head: self.take_passed(),
                        headers,
                        asks_end,
                    }));
                }
                continue;
            }
            let read = self.poll_fill(context)?;
            ready!(self.poll_after(read, context));
        }
    }

    /// Ready when a read has changed something: bytes came, or the end, or nothing for too long.
    fn poll_after(&mut self, read: Poll<usize>, context: &mut Context<'_>) -> Poll<()> {
        match read {
            Poll::Ready(0) => self.end(),
            Poll::Ready(_) => {}
            Poll::Pending => {
                ready!(self.poll_read_clock(context));
                self.give_up_waiting();
            }
        }
        Poll::Ready(())
    }

    fn take_passed(&mut self) -> Bytes {
        match std::mem::take(&mut self.passed) {
            all if all == self.buffer.len() => std::mem::take(&mut self.buffer).freeze(),
            some => self.buffer.split_to(some).freeze(),
        }
    }

    /// Ready when the client has gone while its answer is made. What it sends meanwhile is kept, and
    /// nothing is read behind it, so that then nobody is woken any more if it goes.
    pub fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.buffer.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(context)) {
            Ok(count) if count > 0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Reads what is there into `buffer`. The read goes over the stack, so that a connection that
    /// waits holds no memory for it.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; READ_SIZE];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(context, &mut read))?;
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Hands over what is fit; false when nothing is.
    fn hand_over(&mut self, out: &mut ReadBuf<'_>) -> bool {
        if self.passed == 0 {
            return false;
        }
        let count = self.passed.min(out.remaining());
        out.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        self.passed -= count;
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        true
    }

    /// Bytes that need no look go straight to the reader.
    fn poll_straight(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = usize::try_from(self.framing.unexamined()).unwrap_or(usize::MAX);
        let mut space = [const { MaybeUninit::uninit() }; READ_SIZE];
        let mut read = ReadBuf::uninit(&mut space[..most.min(READ_SIZE).min(out.remaining())]);
        ready!(Pin::new(&mut self.io).poll_read(context, &mut read))?;
        let count = read.filled().len();
        if count == 0 {
            self.end_in_message();
            return Poll::Ready(Ok(()));
        }
        out.put_slice(read.filled());
        self.framing.skip(count as u64);
        Poll::Ready(Ok(()))
    }

    /// Reads what is there to where the reader wants it and looks at it in its place: mostly a whole
    /// head. What is not fit to be handed over yet goes to `buffer`.
    fn poll_in_place(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let start = out.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, out))?;
        let arrived = &mut out.filled_mut()[start..];
        let count = arrived.len();
        let passed = match pass(&mut self.framing, arrived) {
            Ok(passed) => {
                self.buffer.extend_from_slice(&arrived[passed..]);
                passed
            }
            Err(refusal) => {
                self.refuse(refusal);
                0
            }
        };
        out.set_filled(start + passed);
        Poll::Ready(Ok(count))
    }

    /// Looks at what has arrived; true when there is something new to be done.
    fn examine(&mut self) -> bool {
        match pass(&mut self.framing, &mut self.buffer) {
            Ok(0) => false,
            Ok(passed) => {
                self.passed = passed;
                true
            }
            Err(refusal) => {
                self.refuse(refusal);
                true
            }
        }
    }

    /// In a head, the stand-in takes the message's place; in a body, the body ends here.
    fn refuse(&mut self, refusal: Refusal) {
        self.waiting = None;
        if self.framing.is_at_head() {
            self.link.refuse_head(self.framing.heads() + 1, refusal);
            self.buffer = BytesMut::from(STAND_IN);
            self.passed = STAND_IN.len();
            self.stage = Stage::Refused;
        } else {
            self.link.refuse_body(self.framing.heads(), refusal);
            self.buffer = BytesMut::new();
            self.stage = Stage::Ended;
        }
    }

    /// The client sends no more.
    fn end(&mut self) {
        if self.framing.is_at_head() {
            self.stage = Stage::Ended;
            self.waiting = None;
        } else {
            self.end_in_message();
        }
    }

    fn end_in_message(&mut self) {
        self.refuse(Refusal::bad("the body ended before its end"));
    }

    /// What is waited for while nothing arrives, and until when; `None` while an answer is made.
    fn wait(&self) -> Option<(Wait, Instant)> {
        let heads = self.framing.heads();
        if heads == 0 {
            return Some((Wait::Head(0), self.accepted + self.timeouts.headers));
        }
        if !self.buffer.is_empty() {
            return Some((Wait::Head(heads), moment::now() + self.timeouts.headers));
        }
        let ended = self.link.ended(heads)?;
        Some((Wait::Idle(heads), ended + self.timeouts.idle))
    }

    /// Nobody wakes us when an answer has ended; so the clock runs meanwhile, and fires before the
    /// connection has been idle for too long.
    fn poll_stand_by(&mut self, context: &mut Context<'_>) {
        let time = self.timeouts.idle.max(Duration::from_millis(1));
        let clock = self
            .read_clock
            .get_or_insert_with(|| Clock::new(moment::now() + time));
        while clock.poll(context).is_ready() {
            clock.reset(moment::now() + time);
        }
    }

    /// Ready when what is waited for took too long.
    fn poll_read_clock(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.framing.is_at_head() {
            self.waiting = None;
            return Poll::Pending;
        }
        let Some((wait, deadline)) = self.wait() else {
            self.waiting = None;
            self.poll_stand_by(context);
            return Poll::Pending;
        };
        let deadline = match self.waiting {
            Some((known, deadline)) if known == wait => deadline,
            _ => self.waiting.insert((wait, deadline)).1,
        };
        let clock = self.read_clock.get_or_insert_with(|| Clock::new(deadline));
        if clock.deadline() > deadline {
            clock.reset(deadline);
        }
        loop {
            ready!(clock.poll(context));
            if clock.deadline() >= deadline {
                return Poll::Ready(());
            }
            clock.reset(deadline);
        }
    }

    /// A head that does not get complete is refused; a connection on which nothing is said ends.
    fn give_up_waiting(&mut self) {
        if self.buffer.is_empty() {
            self.end();
        } else {
            self.refuse(Refusal::new(
                Code::RequestTimeout,
                "the head was not complete within `server.timeouts.headers`",
            ));
        }
    }

    /// Writing made no progress: for how long?
    fn poll_write_clock(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let stall = self.timeouts.write_stall;
        let clock = self
            .write_clock
            .get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(clock.as_mut().poll(context));
        Poll::Ready(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read",
        ))
    }

    fn poll_writing<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_pending() {
            return self.poll_write_clock(context).map(Err);
        }
        self.write_clock = None;
        result
    }

    fn is_unread(&self) -> bool {
        match self.stage {
            Stage::Framed => !self.framing.is_at_head() || !self.buffer.is_empty(),
            Stage::Refused => true,
            Stage::Ended => self.link.has_refused(),
            Stage::Opaque => false,
        }
    }

    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Shutdown::Lingering(clock, left) = &mut self.shutdown else {
                return Poll::Ready(());
            };
            if *left == 0 || clock.as_mut().poll(context).is_ready() {
                break;
            }
            let mut space = [const { MaybeUninit::uninit() }; READ_SIZE];
            let mut read = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(context, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {
                    *left = left.saturating_sub(read.filled().len());
                }
                _ => break,
            }
        }
        self.shutdown = Shutdown::Done;
        Poll::Ready(())
    }
}

/// A sleep that is polled only once it is over, or to wake somebody else: a look costs less.
struct Clock {
    sleep: Pin<Box<Sleep>>,
    woken: Woken,
}

impl Clock {
    fn new(deadline: Instant) -> Clock {
        Clock {
            sleep: Box::pin(sleep_until(deadline)),
            woken: Woken::default(),
        }
    }

    fn deadline(&self) -> Instant {
        self.sleep.deadline()
    }

    fn reset(&mut self, deadline: Instant) {
        self.sleep.as_mut().reset(deadline);
        self.woken.forget();
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.woken.is_still(context) && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        // Polled so seldom, it may not put off its answer.
        pin!(unconstrained(self.sleep.as_mut())).poll(context)
    }
}

/// How many of the bytes may be handed over.
fn pass(framing: &mut Framing, bytes: &mut [u8]) -> Result<usize, Refusal> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let was_at_head = framing.is_at_head();
    let passed = framing.advance(bytes)?;
    if was_at_head && framing.last().is_some_and(|head| head.asks_upgrade) {
        head::hide_upgrade(&mut bytes[..passed]);
    }
    Ok(passed)
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.hand_over(out) {
                return Poll::Ready(Ok(()));
            }
            match this.stage {
                Stage::Opaque => return Pin::new(&mut this.io).poll_read(context, out),
                Stage::Refused => return Poll::Pending,
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Framed => {}
            }
            let is_empty = this.buffer.is_empty();
            if is_empty && this.framing.unexamined() > 0 {
                ready!(this.poll_straight(context, out))?;
                return Poll::Ready(Ok(()));
            }
            if this.examine() {
                continue;
            }
            let filled = out.filled().len();
            let read = match is_empty && out.remaining() > 0 {
                true => this.poll_in_place(context, out)?,
                false => this.poll_fill(context)?,
            };
            if out.filled().len() > filled {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_after(read, context));
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(context, bytes);
        this.poll_writing(context, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.poll_writing(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_flush(context);
        if result.is_pending() {
            return this.poll_write_clock(context).map(Err);
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.shutdown, Shutdown::Open) {
            let result = Pin::new(&mut this.io).poll_shutdown(context);
            ready!(this.poll_writing(context, result))?;
            this.shutdown = if this.is_unread() {
                Shutdown::Lingering(Box::pin(sleep(LINGER)), LINGER_BYTES)
            } else {
                Shutdown::Done
            };
        }
        this.poll_linger(context).map(Ok)
    }
}

#[cfg(test)]
mod tests;
