//! The client's body: read to its end before any call starts, or handed on as it arrives.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::engine::code::Code;
use crate::engine::fetch::{ByteStream, StreamError};
use crate::plan::settings;
use crate::policy::memory::Reservation;
use crate::server::guard::refusal::Refusal;
use crate::server::holding::holding;

/// A body may be slow for so long before its rate counts.
const GRACE: Duration = Duration::from_secs(2);

/// What holds for a body that is read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub most: usize,
    /// Bytes a second; 0 is any rate.
    pub rate: usize,
    pub deadline: Instant,
}

impl Bounds {
    /// By when more must have arrived than `received`.
    fn patience(&self, started: Instant, received: usize) -> Instant {
        if self.rate == 0 {
            return self.deadline;
        }
        self.deadline
            .min(started + GRACE + earned(received, self.rate))
    }
}

/// The time that so many bytes may take.
fn earned(received: usize, rate: usize) -> Duration {
    Duration::from_secs_f64(received as f64 / rate as f64)
}

/// Whether a body already says that it is larger than `most`.
pub fn is_too_large(body: &impl Body, most: usize) -> bool {
    body.size_hint().lower() > most as u64
}

pub fn too_large() -> Refusal {
    Refusal::new(
        Code::BodyTooLarge,
        "the body is larger than the route or `server.limits.body` allows",
    )
}

/// Reads a body to its end. What broke it off, if it broke off, is asked of `why`. It stays reserved
/// for as long as any part of it is there; what is only announced takes no memory from others.
pub async fn read<B>(
    mut body: B,
    bounds: Bounds,
    mut reservation: Reservation,
    why: impl Fn() -> Option<Refusal>,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    if is_too_large(&body, bounds.most) {
        return Err(too_large());
    }
    let started = Instant::now();
    let mut gathered = Gathered::default();
    while !body.is_end_stream() {
        let patience = bounds.patience(started, gathered.length());
        let frame = match timeout_at(patience, body.frame()).await {
            Err(_) => return Err(too_slow()),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(why().unwrap_or_else(broken)),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers are dropped.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if gathered.length() + data.len() > bounds.most {
            return Err(too_large());
        }
        reservation.grow(data.len()).map_err(|_| no_memory())?;
        gathered.add(data);
    }
    let bytes = gathered.into_bytes();
    if bytes.is_empty() {
        return Ok(bytes);
    }
    Ok(holding(bytes, reservation))
}

fn no_memory() -> Refusal {
    Refusal::new(
        Code::Overloaded,
        "there is no memory left for the body at this moment",
    )
}

fn too_slow() -> Refusal {
    Refusal::new(
        Code::RequestTimeout,
        "the body arrives more slowly than `server.timeouts.body_rate` or the route's timeout allows",
    )
}

fn broken() -> Refusal {
    Refusal::bad("the body broke off")
}

/// What arrived: the first piece is kept as it came, for most bodies have no second.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    fn length(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn add(&mut self, data: Bytes) {
        if self.length() == 0 {
            self.first = data;
            return;
        }
        if !self.first.is_empty() {
            self.all.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.all.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}

/// Why a streamed body broke off, for whoever answers the request.
pub type Broken = Arc<OnceLock<Refusal>>;

/// Hands a body on as it arrives: bounded, and broken off where nothing arrives for `write_stall`, or
/// less than `body_rate` while it is waited for.
pub fn stream<B>(
    body: B,
    most: usize,
    timeouts: &settings::Timeouts,
    why: impl Fn() -> Option<Refusal> + Send + Unpin + 'static,
) -> (ByteStream, Broken)
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    let reason = Broken::default();
    let streamed = Streamed {
        body,
        left: most,
        received: 0,
        rate: timeouts.body_rate,
        stall: timeouts.write_stall,
        clock: Box::pin(sleep(Duration::ZERO)),
        waits_since: None,
        waited: Duration::ZERO,
        why,
        reason: reason.clone(),
    };
    (ByteStream::new(streamed), reason)
}

struct Streamed<B, W> {
    body: B,
    left: usize,
    received: usize,
    rate: usize,
    stall: Duration,
    /// Runs while the client is waited for.
    clock: Pin<Box<Sleep>>,
    waits_since: Option<Instant>,
    /// In all, before that. The service's time is not the client's.
    waited: Duration,
    why: W,
    reason: Broken,
}

impl<B, W> Streamed<B, W>
where
    B: Body<Data = Bytes> + Unpin,
    W: Fn() -> Option<Refusal>,
{
    fn poll_clock(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waits_since.is_none() {
            let now = Instant::now();
            self.waits_since = Some(now);
            let patience = match self.rate {
                0 => self.stall,
                rate => {
                    let all = GRACE + earned(self.received, rate);
                    self.stall.min(all.saturating_sub(self.waited))
                }
            };
            self.clock.as_mut().reset(now + patience);
        }
        self.clock.as_mut().poll(context)
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Refusal>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.poll_clock(context));
                    return Poll::Ready(Some(Err(too_slow())));
                }
            };
            if let Some(since) = self.waits_since.take() {
                self.waited += since.elapsed();
            }
            return Poll::Ready(match frame {
                None => None,
                Some(Err(_)) => Some(Err((self.why)().unwrap_or_else(broken))),
                Some(Ok(frame)) => match frame.into_data() {
                    // Trailers are dropped.
                    Err(_) => continue,
                    Ok(data) if data.len() > self.left => Some(Err(too_large())),
                    Ok(data) => {
                        self.left -= data.len();
                        self.received += data.len();
                        Some(Ok(data))
                    }
                },
            });
        }
    }
}

impl<B, W> Body for Streamed<B, W>
where
    B: Body<Data = Bytes> + Unpin,
    W: Fn() -> Option<Refusal> + Unpin,
{
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(this.poll_data(context)) {
            None => None,
            Some(Ok(data)) => Some(Ok(Frame::data(data))),
            Some(Err(refusal)) => {
                let _ = this.reason.set(refusal);
                Some(Err(refusal.detail.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
