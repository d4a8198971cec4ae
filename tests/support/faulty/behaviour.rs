//! What a faulty service can be told to do with a request.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;

/// Waits, then acts.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub after: Duration,
    pub act: Act,
}

#[derive(Clone, Debug)]
pub enum Act {
    Answer(Answer),
    /// Says nothing until the other side goes away.
    Never,
    /// Ends the connection by RST; with HTTP/2 the stream.
    Reset,
    /// Ends the connection by FIN; with HTTP/2 by an abrupt GOAWAY.
    Close,
    /// Writes so many bytes of the body, then ends the connection (with HTTP/2 the stream).
    Truncate(Answer, usize),
    /// Writes a head, and the body byte by byte for ever.
    Drip(Duration),
    /// Answers, ends its own direction, and listens on.
    HalfClose(Answer),
    /// Writes these bytes whatever they are.
    Raw(Bytes),
    /// Sends a body of `sent` bytes, framed by a length of `said` or in chunks, and no end of it.
    Stream {
        said: Option<usize>,
        sent: usize,
    },
    /// Answers when the gate is open.
    Hold(Gate, Answer),
    /// HTTP/2: REFUSED_STREAM, which says that nothing was done.
    RefuseStream,
    /// HTTP/2: GOAWAY, and the answer still.
    GoAway(Answer),
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Answer {
    pub fn json(body: impl Into<Bytes>) -> Answer {
        Answer {
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            body: body.into(),
        }
    }

    /// The head as HTTP/1.1 has it.
    pub fn head(&self) -> String {
        let Answer {
            status,
            headers,
            body,
        } = self;
        let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }
}

impl Behaviour {
    pub fn of(act: Act) -> Behaviour {
        Behaviour {
            after: Duration::ZERO,
            act,
        }
    }

    pub fn json(body: impl Into<Bytes>) -> Behaviour {
        Behaviour::of(Act::Answer(Answer::json(body)))
    }

    /// An answer with this status and no body.
    pub fn status(status: u16) -> Behaviour {
        Behaviour::of(Act::Answer(Answer {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }))
    }

    pub fn never() -> Behaviour {
        Behaviour::of(Act::Never)
    }

    pub fn raw(bytes: impl Into<Bytes>) -> Behaviour {
        Behaviour::of(Act::Raw(bytes.into()))
    }

    pub fn after(self, milliseconds: u64) -> Behaviour {
        Behaviour {
            after: Duration::from_millis(milliseconds),
            ..self
        }
    }

    /// Adds a header to an answer.
    pub fn header(mut self, name: &'static str, value: &str) -> Behaviour {
        let Act::Answer(answer) = &mut self.act else {
            panic!("only an answer has headers");
        };
        answer.headers.push((name, value.into()));
        self
    }

    pub(super) async fn latency(after: Duration) {
        // A sleep of no time may still wait for the clock's next millisecond.
        if !after.is_zero() {
            sleep(after).await;
        }
    }
}

/// Holds answers back until it is opened; every clone is the same one.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn new() -> Gate {
        Gate(watch::Sender::new(false))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn opened(&self) {
        let mut receiver = self.0.subscribe();
        receiver
            .wait_for(|is_open| *is_open)
            .await
            .expect("the sender is `self`");
    }

    /// Holds this answer.
    pub fn hold(&self, body: &'static str) -> Behaviour {
        Behaviour::of(Act::Hold(self.clone(), Answer::json(body)))
    }
}
