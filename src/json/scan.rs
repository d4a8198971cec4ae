//! The checker: RFC 8259 in one pass over bytes that arrive bit by bit, without recursion.
//!
//! The machine never goes past a token it has not seen whole: it stops in front of half an escape
//! or half a character and goes on there when more bytes are in. Limits are met while the bytes
//! arrive, so a body that is too deep is refused at the bracket that is too many.
//!
//! Most bytes never meet it. Where nobody looks, `pass.rs` goes over whole values in one loop, and over
//! whole blocks of bytes if there are many (`blocks.rs`); where somebody does, whole tokens are taken at
//! once (`token.rs`). The machine reads what is left: a token that is cut off by the end of a piece, and
//! a token that is wrong, of which it alone reports the fault. Instructions per byte, by callgrind, for
//! 8 KB of short members: 8 token by token where nobody looks (and serde_json's `IgnoredAny` 11), 22 where
//! all keys are compared.

use std::cell::Cell;
use std::mem::take;
use std::ops::Range;

use bytes::Bytes;

use super::body::Body;
use super::demand::{Demand, Place, PlaceId};
use super::keys::{Key, Keys, Set};
use super::pass::{Bracket, Expect, Pass};
use super::text::{self, Escape};
use super::token;

/// The limits of one body. `depth` counts open arrays and objects; a node is a value, not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub depth: u32,
    pub nodes: u32,
}

/// Why a body is refused, with the byte offset where it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Syntax {
        offset: usize,
        message: &'static str,
    },
    ByteOrderMark,
    Duplicate {
        offset: usize,
        key: String,
    },
    TooDeep {
        offset: usize,
    },
    TooManyNodes {
        offset: usize,
    },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Syntax { offset, message } => write!(out, "{message} at byte {offset}"),
            Fault::ByteOrderMark => write!(out, "the body begins with a byte order mark"),
            Fault::Duplicate { offset, key } => {
                write!(out, "the key `{key}` stands twice, again at byte {offset}")
            }
            Fault::TooDeep { offset } => write!(out, "nested too deeply at byte {offset}"),
            Fault::TooManyNodes { offset } => write!(out, "too many values at byte {offset}"),
        }
    }
}

const NOT_UTF_8: &str = "a string is not valid UTF-8";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A checker that is fed as the bytes arrive: `advance` is given everything received so far.
///
/// After a fault there is nothing more to learn from it. The bytes below `position` are checked and
/// are never looked at again, but for keys, which are compared where they stand.
pub struct Scan<'d> {
    demand: &'d Demand,
    limits: Limits,
    state: State,
    position: usize,
    /// Below here all is known to be UTF-8.
    characters: usize,
    /// How many more values there may be.
    nodes: u32,
    open: Vec<Open>,
    /// What is open below the last of `open`, where nobody looks.
    unread: Vec<Bracket>,
    /// The places of the demand that the open values stand at, outermost first; those of the value
    /// that is being read begin at `current`.
    places: Vec<PlaceId>,
    current: usize,
    keys: Keys,
    whole: Range<usize>,
    parts: Vec<Option<Range<usize>>>,
}

/// What is expected next, or which token is being read.
#[derive(Clone, Copy, Debug)]
enum State {
    Begin,
    Between(Expect),
    Text(Token),
    Name(Token),
    Number(usize, Part),
    Word(&'static [u8]),
    End,
}

/// A string that is being read: where its quote stands, and whether it has escapes so far.
#[derive(Clone, Copy, Debug)]
struct Token {
    start: usize,
    escaped: bool,
}

/// How far a number has been read.
#[derive(Clone, Copy, Debug)]
enum Part {
    Sign,
    Zero,
    Whole,
    Point,
    Fraction,
    Letter,
    ExponentSign,
    Exponent,
}

/// An array or object that is open, and either asked for or looked into.
struct Open {
    start: usize,
    /// Its places in `Scan::places`.
    places: Range<usize>,
    /// Everything below is looked into.
    deep: bool,
    inside: Inside,
}

/// What is to be known of the inside of an array or object.
enum Inside {
    /// Nothing: nobody looks into it.
    Unread(Bracket),
    /// The index of the element that is being read.
    Array(usize),
    /// The keys so far.
    Object(Set),
}

impl Inside {
    fn bracket(&self) -> Bracket {
        match self {
            Inside::Unread(bracket) => *bracket,
            Inside::Array(_) => Bracket::Array,
            Inside::Object(_) => Bracket::Object,
        }
    }
}

/// Whether the machine can go on with the bytes it has.
#[derive(PartialEq)]
enum Progress {
    Went,
    Waits,
}

fn wrong<T>(offset: usize, message: &'static str) -> Result<T, Fault> {
    Err(Fault::Syntax { offset, message })
}

/// The lists of a scan that has ended, empty: a thread keeps one set for its next scan, so that they need
/// not grow with every body.
#[derive(Default)]
struct Spare {
    open: Vec<Open>,
    unread: Vec<Bracket>,
    places: Vec<PlaceId>,
    keys: Keys,
}

/// How many places and keys there may be room for in what is kept.
const SPARE_MOST: usize = 1024;

thread_local! {
    static SPARE: Cell<Option<Spare>> = const { Cell::new(None) };
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        let mut spare = Spare {
            open: take(&mut self.open),
            unread: take(&mut self.unread),
            places: take(&mut self.places),
            keys: take(&mut self.keys),
        };
        spare.open.clear();
        spare.unread.clear();
        spare.places.clear();
        spare.keys.clear();
        if spare.places.capacity() <= SPARE_MOST && spare.keys.capacity() <= SPARE_MOST {
            // A thread that ends keeps nothing.
            let _ = SPARE.try_with(|kept| kept.set(Some(spare)));
        }
    }
}

impl<'d> Scan<'d> {
    pub fn new(demand: &'d Demand, limits: Limits) -> Self {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let Spare {
            open,
            unread,
            places,
            keys,
        } = spare.unwrap_or_default();
        Scan {
            demand,
            limits,
            state: State::Begin,
            position: 0,
            characters: 0,
            nodes: limits.nodes,
            open,
            unread,
            places,
            current: 0,
            keys,
            whole: 0..0,
            parts: vec![None; demand.slots()],
        }
    }

    /// Goes on where the last call stopped. `buffer` holds all bytes so far.
    pub fn advance(&mut self, buffer: &[u8]) -> Result<(), Fault> {
        let went = self.go_on(buffer);
        // A character that is none stands in front of whatever else is wrong.
        self.check_characters(buffer, self.position)?;
        went
    }

    /// What was gone past up to `end` is UTF-8: tokens that are taken whole are not asked for it one by one.
    fn check_characters(&mut self, buffer: &[u8], end: usize) -> Result<(), Fault> {
        let passed = &buffer[self.characters..end];
        if simdutf8::basic::from_utf8(passed).is_err() {
            let valid = str::from_utf8(passed).map_or_else(|error| error.valid_up_to(), str::len);
            return wrong(self.characters + valid, NOT_UTF_8);
        }
        self.characters = end;
        Ok(())
    }

    fn go_on(&mut self, buffer: &[u8]) -> Result<(), Fault> {
        loop {
            if let State::Between(expect) = self.state
                && self.is_unread()
            {
                self.pass_over(buffer, expect)?;
            }
            if self.step(buffer)? == Progress::Waits {
                return Ok(());
            }
        }
    }

    /// The body is complete. Empty (or only white space) is a syntax fault here.
    pub fn finish(mut self, bytes: Bytes) -> Result<Body, Fault> {
        self.advance(&bytes)?;
        if let State::Number(start, part) = self.state
            && part.may_end()
        {
            self.end_value(start, bytes.len());
        }
        match self.state {
            State::End => Ok(Body::new(bytes, self.whole.clone(), take(&mut self.parts))),
            State::Begin | State::Between(Expect::Value) if self.innermost().is_none() => {
                wrong(self.position, "the body is empty")
            }
            _ => wrong(bytes.len(), "the body ends before its value does"),
        }
    }

    fn step(&mut self, buffer: &[u8]) -> Result<Progress, Fault> {
        match self.state {
            State::Begin => self.begin(buffer),
            State::Between(expect) => self.mark(buffer, Some(expect)),
            State::End => self.mark(buffer, None),
            State::Text(token) => self.text(buffer, token),
            State::Name(token) => self.text(buffer, token),
            State::Number(start, part) => self.number(buffer, start, part),
            State::Word(word) => self.word(buffer, word),
        }
    }

    // === what nobody looks into ===

    /// Whether nobody asks for anything in the innermost array or object.
    fn is_unread(&self) -> bool {
        let unread = |open: &Open| matches!(open.inside, Inside::Unread(_));
        !self.unread.is_empty() || self.open.last().is_some_and(unread)
    }

    fn innermost(&self) -> Option<Bracket> {
        let open = || Some(self.open.last()?.inside.bracket());
        self.unread.last().copied().or_else(open)
    }

    /// Goes over as much as can be gone over without a second thought.
    fn pass_over(&mut self, buffer: &[u8], expect: Expect) -> Result<(), Fault> {
        let around = match self.open.last() {
            Some(open) => match open.inside {
                Inside::Unread(bracket) => Some(bracket),
                _ => None,
            },
            None => None,
        };
        let mut pass = Pass {
            buffer,
            around,
            unread: &mut self.unread,
            depth: self.limits.depth as usize - self.open.len(),
            nodes: self.nodes,
            characters: 0..0,
        };
        let (position, expect) = pass.over(self.position, expect);
        let Pass {
            nodes, characters, ..
        } = pass;
        self.nodes = nodes;
        self.position = position;
        self.state = State::Between(expect);
        if let Expect::Separator = expect {
            self.settle();
        }
        if !characters.is_empty() {
            self.check_characters(buffer, characters.start)?;
            self.characters = characters.end;
        }
        Ok(())
    }

    fn begin(&mut self, buffer: &[u8]) -> Result<Progress, Fault> {
        if buffer.starts_with(BYTE_ORDER_MARK) {
            return Err(Fault::ByteOrderMark);
        }
        if BYTE_ORDER_MARK.starts_with(buffer) {
            return Ok(Progress::Waits);
        }
        self.state = State::Between(Expect::Value);
        Ok(Progress::Went)
    }

    /// Between tokens, one byte says how it goes on. Nothing is expected behind the whole value.
    fn mark(&mut self, buffer: &[u8], expect: Option<Expect>) -> Result<Progress, Fault> {
        let Some((at, byte)) = token::after_space(buffer, self.position) else {
            self.position = buffer.len();
            return Ok(Progress::Waits);
        };
        self.position = at;
        let Some(expect) = expect else {
            return wrong(at, "nothing but white space may follow the value");
        };
        match (expect, byte) {
            (Expect::ElementOrEnd, b']') | (Expect::KeyOrEnd, b'}') => self.close(),
            (Expect::Value | Expect::ElementOrEnd, _) => self.begin_value(buffer, byte)?,
            (Expect::Key | Expect::KeyOrEnd, b'"') => self.begin_name(buffer)?,
            (Expect::Key, _) => return wrong(at, "a key in quotes is expected"),
            (Expect::KeyOrEnd, _) => return wrong(at, "a key in quotes or `}` is expected"),
            (Expect::Colon, b':') => self.pass(State::Between(Expect::Value)),
            (Expect::Colon, _) => return wrong(at, "`:` is expected"),
            (Expect::Separator, _) => self.separate(byte)?,
        }
        Ok(Progress::Went)
    }

    /// Goes past one byte.
    fn pass(&mut self, next: State) {
        self.position += 1;
        self.state = next;
    }

    fn begin_string(&mut self, state: fn(Token) -> State) {
        let token = Token {
            start: self.position,
            escaped: false,
        };
        self.pass(state(token));
    }

    fn begin_name(&mut self, buffer: &[u8]) -> Result<(), Fault> {
        let start = self.position + 1;
        let (end, ascii) = token::plain_run(buffer, start);
        if !ascii || buffer.get(end) != Some(&b'"') {
            self.begin_string(State::Name);
            return Ok(());
        }
        let key = Key::new(buffer, start..end, false);
        self.end_name(buffer, key)
    }

    fn separate(&mut self, byte: u8) -> Result<(), Fault> {
        let at = self.position;
        match (self.innermost(), byte) {
            (Some(Bracket::Array), b',') => {
                if let Some(Inside::Array(index)) = self.looked_into() {
                    *index += 1;
                }
                self.pass(State::Between(Expect::Value));
            }
            (Some(Bracket::Object), b',') => self.pass(State::Between(Expect::Key)),
            (Some(Bracket::Array), b']') | (Some(Bracket::Object), b'}') => self.close(),
            (Some(Bracket::Array), _) => return wrong(at, "`,` or `]` is expected"),
            _ => return wrong(at, "`,` or `}` is expected"),
        }
        Ok(())
    }

    /// The innermost array or object, if somebody looks into it.
    fn looked_into(&mut self) -> Option<&mut Inside> {
        match self.open.last_mut() {
            Some(open) if self.unread.is_empty() => Some(&mut open.inside),
            _ => None,
        }
    }

    // === values ===

    fn begin_value(&mut self, buffer: &[u8], byte: u8) -> Result<(), Fault> {
        let at = self.position;
        if !matches!(
            byte,
            b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'
        ) {
            return wrong(at, "a value is expected");
        }
        if self.nodes == 0 {
            return Err(Fault::TooManyNodes { offset: at });
        }
        self.nodes -= 1;
        if self.open.is_empty() && self.unread.is_empty() {
            self.begin_whole();
        } else if let Some(Inside::Array(index)) = self.looked_into() {
            let index = *index;
            self.enter_element(index);
        }
        let whole = match byte {
            b'"' => token::string(buffer, at + 1),
            b'-' | b'0'..=b'9' => token::number(buffer, at, byte),
            b't' | b'f' | b'n' => token::literal(buffer, at),
            _ => None,
        };
        if let Some(end) = whole {
            self.end_value(at, end);
            return Ok(());
        }
        match byte {
            b'{' => self.open(Bracket::Object)?,
            b'[' => self.open(Bracket::Array)?,
            b'"' => self.begin_string(State::Text),
            b'-' => self.pass(State::Number(at, Part::Sign)),
            b'0' => self.pass(State::Number(at, Part::Zero)),
            b't' => self.state = State::Word(b"true"),
            b'f' => self.state = State::Word(b"false"),
            b'n' => self.state = State::Word(b"null"),
            _ => self.pass(State::Number(at, Part::Whole)),
        }
        Ok(())
    }

    fn begin_whole(&mut self) {
        self.whole.start = self.position;
        self.places.extend(self.demand.root());
    }

    /// The value that began at `start` is over: if it was asked for, here is its range.
    fn end_value(&mut self, start: usize, end: usize) {
        for place in &self.places[self.current..] {
            if let Some(slot) = self.demand.at(*place).slot {
                self.parts[slot.0] = Some(start..end);
            }
        }
        self.places.truncate(self.current);
        self.position = end;
        self.settle();
    }

    /// A value has ended in front of `position`.
    fn settle(&mut self) {
        self.state = State::Between(Expect::Separator);
        if self.open.is_empty() && self.unread.is_empty() {
            self.whole.end = self.position;
            self.state = State::End;
        }
    }

    fn open(&mut self, bracket: Bracket) -> Result<(), Fault> {
        let start = self.position;
        if self.open.len() + self.unread.len() >= self.limits.depth as usize {
            return Err(Fault::TooDeep { offset: start });
        }
        self.pass(State::Between(match bracket {
            Bracket::Array => Expect::ElementOrEnd,
            Bracket::Object => Expect::KeyOrEnd,
        }));
        let places = self.current..self.places.len();
        let asked = || {
            self.places[places.clone()]
                .iter()
                .map(|id| self.demand.at(*id))
        };
        let above = self.open.last().map(|open| open.deep);
        let deep = above.unwrap_or(self.demand.is_strict()) || asked().any(|place| place.deep);
        if places.is_empty() && !deep {
            self.unread.push(bracket);
            return Ok(());
        }
        let inside = match bracket {
            Bracket::Array if deep || asked().any(Place::looks_into_arrays) => Inside::Array(0),
            Bracket::Object if deep || asked().any(Place::looks_into_objects) => {
                Inside::Object(self.keys.open())
            }
            unread => Inside::Unread(unread),
        };
        self.current = self.places.len();
        self.open.push(Open {
            start,
            places,
            deep,
            inside,
        });
        Ok(())
    }

    fn close(&mut self) {
        let end = self.position + 1;
        if self.unread.pop().is_some() {
            self.position = end;
            return self.settle();
        }
        let Some(open) = self.open.pop() else {
            return;
        };
        if let Inside::Object(keys) = &open.inside {
            self.keys.close(keys);
        }
        self.current = open.places.start;
        self.end_value(open.start, end);
        self.current = self.places.len();
    }

    // === the demand ===

    fn enter_element(&mut self, index: usize) {
        let Some(open) = self.open.last() else {
            return;
        };
        for at in open.places.clone() {
            let place = self.demand.at(self.places[at]);
            self.places.extend(place.index(index));
            self.places.extend(place.every);
        }
    }

    /// A key is complete: it must be new if its object is looked into, and leads to its places.
    fn enter_member(&mut self, buffer: &[u8], key: Key) -> Result<(), Fault> {
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        let Inside::Object(set) = &mut open.inside else {
            return Ok(());
        };
        if !self.keys.insert(set, key, buffer) {
            return Err(Fault::Duplicate {
                offset: key.start - 1,
                key: key.text(buffer).into_owned(),
            });
        }
        if open.places.is_empty() {
            return Ok(());
        }
        let name = key.bytes(buffer);
        for at in open.places.clone() {
            let place = self.demand.at(self.places[at]);
            self.places.extend(place.name(&name));
            self.places.extend(place.every);
        }
        Ok(())
    }

    // === tokens ===

    fn text(&mut self, buffer: &[u8], mut token: Token) -> Result<Progress, Fault> {
        loop {
            let begin = self.position;
            let (stop, ascii) = token::plain_run(buffer, begin);
            self.position = stop;
            if !ascii && let Err(error) = std::str::from_utf8(&buffer[begin..stop]) {
                self.position = begin + error.valid_up_to();
                if error.error_len().is_none() && stop == buffer.len() {
                    return Ok(self.wait(token));
                }
                return wrong(self.position, NOT_UTF_8);
            }
            match buffer.get(stop) {
                None => return Ok(self.wait(token)),
                Some(b'"') => return self.end_string(buffer, token, stop + 1),
                Some(b'\\') => match text::escape(buffer, stop) {
                    Escape::Ends(next) => self.position = next,
                    Escape::Unfinished => return Ok(self.wait(token)),
                    Escape::Wrong(at) => return wrong(at, "there is no such escape in a string"),
                },
                Some(_) => return wrong(stop, "a control character stands in a string"),
            }
            token.escaped = true;
        }
    }

    /// Keeps what is known of a string that is not complete.
    fn wait(&mut self, token: Token) -> Progress {
        if let State::Text(kept) | State::Name(kept) = &mut self.state {
            *kept = token;
        }
        Progress::Waits
    }

    fn end_string(&mut self, buffer: &[u8], token: Token, end: usize) -> Result<Progress, Fault> {
        if let State::Text(_) = self.state {
            self.end_value(token.start, end);
            return Ok(Progress::Went);
        }
        let key = Key::new(buffer, token.start + 1..end - 1, token.escaped);
        self.end_name(buffer, key)?;
        Ok(Progress::Went)
    }

    fn end_name(&mut self, buffer: &[u8], key: Key) -> Result<(), Fault> {
        if self.unread.is_empty() {
            self.enter_member(buffer, key)?;
        }
        self.position = key.end + 1;
        self.state = State::Between(Expect::Colon);
        if buffer.get(self.position) == Some(&b':') {
            self.pass(State::Between(Expect::Value));
        }
        Ok(())
    }

    fn number(&mut self, buffer: &[u8], start: usize, part: Part) -> Result<Progress, Fault> {
        let mut part = part;
        while let Some(&byte) = buffer.get(self.position) {
            match part.next(byte) {
                Some(next) => part = next,
                None if part.may_end() => {
                    self.end_value(start, self.position);
                    return Ok(Progress::Went);
                }
                None => return wrong(self.position, "a digit is missing in a number"),
            }
            self.position += 1;
        }
        self.state = State::Number(start, part);
        Ok(Progress::Waits)
    }

    fn word(&mut self, buffer: &[u8], word: &'static [u8]) -> Result<Progress, Fault> {
        let start = self.position;
        let end = buffer.len().min(start + word.len());
        let there = &buffer[start..end];
        let same = there.iter().zip(word).take_while(|(a, b)| a == b).count();
        if same < there.len() {
            return wrong(start + same, "`true`, `false` or `null` is misspelled");
        }
        if same < word.len() {
            return Ok(Progress::Waits);
        }
        self.end_value(start, end);
        Ok(Progress::Went)
    }
}

impl Part {
    fn may_end(self) -> bool {
        matches!(
            self,
            Part::Zero | Part::Whole | Part::Fraction | Part::Exponent
        )
    }

    /// The part that `byte` leads to; `None` if it does not belong to the number.
    fn next(self, byte: u8) -> Option<Part> {
        Some(match (self, byte) {
            (Part::Sign, b'0') => Part::Zero,
            (Part::Sign | Part::Whole, b'0'..=b'9') => Part::Whole,
            (Part::Zero | Part::Whole, b'.') => Part::Point,
            (Part::Point | Part::Fraction, b'0'..=b'9') => Part::Fraction,
            (Part::Zero | Part::Whole | Part::Fraction, b'e' | b'E') => Part::Letter,
            (Part::Letter, b'+' | b'-') => Part::ExponentSign,
            (Part::Letter | Part::ExponentSign | Part::Exponent, b'0'..=b'9') => Part::Exponent,
            _ => return None,
        })
    }
}
