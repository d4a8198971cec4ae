//! A listener with its connections, and how to end all of them at once.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::demo::message::{Answer, Request};

const MAX_CONNECTIONS: usize = 1024;
const MAX_BODY: usize = 1024 * 1024;

/// A server that runs until it is closed or dropped.
pub(super) struct Listening {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Listening {
    pub fn start<F, R>(listener: TcpListener, answer: F) -> Listening
    where
        F: Fn(Request) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, stopped, answer));
        Listening { stop, task }
    }

    /// Closes the port and cuts every connection, as the end of a process would.
    pub async fn close(self) {
        drop(self.stop);
        // The task has nothing to say: it only ends.
        let _ = self.task.await;
    }
}

/// Accepts until `stopped` says so, or until nobody is left who could.
async fn accept<F, R>(listener: TcpListener, mut stopped: oneshot::Receiver<()>, answer: F)
where
    F: Fn(Request) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, answer.clone()));
                }
                // Out of file descriptors, say: some will be given back.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn converse<F, R>(stream: TcpStream, answer: F)
where
    F: Fn(Request) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    // Without it, an answer's last packet may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let response = match Limited::new(body, MAX_BODY).collect().await {
                Ok(body) => {
                    let body = body.to_bytes();
                    answer(Request::new(head.method, &head.uri, head.headers, body)).await
                }
                Err(_) => respond(Answer::refuse(413, "the body is too large")),
            };
            Ok::<_, Infallible>(response)
        }
    });
    // An error here is the other side's going away, which is its right.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An answer as it goes out.
pub(super) fn respond(answer: Answer) -> Response<Body> {
    let body = Body::whole(answer.body, 0);
    let mut response = response(answer.status, "application/json", body);
    if let Some(words) = answer.cache_control {
        let value = HeaderValue::from_static(words);
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

/// A 200 that promises more than it brings.
pub(super) fn cut_short() -> Response<Body> {
    let half = Bytes::from_static(b"{\"half\": \"an ans");
    response(200, "application/json", Body::whole(half, 100))
}

/// A 200 with something else than JSON in it.
pub(super) fn not_json() -> Response<Body> {
    let page = Bytes::from_static(b"<html><body>Down for maintenance</body></html>\n");
    response(200, "text/html", Body::whole(page, 0))
}

fn response(status: u16, content_type: &str, body: Body) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(http::header::CONTENT_TYPE, content_type)
        .body(body)
        .expect("the demo's statuses and content types are valid")
}

/// Bytes in one piece, and perhaps some that are promised and never come.
pub(super) struct Body {
    bytes: Option<Bytes>,
    length: u64,
    missing: u64,
    paused: bool,
}

impl Body {
    fn whole(bytes: Bytes, missing: u64) -> Body {
        Body {
            length: bytes.len() as u64 + missing,
            bytes: Some(bytes),
            missing,
            paused: false,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.missing == 0 {
            return Poll::Ready(None);
        }
        // One pause lets hyper send what it has; an error right away would take that along.
        if !self.paused {
            self.paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("cut short on purpose"))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && self.missing == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
