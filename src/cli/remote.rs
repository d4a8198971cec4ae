//! Asks the admin listener of a running instance. One request, one answer, no connection kept.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Exit, Report, output, runtime};

const DEFAULT_ADMIN: &str = "http://127.0.0.1:9901";
/// A reload of a thousand routes takes a second or so; a listener that is there answers sooner.
const TIMEOUT: Duration = Duration::from_secs(30);
const LARGEST: usize = 64 * 1024 * 1024;

/// Where to ask, and how to report.
#[derive(Args)]
pub(super) struct Options {
    /// The admin listener [default: $ANABRANCH_ADMIN, else http://127.0.0.1:9901]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    #[arg(long, value_enum, default_value_t = Report::Text)]
    pub format: Report,
}

/// What the listener answered.
pub(super) struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// Asks, and complains where there is no answer.
pub(super) fn ask(options: &Options, method: Method, path: &str) -> Result<Answer, Exit> {
    let admin = options
        .admin
        .clone()
        .or_else(|| std::env::var("ANABRANCH_ADMIN").ok())
        .filter(|admin| !admin.is_empty())
        .unwrap_or_else(|| DEFAULT_ADMIN.to_owned());
    let asked = runtime().map_err(|error| error.to_string());
    let asked = asked.and_then(|runtime| {
        runtime.block_on(async {
            match tokio::time::timeout(TIMEOUT, exchange(&admin, method, path)).await {
                Ok(answered) => answered,
                Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
            }
        })
    });
    asked.map_err(|why| {
        output::complain(&format!("{admin}: {why}"));
        Exit::CouldNot
    })
}

async fn exchange(admin: &str, method: Method, path: &str) -> Result<Answer, String> {
    let (host, port) = address(admin)?;
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .map_err(|error| format!("nobody answers there: {error}"))?;
    // By its address, because a name could be anybody's: the listener refuses changes under one.
    let host = stream.peer_addr().map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), LARGEST)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    connection.abort();
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    })
}

/// Host and port of `http://host:port`.
fn address(admin: &str) -> Result<(String, u16), String> {
    let spelled = "write it as http://127.0.0.1:9901";
    let uri: Uri = admin
        .parse()
        .map_err(|_| format!("this is no URL; {spelled}"))?;
    if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
        return Err(format!("an http URL without a path is needed; {spelled}"));
    }
    let host = uri
        .host()
        .ok_or_else(|| format!("it names no host; {spelled}"))?;
    Ok((host.to_owned(), uri.port_u16().unwrap_or(80)))
}
