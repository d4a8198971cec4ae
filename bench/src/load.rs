//! The load. A closed loop asks again as soon as it has its answer and finds what a peer can do; an open
//! loop asks at a fixed rate whatever comes back, and counts the time from when a request was due, so that
//! a peer that stalls cannot hide it by being asked less.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::alarm::Alarm;
use crate::wire::{Head, Parser};

/// What to ask, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    #[arg(long)]
    pub port: u16,
    /// The path; `{id}` is filled in.
    #[arg(long)]
    pub path: String,
    /// How many ids there are.
    #[arg(long, default_value_t = 16)]
    pub ids: u64,
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Connections of a closed loop; in an open loop, how many there may be.
    #[arg(long, default_value_t = 32)]
    pub clients: usize,
    /// Requests a second of an open loop; without it the loop is closed.
    #[arg(long)]
    pub rate: Option<f64>,
}

/// What came of it. Times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub answers: u64,
    /// Answers other than 200 or degraded, and exchanges that broke.
    pub failures: u64,
    pub first_failure: Option<String>,
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub connections: usize,
}

/// A run ends early with so many answers: memory is bounded.
const MAX_ANSWERS: usize = 20_000_000;
/// How long an open loop waits for what is still under way.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let local = tokio::task::LocalSet::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run = Rc::new(Run::of(plan));
    let begin = Instant::now();
    let until = begin + Duration::from_secs_f64(plan.seconds);
    local.block_on(&runtime, async {
        match plan.rate {
            None => closed(&run, plan.clients, until).await,
            Some(rate) => open(&run, plan.clients, rate, begin, until).await,
        }
    });
    Ok(run.outcome(begin))
}

/// What all connections of a run share.
struct Run {
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    record: RefCell<Record>,
}

#[derive(Default)]
struct Record {
    asked: usize,
    nanoseconds: Vec<u64>,
    failures: u64,
    first_failure: Option<String>,
    last: Option<Instant>,
    connections: usize,
}

impl Run {
    fn of(plan: &Plan) -> Self {
        let request = |id: u64| {
            let path = plan.path.replace("{id}", &id.to_string());
            format!(
                "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\naccept: */*\r\n\r\n",
                plan.port
            )
            .into_bytes()
        };
        Run {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, plan.port)),
            requests: (0..plan.ids).map(request).collect(),
            record: RefCell::default(),
        }
    }

    fn next_request(&self) -> &[u8] {
        let mut record = self.record.borrow_mut();
        record.asked += 1;
        &self.requests[record.asked % self.requests.len()]
    }

    /// Asks once over `connection`, which is opened if need be and closed if it is of no more use; says
    /// whether an answer came.
    async fn ask(&self, connection: &mut Option<Connection>, due: Instant) -> bool {
        let request = self.next_request();
        let asked = exchange(self.address, connection, request).await;
        let answered = asked.is_ok();
        let now = Instant::now();
        let mut record = self.record.borrow_mut();
        record.last = Some(now);
        let failure = match asked {
            Ok(Head {
                status: 200,
                degraded: false,
                ..
            }) => {
                record
                    .nanoseconds
                    .push(u64::try_from((now - due).as_nanos()).unwrap_or(u64::MAX));
                return true;
            }
            Ok(head) if head.degraded => format!("{} and degraded", head.status),
            Ok(head) => format!("status {}", head.status),
            Err(error) => {
                *connection = None;
                error.to_string()
            }
        };
        record.failures += 1;
        record.first_failure.get_or_insert(failure);
        answered
    }

    fn full(&self) -> bool {
        self.record.borrow().nanoseconds.len() >= MAX_ANSWERS
    }

    fn outcome(&self, begin: Instant) -> Outcome {
        let mut record = self.record.borrow_mut();
        record.nanoseconds.sort_unstable();
        let times = &record.nanoseconds;
        let took = record.last.map_or(Duration::ZERO, |last| last - begin);
        Outcome {
            answers: times.len() as u64,
            failures: record.failures,
            first_failure: record.first_failure.clone(),
            per_second: times.len() as f64 / took.as_secs_f64().max(1e-9),
            p50: percentile(times, 500),
            p99: percentile(times, 990),
            p999: percentile(times, 999),
            max: percentile(times, 1000),
            connections: record.connections,
        }
    }
}

/// The smallest time that so many of a thousand do not exceed, in microseconds; `times` are sorted.
fn percentile(times: &[u64], per_mille: usize) -> f64 {
    let rank = (times.len() * per_mille).div_ceil(1000);
    match times.get(rank.max(1) - 1) {
        Some(nanoseconds) => *nanoseconds as f64 / 1000.0,
        None => 0.0,
    }
}

async fn closed(run: &Rc<Run>, clients: usize, until: Instant) {
    run.record.borrow_mut().connections = clients;
    let client = |_| {
        let run = run.clone();
        tokio::task::spawn_local(async move {
            let mut connection = None;
            while Instant::now() < until && !run.full() {
                if !run.ask(&mut connection, Instant::now()).await {
                    // It could not connect or was thrown out: not again at once.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        })
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    for client in clients {
        client.await.expect("a client does not panic");
    }
}

/// The connections of an open loop, the last used first, and the requests that wait for one.
#[derive(Default)]
struct Pool {
    open: usize,
    idle: Vec<Option<Connection>>,
    waiting: VecDeque<Instant>,
}

async fn open(run: &Rc<Run>, clients: usize, rate: f64, begin: Instant, until: Instant) {
    let alarm = Alarm::start();
    let pool = Rc::new(RefCell::new(Pool::default()));
    for number in 0..MAX_ANSWERS as u64 {
        let due = begin + Duration::from_secs_f64(number as f64 / rate);
        if due >= until {
            break;
        }
        if due > Instant::now() {
            alarm.until(due).await;
        }
        let mut state = pool.borrow_mut();
        if let Some(connection) = state.idle.pop() {
            tokio::task::spawn_local(work(run.clone(), pool.clone(), connection, due));
        } else if state.open < clients {
            state.open += 1;
            tokio::task::spawn_local(work(run.clone(), pool.clone(), None, due));
        } else {
            state.waiting.push_back(due);
        }
    }
    let patience = Instant::now() + PATIENCE;
    while pool.borrow().idle.len() < pool.borrow().open && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut record = run.record.borrow_mut();
    let pool = pool.borrow();
    let unanswered = (pool.waiting.len() + pool.open - pool.idle.len()) as u64;
    if unanswered > 0 {
        record.failures += unanswered;
        record
            .first_failure
            .get_or_insert(format!("{unanswered} without an answer"));
    }
    record.connections = pool.open;
}

async fn work(
    run: Rc<Run>,
    pool: Rc<RefCell<Pool>>,
    mut connection: Option<Connection>,
    mut due: Instant,
) {
    loop {
        run.ask(&mut connection, due).await;
        let mut pool = pool.borrow_mut();
        match pool.waiting.pop_front() {
            Some(next) => due = next,
            None => return pool.idle.push(connection),
        }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
}

async fn exchange(
    address: SocketAddr,
    connection: &mut Option<Connection>,
    request: &[u8],
) -> io::Result<Head> {
    let Connection { stream, buffer } = match connection {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connection.insert(Connection {
                stream,
                buffer: vec![0; 32 << 10].into_boxed_slice(),
            })
        }
    };
    stream.write_all(request).await?;
    let mut parser = Parser::default();
    loop {
        let read = stream.read(buffer).await?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "cut off"));
        }
        let taken = parser.feed(&buffer[..read], &mut |_| ())?;
        if let Some(head) = parser.finished() {
            if taken < read {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "more than one answer",
                ));
            }
            if head.close {
                *connection = None;
            }
            return Ok(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_time_that_so_many_do_not_exceed() {
        let times: Vec<u64> = (1..=1000).map(|number| number * 1000).collect();
        for (per_mille, expected) in [
            (500, 500.0),
            (990, 990.0),
            (999, 999.0),
            (1000, 1000.0),
            (0, 1.0),
        ] {
            assert_eq!(
                percentile(&times, per_mille),
                expected,
                "{per_mille} of a thousand"
            );
        }
        assert_eq!(percentile(&[1000, 2000, 3000], 500), 2.0);
        assert_eq!(percentile(&[7000], 999), 7.0);
        assert_eq!(percentile(&[], 500), 0.0);
    }
}
