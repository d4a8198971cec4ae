//! The services: eight ports that answer at once, and ten ports up eight that take 20 ms, of which the
//! recommendations take 100 ms for one path in twenty. They share their core with the load, so they do as
//! little as they can: a body is made once, an answer is one write.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anabranch_bench::alarm::Alarm;
use anabranch_bench::{aggregator, body};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SERVICES: u16 = 8;
const DELAY: Duration = Duration::from_millis(20);
const TAIL: Duration = Duration::from_millis(100);
const LATE: u16 = 10;
const TAIL_SERVICE: u16 = 3;
/// Decides which paths are in the tail.
const SEED: &str = "anabranch";
/// What the kept answers may take together.
const KEPT_BYTES: usize = 256 << 20;
const MAX_HEAD: usize = 16 << 10;

fn main() -> Result<(), aggregator::Error> {
    let first = aggregator::port("SERVICES_PORT", 21000)?;
    eprintln!(
        "services: ports {first} to {}, the late ones from {}; seed of the tail: {SEED}",
        first + SERVICES - 1,
        first + LATE
    );
    let local = tokio::task::LocalSet::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let kept = Rc::new(RefCell::new(Kept::default()));
    let alarm = Alarm::start();
    local.block_on(&runtime, async move {
        let mut accepting = Vec::new();
        for number in (0..SERVICES).chain(LATE..LATE + SERVICES) {
            let listener =
                TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, first + number))).await?;
            let (kept, alarm) = (kept.clone(), alarm.clone());
            accepting.push(tokio::task::spawn_local(accept(
                listener, number, kept, alarm,
            )));
        }
        for task in accepting {
            task.await??;
        }
        Ok(())
    })
}

async fn accept(
    listener: TcpListener,
    number: u16,
    kept: Rc<RefCell<Kept>>,
    alarm: Alarm,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (kept, alarm) = (kept.clone(), alarm.clone());
        tokio::task::spawn_local(async move {
            // A connection that breaks is the peer's business.
            let _ = converse(stream, number, &kept, &alarm).await;
        });
    }
}

async fn converse(
    mut stream: TcpStream,
    number: u16,
    kept: &RefCell<Kept>,
    alarm: &Alarm,
) -> io::Result<()> {
    let mut read: Vec<u8> = Vec::with_capacity(1024);
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if read.len() > MAX_HEAD || stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let Some(target) = target(&read[..end]) else {
            return stream
                .write_all(
                    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                )
                .await;
        };
        let answer = kept.borrow_mut().answer(number % LATE, target);
        if let Some(delay) = delay(number, target) {
            alarm.until(Instant::now() + delay).await;
        }
        read.drain(..end);
        stream.write_all(&answer).await?;
    }
}

/// The target of a GET; no other method is known here.
fn target(head: &[u8]) -> Option<&str> {
    let line = head.strip_prefix(b"GET ")?;
    let end = line.iter().position(|byte| *byte == b' ')?;
    std::str::from_utf8(&line[..end]).ok()
}

fn delay(number: u16, target: &str) -> Option<Duration> {
    let number = number.checked_sub(LATE)?;
    let in_tail =
        number == TAIL_SERVICE && body::hash(&format!("{SEED}{target}")).is_multiple_of(20);
    Some(if in_tail { TAIL } else { DELAY })
}

/// Answers by service and target, made once.
#[derive(Default)]
struct Kept {
    answers: HashMap<String, [Option<Bytes>; SERVICES as usize]>,
    bytes: usize,
}

impl Kept {
    fn answer(&mut self, number: u16, target: &str) -> Bytes {
        let known = self
            .answers
            .get(target)
            .and_then(|answers| answers[usize::from(number)].clone());
        known.unwrap_or_else(|| self.make(number, target))
    }

    fn make(&mut self, number: u16, target: &str) -> Bytes {
        let (status, body) = match body::of(number, target) {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", String::from(r#"{"error":"not here"}"#)),
        };
        let answer = Bytes::from(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        self.bytes += answer.len() + target.len();
        if self.bytes > KEPT_BYTES {
            self.answers.clear();
            self.bytes = answer.len() + target.len();
        }
        self.answers.entry(target.to_owned()).or_default()[usize::from(number)] =
            Some(answer.clone());
        answer
    }
}
