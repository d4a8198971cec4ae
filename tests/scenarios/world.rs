//! The whole proxy over faulty services: from the text of a route file to the bytes that a client
//! reads. On virtual time everything lies in this process's memory; in real time it is the proxy that
//! `serve` starts, on loopback sockets.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::app::{self, Options, Running};
use anabranch::check::examine;
use anabranch::diagnostic::Severity;
use anabranch::downstream::tasks::Tasks;
use anabranch::downstream::{Client, Process};
use anabranch::plan::Table;
use anabranch::policy::memory::Memory;
use anabranch::reload::watch::Mode;
use anabranch::server::drain::Drain;
use anabranch::server::{Server, State, connection};
use anabranch::telemetry::Telemetry;
use anabranch::telemetry::log::{Form, Log};
use anabranch::worker::Workers;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::client::{self, Ask, Got};
use crate::faulty::{Faulty, Pipes, Plot, Wire};
use crate::figures::Figures;
use crate::fixture::Page;
use crate::invariants::SLACK;
use crate::support::Folder;

/// What a client's pipe holds.
const PIPE: usize = 64 * 1024;

/// How long is waited for what is about to happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub services: BTreeMap<String, Arc<Faulty>>,
    pub proxy: Proxy,
    pub started: Instant,
    /// Every exchange that came to its end.
    pub book: Mutex<Vec<Got>>,
    /// The tasks that are alive when nothing goes on: on virtual time with the proxy, in real time
    /// without it.
    pub baseline: usize,
    pub telemetry: Arc<Telemetry>,
    /// By how much moments may be apart beyond what the contract says.
    pub slack: Duration,
    /// Requests for one call at most: two attempts and one transparent replay, unless a scenario
    /// hedges too.
    pub most: u64,
    /// The timeout of the fixture's route.
    limit: Duration,
    asked: AtomicUsize,
    lines: Lines,
    folder: Folder,
}

pub enum Proxy {
    Simulated(Simulated),
    Real(Running),
}

/// The parts of a proxy that lies in memory.
pub struct Simulated {
    pub server: Arc<Server<Client<Pipes>>>,
    drain: Drain,
    pub process: Process,
}

/// Puts a proxy together: the one place that knows what its parts ask for.
fn assemble(table: Table, pipes: Pipes, telemetry: &Arc<Telemetry>) -> Simulated {
    let table = Arc::new(table);
    let meters = Arc::new(telemetry.meters(&table));
    let (tasks, drain) = (Tasks::new(4096), Drain::default());
    let memory = Memory::new(1 << 30);
    let process = Process::new(tasks, memory.clone());
    let client = Client::new(&table, Arc::new(pipes), process.clone(), meters.clone());
    let state = State {
        generation: 1,
        table,
        meters,
        fetch: Arc::new(client.expect("the services can be used")),
    };
    let server = Arc::new(Server::new(
        state,
        telemetry.clone(),
        drain.clone(),
        memory,
        Workers::alone(),
    ));
    Simulated {
        server,
        drain,
        process,
    }
}

impl World {
    /// On virtual time; `plots` stand in place of healthy services, or beside them.
    pub fn simulated(page: &Page, plots: &[(&str, Plot)]) -> World {
        let parts = Parts::new(page, plots);
        let file = parts.folder.write("page.yaml", &page.yaml());
        let table = table_of(&[file]);
        let hosts = parts.services.iter();
        let hosts = hosts.map(|(name, service)| (format!("{name}.test"), service.clone()));
        let pipes = Pipes {
            services: hosts.collect(),
        };
        let simulated = assemble(table, pipes, &parts.telemetry);
        parts.world(Proxy::Simulated(simulated), alive())
    }

    /// In real time.
    pub async fn real(page: &Page, plots: &[(&str, Plot)]) -> World {
        let baseline = alive();
        let parts = Parts::new(page, plots);
        let mut yaml = page.yaml();
        for (name, service) in &parts.services {
            let address = service.listen().await;
            yaml = yaml.replace(&format!("{name}.test"), &address.to_string());
        }
        parts.folder.write("page.yaml", &yaml);
        let options = Options {
            paths: vec![parts.folder.path().to_owned()],
            watch: Mode::Off,
            log: Log::to(parts.lines.clone(), Form::Json),
            workers: 2,
        };
        let running = app::start(options).await;
        let running = running.unwrap_or_else(|error| panic!("{error}"));
        let parts = Parts {
            telemetry: running.telemetry.clone(),
            ..parts
        };
        parts.world(Proxy::Real(running), baseline)
    }

    pub fn is_real(&self) -> bool {
        matches!(self.proxy, Proxy::Real(_))
    }

    pub fn service(&self, name: &str) -> &Faulty {
        &self.services[name]
    }

    /// The parts of the proxy, on virtual time.
    pub fn parts(&self) -> &Simulated {
        match &self.proxy {
            Proxy::Simulated(simulated) => simulated,
            Proxy::Real(_) => panic!("what runs for real is not taken apart"),
        }
    }

    /// Lets another configuration take over, as a reload does.
    pub fn reload(&self, page: &Page) {
        let server = &self.parts().server;
        let before = server.state();
        let table = Arc::new(table_of(&[self.folder.write("page.yaml", &page.yaml())]));
        let meters = Arc::new(self.telemetry.meters(&table));
        let client = before.fetch.succeed(&table, meters.clone());
        server.swap(State {
            generation: before.generation + 1,
            table,
            meters,
            fetch: Arc::new(client.expect("the services can be used")),
        });
    }

    /// The configuration in force.
    pub fn table(&self) -> Arc<Table> {
        match &self.proxy {
            Proxy::Simulated(simulated) => simulated.server.state().table.clone(),
            Proxy::Real(running) => running.generations.in_force().table.clone(),
        }
    }

    /// How long until each service may be asked again.
    pub fn rest(&self) -> Duration {
        match &self.proxy {
            Proxy::Simulated(simulated) => simulated.server.state().fetch.rest(),
            Proxy::Real(running) => running.generations.in_force().client.rest(),
        }
    }

    /// Since the start.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A connection to the proxy.
    pub async fn connect(&self, peer: SocketAddr) -> Box<dyn Wire> {
        match &self.proxy {
            Proxy::Real(running) => Box::new(TcpStream::connect(running.listen).await.unwrap()),
            Proxy::Simulated(simulated) => {
                let (near, far) = tokio::io::duplex(PIPE);
                let (server, drain) = (simulated.server.clone(), simulated.drain.clone());
                tokio::spawn(async move {
                    let state = server.state();
                    connection::run(far, peer, &state.table.server, server, &drain).await;
                });
                Box::new(near)
            }
        }
    }

    pub async fn get(&self, target: &str) -> Got {
        self.ask(Ask::get(target)).await
    }

    /// Makes a request, and writes down the answer.
    pub async fn ask(&self, ask: Ask) -> Got {
        let id = self.next_id();
        let wire = self.connect(ask.peer).await;
        let asked = self.now();
        let read = client::exchange(wire, &ask.text(&id)).await;
        let read = read.unwrap_or_else(|| panic!("I2: no answer to {ask:?}"));
        let got = Got {
            id,
            method: ask.method,
            target: ask.target,
            sent: ask.headers,
            asked,
            answered: read.at - self.started,
            limit: ask.limit.unwrap_or(self.limit),
            status: read.status,
            headers: read.headers,
            body: read.body,
            extra: read.extra,
        };
        self.book.lock().unwrap().push(got.clone());
        got
    }

    /// What tells a request apart: our name for it, which every call of it has.
    pub fn next_id(&self) -> String {
        format!("q{}", self.asked.fetch_add(1, Ordering::Relaxed))
    }

    pub fn figures(&self) -> Figures {
        Figures::read(&self.telemetry.render())
    }

    /// The lines of the log so far.
    pub fn log(&self) -> Vec<Value> {
        self.telemetry.log().flush(PATIENCE);
        let text = String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("lines are JSON")
    }

    /// Waits until something is so that nobody rings for.
    pub async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let waited = timeout(PATIENCE, async {
            while !is_so() {
                match self.is_real() {
                    true => tokio::task::yield_now().await,
                    // Virtual time goes on only where somebody waits for it.
                    false => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        });
        waited.await.unwrap_or_else(|_| panic!("in vain: {what}"));
    }
}

pub fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// What a world is made of, but for the proxy.
struct Parts {
    services: BTreeMap<String, Arc<Faulty>>,
    started: Instant,
    limit: Duration,
    pub telemetry: Arc<Telemetry>,
    lines: Lines,
    folder: Folder,
}

impl Parts {
    fn new(page: &Page, plots: &[(&str, Plot)]) -> Parts {
        let started = Instant::now();
        let healthy = page.services();
        let all = healthy.iter().chain(plots);
        let services = all.map(|(name, plot)| {
            let service = Faulty::new(name, plot.clone(), started);
            ((*name).to_owned(), service)
        });
        let lines = Lines::default();
        let limit = page.timeout.strip_suffix("ms").expect("milliseconds");
        Parts {
            services: services.collect(),
            started,
            limit: Duration::from_millis(limit.parse().unwrap()),
            telemetry: Arc::new(Telemetry::new(Log::to(lines.clone(), Form::Json))),
            lines,
            folder: Folder::new(),
        }
    }

    fn world(self, proxy: Proxy, baseline: usize) -> World {
        let slack = match proxy {
            Proxy::Real(_) => SLACK,
            Proxy::Simulated(_) => Duration::ZERO,
        };
        World {
            services: self.services,
            proxy,
            slack,
            most: 3,
            started: self.started,
            book: Mutex::default(),
            baseline,
            telemetry: self.telemetry,
            limit: self.limit,
            asked: AtomicUsize::new(0),
            lines: self.lines,
            folder: self.folder,
        }
    }
}

fn table_of(paths: &[std::path::PathBuf]) -> Table {
    let examination = examine(paths);
    let errors = examination.diagnostics.iter();
    let errors = errors.filter(|found| found.severity == Severity::Error);
    let errors: Vec<&str> = errors.map(|found| found.message.as_str()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let table = examination.table.expect("there is no error");
    Arc::into_inner(table).expect("nobody else has it")
}

/// What is written to the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
