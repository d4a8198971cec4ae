//! A faulty service on an HTTP/1.1 connection. It reads requests by their length only, and is strict
//! about nothing: what it is sent is written down as it is.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::behaviour::{Act, Behaviour};
use super::{End, Faulty, Message, Wire};

/// What is written in one go of a body that streams.
const PART: usize = 16 * 1024;

/// What a dripping answer says it will send: more than anyone waits for.
const DRIPPED: usize = 1_000_000;

pub(super) async fn converse(service: &Faulty, connection: usize, wire: impl Wire) {
    let mut line = Line {
        wire,
        unread: BytesMut::new(),
    };
    let mut turn = 0;
    while let Some(message) = line.message().await {
        let (number, behaviour) = service.asked(connection, turn, message);
        let end = line.act(behaviour).await;
        service.ended(number, end.unwrap_or(End::Gone));
        if end != Some(End::Answered) {
            return;
        }
        turn += 1;
    }
}

/// The service's end of a connection.
struct Line<W> {
    wire: W,
    unread: BytesMut,
}

impl<W: Wire> Line<W> {
    /// The next request; `None` when the other side has closed.
    async fn message(&mut self) -> Option<Message> {
        let end = loop {
            let found = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            match found {
                Some(end) => break end + 4,
                None => self.more().await?,
            }
        };
        let head = self.unread.split_to(end);
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        let headers: HeaderMap = lines.filter_map(field).collect();
        let length = headers.get(http::header::CONTENT_LENGTH);
        let length = length.map_or(Some(0), |value| value.to_str().ok()?.parse().ok())?;
        while self.unread.len() < length {
            self.more().await?;
        }
        Some(Message {
            method,
            target,
            headers,
            body: self.unread.copy_to_bytes(length),
        })
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.wire.read_buf(&mut self.unread).await;
        read.ok().filter(|count| *count > 0).map(|_| ())
    }

    /// Ends when the other side has closed, whatever it sends before.
    async fn gone(&mut self) {
        while self.more().await.is_some() {}
    }

    /// Waits for `future`; `None` if the other side goes away first.
    async fn stays<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.gone() => None,
            output = future => Some(output),
        }
    }

    /// `None` if the other side has gone.
    async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.wire.write_all(bytes).await.ok()?;
        self.wire.flush().await.ok()
    }

    /// `None` if the other side goes away before the behaviour has come to its end.
    async fn act(&mut self, Behaviour { after, act }: Behaviour) -> Option<End> {
        self.stays(Behaviour::latency(after)).await?;
        match act {
            Act::Answer(answer) => {
                let mut whole = answer.head().into_bytes();
                whole.extend_from_slice(&answer.body);
                self.write(&whole).await?;
                Some(End::Answered)
            }
            Act::Never => {
                self.gone().await;
                None
            }
            Act::Reset => {
                self.wire.reset_at_end();
                Some(End::Broke)
            }
            Act::Close => Some(End::Broke),
            Act::Truncate(answer, sent) => {
                self.write(answer.head().as_bytes()).await?;
                self.write(&answer.body[..sent]).await?;
                Some(End::Broke)
            }
            Act::Drip(every) => self.drip(every).await,
            Act::HalfClose(answer) => {
                self.write(answer.head().as_bytes()).await?;
                self.write(&answer.body).await?;
                self.wire.shutdown().await.ok()?;
                self.gone().await;
                Some(End::Broke)
            }
            Act::Raw(bytes) => {
                self.write(&bytes).await?;
                Some(End::Answered)
            }
            Act::Stream { said, sent } => self.stream(said, sent).await,
            Act::Hold(gate, answer) => {
                self.stays(gate.opened()).await?;
                self.write(answer.head().as_bytes()).await?;
                self.write(&answer.body).await?;
                Some(End::Answered)
            }
            Act::RefuseStream | Act::GoAway(_) => panic!("HTTP/1.1 has no streams"),
        }
    }

    async fn drip(&mut self, every: Duration) -> Option<End> {
        let head = format!("HTTP/1.1 200 X\r\ncontent-length: {DRIPPED}\r\n\r\n[");
        self.write(head.as_bytes()).await?;
        loop {
            self.stays(sleep(every)).await?;
            self.write(b"1").await?;
        }
    }

    /// A JSON text that is fine as far as it goes.
    async fn stream(&mut self, said: Option<usize>, sent: usize) -> Option<End> {
        let framing = match said {
            Some(length) => format!("content-length: {length}"),
            None => "transfer-encoding: chunked".into(),
        };
        let head = format!("HTTP/1.1 200 X\r\n{framing}\r\n\r\n");
        self.write(head.as_bytes()).await?;
        let body = Bytes::from(vec![b' '; PART]);
        let mut left = sent;
        while left > 0 {
            let part = &body[..left.min(PART)];
            let length = part.len();
            left -= length;
            match said {
                Some(_) => self.write(part).await?,
                None => {
                    self.write(format!("{length:x}\r\n").as_bytes()).await?;
                    self.write(part).await?;
                    self.write(b"\r\n").await?;
                }
            }
        }
        self.gone().await;
        None
    }
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.parse().ok()?, value.trim().parse().ok()?))
}
