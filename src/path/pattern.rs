//! I-Regexp (RFC 9485), checked and written anew for the `regex` crate.
//!
//! A pattern that stands in a query is compiled once. One that comes out of data is compiled small
//! and kept for a while, since the same filter is asked of each element. What is no I-Regexp
//! matches nothing (RFC 9535 §2.4.6).

use std::sync::{Arc, Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

use super::Error;
use super::tree::Operand;

/// How much memory a compiled pattern of the operator, and one out of data, may take.
const SIZE_FIXED: usize = 1 << 20;
const SIZE_FOUND: usize = 1 << 17;
/// How long a pattern out of data may be, and how many are kept.
const LENGTH_FOUND: usize = 1024;
const KEPT: usize = 8;
const NESTING: usize = 32;

/// Whether a pattern has to match the whole text (`match`) or a part of it (`search`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Part,
}

#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Fixed(Regex),
    /// It is no I-Regexp.
    Never,
    Found(Box<Found>),
}

/// A pattern that comes out of data.
#[derive(Clone, Debug)]
pub(super) struct Found {
    operand: Operand,
    extent: Extent,
    /// The last ones, oldest first.
    kept: Arc<Mutex<Vec<Compiled>>>,
}

/// A pattern with what became of it.
type Compiled = (String, Option<Regex>);

impl Pattern {
    pub(super) fn fixed(pattern: &str, extent: Extent) -> Result<Pattern, Error> {
        compile(pattern, extent, SIZE_FIXED).map(Pattern::Fixed)
    }

    pub(super) fn found(operand: Operand, extent: Extent) -> Pattern {
        Pattern::Found(Box::new(Found {
            operand,
            extent,
            kept: Arc::default(),
        }))
    }

    /// What gives the pattern, if it comes out of data.
    pub(super) fn operand(&self) -> Option<&Operand> {
        match self {
            Pattern::Fixed(_) | Pattern::Never => None,
            Pattern::Found(found) => Some(&found.operand),
        }
    }
}

impl Found {
    pub(super) fn operand(&self) -> &Operand {
        &self.operand
    }

    /// Whether `text` matches the pattern that was found.
    pub(super) fn matches(&self, pattern: &str, text: &str) -> bool {
        if pattern.len() > LENGTH_FOUND {
            return false;
        }
        // A regex is two counted pointers: the lock is not held while it works.
        self.compiled(pattern)
            .is_some_and(|regex| regex.is_match(text))
    }

    fn compiled(&self, pattern: &str) -> Option<Regex> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, regex)) = kept.iter().find(|(known, _)| known == pattern) {
            return regex.clone();
        }
        let regex = compile(pattern, self.extent, SIZE_FOUND).ok();
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((pattern.to_owned(), regex.clone()));
        regex
    }
}

/// The regular expression that the whole of a text has to match, from an I-Regexp.
pub fn whole_pattern(pattern: &str) -> Result<Regex, Error> {
    compile(pattern, Extent::Whole, SIZE_FIXED)
}

fn compile(pattern: &str, extent: Extent, size: usize) -> Result<Regex, Error> {
    let inside = Translation::of(pattern)?;
    let regex = match extent {
        Extent::Whole => format!(r"\A(?:{inside})\z"),
        Extent::Part => inside,
    };
    let built = RegexBuilder::new(&regex)
        .size_limit(size)
        .dfa_size_limit(size)
        .nest_limit(NESTING as u32 * 4)
        .build();
    built.map_err(|error| Error {
        offset: 0,
        length: pattern.len(),
        message: match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
            _ => "the pattern cannot match: a range or a count is the wrong way round".to_owned(),
        },
        help: None,
    })
}

struct Translation<'p> {
    pattern: &'p str,
    at: usize,
    out: String,
    groups: usize,
}

impl<'p> Translation<'p> {
    fn of(pattern: &'p str) -> Result<String, Error> {
        let mut translation = Translation {
            pattern,
            at: 0,
            out: String::with_capacity(pattern.len() + 16),
            groups: 0,
        };
        translation.write_all()?;
        Ok(translation.out)
    }

    fn peek(&self) -> Option<char> {
        self.pattern[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn wrong<T>(&self, start: usize, message: &str) -> Result<T, Error> {
        Err(Error {
            offset: start,
            length: self.at.saturating_sub(start),
            message: message.to_owned(),
            help: Some("patterns are I-Regexp (RFC 9485): `[0-9]`, `\\p{L}`, `(a|b)*`".to_owned()),
        })
    }

    fn write_all(&mut self) -> Result<(), Error> {
        // A quantifier needs something to repeat right before it.
        let mut repeatable = false;
        loop {
            let start = self.at;
            let Some(next) = self.take() else {
                break;
            };
            repeatable = match next {
                '*' | '+' | '?' | '{' if !repeatable => {
                    return self.wrong(start, &format!("`{next}` has nothing to repeat"));
                }
                '*' | '+' | '?' => {
                    self.out.push(next);
                    false
                }
                '{' => {
                    self.count(start)?;
                    false
                }
                '|' => {
                    self.out.push('|');
                    false
                }
                '(' => {
                    self.open(start)?;
                    false
                }
                ')' => {
                    self.close(start)?;
                    true
                }
                ']' | '}' => return self.wrong(start, &format!("`{next}` closes nothing")),
                '[' => self.class(start)?,
                '.' => {
                    self.out.push_str(r"[^\n\r]");
                    true
                }
                '\\' => {
                    self.escape(start)?;
                    true
                }
                // RFC 9485 §5.3 leaves them what they are in ECMAScript: anchors.
                '^' | '$' => {
                    self.out.push(next);
                    true
                }
                _ => {
                    self.out
                        .push_str(regex::escape(next.encode_utf8(&mut [0; 4])).as_str());
                    true
                }
            };
        }
        if self.groups > 0 {
            return self.wrong(self.at, "a `(` is not closed");
        }
        Ok(())
    }

    fn open(&mut self, start: usize) -> Result<(), Error> {
        self.groups += 1;
        if self.groups > NESTING {
            return self.wrong(start, "too many groups within each other");
        }
        self.out.push_str("(?:");
        Ok(())
    }

    fn close(&mut self, start: usize) -> Result<(), Error> {
        if self.groups == 0 {
            return self.wrong(start, "`)` closes nothing");
        }
        self.groups -= 1;
        self.out.push(')');
        Ok(())
    }

    /// `{2}`, `{2,}`, `{2,5}`: what stands behind the opening brace.
    fn count(&mut self, start: usize) -> Result<(), Error> {
        let rest = &self.pattern[self.at..];
        let length = rest.find('}').unwrap_or(rest.len());
        let (least, most) = match rest[..length].split_once(',') {
            Some((least, most)) => (least, Some(most)),
            None => (&rest[..length], None),
        };
        let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        let good = digits(least) && !least.is_empty() && most.is_none_or(digits);
        self.at += (length + 1).min(rest.len());
        if !good || length == rest.len() {
            return self.wrong(start, "a count is `{2}`, `{2,}` or `{2,5}`");
        }
        self.out.push_str(&self.pattern[start..self.at]);
        Ok(())
    }

    /// What stands behind a backslash outside of a class.
    fn escape(&mut self, start: usize) -> Result<(), Error> {
        match self.peek() {
            Some('p' | 'P') => self.category(start),
            _ => {
                let character = self.escaped(start)?;
                self.push_escaped(character);
                Ok(())
            }
        }
    }

    fn escaped(&mut self, start: usize) -> Result<char, Error> {
        match self.take() {
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some(mark) if "()*+-.?[\\]^{|}".contains(mark) => Ok(mark),
            Some('$') => Ok('$'),
            _ => self.wrong(start, "there is no such escape"),
        }
    }

    /// Safe inside and outside of classes.
    fn push_escaped(&mut self, character: char) {
        self.out
            .push_str(&format!("\\x{{{:X}}}", u32::from(character)));
    }

    /// `\p{Lu}`: a category of Unicode, of one letter or two.
    fn category(&mut self, start: usize) -> Result<(), Error> {
        const CATEGORIES: [(char, &str); 7] = [
            ('L', "lmotu"),
            ('M', "cen"),
            ('N', "dlo"),
            ('P', "cdefios"),
            ('Z', "lps"),
            ('S', "ckmo"),
            ('C', "cfno"),
        ];
        let rest = &self.pattern[self.at..];
        let name = rest[1..]
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'));
        let name = name.map(|(name, _)| name).unwrap_or_default();
        let known = |(group, kinds): &(char, &str)| {
            let kind = name.strip_prefix(*group);
            kind.is_some_and(|kind| kind.is_empty() || kind.len() == 1 && kinds.contains(kind))
        };
        if !CATEGORIES.iter().any(known) {
            return self.wrong(start, "a category is written as `\\p{L}` or `\\p{Lu}`");
        }
        self.at += name.len() + 3;
        self.out.push_str(&self.pattern[start..self.at]);
        Ok(())
    }

    /// What stands behind `[`, to its `]`.
    fn class(&mut self, start: usize) -> Result<bool, Error> {
        self.out.push('[');
        if self.peek() == Some('^') {
            self.take();
            self.out.push('^');
        }
        let first = self.at;
        loop {
            let at = self.at;
            match self.take() {
                None => return self.wrong(start, "a `[` is not closed"),
                Some(']') if at > first => break,
                Some('-') if at == first || self.peek() == Some(']') => self.push_escaped('-'),
                Some('\\') if matches!(self.peek(), Some('p' | 'P')) => self.category(at)?,
                Some(character) => self.range(at, character)?,
            }
        }
        self.out.push(']');
        Ok(true)
    }

    /// `a` or `a-z` in a class.
    fn range(&mut self, start: usize, first: char) -> Result<(), Error> {
        let first = self.class_character(start, first)?;
        self.push_escaped(first);
        let rest = &self.pattern[self.at..];
        if !rest.starts_with('-') || rest.starts_with("-]") {
            return Ok(());
        }
        self.take();
        let at = self.at;
        let Some(last) = self.take() else {
            return self.wrong(start, "a range has no end");
        };
        let last = self.class_character(at, last)?;
        self.out.push('-');
        self.push_escaped(last);
        Ok(())
    }

    fn class_character(&mut self, start: usize, character: char) -> Result<char, Error> {
        match character {
            '\\' => self.escaped(start),
            '[' | ']' | '-' => self.wrong(start, &format!("`{character}` in a class needs a `\\`")),
            other => Ok(other),
        }
    }
}
