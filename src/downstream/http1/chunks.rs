//! The chunked transfer coding, taken off as it arrives (RFC 9112 §7.1). Extensions and trailers are
//! read and dropped.

use bytes::BytesMut;

use crate::downstream::http1::{HEAD_BYTES, Trouble};

/// What the extensions and the trailers of one body may take together.
const EXTRA_BYTES: usize = HEAD_BYTES;

/// The longest size that is read, zeros before it included: more is no honest number.
const SIZE_DIGITS: u8 = 15;

/// How far a body is.
#[derive(Default)]
pub struct Chunks {
    state: State,
    /// Of the chunk that is being read.
    size: u64,
    digits: u8,
    extra: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// Blanks behind a size, before an extension.
    Blank,
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataLineEnd,
    /// At the beginning of a trailer line, or of the empty line that ends them.
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerEnd,
    LastEnd,
    End,
}

impl Chunks {
    pub fn is_at_end(&self) -> bool {
        self.state == State::End
    }

    /// Adds the data of `bytes` to `into`, and says how many bytes were taken: all, or those up to the
    /// end of the body.
    pub fn decode(&mut self, bytes: &[u8], into: &mut BytesMut) -> Result<usize, Trouble> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::End {
            if self.state == State::Data {
                let most = usize::try_from(self.size).unwrap_or(usize::MAX);
                let data = &bytes[at..bytes.len().min(at.saturating_add(most))];
                into.extend_from_slice(data);
                self.size -= data.len() as u64;
                at += data.len();
                if self.size == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            self.state = self.next(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn next(&mut self, byte: u8) -> Result<State, Trouble> {
        Ok(match (self.state, byte) {
            (State::Size, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.digits += 1;
                if self.digits > SIZE_DIGITS {
                    return Err(bad("a chunk's size is not a number"));
                }
                self.size = self.size << 4 | u64::from(digit);
                State::Size
            }
            (State::Size, _) if self.digits == 0 => {
                return Err(bad("a chunk's size is not a number"));
            }
            (State::Size | State::Blank, b' ' | b'\t') => self.count(State::Blank)?,
            (State::Size | State::Blank, b';') => self.count(State::Extension)?,
            (State::Size | State::Blank | State::Extension, b'\r') => State::SizeEnd,
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.count(State::Extension)?,
            (State::SizeEnd, b'\n') => {
                self.digits = 0;
                match self.size {
                    0 => State::TrailerStart,
                    _ => State::Data,
                }
            }
            (State::DataEnd, b'\r') => State::DataLineEnd,
            (State::DataLineEnd, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::LastEnd,
            (State::LastEnd, b'\n') => State::End,
            (State::Trailer, b'\r') => State::TrailerEnd,
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                self.count(State::TrailerName)?
            }
            (State::TrailerName, b':') => self.count(State::Trailer)?,
            (State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => self.count(State::Trailer)?,
            (State::DataEnd | State::DataLineEnd, _) => {
                return Err(bad("a chunk's data is longer than its size"));
            }
            _ => return Err(bad("the answer's chunks are not framed as they should be")),
        })
    }

    fn count(&mut self, state: State) -> Result<State, Trouble> {
        self.extra += 1;
        match self.extra > EXTRA_BYTES {
            true => Err(bad(
                "the extensions and trailers of the answer are too large",
            )),
            false => Ok(state),
        }
    }
}

/// Whether it may stand in a field's name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn bad(detail: &'static str) -> Trouble {
    Trouble::Malformed {
        status: None,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &[u8]) -> Result<(Vec<u8>, usize, bool), String> {
        let (mut chunks, mut into) = (Chunks::default(), BytesMut::new());
        let taken = chunks
            .decode(text, &mut into)
            .map_err(|trouble| trouble.to_string())?;
        Ok((into.to_vec(), taken, chunks.is_at_end()))
    }

    #[test]
    fn data_comes_out_of_its_chunks() {
        fn check(text: &str, expected: &str, left: usize) {
            let (data, taken, ended) = decode(text.as_bytes()).unwrap();
            assert_eq!(data, expected.as_bytes(), "{text:?}");
            assert!(ended, "{text:?}");
            assert_eq!(text.len() - taken, left, "{text:?}");
        }
        check("0\r\n\r\n", "", 0);
        check("3\r\nabc\r\n0\r\n\r\n", "abc", 0);
        check(
            "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n",
            "abc0123456789",
            0,
        );
        check("3;a=b\r\nabc\r\n0 ;x=\"y\"\r\n\r\n", "abc", 0);
        check("1\t\r\n\n\r\n0\r\nx: y\r\nz: é\r\n\r\n", "\n", 0);
        check("0\r\n\r\nHTTP/1.1 200", "", 12);
    }

    #[test]
    fn what_is_not_framed_so_is_refused() {
        fn check(text: &str) {
            assert!(decode(text.as_bytes()).is_err(), "{text:?}");
        }
        check("\r\n");
        check("g\r\n");
        check("-1\r\n");
        check("0x3\r\nabc\r\n");
        check(" 3\r\nabc\r\n");
        check("3\nabc\r\n");
        check("3\r\nabcd\r\n");
        check("3\r\nabc\n0\r\n\r\n");
        check("3\r\rabc");
        check("3;a\x01\r\n");
        check("3;a\n\r\n");
        check("3 4\r\nabc\r\n");
        check("0\r\nx: y\n\r\n");
        check("0\r\nx\r\n\r\n");
        check("0\r\n: y\r\n\r\n");
        check("0\r\nx y: z\r\n\r\n");
        check("0\r\n\u{e9}: y\r\n\r\n");
        check("0\r\nx\0: y\r\n\r\n");
        check("0000000000000003\r\nabc\r\n");
        check("ffffffffffffffff\r\n");
        check(&format!("3;{}\r\n", "x".repeat(EXTRA_BYTES)));
        check(&format!("0\r\n{}\r\n", "x: y\r\n".repeat(EXTRA_BYTES)));
    }

    proptest! {
        #[test]
        fn where_it_is_cut_makes_no_difference(
            parts in prop::collection::vec("[a-z\r\n]{0,40}", 0..5),
            cuts in prop::collection::vec(0usize..200, 0..8)
        ) {
            let mut text = Vec::new();
            for part in parts.iter().filter(|part| !part.is_empty()) {
                text.extend_from_slice(format!("{:x};q\r\n{part}\r\n", part.len()).as_bytes());
            }
            text.extend_from_slice(b"0\r\nt: x\r\n\r\n");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let (mut chunks, mut into) = (Chunks::default(), BytesMut::new());
            for pair in cuts.windows(2) {
                let piece = &text[pair[0]..pair[1]];
                prop_assert_eq!(chunks.decode(piece, &mut into).unwrap(), piece.len());
            }
            prop_assert!(chunks.is_at_end());
            prop_assert_eq!(into.to_vec(), parts.concat().into_bytes());
        }
    }
}
