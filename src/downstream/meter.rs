//! Counts the bytes of a connection. From an error alone nobody can tell whether a service closed an
//! idle connection or broke off an answer; whether bytes came back since the request began tells.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What went over a connection since it was opened.
#[derive(Debug, Default)]
pub struct Counts {
    read: AtomicU64,
    written: AtomicU64,
}

/// A number of bytes in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub read: u64,
    pub written: u64,
}

impl Counts {
    pub fn now(&self) -> Moved {
        Moved {
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
        }
    }

    pub fn since(&self, start: Moved) -> Moved {
        let now = self.now();
        Moved {
            read: now.read - start.read,
            written: now.written - start.written,
        }
    }
}

/// A connection that counts.
pub struct Meter<S> {
    inner: S,
    counts: Arc<Counts>,
}

impl<S> Meter<S> {
    pub fn new(inner: S) -> (Meter<S>, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        let meter = Meter {
            inner,
            counts: counts.clone(),
        };
        (meter, counts)
    }

    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    #[cfg(test)]
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn wrote(&self, count: usize) -> usize {
        self.counts
            .written
            .fetch_add(count as u64, Ordering::Relaxed);
        count
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Meter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        self.counts.read.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Meter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        Poll::Ready(Ok(self.wrote(count)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write_vectored(context, slices))?;
        Poll::Ready(Ok(self.wrote(count)))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn both_directions_are_counted_from_a_start() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut meter, counts) = Meter::new(near);
        meter.write_all(b"abc").await.unwrap();
        let start = counts.now();
        assert_eq!((start.read, start.written), (0, 3));
        far.write_all(b"hello").await.unwrap();
        let mut buffer = [0; 5];
        meter.read_exact(&mut buffer).await.unwrap();
        meter.write_all(b"d").await.unwrap();
        let moved = counts.since(start);
        assert_eq!((moved.read, moved.written), (5, 1));
    }
}
