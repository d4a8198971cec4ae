//! One connection, from its first byte to its last: the guard, over it requests that are plain, and hyper
//! for all else, HTTP/1.1 or HTTP/2 as the client begins. Knows nothing of routes; requests go to a [`Serve`].

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use crate::moment;
use crate::plan::settings;
use crate::server::answer::Answer;
use crate::server::drain::{Drain, Phase};
use crate::server::guard::{Guard, Protocol};
use crate::server::link::{Link, Ticket};
use crate::server::plain::{self, Then};

/// What answers requests: the server itself, or a test.
pub trait Serve: Send + Sync + 'static {
    /// `None` is a body that has nothing to come. The head comes in a box, and the future is to be in one if it is
    /// large: neither is moved about then, and an idle connection keeps no place for them.
    fn serve(
        self: Arc<Self>,
        ticket: Ticket,
        head: Box<Parts>,
        body: Option<Incoming>,
    ) -> impl Future<Output = Response<Answer>> + Send + Unpin + 'static;

    /// Does `work`, one request of a connection that carries many at a time, where there is room for it.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(work);
    }
}

/// Spawns what belongs to an HTTP/2 connection.
struct Spawn<S>(Arc<S>);

impl<S> Clone for Spawn<S> {
    fn clone(&self) -> Self {
        Spawn(self.0.clone())
    }
}

impl<S: Serve, W: Future<Output = ()> + Send + 'static> Executor<W> for Spawn<S> {
    fn execute(&self, work: W) {
        self.0.spawn(work);
    }
}

/// Flow control windows for what clients send (Envoy's advice for an edge).
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
/// How often a quiet HTTP/2 client is asked whether it is there, and how long it may think.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// What HTTP/2 counts of a field beside its name and value (RFC 9113 §6.5.2), and the fields that are
/// not a header.
const FIELD: usize = 32;
const PSEUDO_FIELDS: usize = 8;

/// Streams opened and reset by a client, and streams that we reset, before the connection is ended.
const RESETS_PENDING: usize = 20;
const RESETS_BY_US: usize = 1024;

/// Serves one connection until it ends by itself or `drain` ends it.
pub async fn run<I, S>(
    io: I,
    peer: SocketAddr,
    settings: &settings::Server,
    service: Arc<S>,
    drain: &Drain,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Serve,
{
    let link = Link::new(peer);
    let Some((protocol, mut guard)) = begun(io, &link, settings, drain).await else {
        return;
    };
    match protocol {
        Protocol::One => match plain::serve(&mut guard, &link, &service, drain).await {
            Then::Other => Box::pin(run_one(guard, link, settings, service, drain)).await,
            Then::End => {
                let _ = guard.shutdown().await;
            }
            Then::Cut => {}
        },
        Protocol::Two => Box::pin(run_two(guard, link, settings, service, drain)).await,
    }
}

/// The same with hyper for all of HTTP/1.1: what ours is compared with.
#[cfg(test)]
pub async fn run_by_hyper<I, S>(
    io: I,
    peer: SocketAddr,
    settings: &settings::Server,
    service: Arc<S>,
    drain: &Drain,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Serve,
{
    let link = Link::new(peer);
    if let Some((Protocol::One, guard)) = begun(io, &link, settings, drain).await {
        run_one(guard, link, settings, service, drain).await;
    }
}

/// The guard of a connection on which something was said, and what it speaks. It is handed back, so
/// that what runs for as long as the connection does not keep a place for it twice.
async fn begun<I: AsyncRead + AsyncWrite + Unpin>(
    io: I,
    link: &Arc<Link>,
    settings: &settings::Server,
    drain: &Drain,
) -> Option<(Protocol, Guard<I>)> {
    let mut guard = Guard::new(io, link.clone(), &settings.limits, &settings.timeouts);
    let protocol = tokio::select! {
        biased;
        protocol = guard.protocol() => protocol.ok()??,
        () = drain.reached(Phase::Closing) => return None,
    };
    Some((protocol, guard))
}

fn run_one<I, S>(
    guard: Guard<I>,
    link: Arc<Link>,
    settings: &settings::Server,
    service: Arc<S>,
    drain: &Drain,
) -> impl Future<Output = ()> + Send
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Serve,
{
    let limits = &settings.limits;
    let head_bytes = limits.header_bytes + limits.uri + 1024;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The guard holds the clocks of heads and idle connections.
        .header_read_timeout(None)
        // The guard's limits are the narrower ones; hyper's only must not be narrower still.
        .max_buf_size((2 * head_bytes).max(64 * 1024))
        .max_header_size(2 * head_bytes);
    if limits.headers > 100 {
        builder.max_headers(limits.headers);
    }
    let mut connection = builder.serve_connection(TokioIo::new(guard), serving(link, service));
    async move {
        tokio::select! {
            biased;
            // An error here is a client that went away or does not read: the requests know.
            _ = &mut connection => return,
            () = drain.reached(Phase::Closing) => {}
        }
        Pin::new(&mut connection).graceful_shutdown();
        let _ = (&mut connection).await;
    }
}

async fn run_two<I, S>(
    guard: Guard<I>,
    link: Arc<Link>,
    settings: &settings::Server,
    service: Arc<S>,
    drain: &Drain,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Serve,
{
    let limits = &settings.limits;
    // What is above h2's limit it answers by itself, with a 431 that nobody counts. So that limit is
    // twice ours: what lies between is refused by us.
    let fields = FIELD * (limits.headers + PSEUDO_FIELDS);
    let header_list = 2 * (limits.header_bytes + limits.uri) + fields;
    let header_list = u32::try_from(header_list).unwrap_or(u32::MAX);
    let mut connection = pin!(
        http2::Builder::new(Spawn(service.clone()))
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(header_list)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(RESETS_PENDING)
            .max_local_error_reset_streams(RESETS_BY_US)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(guard), serving(link.clone(), service))
    );
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = drain.reached(Phase::Grace) => {}
        () = idle(&link, settings.timeouts.idle) => {}
        () = stalled(&link, settings.timeouts.write_stall) => return,
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = connection => {}
        () = stalled(&link, settings.timeouts.write_stall) => {}
        () = abandoned(&link, settings.timeouts.write_stall) => {}
    }
}

fn serving<S: Serve>(
    link: Arc<Link>,
    service: Arc<S>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<Answer>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Answer>, Infallible>> + Send + 'static,
> {
    service_fn(move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let body = (!body.is_end_stream()).then_some(body);
        let work = service.clone().serve(link.begin(), Box::new(head), body);
        moment::by_turns(work).map(Ok)
    })
}

/// Ends when no request was in flight for `limit`.
async fn idle(link: &Link, limit: Duration) {
    loop {
        let end = link.idle_since().unwrap_or_else(Instant::now) + limit;
        if end <= Instant::now() {
            return;
        }
        sleep_until(end).await;
    }
}

/// Ends when, from now on, no request was in flight for `limit`: a client that keeps a connection open
/// after it was told that it ends.
async fn abandoned(link: &Link, limit: Duration) {
    tokio::time::sleep(limit).await;
    idle(link, limit).await;
}

/// Ends when some answer could not be written for `limit`; looked after once in that time.
async fn stalled(link: &Link, limit: Duration) {
    loop {
        tokio::time::sleep(limit).await;
        if link.is_stalled(limit) {
            return;
        }
    }
}
