//! A message on its way out, to a service or to a client: a head that is written already, and a body
//! that is there or streams.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::AsyncWrite;

/// What is left of a message; at rest there is nothing.
pub struct Writing<S> {
    /// The head, or the line of a chunk's size, and how much of it is written.
    line: Vec<u8>,
    written: usize,
    data: Bytes,
    /// What ends a chunk.
    tail: &'static [u8],
    source: Option<Source<S>>,
    needs_flush: bool,
}

struct Source<S> {
    stream: S,
    /// What the head said of the length and did not come yet; `None`: it goes in chunks.
    left: Option<u64>,
}

/// Why a message was not written to its end.
#[derive(Debug)]
pub enum Unwritten {
    Io(io::Error),
    /// Its body broke off, or is not as long as was said.
    SourceBroke,
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Unwritten {
        Unwritten::Io(error)
    }
}

impl<S> Default for Writing<S> {
    fn default() -> Self {
        Writing {
            line: Vec::new(),
            written: 0,
            data: Bytes::new(),
            tail: b"",
            source: None,
            needs_flush: false,
        }
    }
}

impl<S: Body<Data = Bytes> + Unpin> Writing<S> {
    /// `head` is all from the first line to the empty one.
    pub fn whole(head: Vec<u8>, data: Bytes) -> Writing<S> {
        Writing {
            line: head,
            data,
            needs_flush: true,
            ..Writing::default()
        }
    }

    /// In chunks, unless the stream knows its length; the head has to say the same. The stream is dropped
    /// as soon as all of it was taken, be it written or not.
    pub fn streamed(head: Vec<u8>, stream: S) -> Writing<S> {
        let left = stream.size_hint().exact();
        Writing {
            line: head,
            source: (left != Some(0)).then_some(Source { stream, left }),
            needs_flush: true,
            ..Writing::default()
        }
    }

    pub fn is_done(&self) -> bool {
        !self.needs_flush
    }

    /// Writes as much as is taken; ready when all is on its way.
    pub fn poll<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Unwritten>> {
        while self.needs_flush {
            let mut waits = false;
            if self.asks_source() {
                // What is there of the body goes out with the head.
                waits = self.poll_source(context)?.is_pending();
            }
            ready!(self.poll_pieces(io, context))?;
            if waits {
                // What was written may not wait for what comes next.
                ready!(Pin::new(&mut *io).poll_flush(context))?;
                return Poll::Pending;
            }
            if self.source.is_none() {
                ready!(Pin::new(&mut *io).poll_flush(context))?;
                *self = Writing::default();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// There is more of the body, and nothing of it is held here.
    fn asks_source(&self) -> bool {
        self.source.is_some() && self.data.is_empty() && self.tail.is_empty()
    }

    /// Takes what comes next of the body.
    fn poll_source(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Unwritten> {
        let Some(source) = &mut self.source else {
            return Ok(Poll::Ready(()));
        };
        let (data, mut has_ended) = match Pin::new(&mut source.stream).poll_frame(context) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(None) => (Bytes::new(), true),
            // Trailers are dropped.
            Poll::Ready(Some(Ok(frame))) => (
                frame.into_data().unwrap_or_default(),
                source.stream.is_end_stream(),
            ),
            Poll::Ready(Some(Err(_))) => return Err(Unwritten::SourceBroke),
        };
        if let Some(left) = &mut source.left {
            let length = data.len() as u64;
            *left = left.checked_sub(length).ok_or(Unwritten::SourceBroke)?;
            if has_ended && *left > 0 {
                return Err(Unwritten::SourceBroke);
            }
            // It has said its length, and need not say its end.
            has_ended = *left == 0;
        } else if !data.is_empty() {
            // Writing to a vector does not fail.
            let _ = write!(self.line, "{:x}\r\n", data.len());
            self.tail = match has_ended {
                true => b"\r\n0\r\n\r\n",
                false => b"\r\n",
            };
        } else if has_ended {
            self.line.extend_from_slice(b"0\r\n\r\n");
        }
        self.data = data;
        if has_ended {
            self.source = None;
        }
        Ok(Poll::Ready(()))
    }

    fn poll_pieces<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let line = &self.line[self.written..];
            let is_line_alone = self.data.is_empty() && self.tail.is_empty();
            let count = match (line.is_empty(), is_line_alone) {
                (true, true) => {
                    self.line.clear();
                    self.written = 0;
                    return Poll::Ready(Ok(()));
                }
                (false, true) => ready!(Pin::new(&mut *io).poll_write(context, line))?,
                _ => {
                    let pieces = [line, &self.data, self.tail].map(IoSlice::new);
                    ready!(Pin::new(&mut *io).poll_write_vectored(context, &pieces))?
                }
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
    }

    fn advance(&mut self, count: usize) {
        let of_line = count.min(self.line.len() - self.written);
        self.written += of_line;
        let of_data = (count - of_line).min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[count - of_line - of_data..];
    }
}

#[cfg(test)]
mod tests;
