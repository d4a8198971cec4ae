//! Messages into sinks that take a little at a time, from sources that make one wait.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use fastrand::Rng;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncWrite;

use crate::downstream::http1::writing::Writing;

const HEAD: &[u8] = b"HEAD\r\n\r\n";

/// Whether somebody is to be woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Once in three times it is not ready.
fn makes_wait(rng: &mut Rng, context: &Context<'_>) -> bool {
    let waits = rng.u8(0..3) == 0;
    if waits {
        context.waker().wake_by_ref();
    }
    waits
}

struct Sink {
    rng: Rng,
    taken: Vec<u8>,
    flushed: usize,
    is_vectored: bool,
}

impl Sink {
    fn take(&mut self, bytes: &[u8], context: &Context<'_>) -> Poll<io::Result<usize>> {
        assert!(!bytes.is_empty());
        if makes_wait(&mut self.rng, context) {
            return Poll::Pending;
        }
        let count = self.rng.usize(1..=bytes.len().min(30));
        self.taken.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(bytes, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut all = slices.iter().filter(|slice| !slice.is_empty());
        let bytes: Vec<u8> = match self.is_vectored {
            true => all.flat_map(|slice| slice.to_vec()).collect(),
            false => all.next().map_or_else(Vec::new, |slice| slice.to_vec()),
        };
        self.take(&bytes, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if makes_wait(&mut self.rng, context) {
            return Poll::Pending;
        }
        self.flushed = self.taken.len();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        unreachable!("a message does not end its connection")
    }
}

/// `None` is a frame of trailers.
struct Source {
    rng: Rng,
    frames: VecDeque<Option<Bytes>>,
    length: Option<u64>,
    tells_end: bool,
}

impl Body for Source {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if makes_wait(&mut self.rng, context) {
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front().map(|frame| {
            Ok(match frame {
                Some(data) => Frame::data(data),
                None => Frame::trailers(HeaderMap::new()),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn frames(rng: &mut Rng) -> VecDeque<Option<Bytes>> {
    let frame = |rng: &mut Rng| match rng.u8(0..8) {
        0 => None,
        1 => Some(Bytes::new()),
        _ => Some((0..rng.usize(1..40)).map(|_| rng.u8(b'a'..=b'z')).collect()),
    };
    (0..rng.usize(0..5)).map(|_| frame(rng)).collect()
}

fn expected(frames: &VecDeque<Option<Bytes>>, in_chunks: bool) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    for data in frames.iter().flatten().filter(|data| !data.is_empty()) {
        if in_chunks {
            out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        }
        out.extend_from_slice(data);
        if in_chunks {
            out.extend_from_slice(b"\r\n");
        }
    }
    if in_chunks {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    out
}

#[test]
fn nothing_is_lost_repeated_or_left_lying() {
    for seed in 0..20_000 {
        let mut rng = Rng::with_seed(seed);
        let frames = frames(&mut rng);
        let in_chunks = rng.bool();
        let expected = expected(&frames, in_chunks);
        let length: usize = frames.iter().flatten().map(Bytes::len).sum();
        let source = Source {
            rng: rng.fork(),
            frames,
            length: (!in_chunks).then_some(length as u64),
            tells_end: rng.bool(),
        };
        let mut sink = Sink {
            rng: rng.fork(),
            taken: Vec::new(),
            flushed: 0,
            is_vectored: rng.bool(),
        };
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(flag.clone());
        let mut writing = Writing::streamed(HEAD.to_vec(), source);
        while writing
            .poll(&mut sink, &mut Context::from_waker(&waker))
            .map(|written| written.expect("nothing breaks"))
            .is_pending()
        {
            let is_woken = flag.0.swap(false, Ordering::SeqCst);
            assert!(is_woken, "seed {seed}: nobody wakes it");
        }
        let [taken, wanted] =
            [&sink.taken, &expected].map(|bytes| bytes.escape_ascii().to_string());
        assert_eq!(taken, wanted, "seed {seed}");
        assert_eq!(sink.flushed, expected.len(), "seed {seed}");
        assert!(writing.is_done());
    }
}

/// The head is out, also of a buffer, before a source is waited for.
#[test]
fn what_is_there_does_not_wait_for_the_rest() {
    let never = http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<Frame<Bytes>, Infallible>,
    >());
    let mut sink = Sink {
        rng: Rng::with_seed(1),
        taken: Vec::new(),
        flushed: 0,
        is_vectored: true,
    };
    let mut writing = Writing::streamed(HEAD.to_vec(), never);
    for _ in 0..100 {
        let polled = writing.poll(&mut sink, &mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    assert_eq!((&sink.taken[..], sink.flushed), (HEAD, HEAD.len()));
}
