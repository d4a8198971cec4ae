//! The admin listener: health, metrics, what is in force; reload and drain.
//!
//! A small HTTP/1.1 server apart from the clients' one, so that it answers while that one is busy or
//! draining. Reading changes nothing; whatever changes something is POST and asks where it comes from
//! ([`origin`]), because a browser on the operator's machine reaches this port too. What it can be
//! asked stands in [`answers`].

mod answers;
mod origin;
mod purge;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::reload::Generations;
use crate::server::drain::Drain;
use crate::server::load::Load;
use crate::telemetry::Telemetry;

/// Connections at a time: probes, a scraper, an operator.
const CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES: usize = 16 * 1024;

/// What the admin listener tells of, and what it may set going.
pub struct Admin {
    pub generations: Arc<Generations>,
    pub telemetry: Arc<Telemetry>,
    pub drain: Drain,
    pub load: Load,
    pub started: SystemTime,
}

/// Answers on `listener` until it is dropped.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = connections.clone().acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of file descriptors, most likely: give others time to close some.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let _permit = permit;
            converse(stream, admin).await;
        });
    }
}

async fn converse(stream: TcpStream, admin: Arc<Admin>) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let service = service_fn(move |request| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(answer(&admin, local, request).await) }
    });
    // A connection that breaks concerns only whoever opened it.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Answer = Response<Full<Bytes>>;

async fn answer(admin: &Admin, local: SocketAddr, request: Request<Incoming>) -> Answer {
    let method = request.method();
    let is_reading = method == Method::GET || method == Method::HEAD;
    let verbose = request.uri().query() == Some("verbose");
    match (request.uri().path(), is_reading) {
        ("/livez" | "/healthz", true) => answers::live(),
        ("/readyz", true) => answers::ready(admin, verbose),
        ("/metrics", true) => answers::metrics(admin).await,
        ("/config", true) => answers::config(admin),
        ("/routes", true) => answers::routes(admin),
        ("/reload" | "/drain" | "/cache/purge", false) if method == Method::POST => {
            if let Err(why) = origin::check(request.headers(), local) {
                return problem(StatusCode::FORBIDDEN, why);
            }
            match request.uri().path() {
                "/reload" => answers::reload(admin).await,
                "/cache/purge" => purge::purge(admin, request.uri().query()).await,
                _ => answers::drain(admin),
            }
        }
        ("/livez" | "/healthz" | "/readyz" | "/metrics" | "/config" | "/routes", false) => {
            not_allowed("GET, HEAD")
        }
        ("/reload" | "/drain" | "/cache/purge", _) => not_allowed("POST"),
        _ => problem(
            StatusCode::NOT_FOUND,
            "there are /livez, /readyz, /healthz, /metrics, /config, /routes, and by POST /reload, /drain and /cache/purge",
        ),
    }
}

fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "what changes something is POST, what only tells is GET",
    );
    let allow = header::HeaderValue::from_static(allow);
    answer.headers_mut().insert(header::ALLOW, allow);
    answer
}

/// An error by RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Answer {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    with_type(status, "application/problem+json", body.to_string())
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    answer
}
