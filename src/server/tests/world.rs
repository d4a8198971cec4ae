//! A server over real route files and the real engine, with services that follow a script.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout_at};

use crate::config;
use crate::engine::code::Code;
use crate::engine::fetch::{
    Answer, ByteStream, CallError, Exchange, Fetch, Fetched, Head, Opened, StreamError,
    StreamedRequest,
};
use crate::json;
use crate::plan::compile::compile;
use crate::plan::{Table, settings};
use crate::policy::memory::Memory;
use crate::server::connection::{self, Serve};
use crate::server::drain::Drain;
use crate::server::{Server, State};
use crate::telemetry::Telemetry;
use crate::telemetry::log::{Form, Log};
use crate::worker::{self, Threads, Workers};

static FOLDERS: AtomicUsize = AtomicUsize::new(0);

/// The table of this text.
pub fn table(text: &str) -> Table {
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("anabranch-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file: PathBuf = folder.join("routes.yaml");
    std::fs::write(&file, text).unwrap();
    let reading = config::read(&[file], &|_| None);
    std::fs::remove_dir_all(&folder).unwrap();
    let reading = reading.unwrap_or_else(|_| panic!("the file is readable"));
    assert!(reading.findings.is_empty(), "{:?}", reading.findings);
    let compiled = compile(&reading.documents, &reading.files);
    compiled
        .table
        .unwrap_or_else(|| panic!("{:?}", compiled.diagnostics))
}

/// Services by the last part of the target: `slow-300` answers after 300 ms, `down` refuses, `panic`
/// panics, `break` breaks off what it passes; anything else answers with its own target.
#[derive(Default)]
pub struct Scripted {
    /// The targets of all calls, and the bodies of those that are passed.
    pub calls: Mutex<Vec<String>>,
    /// On which workers they were made.
    pub workers: Mutex<Vec<usize>>,
    pub cancelled: Arc<AtomicUsize>,
    /// What a passed call of `/fed` answers, piece by piece.
    pub feed: Mutex<Option<mpsc::Receiver<Bytes>>>,
}

impl Scripted {
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    async fn act(&self, exchange: &Exchange) -> Result<(), CallError> {
        self.calls.lock().unwrap().push(exchange.target.clone());
        self.workers.lock().unwrap().push(worker::here());
        let cancelled = Cancelled(Some(self.cancelled.clone()));
        let last = exchange.target.rsplit('/').next().unwrap();
        if let Some(wait) = last.strip_prefix("slow-") {
            let wait = sleep(Duration::from_millis(wait.parse().unwrap()));
            if timeout_at(exchange.deadline, wait).await.is_err() {
                cancelled.not();
                return Err(CallError::new(Code::Timeout));
            }
        }
        cancelled.not();
        match last {
            "panic" => panic!("as the script says"),
            "down" => Err(CallError::new(Code::ConnectRefused)),
            _ => Ok(()),
        }
    }
}

struct Cancelled(Option<Arc<AtomicUsize>>);

impl Cancelled {
    fn not(mut self) {
        self.0 = None;
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Fetch for Scripted {
    async fn fetch(&self, exchange: Arc<Exchange>) -> Fetched {
        let result = self.act(&exchange).await;
        let call = &exchange.route.calls[exchange.call.0];
        let text = format!("{{\"at\":\"{}\"}}", exchange.target);
        let limits = exchange.route.json_limits;
        Fetched {
            result: result.map(|()| {
                Box::new(Answer {
                    status: 200,
                    headers: HeaderMap::new(),
                    body: json::Body::check(text.into(), &call.raw_demand, limits).ok(),
                    held: None,
                    lasting: None,
                })
            }),
            attempts: 1,
            note: None,
        }
    }

    async fn open(&self, exchange: Arc<Exchange>, body: StreamedRequest) -> Opened {
        let result = self.act(&exchange).await;
        let mut headers = HeaderMap::new();
        headers.insert("x-from", "service".parse().unwrap());
        headers.insert("connection", "x-secret".parse().unwrap());
        let body = match (body, exchange.target.as_str()) {
            (_, "/break") => broken(),
            (_, "/fed") => fed(self.feed.lock().unwrap().take().unwrap()),
            (_, "/dated") => {
                headers.insert("date", "Wed, 25 Nov 2026 12:00:00 GMT".parse().unwrap());
                whole(Bytes::from_static(b"a"))
            }
            (_, "/sized") => {
                headers.insert("content-length", "12345".parse().unwrap());
                whole(Bytes::new())
            }
            (StreamedRequest::Stream(body), _) => {
                let collected = body.collect().await;
                match collected {
                    Ok(body) => whole(body.to_bytes()),
                    Err(_) => {
                        return Opened {
                            result: Err(CallError::new(Code::Reset)),
                            attempts: 1,
                            note: None,
                            covered: None,
                        };
                    }
                }
            }
            (StreamedRequest::Buffered, target) => whole(Bytes::from(target.to_owned())),
        };
        Opened {
            result: result.map(|()| Head {
                status: 203,
                headers,
                body,
            }),
            attempts: 1,
            note: None,
            covered: None,
        }
    }
}

fn whole(bytes: Bytes) -> ByteStream {
    ByteStream::new(http_body_util::Full::new(bytes).map_err(|never| match never {}))
}

/// Some bytes, and a moment later an error.
fn broken() -> ByteStream {
    let some = futures_util::stream::once(async { Ok(Frame::data(Bytes::from_static(b"some"))) });
    let error = futures_util::stream::once(async {
        sleep(Duration::from_millis(10)).await;
        Err::<Frame<Bytes>, StreamError>("it broke".into())
    });
    ByteStream::new(StreamBody::new(some.chain(error)))
}

fn fed(mut receiver: mpsc::Receiver<Bytes>) -> ByteStream {
    let stream = futures_util::stream::poll_fn(move |context| {
        receiver
            .poll_recv(context)
            .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    });
    ByteStream::new(StreamBody::new(stream))
}

/// What is written to a log, one line each.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Who reads and answers plain requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Us,
    Hyper,
}

impl By {
    pub async fn run<S: Serve>(
        self,
        io: DuplexStream,
        settings: settings::Server,
        service: Arc<S>,
        drain: Drain,
    ) {
        let peer = "127.0.0.1:9".parse().unwrap();
        match self {
            By::Us => connection::run(io, peer, &settings, service, &drain).await,
            By::Hyper => connection::run_by_hyper(io, peer, &settings, service, &drain).await,
        }
    }
}

pub struct World {
    pub server: Arc<Server<Scripted>>,
    pub fetch: Arc<Scripted>,
    pub telemetry: Arc<Telemetry>,
    pub drain: Drain,
    pub memory: Memory,
    lines: Lines,
    _threads: Threads,
}

impl World {
    pub fn new(text: &str) -> World {
        World::with(text, |_| {})
    }

    /// A world with settings that differ from those of its text.
    pub fn with(text: &str, change: impl Fn(&mut Table)) -> World {
        World::of_workers(1, text, change)
    }

    /// One in which so many workers answer.
    pub fn of_workers(count: usize, text: &str, change: impl Fn(&mut Table)) -> World {
        let (workers, threads) = Workers::start(count).unwrap();
        let lines = Lines::default();
        let telemetry = Arc::new(Telemetry::new(Log::to(lines.clone(), Form::Json)));
        let fetch = Arc::new(Scripted::default());
        let drain = Drain::default();
        let memory = Memory::new(1 << 20);
        let mut table = table(text);
        change(&mut table);
        let state = state(1, table, &telemetry, &fetch);
        World {
            server: Arc::new(Server::new(
                state,
                telemetry.clone(),
                drain.clone(),
                memory.clone(),
                workers,
            )),
            fetch,
            telemetry,
            drain,
            memory,
            lines,
            _threads: threads,
        }
    }

    pub fn swap(&self, generation: u64, text: &str) {
        self.server
            .swap(state(generation, table(text), &self.telemetry, &self.fetch));
    }

    /// A connection of its own, over a pipe.
    pub fn connect(&self) -> (DuplexStream, JoinHandle<()>) {
        self.connect_by(By::Us)
    }

    pub fn connect_by(&self, by: By) -> (DuplexStream, JoinHandle<()>) {
        let (client, io) = duplex(64 * 1024);
        let (server, drain) = (self.server.clone(), self.drain.clone());
        let settings = server.state().table.server.clone();
        let task = tokio::spawn(by.run(io, settings, server, drain));
        (client, task)
    }

    /// The figure of this series.
    pub fn metric(&self, series: &str) -> Option<f64> {
        self.telemetry.metrics().upkeep();
        let text = self.telemetry.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series))?;
        Some(line.trim().parse().unwrap())
    }

    /// The access log so far.
    pub fn log(&self) -> String {
        self.telemetry.log().flush(Duration::from_secs(5));
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }
}

fn state(
    generation: u64,
    table: Table,
    telemetry: &Telemetry,
    fetch: &Arc<Scripted>,
) -> State<Scripted> {
    let table = Arc::new(table);
    State {
        generation,
        meters: Arc::new(telemetry.meters(&table)),
        table,
        fetch: fetch.clone(),
    }
}
