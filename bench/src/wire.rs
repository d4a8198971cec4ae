//! HTTP/1.1 as far as the load needs it: an answer is read to its end by its framing and nothing of it is
//! kept but what is counted. No crate: what the load costs is taken from the core of the services.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// What is known of an answer once its head is there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Head {
    pub status: u16,
    /// It carries `x-anabranch-degraded`.
    pub degraded: bool,
    /// The connection ends with it.
    pub close: bool,
    /// Its content type is JSON's.
    pub json: bool,
}

/// Asks once, over a connection of its own.
pub fn get(port: u16, path: &str) -> io::Result<(Head, Vec<u8>)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n").as_bytes())?;
    let mut parser = Parser::default();
    let mut body = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        if let Some(head) = parser.finished() {
            return Ok((head, body));
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        parser.feed(&buffer[..read], &mut |part| body.extend_from_slice(part))?;
    }
}

/// Reads one answer from pieces of any size.
#[derive(Default)]
pub struct Parser {
    head: Head,
    state: State,
    line: Vec<u8>,
}

/// A head or a chunk's line above this is refused.
const MAX_LINE: usize = 64 << 10;

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Head,
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
    Done,
}

impl Parser {
    /// Takes what belongs to this answer from `bytes` and says how much that was; the body goes to `sink`.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            match self.state {
                State::Sized(left) => {
                    let taken = take(&bytes[at..], left, sink);
                    at += taken;
                    let left = left - taken as u64;
                    self.state = if left == 0 {
                        State::Done
                    } else {
                        State::Sized(left)
                    };
                }
                State::ChunkData(left) => {
                    let taken = take(&bytes[at..], left, sink);
                    at += taken;
                    let left = left - taken as u64;
                    self.state = if left == 0 {
                        State::ChunkEnd
                    } else {
                        State::ChunkData(left)
                    };
                }
                _ => {
                    self.line.push(bytes[at]);
                    at += 1;
                    self.state = self.after_byte()?;
                }
            }
        }
        Ok(at)
    }

    /// The head of the answer, once all of it was read.
    pub fn finished(&self) -> Option<Head> {
        (self.state == State::Done).then_some(self.head)
    }

    fn after_byte(&mut self) -> io::Result<State> {
        let end: &[u8] = if self.state == State::Head {
            b"\r\n\r\n"
        } else {
            b"\r\n"
        };
        if !self.line.ends_with(end) {
            if self.line.len() > MAX_LINE {
                return Err(bad("a line without an end"));
            }
            return Ok(self.state);
        }
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(&line[..line.len() - end.len()])
            .map_err(|_| bad("a head that is no text"))?;
        Ok(match self.state {
            State::Head => {
                let (head, state) = parse_head(text)?;
                self.head = head;
                state
            }
            State::ChunkSize => {
                let digits = text.split(';').next().unwrap_or_default().trim();
                match u64::from_str_radix(digits, 16) {
                    Ok(0) => State::Trailer,
                    Ok(size) => State::ChunkData(size),
                    Err(_) => return Err(bad("a chunk without a size")),
                }
            }
            State::ChunkEnd if text.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err(bad("a chunk longer than it said")),
            State::Trailer if text.is_empty() => State::Done,
            _ => State::Trailer,
        })
    }
}

fn take(bytes: &[u8], left: u64, sink: &mut impl FnMut(&[u8])) -> usize {
    let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    sink(&bytes[..taken]);
    taken
}

fn parse_head(text: &str) -> io::Result<(Head, State)> {
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|line| line.get(2..5))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| bad("no status line"))?;
    let mut head = Head {
        status,
        ..Head::default()
    };
    let mut state = None;
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| bad("a header without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let length = value
                .parse()
                .map_err(|_| bad("a content-length that is no number"))?;
            state = Some(if length == 0 {
                State::Done
            } else {
                State::Sized(length)
            });
        } else if name.eq_ignore_ascii_case("transfer-encoding")
            && value.eq_ignore_ascii_case("chunked")
        {
            state = Some(State::ChunkSize);
        } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
            head.close = true;
        } else if name.eq_ignore_ascii_case("content-type") {
            head.json = value.split(';').next() == Some("application/json");
        } else if name.eq_ignore_ascii_case("x-anabranch-degraded") {
            head.degraded = true;
        }
    }
    let state = state.ok_or_else(|| bad("an answer without a length"))?;
    Ok((head, state))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head, the body, and what was left over, fed in pieces of `size` bytes.
    fn read(bytes: &[u8], size: usize) -> io::Result<(Option<Head>, Vec<u8>, usize)> {
        let mut parser = Parser::default();
        let mut body = Vec::new();
        let mut taken = 0;
        for piece in bytes.chunks(size) {
            taken += parser.feed(piece, &mut |part| body.extend_from_slice(part))?;
        }
        Ok((parser.finished(), body, bytes.len() - taken))
    }

    const PLAIN: Head = Head {
        status: 200,
        degraded: false,
        close: false,
        json: false,
    };

    #[test]
    fn an_answer_is_read_to_its_end_however_it_is_cut() {
        for (bytes, head, body, left) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                PLAIN,
                "hello",
                0,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP",
                PLAIN,
                "hello",
                4,
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", PLAIN, "", 0),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, you here\r\n0\r\n\r\n",
                PLAIN,
                "hello, you here",
                0,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: b\r\n\r\nrest",
                PLAIN,
                "x",
                4,
            ),
            (
                "HTTP/1.1 503 No\r\nX-Anabranch-Degraded: a=timeout\r\ncontent-type: application/json; charset=utf-8\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
                Head {
                    status: 503,
                    degraded: true,
                    close: true,
                    json: true,
                },
                "{}",
                0,
            ),
        ] {
            for size in 1..=bytes.len() {
                let (read_head, read_body, read_left) = read(bytes.as_bytes(), size).expect(bytes);
                assert_eq!(read_head, Some(head), "{bytes:?} in pieces of {size}");
                assert_eq!(read_body, body.as_bytes(), "{bytes:?} in pieces of {size}");
                if size == bytes.len() {
                    assert_eq!(read_left, left, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn half_an_answer_is_not_finished() {
        for bytes in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ] {
            assert_eq!(read(bytes.as_bytes(), 7).expect(bytes).0, None, "{bytes:?}");
        }
    }

    #[test]
    fn what_has_no_framing_is_refused() {
        for bytes in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nhello\r\n",
        ] {
            assert!(read(bytes.as_bytes(), 3).is_err(), "{bytes:?}");
        }
    }
}
