//! Chunk framing (RFC 9112 §7.1): sizes, extensions, the CRLF behind the data, trailers.

use crate::engine::code::Code;
use crate::server::guard::framing::Limits;
use crate::server::guard::head;
use crate::server::guard::line;
use crate::server::guard::refusal::Refusal;

/// Hyper's own bound on the extensions of one body; ours must not be above it.
const EXTENSIONS_MOST: usize = 16 * 1024 - 1;

/// More digits than this, zeros included, is no honest size.
const SIZE_DIGITS_MOST: usize = 15;

/// A body in chunks that is still arriving.
#[derive(Debug)]
pub struct Scan {
    state: State,
    /// Of the line that is not complete yet, how much was searched.
    resume: usize,
    /// What header lines, extensions and trailers have taken of the limits so far.
    header_bytes: usize,
    headers: usize,
    extension_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    End,
}

impl Scan {
    pub fn new(header_bytes: usize, headers: usize) -> Scan {
        Scan {
            state: State::Size,
            resume: 0,
            header_bytes,
            headers,
            extension_bytes: 0,
        }
    }

    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// How many of the next bytes are data that nobody needs to look at.
    pub fn data_left(&self) -> u64 {
        match self.state {
            State::Data(left) => left,
            _ => 0,
        }
    }

    /// How many bytes at the front of `bytes` may be passed on; 0 when the next line is not complete.
    pub fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Refusal> {
        match self.state {
            State::Size => self.take_line(bytes, limits, Scan::take_size),
            State::Data(left) => Ok(self.take_data(bytes.len(), left)),
            State::DataEnd => self.take_data_end(bytes),
            State::Trailers => self.take_line(bytes, limits, Scan::take_trailer),
            State::End => Ok(0),
        }
    }

    fn take_line(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        take: fn(&mut Scan, &[u8], &Limits) -> Result<(), Refusal>,
    ) -> Result<usize, Refusal> {
        let Some(found) = line::next(bytes, self.resume)? else {
            if self.header_bytes + bytes.len() > limits.header_bytes + SIZE_DIGITS_MOST + 2 {
                return Err(head::headers_too_large());
            }
            self.resume = line::resume(bytes);
            return Ok(0);
        };
        self.resume = 0;
        take(self, found, limits)?;
        Ok(found.len() + 2)
    }

    fn take_size(&mut self, text: &[u8], limits: &Limits) -> Result<(), Refusal> {
        let digits = text
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (size, extension) = text.split_at(digits);
        if size.is_empty() || size.len() > SIZE_DIGITS_MOST {
            return Err(Refusal::bad("a chunk's size is not a number"));
        }
        if !extension.is_empty() && extension.trim_ascii_start().first() != Some(&b';') {
            return Err(Refusal::bad("a chunk's size is not a number"));
        }
        if !line::is_text(extension) {
            return Err(Refusal::bad("a chunk's extension has a control byte"));
        }
        self.count(extension.len(), limits)?;
        self.extension_bytes += extension.len();
        if self.extension_bytes > EXTENSIONS_MOST {
            return Err(head::headers_too_large());
        }
        let size = std::str::from_utf8(size)
            .ok()
            .and_then(|text| u64::from_str_radix(text, 16).ok())
            .ok_or_else(|| Refusal::new(Code::BodyTooLarge, "a chunk is too large"))?;
        self.state = match size {
            0 => State::Trailers,
            _ => State::Data(size),
        };
        Ok(())
    }

    /// Also told of data that went past without being looked at.
    pub fn take_data(&mut self, available: usize, left: u64) -> usize {
        let taken = left.min(available as u64);
        self.state = match left - taken {
            0 => State::DataEnd,
            rest => State::Data(rest),
        };
        taken as usize
    }

    fn take_data_end(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match bytes {
            [] | [b'\r'] => Ok(0),
            [b'\r', b'\n', ..] => {
                self.state = State::Size;
                Ok(2)
            }
            _ => Err(Refusal::bad("a chunk's data is longer than its size")),
        }
    }

    /// Trailers are checked like headers; whatever they say, nobody behind us is told.
    fn take_trailer(&mut self, text: &[u8], limits: &Limits) -> Result<(), Refusal> {
        if text.is_empty() {
            self.state = State::End;
            return Ok(());
        }
        self.headers += 1;
        if self.headers > limits.headers {
            return Err(head::headers_too_large());
        }
        self.count(text.len() + 2, limits)?;
        line::field(text).map(|_| ())
    }

    fn count(&mut self, bytes: usize, limits: &Limits) -> Result<(), Refusal> {
        self.header_bytes += bytes;
        if self.header_bytes > limits.header_bytes {
            return Err(head::headers_too_large());
        }
        Ok(())
    }
}
