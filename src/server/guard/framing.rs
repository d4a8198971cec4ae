//! Where one message of a connection ends and the next begins: a pure machine over the client's bytes.
//!
//! It decides how many of the bytes that arrived may be passed on, and passes a head only as a whole.

use crate::server::guard::chunk;
use crate::server::guard::head;
use crate::server::guard::refusal::Refusal;

/// The bounds of a message's head, of `server.limits`.
#[derive(Clone, Debug)]
pub struct Limits {
    pub header_bytes: usize,
    pub headers: usize,
    pub uri: usize,
}

#[derive(Debug)]
pub struct Framing {
    limits: Limits,
    state: State,
    /// Heads passed so far.
    heads: u64,
    /// The last of them.
    last: Option<head::Head>,
}

#[derive(Debug)]
enum State {
    Head(head::Scan),
    Length(u64),
    Chunks(chunk::Scan),
}

impl Framing {
    pub fn new(limits: Limits) -> Framing {
        Framing {
            limits,
            state: State::Head(head::Scan::default()),
            heads: 0,
            last: None,
        }
    }

    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// The last head passed.
    pub fn last(&self) -> Option<&head::Head> {
        self.last.as_ref()
    }

    /// The next byte belongs to a head, or would begin one.
    pub fn is_at_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// How many bytes at the front of `bytes` may be passed on: 0 when more must arrive first.
    /// `bytes` begins with the first byte that was not passed on yet.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match &mut self.state {
            State::Head(scan) => {
                let Some(head) = scan.advance(bytes, &self.limits)? else {
                    return Ok(0);
                };
                self.heads += 1;
                self.state = after_head(&head);
                Ok(self.last.insert(head).length)
            }
            State::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                self.skip(taken);
                Ok(taken as usize)
            }
            State::Chunks(scan) => {
                let taken = scan.advance(bytes, &self.limits)?;
                self.end_of_chunks();
                Ok(taken)
            }
        }
    }

    /// How many of the next bytes need no look: they may go straight to the reader.
    pub fn unexamined(&self) -> u64 {
        match &self.state {
            State::Head(_) => 0,
            State::Length(left) => *left,
            State::Chunks(scan) => scan.data_left(),
        }
    }

    /// Says that so many bytes of [`Framing::unexamined`] went straight to the reader.
    pub fn skip(&mut self, count: u64) {
        match &mut self.state {
            State::Head(_) => {}
            State::Length(left) => {
                *left -= count.min(*left);
                if *left == 0 {
                    self.state = State::Head(head::Scan::default());
                }
            }
            State::Chunks(scan) => {
                let left = scan.data_left();
                debug_assert!(count <= left, "only data goes past unexamined");
                scan.take_data(count as usize, left);
            }
        }
    }

    fn end_of_chunks(&mut self) {
        if matches!(&self.state, State::Chunks(scan) if scan.is_end()) {
            self.state = State::Head(head::Scan::default());
        }
    }
}

fn after_head(head: &head::Head) -> State {
    match head.framing {
        head::Framing::Length(0) => State::Head(head::Scan::default()),
        head::Framing::Length(length) => State::Length(length),
        head::Framing::Chunked => State::Chunks(chunk::Scan::new(head.header_bytes, head.headers)),
    }
}
