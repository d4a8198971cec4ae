//! A client of the proxy: sends one HTTP/1.1 request on a connection of its own, reads the answer by
//! its framing, and then looks whether more comes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::faulty::Wire;

/// A request to be made.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: &'static str,
    /// Where it comes from; sockets have their own.
    pub peer: SocketAddr,
    /// By when it is to be answered, if not by the timeout of the fixture's route.
    pub limit: Option<Duration>,
}

impl Ask {
    pub fn get(target: impl Into<String>) -> Ask {
        Ask {
            method: "GET",
            target: target.into(),
            headers: Vec::new(),
            body: "",
            peer: SocketAddr::from(([127, 0, 0, 1], 9)),
            limit: None,
        }
    }

    pub fn post(target: &str, body: &'static str) -> Ask {
        Ask {
            method: "POST",
            body,
            ..Ask::get(target)
        }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Ask {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn within(self, milliseconds: u64) -> Ask {
        Ask {
            limit: Some(Duration::from_millis(milliseconds)),
            ..self
        }
    }

    /// The request as it is written.
    pub fn text(&self, id: &str) -> String {
        let Ask {
            method,
            target,
            body,
            ..
        } = self;
        let mut text =
            format!("{method} {target} HTTP/1.1\r\nhost: shop\r\nx-request-id: {id}\r\n");
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str("content-type: application/json\r\n");
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text + "\r\n" + body
    }
}

/// A request and its answer. Times are since the world's start.
#[derive(Clone, Debug)]
pub struct Got {
    pub id: String,
    pub method: &'static str,
    pub target: String,
    /// Those that the request set.
    pub sent: Vec<(&'static str, String)>,
    pub asked: Duration,
    pub answered: Duration,
    pub limit: Duration,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The bytes that came after the answer.
    pub extra: usize,
}

impl Got {
    pub fn took(&self) -> Duration {
        self.answered - self.asked
    }

    /// A header of the request.
    pub fn sent(&self, name: &str) -> Option<&str> {
        let found = self.sent.iter().find(|(sent, _)| *sent == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, null where it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of a problem, empty in any other answer.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn errors(&self) -> Vec<Value> {
        self.json()["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// The one entry of `errors` about this call.
    pub fn error(&self, call: &str) -> Value {
        let mut errors = self.errors();
        errors.retain(|error| error["call"] == call);
        assert_eq!(errors.len(), 1, "entries of `{call}` in {}", self.text());
        errors.remove(0)
    }

    pub fn is_partial(&self) -> bool {
        self.headers.contains_key("x-anabranch-degraded")
    }
}

/// An answer as it was read.
pub struct Read {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
    pub extra: usize,
}

/// Sends `text` and reads one answer; `None` if the connection ends without a whole one.
pub async fn exchange(mut wire: Box<dyn Wire>, text: &str) -> Option<Read> {
    wire.write_all(text.as_bytes()).await.ok()?;
    let mut reader = Reader {
        wire,
        unread: BytesMut::new(),
    };
    let (status, headers) = reader.head().await?;
    let body = reader.body(&headers).await?;
    let at = Instant::now();
    // The other side ends too when we do, and has said all by then.
    let _ = reader.wire.shutdown().await;
    while reader.more().await.is_some() {}
    Some(Read {
        status,
        headers,
        body,
        at,
        extra: reader.unread.len(),
    })
}

struct Reader {
    wire: Box<dyn Wire>,
    unread: BytesMut,
}

impl Reader {
    async fn head(&mut self) -> Option<(u16, HeaderMap)> {
        let end = self.find(b"\r\n\r\n").await?;
        let head = self.unread.split_to(end + 4);
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        Some((status, lines.filter_map(field).collect()))
    }

    async fn body(&mut self, headers: &HeaderMap) -> Option<Bytes> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if text(http::header::TRANSFER_ENCODING) == Some("chunked") {
            return self.chunks().await;
        }
        let length = text(http::header::CONTENT_LENGTH).map_or(Ok(0), str::parse);
        self.take(length.ok()?).await
    }

    async fn chunks(&mut self) -> Option<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let end = self.find(b"\r\n").await?;
            let line = self.unread.split_to(end + 2);
            let digits = std::str::from_utf8(&line[..end]).ok()?;
            let length = usize::from_str_radix(digits, 16).ok()?;
            body.extend_from_slice(&self.take(length).await?);
            self.take(2).await?;
            if length == 0 {
                return Some(body.freeze());
            }
        }
    }

    async fn take(&mut self, length: usize) -> Option<Bytes> {
        while self.unread.len() < length {
            self.more().await?;
        }
        Some(self.unread.copy_to_bytes(length))
    }

    async fn find(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            let mut windows = self.unread.windows(mark.len());
            match windows.position(|window| window == mark) {
                Some(place) => return Some(place),
                None => self.more().await?,
            }
        }
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.wire.read_buf(&mut self.unread).await;
        read.ok().filter(|count| *count > 0).map(|_| ())
    }
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.parse().ok()?, value.trim().parse().ok()?))
}
