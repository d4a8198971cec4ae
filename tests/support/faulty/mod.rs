//! A service that does what it is told: it answers late or never, resets, truncates, drips, streams,
//! refuses. What it does with a request is a [`Script`]; what it saw is a [`Journal`]. It is dialled
//! over a pipe in memory ([`Pipes`]), for virtual time, or over a loopback port. Knows nothing of
//! routes. [`behaviour`] says what can be told.

pub mod behaviour;
mod one;
mod two;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anabranch::downstream::dial::Dial;
use anabranch::engine::code::Code;
use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use behaviour::Behaviour;

/// What a pipe holds before its reader has taken it.
pub const PIPE: usize = 16 * 1024;

/// How long [`Faulty::until`] waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a service does with each request.
pub type Script = Arc<dyn Fn(&Request) -> Behaviour + Send + Sync>;

/// A request, head and body in hand.
#[derive(Clone, Debug)]
pub struct Request {
    /// Of all requests to this service, from 0.
    pub number: usize,
    pub connection: usize,
    /// Of the requests on this connection, from 0.
    pub turn: usize,
    /// Since the start.
    pub at: Duration,
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// How a request ended for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of the answer was written.
    Answered,
    /// The service broke off, as its script says.
    Broke,
    /// The service said that it did nothing with it.
    Unprocessed,
    /// The other side went away first.
    Gone,
}

/// A request that arrived, and how it ended if it did.
#[derive(Clone, Debug)]
pub struct Seen {
    pub request: Request,
    pub ended: Option<(Duration, End)>,
}

/// A connection that was opened.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    pub opened: Duration,
    pub closed: Option<Duration>,
}

/// What a service saw.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// In the order of their arrival.
    pub seen: Vec<Seen>,
    /// By number.
    pub connections: Vec<Connection>,
}

impl Journal {
    /// How many requests are being answered, or are not to be.
    pub fn open(&self) -> usize {
        self.seen.iter().filter(|seen| seen.ended.is_none()).count()
    }

    /// How many requests came from `from` up to `to`, in milliseconds since the start.
    pub fn between(&self, from: u64, to: u64) -> usize {
        let times = Duration::from_millis(from)..Duration::from_millis(to);
        let seen = self.seen.iter();
        seen.filter(|seen| times.contains(&seen.request.at)).count()
    }
}

/// What becomes of a connection before it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Open,
    /// Nobody listens.
    Refused,
    /// Nobody listens from this moment on; what is open stays so. Only pipes have it.
    RefusedFrom(Duration),
    /// Nothing ever comes back. Only pipes have it.
    Blackhole,
}

/// Which HTTP a service speaks; the second by prior knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// What a connection runs over.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the end of it a reset; a pipe just ends.
    fn reset_at_end(&self) {}
}

impl Wire for DuplexStream {}

impl Wire for TcpStream {
    fn reset_at_end(&self) {
        self.set_zero_linger().expect("the socket is open");
    }
}

/// A service.
pub struct Faulty {
    pub name: String,
    script: Script,
    http: Http,
    door: Door,
    started: Instant,
    journal: Mutex<Journal>,
    /// Rings when the journal has changed.
    bell: watch::Sender<()>,
    listening: Mutex<Option<AbortHandle>>,
}

impl Faulty {
    /// `started` is the moment that times are counted from.
    pub fn new(name: &str, plot: Plot, started: Instant) -> Arc<Faulty> {
        Arc::new(Faulty {
            name: name.to_owned(),
            script: plot.script,
            http: plot.http,
            door: plot.door,
            started,
            journal: Mutex::default(),
            bell: watch::Sender::new(()),
            listening: Mutex::default(),
        })
    }

    pub fn journal(&self) -> Journal {
        self.lock().clone()
    }

    /// Waits until the journal is as `is_so` wants it.
    pub async fn until(&self, is_so: impl Fn(&Journal) -> bool) {
        let mut bell = self.bell.subscribe();
        let waited = timeout(PATIENCE, async {
            while !is_so(&self.lock()) {
                bell.changed().await.expect("the service rings");
            }
        });
        if waited.await.is_err() {
            let (open, journal) = (self.lock().open(), self.journal());
            let (seen, connections) = (journal.seen.len(), journal.connections.len());
            let name = &self.name;
            panic!(
                "`{name}` waits in vain: {seen} requests, {open} open, {connections} connections"
            );
        }
    }

    /// Listens on a loopback port. A refused door's port is closed again.
    pub async fn listen(self: &Arc<Self>) -> SocketAddr {
        assert!(self.door != Door::Blackhole, "loopback has no blackhole");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if self.door == Door::Open {
            let task = tokio::spawn(self.clone().accept(listener));
            *self.listening.lock().unwrap() = Some(task.abort_handle());
        }
        address
    }

    /// Listens no more, and drops what is open.
    pub fn stop(&self) {
        if let Some(task) = self.listening.lock().unwrap().take() {
            task.abort();
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("loopback takes connections");
                    stream.set_nodelay(true).unwrap();
                    connections.spawn(self.clone().converse(stream));
                }
                Some(ended) = connections.join_next() => ended.expect("no script panics"),
            }
        }
    }

    fn pipe(self: &Arc<Self>) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE);
        tokio::spawn(self.clone().converse(far));
        near
    }

    async fn converse(self: Arc<Self>, wire: impl Wire) {
        let connection = self.note(|journal, at| {
            let opened = Connection {
                opened: at,
                closed: None,
            };
            journal.connections.push(opened);
            journal.connections.len() - 1
        });
        match self.http {
            Http::One => one::converse(&self, connection, wire).await,
            Http::Two => two::converse(&self, connection, wire).await,
        }
        self.note(|journal, at| journal.connections[connection].closed = Some(at));
    }

    /// Writes a request down and says what to do with it.
    fn asked(&self, connection: usize, turn: usize, message: Message) -> (usize, Behaviour) {
        let request = self.note(|journal, at| {
            let request = Request {
                number: journal.seen.len(),
                connection,
                turn,
                at,
                method: message.method,
                target: message.target,
                headers: message.headers,
                body: message.body,
            };
            journal.seen.push(Seen {
                request: request.clone(),
                ended: None,
            });
            request
        });
        (request.number, (self.script)(&request))
    }

    fn ended(&self, number: usize, end: End) {
        self.note(|journal, at| journal.seen[number].ended = Some((at, end)));
    }

    fn note<T>(&self, change: impl FnOnce(&mut Journal, Duration) -> T) -> T {
        let noted = change(&mut self.lock(), self.started.elapsed());
        self.bell.send_replace(());
        noted
    }

    fn lock(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().expect("nobody panics with the journal")
    }
}

/// A request as its connection gave it.
struct Message {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What a service is to be.
#[derive(Clone)]
pub struct Plot {
    pub script: Script,
    pub http: Http,
    pub door: Door,
}

impl Plot {
    /// Does the same with every request.
    pub fn always(behaviour: Behaviour) -> Plot {
        Plot::by(move |_| behaviour.clone())
    }

    /// One behaviour a request; the last one for all that follow.
    pub fn in_turn(behaviours: Vec<Behaviour>) -> Plot {
        Plot::by(move |request| behaviours[request.number.min(behaviours.len() - 1)].clone())
    }

    pub fn by(script: impl Fn(&Request) -> Behaviour + Send + Sync + 'static) -> Plot {
        Plot {
            script: Arc::new(script),
            http: Http::One,
            door: Door::Open,
        }
    }

    /// There is no way in.
    pub fn behind(door: Door) -> Plot {
        Plot {
            door,
            ..Plot::always(Behaviour::never())
        }
    }

    /// There is no way in from so many milliseconds on.
    pub fn refused_from(self, milliseconds: u64) -> Plot {
        Plot {
            door: Door::RefusedFrom(Duration::from_millis(milliseconds)),
            ..self
        }
    }

    pub fn over_two(self) -> Plot {
        Plot {
            http: Http::Two,
            ..self
        }
    }
}

/// Dials services over pipes in memory, by their hosts.
pub struct Pipes {
    pub services: HashMap<String, Arc<Faulty>>,
}

impl Dial for Pipes {
    type Io = DuplexStream;

    async fn dial(&self, host: &str, _: u16, by: Instant) -> Result<DuplexStream, Code> {
        let service = self.services.get(host).ok_or(Code::DnsFailure)?;
        match service.door {
            Door::Open => Ok(service.pipe()),
            Door::RefusedFrom(from) if service.started.elapsed() < from => Ok(service.pipe()),
            Door::Refused | Door::RefusedFrom(_) => Err(Code::ConnectRefused),
            Door::Blackhole => {
                sleep_until(by).await;
                Err(Code::ConnectTimeout)
            }
        }
    }
}
