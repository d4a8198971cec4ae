//! A request on its way out: a head that is written already, and a body that is there or streams.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::downstream::connection::Outgoing;
use crate::downstream::http1::Trouble;
use crate::downstream::http1::answer::Wanted;
use crate::engine::fetch::ByteStream;

/// A request.
pub struct Message {
    /// From the request line to the empty line.
    pub head: Vec<u8>,
    pub body: Outgoing,
    pub wanted: Wanted,
}

/// What is left of a request; at rest there is nothing.
#[derive(Default)]
pub struct Writing {
    /// The head, or the line of a chunk's size, and how much of it is written.
    line: Vec<u8>,
    written: usize,
    data: Bytes,
    /// What ends a chunk.
    tail: &'static [u8],
    source: Option<Source>,
    needs_flush: bool,
}

struct Source {
    stream: ByteStream,
    /// What the head said of the length and did not come yet; `None`: it goes in chunks.
    left: Option<u64>,
}

impl Writing {
    pub fn new(message: Message) -> Writing {
        let (data, source) = match message.body {
            Outgoing::Whole(bytes) => (bytes, None),
            Outgoing::Streamed(stream) => {
                let left = stream.size_hint().exact();
                (Bytes::new(), Some(Source { stream, left }))
            }
        };
        Writing {
            line: message.head,
            data,
            source,
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
    ) -> Poll<Result<(), Trouble>> {
        while self.needs_flush {
            ready!(self.poll_pieces(io, context))?;
            let Some(source) = &mut self.source else {
                ready!(Pin::new(&mut *io).poll_flush(context))?;
                *self = Writing::default();
                break;
            };
            match Pin::new(&mut source.stream).poll_frame(context) {
                Poll::Pending => {
                    // What was written may not wait for what comes next.
                    ready!(Pin::new(&mut *io).poll_flush(context))?;
                    return Poll::Pending;
                }
                Poll::Ready(None) => self.end_source()?,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Trouble::SourceBroke)),
                // Trailers are dropped.
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.take(data)?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, data: Bytes) -> Result<(), Trouble> {
        let Some(source) = self.source.as_mut().filter(|_| !data.is_empty()) else {
            return Ok(());
        };
        match &mut source.left {
            Some(left) => {
                let length = data.len() as u64;
                *left = left.checked_sub(length).ok_or(Trouble::SourceBroke)?;
            }
            None => {
                // Writing to a vector does not fail.
                let _ = write!(self.line, "{:x}\r\n", data.len());
                self.tail = b"\r\n";
            }
        }
        self.data = data;
        Ok(())
    }

    fn end_source(&mut self) -> Result<(), Trouble> {
        match self.source.take().and_then(|source| source.left) {
            Some(0) => {}
            Some(_) => return Err(Trouble::SourceBroke),
            None => self.line.extend_from_slice(b"0\r\n\r\n"),
        }
        Ok(())
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
