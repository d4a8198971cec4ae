//! Which bracket belongs to which, and so what surrounds each word of a query or condition.

use std::ops::Range;

use super::Error;
use super::token::{self, Kind, Token};

/// How large a text may be and how deep it may go: the parser and the evaluation recurse.
const LENGTH: usize = 4096;
const NESTING: usize = 16;
/// The grammar goes back and forth over the arguments of functions, some six times a level.
const CALLS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Query,
    Condition,
}

/// What a bracket is about; that of a word is that of the innermost bracket around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// No bracket: the query itself, or the condition.
    Top,
    Selectors,
    Filter,
    Group,
    /// The arguments of a function.
    Call,
}

/// The words of a text, whose brackets are known to match.
#[derive(Debug)]
pub(super) struct Outline<'t> {
    pub(super) form: Form,
    pub(super) text: &'t str,
    words: Vec<Word>,
}

#[derive(Debug)]
struct Word {
    token: Token,
    within: Within,
    /// The innermost bracket around it. A closing bracket is within what it closes.
    around: Option<usize>,
    /// The bracket that closes this one.
    closed_by: usize,
}

pub(super) fn error(span: Range<usize>, message: String, help: Option<&str>) -> Error {
    Error {
        offset: span.start,
        length: span.end - span.start,
        message,
        help: help.map(str::to_owned),
    }
}

impl<'t> Outline<'t> {
    pub(super) fn of(text: &'t str, form: Form) -> Result<Outline<'t>, Error> {
        if text.len() > LENGTH {
            let message = format!("the {} is longer than {LENGTH} bytes", form.noun());
            return Err(error(0..text.len(), message, None));
        }
        let mut outline = Outline {
            form,
            text,
            words: Vec::new(),
        };
        outline.nest(token::cut(text)?)?;
        Ok(outline)
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn token(&self, at: usize) -> Token {
        self.words[at].token
    }

    pub(super) fn within(&self, at: usize) -> Within {
        self.words[at].within
    }

    pub(super) fn kind(&self, at: usize) -> Option<Kind> {
        self.words.get(at).map(|word| word.token.kind)
    }

    /// The kind of the word before this one.
    pub(super) fn before(&self, at: usize) -> Option<Kind> {
        self.kind(at.checked_sub(1)?)
    }

    /// A word as it is written.
    pub(super) fn written(&self, at: usize) -> &'t str {
        &self.text[self.token(at).span()]
    }

    /// The word of the bracket around a word.
    pub(super) fn around(&self, at: usize) -> Option<usize> {
        self.words[at].around
    }

    /// The number of the word behind the bracket that closes the one at `open`.
    pub(super) fn behind(&self, open: usize) -> usize {
        self.words[open].closed_by + 1
    }

    pub(super) fn in_filter(&self, at: usize) -> bool {
        let around = std::iter::successors(Some(at), |at| self.around(*at));
        around
            .into_iter()
            .any(|at| self.within(at) == Within::Filter)
    }

    // === how it is made ===

    fn nest(&mut self, tokens: Vec<Token>) -> Result<(), Error> {
        let mut open: Vec<(usize, Within)> = Vec::new();
        for (at, token) in tokens.into_iter().enumerate() {
            let (around, within) = match open.last() {
                Some((around, within)) => (Some(*around), *within),
                None => (None, Within::Top),
            };
            self.words.push(Word {
                token,
                within,
                around,
                closed_by: at,
            });
            match token.kind {
                Kind::OpenBracket => self.open(at, Within::Selectors, &mut open)?,
                Kind::OpenGroup if self.before(at) == Some(Kind::Function) => {
                    self.open(at, Within::Call, &mut open)?;
                }
                Kind::OpenGroup => self.open(at, Within::Group, &mut open)?,
                Kind::CloseBracket | Kind::CloseGroup => self.close(at, &mut open)?,
                Kind::Question | Kind::Comma => turn(token.kind, &mut open),
                _ => {}
            }
        }
        let Some((last, _)) = open.last() else {
            return Ok(());
        };
        let (noun, end) = (self.form.noun(), self.text.len());
        let closing = self.closing(*last);
        let message = format!("the {noun} ends where a `{closing}` is expected");
        Err(error(end..end, message, None))
    }

    fn open(
        &self,
        at: usize,
        within: Within,
        open: &mut Vec<(usize, Within)>,
    ) -> Result<(), Error> {
        let span = self.token(at).span();
        if open.len() == NESTING {
            let message = format!("more than {NESTING} brackets within each other");
            return Err(error(span, message, None));
        }
        open.push((at, within));
        if open.iter().filter(|open| open.1 == Within::Call).count() > CALLS {
            let message = format!("more than {CALLS} functions within each other");
            return Err(error(span, message, None));
        }
        Ok(())
    }

    fn close(&mut self, at: usize, open: &mut Vec<(usize, Within)>) -> Result<(), Error> {
        let (written, span) = (self.written(at), self.token(at).span());
        let Some((opening, _)) = open.pop() else {
            let message = format!("nothing is open that `{written}` could close");
            return Err(error(span, message, None));
        };
        let closing = self.closing(opening);
        if closing != written {
            let message = format!("`{closing}` is expected, not `{written}`");
            return Err(error(span, message, None));
        }
        self.words[opening].closed_by = at;
        Ok(())
    }

    fn closing(&self, opening: usize) -> &'static str {
        match self.token(opening).kind {
            Kind::OpenBracket => "]",
            _ => ")",
        }
    }
}

/// `?` begins a filter and `,` ends it.
fn turn(kind: Kind, open: &mut [(usize, Within)]) {
    if let Some((_, within)) = open.last_mut() {
        *within = match (kind, *within) {
            (Kind::Question, Within::Selectors) => Within::Filter,
            (Kind::Comma, Within::Filter) => Within::Selectors,
            (_, same) => same,
        };
    }
}

impl Form {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Form::Query => "query",
            Form::Condition => "condition",
        }
    }
}
