//! Builds everything, then starts it.
//!
//! The one place that knows every part: the generations over the files, the server over the
//! generations, the admin listener beside it, and the tasks that keep them going. Whoever starts it,
//! the `serve` verb or a test on port 0, holds a [`Running`].

use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::admin::{self, Admin};
use crate::check;
use crate::downstream::remote::Change;
use crate::downstream::shelf::Shelf;
use crate::downstream::tasks::Tasks;
use crate::downstream::{Client, Process};
use crate::plan::Table;
use crate::policy::memory::Memory;
use crate::reload::watch::{Mode, watch};
use crate::reload::{Findings, Generation, Generations, Trigger};
use crate::server::drain::{Drain, Phase};
use crate::server::{Server, State, accept, container};
use crate::telemetry::log::{Level, Log};
use crate::telemetry::{Telemetry, UPKEEP};
use crate::worker::{Threads, Workers};

/// Calls that may outlive their run at the same time: writes already sent, mostly.
const TASKS: usize = 4096;

/// Connections that the kernel holds until they are taken. More than it allows is as much as it allows.
const BACKLOG: u32 = 4096;

/// How long the end of the process waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What to serve.
pub struct Options {
    pub paths: Vec<PathBuf>,
    pub watch: Mode,
    pub log: Log,
    /// How many workers answer, one for each core that the process may use. One alone is the runtime that
    /// all is started in.
    pub workers: usize,
}

/// Why nothing is served.
pub enum Error {
    /// The configuration has errors.
    Refused(Findings),
    /// An address cannot be listened on.
    Listen {
        key: &'static str,
        address: SocketAddr,
        cause: io::Error,
    },
    /// The system gives no threads to work on.
    Workers(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(findings) => {
                write!(
                    formatter,
                    "the configuration is refused: {}",
                    findings.first()
                )
            }
            Error::Listen {
                key,
                address,
                cause,
            } => write!(formatter, "`{key}`: cannot listen on {address}: {cause}"),
            Error::Workers(cause) => write!(formatter, "the workers cannot start: {cause}"),
        }
    }
}

/// A process that serves. Dropping it ends everything at once.
pub struct Running {
    pub generations: Arc<Generations>,
    pub telemetry: Arc<Telemetry>,
    pub drain: Drain,
    /// What was found beside a configuration that is good: warnings.
    pub findings: Findings,
    /// Where clients are answered.
    pub listen: SocketAddr,
    /// Where operators are.
    pub admin: SocketAddr,
    tasks: Tasks,
    serving: Task,
    _background: Vec<Task>,
    /// After the tasks: what they leave behind ends here.
    _threads: Threads,
}

/// Examines the configuration, takes the addresses, and serves.
pub async fn start(options: Options) -> Result<Running, Error> {
    let Options {
        paths,
        watch,
        log,
        workers,
    } = options;
    let (workers, threads) = Workers::start(workers).map_err(Error::Workers)?;
    let telemetry = Arc::new(Telemetry::new(log));
    let tasks = Tasks::new(TASKS);
    // Without a limit until there is a table that says one; nothing is served before.
    let memory = Memory::new(usize::MAX);
    let first = check::examine(&paths);
    let process = Process {
        workers: workers.count(),
        ..Process::new(tasks.clone(), memory.clone())
    };
    let shelf = process.shelf.clone();
    let (generations, findings) =
        Generations::start(paths, check::examine, first, process, telemetry.clone())
            .map_err(Error::Refused)?;
    let generations = Arc::new(generations);
    let generation = generations.in_force();
    let settings = &generation.table;
    let (clients, listen) = bind("server.listen", settings.server.listen)?;
    let (operators, admin) = bind("admin.listen", settings.admin.listen)?;

    let drain = Drain::default();
    bound(&memory, settings);
    equip(&shelf, settings, &telemetry);
    let server = Arc::new(Server::new(
        state(&generation),
        telemetry.clone(),
        drain.clone(),
        memory.clone(),
        workers.clone(),
    ));
    let (swapped, told) = (server.clone(), telemetry.clone());
    generations.tell(move |generation| {
        bound(&memory, &generation.table);
        equip(&shelf, &generation.table, &told);
        swapped.swap(state(generation));
    });
    let operator = Arc::new(Admin {
        generations: generations.clone(),
        telemetry: telemetry.clone(),
        drain: drain.clone(),
        load: server.load().clone(),
        started: SystemTime::now(),
    });
    let mut background = vec![
        Task(tokio::spawn(admin::serve(operators, operator))),
        Task(tokio::spawn(self::watch(generations.clone(), watch))),
        Task(tokio::spawn(keep_up(telemetry.clone()))),
        Task(tokio::spawn(tell_of_drain(
            drain.clone(),
            telemetry.clone(),
        ))),
    ];
    let measured = workers
        .iter()
        .map(|worker| worker.spawn(measure(server.clone())));
    background.extend(measured.map(Task));
    Ok(Running {
        serving: Task(tokio::spawn(accept::serve(server, clients))),
        _background: background,
        _threads: threads,
        generations,
        telemetry,
        drain,
        findings,
        listen,
        admin,
        tasks,
    })
}

fn bind(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let refused = |cause| Error::Listen {
        key,
        address,
        cause,
    };
    let listener = listen(address).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// As `TcpListener::bind`, but for the backlog: its 128 is full after an instant's rush, and whoever
/// finds it full waits a second for the kernel to try again.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A successor may listen while connections of its predecessor fade away.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Lets bodies take as much as `table` says.
fn bound(memory: &Memory, table: &Table) {
    memory.set_limit(container::memory(table.server.shed.memory));
}

/// Lets kept answers stand where `table` says.
fn equip(shelf: &Shelf, table: &Table, telemetry: &Arc<Telemetry>) {
    let log = telemetry.log().clone();
    let hear = move |change| match change {
        Change::Away { cause } => log.event(
            Level::Warn,
            "the Redis of the cache is away, answers are kept in memory alone",
            [("cause", cause.into())],
        ),
        Change::Back => log.event(Level::Info, "the Redis of the cache is back", []),
    };
    if let Err(error) = shelf.configure(&table.cache, hear) {
        let message = "the Redis of the cache cannot be used";
        telemetry
            .log()
            .event(Level::Error, message, [("error", error.into())]);
    }
}

fn state(generation: &Generation) -> State<Client> {
    State {
        generation: generation.number,
        table: generation.table.clone(),
        meters: generation.meters.clone(),
        fetch: generation.client.clone(),
    }
}

/// Folds samples into their buckets for as long as it runs.
async fn keep_up(telemetry: Arc<Telemetry>) {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        let telemetry = telemetry.clone();
        // It ends badly only with the runtime.
        let _ = tokio::task::spawn_blocking(move || telemetry.metrics().upkeep()).await;
    }
}

async fn measure(server: Arc<Server<Client>>) {
    let limit = || server.state().table.server.shed.lag;
    let strain = server.load().here();
    strain.lag.measure(limit, &strain.turns).await;
}

async fn tell_of_drain(drain: Drain, telemetry: Arc<Telemetry>) {
    drain.reached(Phase::Grace).await;
    telemetry.log().event(Level::Info, "draining", []);
}

impl Running {
    /// Waits until a drain has ended: what was under way is answered, or was cut.
    pub async fn ended(mut self) {
        let settings = self.generations.in_force().table.server.drain.clone();
        // An end by panic is an end.
        let _ = (&mut self.serving.0).await;
        tokio::select! {
            () = self.tasks.finished() => {}
            () = self.drain.reached(Phase::Cut) => {}
            () = tokio::time::sleep(settings.max) => {}
        }
        self.tasks.abort();
        let log = self.telemetry.log().clone();
        log.event(Level::Info, "ended", []);
        let _ = tokio::task::spawn_blocking(move || log.flush(LAST_LINES)).await;
    }

    /// Serves until signals or `POST /drain` have ended it: SIGHUP reloads, the first SIGTERM or
    /// SIGINT begins a drain, the second ends it at once.
    pub async fn until_signals_end_it(self, signals: Signals) {
        let (generations, drain) = (self.generations.clone(), self.drain.clone());
        let heard = Task(tokio::spawn(obey(signals, generations, drain)));
        self.ended().await;
        drop(heard);
    }
}

/// A task that does not outlive what it belongs to.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the process is asked to do from outside.
enum Signal {
    Reload,
    End,
}

async fn obey(mut signals: Signals, generations: Arc<Generations>, drain: Drain) {
    loop {
        match signals.next().await {
            Signal::Reload => {
                let generations = generations.clone();
                // Signals go on being heard while files are read.
                tokio::spawn(async move { generations.examine(Trigger::Asked).await });
            }
            Signal::End if drain.is_draining() => drain.end_now(),
            Signal::End => drain.begin(),
        }
    }
}

/// Hears signals from the moment it is made; before that they end the process.
#[cfg(unix)]
pub struct Signals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub fn new() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.hangup.recv() => Signal::Reload,
            Some(()) = self.terminate.recv() => Signal::End,
            Some(()) = self.interrupt.recv() => Signal::End,
            else => pending().await,
        }
    }
}

/// Hears the one signal there is.
#[cfg(not(unix))]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub fn new() -> io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::End,
            Err(_) => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_rush_of_connections_waits_for_nobody() {
        let (_listener, address) = bind("server.listen", "127.0.0.1:0".parse().unwrap())
            .unwrap_or_else(|error| panic!("{error}"));
        let mut rush = Vec::new();
        for number in 0..300 {
            let connected = timeout(Duration::from_secs(10), TcpStream::connect(address)).await;
            let stream = connected.unwrap_or_else(|_| panic!("connection {number} hangs"));
            rush.push(stream.unwrap());
        }
    }
}
