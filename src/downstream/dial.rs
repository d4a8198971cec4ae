//! The seam below the ladder: how one connection is opened. [`Tcp`] is the real one; tests dial an
//! in-memory pipe, so that the whole ladder runs on virtual time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::downstream::names::Names;
use crate::engine::code::Code;

/// How long one address is tried alone before the next joins in (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(300);

/// Opens one connection.
pub trait Dial: Send + Sync + 'static {
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Ends by `by`, name lookup included. The code is one of `dns_*` and `connect_*`.
    fn dial(
        &self,
        host: &str,
        port: u16,
        by: Instant,
    ) -> impl Future<Output = Result<Self::Io, Code>> + Send;

    /// Lets the runtime of this thread look after `io` from now on, in place of the one that it was
    /// opened in. With what no runtime looks after there is nothing to do.
    fn adopt(_io: &mut Self::Io) -> Adopted {
        Adopted::Moved
    }
}

/// What became of a connection that another runtime looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    Moved,
    /// The system does not let it. It is as it was, and can be used: the other runtime wakes who waits.
    Stays,
    /// The other side has closed it.
    Closed,
}

/// TCP, with names from the system's resolver.
pub struct Tcp {
    names: Arc<Names>,
}

impl Tcp {
    pub fn new() -> Tcp {
        Tcp {
            names: Names::of_the_system(),
        }
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Tcp::new()
    }
}

impl Dial for Tcp {
    type Io = TcpStream;

    async fn dial(&self, host: &str, port: u16, by: Instant) -> Result<TcpStream, Code> {
        let addresses = self.names.find(host, by).await?;
        let stream = timeout_at(by, connect_any(&addresses, port))
            .await
            .unwrap_or(Err(Code::ConnectTimeout))?;
        // Requests are written whole: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Five calls of the system, where a connection opened anew takes a way to the service and back.
    #[cfg(unix)]
    fn adopt(stream: &mut TcpStream) -> Adopted {
        use std::os::fd::AsFd;
        let Ok(again) = stream.as_fd().try_clone_to_owned() else {
            return Adopted::Stays;
        };
        let again = std::net::TcpStream::from(again);
        // The other runtime may not have come to hear of it, and this one hears of it only later.
        let is_open = match again.peek(&mut [0]) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if !is_open {
            return Adopted::Closed;
        }
        match TcpStream::from_std(again) {
            Ok(moved) => {
                *stream = moved;
                Adopted::Moved
            }
            Err(_) => Adopted::Stays,
        }
    }

    #[cfg(not(unix))]
    fn adopt(_stream: &mut TcpStream) -> Adopted {
        Adopted::Stays
    }
}

/// Tries every address, the families in turn, each a little after the one before; the first
/// connection wins. Those that stay silent are tried once more: a handshake that was lost, because
/// the service had no room for it in a rush, the system repeats only after a second.
async fn connect_any(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Code> {
    let mut waiting = in_turn(addresses).into_iter();
    let mut silent = Vec::new();
    let mut is_repeated = false;
    let mut trying = FuturesUnordered::new();
    let mut failure = Code::ConnectUnreachable;
    loop {
        match waiting.next() {
            Some(address) => {
                silent.push(address);
                trying.push(connect(address, port));
            }
            None if trying.is_empty() => return Err(failure),
            None => {}
        }
        let is_last = waiting.len() == 0 && is_repeated;
        let ended = match is_last {
            true => trying.next().await,
            false => timeout(STAGGER, trying.next()).await.unwrap_or(None),
        };
        match ended {
            Some((_, Ok(stream))) => return Ok(stream),
            Some((address, Err(error))) => {
                failure = code_of(&error);
                silent.retain(|other| *other != address);
            }
            None if waiting.len() == 0 => {
                waiting = std::mem::take(&mut silent).into_iter();
                is_repeated = true;
            }
            None => {}
        }
    }
}

async fn connect(address: IpAddr, port: u16) -> (IpAddr, io::Result<TcpStream>) {
    let stream = TcpStream::connect(SocketAddr::new(address, port)).await;
    (address, stream)
}

/// The addresses with the two families in turn, beginning with the resolver's first choice.
fn in_turn(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<IpAddr>, Vec<IpAddr>) = addresses
        .iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = Vec::with_capacity(addresses.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
    }
}

fn code_of(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Code::ConnectRefused,
        io::ErrorKind::TimedOut => Code::ConnectTimeout,
        // No route, no network, no local address or no socket left: nothing was sent either way.
        _ => Code::ConnectUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn the_families_take_turns() {
        fn check(list: &[&str], expected: &[&str]) {
            assert_eq!(in_turn(&addresses(list)), addresses(expected));
        }
        check(&[], &[]);
        check(&["::1", "::2", "10.0.0.1"], &["::1", "10.0.0.1", "::2"]);
        check(&["10.0.0.1", "::1", "::2"], &["10.0.0.1", "::1", "::2"]);
        check(&["10.0.0.1", "10.0.0.2"], &["10.0.0.1", "10.0.0.2"]);
    }

    #[test]
    fn kinds_of_errors_become_codes() {
        fn check(kind: io::ErrorKind, expected: Code) {
            assert_eq!(code_of(&kind.into()), expected);
        }
        check(io::ErrorKind::ConnectionRefused, Code::ConnectRefused);
        check(io::ErrorKind::HostUnreachable, Code::ConnectUnreachable);
        check(io::ErrorKind::NetworkUnreachable, Code::ConnectUnreachable);
        check(io::ErrorKind::TimedOut, Code::ConnectTimeout);
    }

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let found = Tcp::new().dial("127.0.0.1", port, soon()).await;
        assert_eq!(found.err(), Some(Code::ConnectRefused));
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nobody listens on this port of the second loopback address.
        let found = connect_any(&addresses(&["127.0.0.2", "127.0.0.1"]), port).await;
        assert_eq!(
            found.unwrap().peer_addr().unwrap(),
            listener.local_addr().unwrap()
        );
    }

    /// Its queue of one is full, so that a handshake gets no answer until somebody takes one.
    #[tokio::test]
    async fn a_handshake_that_was_lost_is_tried_again_soon() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut filling = Vec::new();
        while let Ok(filled) = timeout(STAGGER, connect(addresses(&["127.0.0.1"])[0], port)).await {
            filling.push(filled.1.unwrap());
        }
        let started = Instant::now();
        let rush = tokio::spawn(async move { connect_any(&addresses(&["127.0.0.1"]), port).await });
        // Its first handshake is sent when this task waits, and finds no room.
        tokio::task::yield_now().await;
        while filling.pop().is_some() {
            listener.accept().await.unwrap();
        }
        assert!(rush.await.unwrap().is_ok());
        assert!(started.elapsed() < Duration::from_millis(900));
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_dns_failure() {
        let found = Tcp::new().dial("does-not-exist.invalid", 80, soon()).await;
        assert!(
            matches!(found, Err(Code::DnsFailure | Code::DnsTimeout)),
            "{found:?}"
        );
    }
}
