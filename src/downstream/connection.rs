//! One open connection to a service, and how a request goes over it.
//!
//! An HTTP/1.1 connection ([`One`]) has no task of its own: whoever holds it drives it from inside the
//! call's own future, so that dropping the call closes the connection and nothing is left running. An
//! HTTP/2 connection is shared, so it is driven by a task; dropping a call resets its stream only.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use crate::downstream::fault::SourceBroke;
use crate::downstream::http1::{self, HEAD_BYTES, Message, Room, Trouble};
use crate::downstream::meter::{Counts, Meter};
use crate::downstream::tasks::Tasks;
use crate::downstream::tls::Stream;
use crate::engine::fetch::{ByteStream, StreamError};
use crate::policy::bucket::{Bucket, TOKEN};

/// What an HTTP/2 service may send before we have read it: of one stream, of all together.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// While streams are open, a silent HTTP/2 connection is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams of one HTTP/2 connection that we may reset: peers end a connection that resets too many
/// (nghttp2 33 a second, netty 200 in 30 s), and with it everybody's streams.
const RESETS_A_SECOND: u32 = 5;
const RESETS_AT_ONCE: u64 = 100;
/// What is read of an answer that nobody wants, instead of resetting its stream, and for how long.
const WORTH_READING: u64 = 1024 * 1024;
const READ_WITHIN: Duration = Duration::from_secs(10);

/// What a connection runs over.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for T {}

/// An HTTP/1.1 connection: of one request at a time.
pub type One<T> = http1::One<Stream<T>>;

/// A request as a connection of its version takes it.
pub enum Prepared {
    One(Message),
    Two(Box<Request<Outgoing>>),
}

/// The body of a request.
pub enum Outgoing {
    Whole(Bytes),
    /// The client's, as it arrives.
    Streamed(ByteStream),
}

/// A connection as one request has it.
pub enum Lease<T: Wire> {
    One(Box<One<T>>),
    Two(Box<Two>),
}

/// The head of an answer.
pub struct Head {
    pub status: StatusCode,
    /// Those of HTTP/1.1 are end-to-end only already.
    pub headers: HeaderMap,
    /// How long the service says it keeps an idle connection.
    pub keep_alive: Option<Duration>,
}

/// An HTTP/2 connection, of which leases are handed out.
pub struct Shared {
    sender: http2::SendRequest<Outgoing>,
    state: Arc<SharedState>,
}

/// One stream of an HTTP/2 connection.
pub struct Two {
    sender: http2::SendRequest<Outgoing>,
    used: bool,
    stream: Arc<OpenStream>,
    unanswered: Option<Unanswered>,
    /// The body of its answer, until that has ended.
    incoming: Option<Incoming>,
}

struct SharedState {
    /// Where streams end that may not be reset.
    tasks: Tasks,
    resets: Mutex<Bucket>,
    counts: Arc<Counts>,
    opened: Instant,
    retire_at: Instant,
    open_streams: AtomicUsize,
    /// What the peer allows.
    most_streams: AtomicUsize,
    /// When the last stream ended, in milliseconds after `opened`.
    last_used: AtomicU64,
}

/// Counts a stream for as long as it is open.
struct OpenStream(Arc<SharedState>);

/// Why an exchange broke.
pub enum Broken {
    One(Trouble),
    Two {
        error: hyper::Error,
        /// The request was handed back unsent.
        unsent: bool,
    },
}

// === impl Lease

impl<T: Wire> Lease<T> {
    pub fn version(&self) -> Version {
        match self {
            Lease::One(_) => Version::HTTP_11,
            Lease::Two(_) => Version::HTTP_2,
        }
    }

    pub fn counts(&self) -> Arc<Counts> {
        match self {
            Lease::One(one) => one.counts().clone(),
            Lease::Two(two) => two.stream.0.counts.clone(),
        }
    }

    pub fn is_used(&self) -> bool {
        match self {
            Lease::One(one) => one.is_used(),
            Lease::Two(two) => two.used,
        }
    }

    /// Takes a request, prepared for this version, to be sent with [`Lease::poll_head`].
    pub fn begin(&mut self, prepared: Prepared) {
        match (self, prepared) {
            (Lease::One(one), Prepared::One(message)) => one.begin(message),
            (Lease::Two(two), Prepared::Two(request)) => two.begin(*request),
            _ => unreachable!("a request is prepared for the version of its lease"),
        }
    }

    /// Sends the request and waits for the head of its answer.
    pub fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        match self {
            Lease::One(one) => {
                let head = ready!(one.poll_head(context)).map_err(Broken::One)?;
                Poll::Ready(Ok(Head {
                    status: head.status,
                    headers: head.headers,
                    keep_alive: head.keep_alive,
                }))
            }
            Lease::Two(two) => two.poll_head(context),
        }
    }

    /// Adds what comes next of the answer's body to `into`; `None` at its end. Trailers are dropped.
    pub fn poll_fill(
        &mut self,
        into: &mut BytesMut,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<(), Broken>>> {
        match self {
            Lease::One(one) => {
                let filled = ready!(one.poll_fill(into, Room::Whole, context));
                Poll::Ready(filled.map(|filled| filled.map_err(Broken::One)))
            }
            Lease::Two(two) => {
                let filled = ready!(two.poll_data(context));
                Poll::Ready(filled.map(|data| data.map(|data| add(into, data))))
            }
        }
    }

    /// What comes next of the answer's body, as it comes.
    pub fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        match self {
            Lease::One(one) => {
                let mut into = BytesMut::new();
                let filled = ready!(one.poll_fill(&mut into, Room::Part, context));
                let data = filled.map(|filled| filled.map(|()| fitted(into)));
                Poll::Ready(data.map(|data| data.map_err(Broken::One)))
            }
            Lease::Two(two) => two.poll_data(context),
        }
    }

    /// Whether it is known already that nothing of the body is to come.
    pub fn is_at_end(&mut self, context: &mut Context<'_>) -> bool {
        match self {
            Lease::One(one) => one.is_at_end(),
            Lease::Two(two) => two.is_at_end(context),
        }
    }

    /// What is still to come of the body, as far as it is known.
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Lease::One(one) => one.size_hint(),
            Lease::Two(two) => match &two.incoming {
                // An answer to HEAD has ended, whatever length it says.
                Some(incoming) if !incoming.is_end_stream() => incoming.size_hint(),
                _ => SizeHint::with_exact(0),
            },
        }
    }
}

/// A part that may be kept for a while, without the room that it did not fill.
fn fitted(part: BytesMut) -> Bytes {
    match part.len() < part.capacity() / 4 {
        true => Bytes::copy_from_slice(&part),
        false => part.freeze(),
    }
}

fn add(into: &mut BytesMut, data: Bytes) {
    match data.try_into_mut() {
        Ok(data) if into.is_empty() => *into = data,
        Ok(data) => into.extend_from_slice(&data),
        Err(data) => into.extend_from_slice(&data),
    }
}

fn broken(mut error: TrySendError<Request<Outgoing>>) -> Broken {
    let unsent = error.take_message().is_some();
    Broken::Two {
        error: error.into_error(),
        unsent,
    }
}

// === impl Shared

impl Shared {
    pub async fn open<T: Wire>(
        stream: Stream<T>,
        retire_at: Instant,
        tasks: Tasks,
    ) -> hyper::Result<Shared> {
        let (meter, counts) = Meter::new(stream);
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_BYTES as u32)
            .handshake(TokioIo::new(meter))
            .await?;
        let opened = Instant::now();
        let resets = Bucket::new(RESETS_A_SECOND, RESETS_AT_ONCE * TOKEN, opened);
        let state = Arc::new(SharedState {
            tasks,
            resets: Mutex::new(resets),
            counts,
            opened,
            retire_at,
            open_streams: AtomicUsize::new(0),
            most_streams: AtomicUsize::new(connection.current_max_send_streams()),
            last_used: AtomicU64::new(0),
        });
        let watched = state.clone();
        tokio::spawn(std::future::poll_fn(move |context| {
            let polled = Pin::new(&mut connection).poll(context);
            let most = connection.current_max_send_streams();
            watched.most_streams.store(most, Ordering::Relaxed);
            // Its errors reach the streams.
            polled.map(drop)
        }));
        Ok(Shared { sender, state })
    }

    /// A stream of this connection, unless all that the peer allows are open.
    pub fn lease(&self, used: bool) -> Option<Two> {
        let most = self.state.most_streams.load(Ordering::Relaxed);
        let open = &self.state.open_streams;
        open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < most).then_some(count + 1)
        })
        .ok()?;
        Some(Two {
            sender: self.sender.clone(),
            used,
            stream: Arc::new(OpenStream(self.state.clone())),
            unanswered: None,
            incoming: None,
        })
    }

    /// Whether it takes further streams: not closed, not being closed by the peer, not too old.
    pub fn is_open(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.state.retire_at
    }

    /// Whether no stream was open for as long as `limit`.
    pub fn is_idle(&self, now: Instant, limit: Duration) -> bool {
        let last_used = Duration::from_millis(self.state.last_used.load(Ordering::Relaxed));
        self.state.open_streams.load(Ordering::Acquire) == 0
            && now.duration_since(self.state.opened + last_used) >= limit
    }

    pub fn was_opened_after(&self, moment: Instant) -> bool {
        self.state.opened > moment
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let lived = self.0.opened.elapsed().as_millis() as u64;
        self.0.last_used.fetch_max(lived, Ordering::Relaxed);
        self.0.open_streams.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl Two

type Sending = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Broken>> + Send>>;

/// A request whose answer has not begun. Dropping it resets the stream, as far as that is allowed.
struct Unanswered {
    sending: Option<Sending>,
    stream: Arc<OpenStream>,
}

impl Two {
    fn begin(&mut self, request: Request<Outgoing>) {
        let sending = self.sender.try_send_request(request);
        self.unanswered = Some(Unanswered {
            sending: Some(Box::pin(async move { sending.await.map_err(broken) })),
            stream: self.stream.clone(),
        });
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        let sending = self.unanswered.as_mut();
        let sending = sending.and_then(|unanswered| unanswered.sending.as_mut());
        let sending = sending.expect("a request was begun and is not answered");
        let answered = ready!(sending.as_mut().poll(context));
        if let Some(mut unanswered) = self.unanswered.take() {
            unanswered.sending = None;
        }
        let (head, incoming) = answered?.into_parts();
        self.incoming = Some(incoming);
        Poll::Ready(Ok(Head {
            status: head.status,
            headers: head.headers,
            keep_alive: None,
        }))
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        while let Some(incoming) = &mut self.incoming {
            let data = match ready!(Pin::new(incoming).poll_frame(context)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    self.incoming = None;
                    let unsent = false;
                    return Poll::Ready(Some(Err(Broken::Two { error, unsent })));
                }
                None => {
                    self.incoming = None;
                    break;
                }
            };
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
        Poll::Ready(None)
    }

    /// After the last byte of a known length nobody asks for more, so that the end is looked for here.
    fn is_at_end(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(incoming) = &mut self.incoming
            && incoming.is_end_stream()
            && let Poll::Ready(None) = Pin::new(incoming).poll_frame(context)
        {
            self.incoming = None;
        }
        self.incoming.is_none()
    }

    /// Nobody wants the rest of this body: its stream is reset, or read to its end where too many
    /// were reset.
    pub fn abandon(self) {
        let Some(incoming) = self.incoming else {
            return;
        };
        if !incoming.is_end_stream() && !self.stream.may_reset() {
            let tasks = self.stream.0.tasks.clone();
            // With no room in the set it is reset all the same.
            let _ = tasks.spawn(read_to_the_end(incoming, self.stream));
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let Some(sending) = self.sending.take() else {
            return;
        };
        if self.stream.may_reset() {
            return;
        }
        let stream = self.stream.clone();
        let work = async move {
            if let Ok(Ok(response)) = timeout(READ_WITHIN, sending).await {
                read_to_the_end(response.into_body(), stream).await;
            }
        };
        // With no room in the set it is reset all the same.
        let _ = self.stream.0.tasks.spawn(work);
    }
}

async fn read_to_the_end(mut incoming: Incoming, _stream: Arc<OpenStream>) {
    let mut left = WORTH_READING;
    let reading = async {
        while let Some(Ok(frame)) = incoming.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = timeout(READ_WITHIN, reading).await;
}

impl OpenStream {
    /// Takes the token of a reset.
    fn may_reset(&self) -> bool {
        let mut resets = self.0.resets.lock().unwrap_or_else(PoisonError::into_inner);
        resets.take(Instant::now())
    }
}

// === impl Outgoing

impl Body for Outgoing {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut *self {
            Outgoing::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Outgoing::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Outgoing::Streamed(stream) => Pin::new(stream)
                .poll_frame(context)
                .map_err(|_| SourceBroke.into()),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(bytes) => bytes.is_empty(),
            Outgoing::Streamed(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Outgoing::Streamed(stream) => stream.size_hint(),
        }
    }
}
