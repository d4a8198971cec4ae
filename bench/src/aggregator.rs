//! The frame of the two peers written in Rust, `floor` and `tree`: hyper's server, hyper-util's pooled
//! client, one thread. What differs between them, how a body is read and what happens when a service
//! fails, is theirs.

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// An answer made here, or one that streams through.
pub type Answer = Response<Either<Full<Bytes>, Incoming>>;

/// What can go wrong in a call.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The services, over connections that are kept.
pub struct Services {
    client: Client<HttpConnector, Empty<Bytes>>,
    first_port: u16,
}

impl Services {
    pub async fn ask(&self, number: u16, path: &str) -> Result<Response<Incoming>, Error> {
        let uri = format!("http://127.0.0.1:{}{path}", self.first_port + number);
        let request = Request::get(uri).body(Empty::new())?;
        let response = self.client.request(request).await?;
        if !response.status().is_success() {
            return Err(format!("service {number} said {}", response.status()).into());
        }
        Ok(response)
    }

    pub async fn fetch(&self, number: u16, path: &str) -> Result<Bytes, Error> {
        Ok(self
            .ask(number, path)
            .await?
            .into_body()
            .collect()
            .await?
            .to_bytes())
    }
}

/// What a path asks for.
pub enum Asked<'a> {
    /// W1 and W5; `late` is the first of its services.
    Page { id: &'a str, late: u16 },
    /// W2.
    Chain { id: &'a str },
    /// W3.
    Document { id: &'a str },
    /// W4.
    Large { id: &'a str },
    /// Of the sweep: a field of each of so many bodies of 1 KB.
    Fan { calls: usize, id: &'a str },
    /// Of the sweep: a field of a body of so many bytes.
    Field { bytes: &'a str, id: &'a str },
    /// Of the sweep: a body of so many bytes, moved whole.
    Whole { bytes: &'a str, id: &'a str },
}

pub fn asked(path: &str) -> Option<Asked<'_>> {
    let (first, id) = path.strip_prefix('/')?.split_once('/')?;
    Some(match (first, id.split_once('/')) {
        ("w1", None) => Asked::Page { id, late: 0 },
        ("w2", None) => Asked::Chain { id },
        ("w3", None) => Asked::Document { id },
        ("w4", None) => Asked::Large { id },
        ("w5", None) => Asked::Page { id, late: 10 },
        ("fan", Some((calls, id))) => Asked::Fan {
            calls: calls.parse().ok()?,
            id,
        },
        ("field", Some((bytes, id))) => Asked::Field { bytes, id },
        ("whole", Some((bytes, id))) => Asked::Whole { bytes, id },
        _ => return None,
    })
}

pub fn json(body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(body)));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

pub fn nothing(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = status;
    answer
}

/// Serves on `PORT` with the services from `SERVICES_PORT` on, until it is killed.
pub fn serve<H, F>(handler: H) -> Result<(), Error>
where
    H: Fn(Request<Incoming>, Rc<Services>) -> F + Copy + 'static,
    F: Future<Output = Answer> + 'static,
{
    let port = port("PORT", 8080)?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let services = Rc::new(Services {
        client: Client::builder(TokioExecutor::new()).build(connector),
        first_port: self::port("SERVICES_PORT", 21000)?,
    });
    let local = tokio::task::LocalSet::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    local.block_on(&runtime, async move {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let services = services.clone();
            let service = service_fn(move |request| {
                let answer = handler(request, services.clone());
                async move { Ok::<_, Infallible>(answer.await) }
            });
            tokio::task::spawn_local(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    })
}

/// A port from the environment.
pub fn port(name: &str, default: u16) -> Result<u16, Error> {
    match std::env::var(name) {
        Ok(port) => port
            .parse()
            .map_err(|_| format!("{name} is no port: {port}").into()),
        Err(_) => Ok(default),
    }
}
