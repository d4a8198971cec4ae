//! The listener: takes connections up to the cap, keeps track of them, and drains.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::engine::fetch::Fetch;
use crate::moment;
use crate::server::addresses::Place;
use crate::server::drain::{Drain, Phase};
use crate::server::load::Counts;
use crate::server::{Server, connection, identity};
use crate::telemetry::log::{Level, Log};

/// How long nothing is taken after an error that is ours: too many files open, no memory.
const PAUSE: Duration = Duration::from_millis(100);

/// How often it is logged that clients have too many connections.
const SELDOM: Duration = Duration::from_secs(10);

/// Serves `listener` until a drain has ended, each connection on one of its workers. The cap on connections
/// is that of the state in force now; over it connections wait in the system's queue.
pub async fn serve<F: Fetch + 'static>(server: Arc<Server<F>>, listener: TcpListener) {
    let cap = server.state().table.server.limits.connections;
    let permits = Arc::new(Semaphore::new(cap.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    let desks: Vec<Desk> = server.workers.iter().map(Desk::new).collect();
    let drain = server.drain.clone();
    let log = server.telemetry.log();
    tokio::select! {
        () = take(&server, &listener, &desks, &permits, &mut connections) => {}
        () = drain.reached(Phase::Closing) => {}
        () = proceed(&server) => {}
    }
    drop(listener);
    tokio::select! {
        () = finish(&server, &mut connections, log) => {}
        () = drain.reached(Phase::Cut) => {}
        () = proceed(&server) => {}
    }
    connections.shutdown().await;
    server.detached.abort();
}

/// Takes connections for ever.
async fn take<F: Fetch + 'static>(
    server: &Arc<Server<F>>,
    listener: &TcpListener,
    desks: &[Desk],
    permits: &Arc<Semaphore>,
    connections: &mut JoinSet<()>,
) {
    let log = server.telemetry.log();
    let mut refused = Refused::default();
    loop {
        tokio::select! {
            accepted = next(listener, permits) => match accepted {
                Ok((stream, peer, permit)) => match place(server, peer) {
                    Some(place) => {
                        let desk = least_busy(desks);
                        let open = Open::new(server.counts().clone(), desk, place, permit);
                        if let Err(error) = desk.start(server, stream, peer, open, connections) {
                            rest(&error, log).await;
                        }
                    }
                    None => refused.add(server),
                },
                Err(error) => rest(&error, log).await,
            },
            Some(ended) = connections.join_next() => note_panic(&ended, log),
            () = refused.is_to_be_told() => refused.tell(log),
        }
    }
}

async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = permits
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

/// Where `peer` may have one more connection. Whoever is trusted stands for many clients.
fn place<F: Fetch + 'static>(server: &Server<F>, peer: SocketAddr) -> Option<Place> {
    let state = server.state();
    let settings = &state.table.server;
    let is_trusted = identity::is_trusted(peer.ip(), &settings.trusted);
    let most = settings.limits.per_address.filter(|_| !is_trusted);
    server.addresses.take(peer.ip(), most)
}

/// Connections that were closed at once, and not told of yet.
#[derive(Default)]
struct Refused {
    untold: u64,
    told: Option<Instant>,
}

impl Refused {
    fn add<F: Fetch + 'static>(&mut self, server: &Server<F>) {
        self.untold += 1;
        server.telemetry.metrics().connection_refused();
    }

    /// One line for many: an attack is no reason to fill a disk.
    async fn is_to_be_told(&self) {
        match (self.untold, self.told) {
            (0, _) => pending().await,
            (_, None) => {}
            (_, Some(told)) => sleep_until(told + SELDOM).await,
        }
    }

    fn tell(&mut self, log: &Log) {
        log.event(
            Level::Warn,
            "connections refused, an address has as many as `server.limits.per_address`",
            [("refused", self.untold.into())],
        );
        self.untold = 0;
        self.told = Some(Instant::now());
    }
}

/// An error of the one connection costs nothing; one of ours would come again at once.
async fn rest(error: &io::Error, log: &Log) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        return;
    }
    log.event(
        Level::Warn,
        "connections cannot be taken",
        vec![("error", error.to_string().into())],
    );
    sleep(PAUSE).await;
}

/// A worker, and how many connections it has.
struct Desk {
    runtime: Handle,
    /// The one that takes connections does it all.
    is_here: bool,
    connections: Arc<AtomicUsize>,
}

/// The one with the fewest connections, of several the first.
fn least_busy(desks: &[Desk]) -> &Desk {
    let connections = |desk: &&Desk| desk.connections.load(Ordering::Relaxed);
    desks
        .iter()
        .min_by_key(connections)
        .expect("there is a worker")
}

impl Desk {
    fn new(runtime: &Handle) -> Desk {
        Desk {
            runtime: runtime.clone(),
            is_here: runtime.id() == Handle::current().id(),
            connections: Arc::default(),
        }
    }

    /// Serves a connection in the worker's runtime, which looks after its socket from then on. Fails
    /// where the system does not let it.
    fn start<F: Fetch + 'static>(
        &self,
        server: &Arc<Server<F>>,
        stream: TcpStream,
        peer: SocketAddr,
        open: Open,
        connections: &mut JoinSet<()>,
    ) -> io::Result<()> {
        // Without it small answers wait; that it cannot be set is no reason not to answer.
        let _ = stream.set_nodelay(true);
        let stream = match self.is_here {
            true => stream,
            false => {
                let stream = stream.into_std()?;
                let _worker = self.runtime.enter();
                TcpStream::from_std(stream)?
            }
        };
        let server = server.clone();
        let work = Box::pin(async move {
            let _open = open;
            let state = server.state();
            let drain = server.drain.clone();
            connection::run(stream, peer, &state.table.server, server, &drain).await;
        });
        connections.spawn_on(moment::by_turns(work), &self.runtime);
        Ok(())
    }
}

/// Counts a connection while it is open.
struct Open {
    counts: Arc<Counts>,
    of_worker: Arc<AtomicUsize>,
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(counts: Arc<Counts>, desk: &Desk, place: Place, permit: OwnedSemaphorePermit) -> Open {
        counts.begin_connection();
        let of_worker = desk.connections.clone();
        of_worker.fetch_add(1, Ordering::Relaxed);
        Open {
            counts,
            of_worker,
            _place: place,
            _permit: permit,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counts.end_connection();
        self.of_worker.fetch_sub(1, Ordering::Relaxed);
    }
}

fn note_panic(ended: &Result<(), JoinError>, log: &Log) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        log.event(
            Level::Error,
            "a connection ended by a fault of ours",
            Vec::new(),
        );
    }
}

/// Waits for what is under way.
async fn finish<F: Fetch + 'static>(server: &Server<F>, connections: &mut JoinSet<()>, log: &Log) {
    while let Some(ended) = connections.join_next().await {
        note_panic(&ended, log);
    }
    server.detached.drained().await;
}

/// Leads a drain that has begun from phase to phase.
async fn proceed<F: Fetch + 'static>(server: &Server<F>) {
    let drain: &Drain = &server.drain;
    drain.reached(Phase::Grace).await;
    let settings = server.state().table.server.drain.clone();
    if drain.phase() == Phase::Grace {
        sleep(settings.grace).await;
        drain.advance(Phase::Closing);
    }
    sleep(settings.max.saturating_sub(settings.grace)).await;
    drain.advance(Phase::Cut);
    pending::<()>().await;
}
