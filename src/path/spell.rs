//! Writes the words of a query anew for jsonpath-rust, and keeps what its tree would lose.
//!
//! The new text has no white space, every name stands in brackets, a number that is a literal is
//! written as its place in a list (so its digits survive), and `present(` as a function the grammar
//! knows. What is kept beside it: where each `$` and each function stands, in the order of the text,
//! which is the order in which the tree holds them. Brackets are matched here, so that the common
//! slips get a plain sentence; what remains wrong the parser finds, and `explain` says it.

use std::ops::Range;

use super::Error;
use super::token::{self, Kind, Token};

/// What of a query or condition may be how large: the parser and the evaluation recurse.
const LENGTH: usize = 4096;
const NESTING: usize = 16;
/// The grammar goes back and forth over the arguments of functions, some six times a level.
const CALLS: usize = 4;

/// The largest index, 2^53 - 1 (RFC 9535 §2.1).
const LARGEST: u64 = (1 << 53) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Query,
    Condition,
}

/// A text as the parser gets it, with what it would lose.
#[derive(Debug)]
pub(super) struct Spelling<'t> {
    form: Form,
    text: &'t str,
    words: Vec<Word>,
    pub(super) spelled: String,
    /// The numbers that are literals, as they are written.
    pub(super) numbers: Vec<&'t str>,
    /// Where the queries that begin with `$` stand.
    pub(super) roots: Vec<Range<usize>>,
    pub(super) functions: Vec<Function<'t>>,
}

#[derive(Clone, Debug)]
pub(super) struct Function<'t> {
    pub(super) name: &'t str,
    pub(super) span: Range<usize>,
}

/// A token with what surrounds it.
#[derive(Debug)]
struct Word {
    token: Token,
    within: Within,
    /// Where it ends in the text for the parser.
    spelled: usize,
}

/// What a bracket opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// Nothing: what stands there belongs to the query itself, or to the condition.
    Top,
    Selectors,
    Filter,
    Group,
    /// The arguments of the function of this number.
    Call(usize),
}

/// A bracket that is open: the token, and what is inside.
struct Open {
    token: Token,
    within: Within,
}

fn error(span: Range<usize>, message: String, help: Option<&str>) -> Error {
    Error {
        offset: span.start,
        length: span.end - span.start,
        message,
        help: help.map(str::to_owned),
    }
}

pub(super) fn spell(text: &str, form: Form) -> Result<Spelling<'_>, Error> {
    if text.len() > LENGTH {
        let message = format!("longer than {LENGTH} bytes");
        return Err(error(0..text.len(), message, None));
    }
    let tokens = token::cut(text)?;
    check_ends(text, &tokens, form)?;
    let mut speller = Speller {
        tokens: &tokens,
        open: Vec::new(),
        spelling: Spelling {
            form,
            text,
            words: Vec::with_capacity(tokens.len()),
            spelled: String::with_capacity(text.len() * 2),
            numbers: Vec::new(),
            roots: Vec::new(),
            functions: Vec::new(),
        },
    };
    speller.write_all()?;
    Ok(speller.spelling)
}

/// How a text has to begin and to end.
fn check_ends(text: &str, tokens: &[Token], form: Form) -> Result<(), Error> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        let message = match form {
            Form::Query => "the query is empty",
            Form::Condition => "the condition is empty",
        };
        return Err(error(0..text.len(), message.to_owned(), None));
    };
    if form == Form::Condition {
        return Ok(());
    }
    if first.kind != Kind::Root || first.start > 0 {
        let message = "a query begins with `$`".to_owned();
        return Err(error(0..first.end, message, None));
    }
    if last.end < text.len() {
        let message = "white space stands behind the query".to_owned();
        return Err(error(last.end..text.len(), message, None));
    }
    Ok(())
}

struct Speller<'s, 't> {
    tokens: &'s [Token],
    open: Vec<Open>,
    spelling: Spelling<'t>,
}

impl<'t> Speller<'_, 't> {
    fn write_all(&mut self) -> Result<(), Error> {
        let form = self.spelling.form;
        if form == Form::Condition {
            self.spelling.spelled.push_str("$[?");
        }
        for at in 0..self.tokens.len() {
            self.write(at)?;
        }
        if let Some(open) = self.open.last() {
            let (what, end) = (form.noun(), self.spelling.text.len());
            let mark = open.closing();
            let message = format!("the {what} ends where a `{mark}` is expected");
            return Err(error(end..end, message, None));
        }
        if form == Form::Condition {
            self.spelling.spelled.push(']');
        }
        Ok(())
    }

    fn within(&self) -> Within {
        self.open.last().map_or(Within::Top, |open| open.within)
    }

    fn text_of(&self, token: Token) -> &'t str {
        &self.spelling.text[token.span()]
    }

    fn write(&mut self, at: usize) -> Result<(), Error> {
        let token = self.tokens[at];
        let within = self.within();
        let written = self.text_of(token);
        self.check_place(token, within)?;
        match token.kind {
            Kind::Dot if self.kind(at + 1) == Some(Kind::Name) => {}
            Kind::Name => self.push_all(&["['", written, "']"]),
            Kind::OpenBracket => self.open(token, Within::Selectors)?,
            Kind::OpenGroup => self.open_group(at)?,
            Kind::CloseBracket | Kind::CloseGroup => self.close(token)?,
            Kind::Question | Kind::Comma => self.turn(token.kind, written),
            Kind::Number if within == Within::Selectors => {
                check_index(token, written)?;
                self.push_all(&[written]);
            }
            Kind::Number => {
                let number = self.spelling.numbers.len().to_string();
                self.spelling.numbers.push(written);
                self.push_all(&[&number]);
            }
            Kind::Root => {
                self.spelling.roots.push(self.extent(at));
                self.push_all(&[written]);
            }
            Kind::Function => self.function(token)?,
            _ => self.push_all(&[written]),
        }
        self.spelling.words.push(Word {
            token,
            within,
            spelled: self.spelling.spelled.len(),
        });
        Ok(())
    }

    fn push_all(&mut self, parts: &[&str]) {
        self.spelling.spelled.extend(parts.iter().copied());
    }

    fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    /// What can be said of a word without the grammar.
    fn check_place(&self, token: Token, within: Within) -> Result<(), Error> {
        let written = self.text_of(token);
        let query = self.spelling.form == Form::Query;
        let of_path = matches!(
            token.kind,
            Kind::Dot | Kind::DotDot | Kind::Name | Kind::Star | Kind::OpenBracket
        );
        match (token.kind, within) {
            (Kind::Root, Within::Top) if query && token.start == 0 => Ok(()),
            (_, Within::Top) if query && !of_path => {
                let message = format!("unexpected `{written}` behind the path");
                let help = "a path goes on with `.name` or `['any name']`";
                Err(error(token.span(), message, Some(help)))
            }
            (Kind::Current, _) if !self.in_filter() => {
                let message = "`@` has no meaning in a condition".to_owned();
                let help = "write the path from its start: `$.name…`; `@` stands in `[?…]` only";
                Err(error(token.span(), message, Some(help)))
            }
            (Kind::Comma | Kind::Question, Within::Top) => {
                let message = format!("unexpected `{written}` in a condition");
                let help = "conditions are joined by `&&` and `||`";
                Err(error(token.span(), message, Some(help)))
            }
            (Kind::Word, _) if !matches!(written, "true" | "false" | "null") => {
                Err(word_error(token, written, within))
            }
            _ => Ok(()),
        }
    }

    fn in_filter(&self) -> bool {
        self.open.iter().any(|open| open.within == Within::Filter)
    }

    fn open(&mut self, token: Token, within: Within) -> Result<(), Error> {
        if self.open.len() == NESTING {
            let message = format!("more than {NESTING} brackets within each other");
            return Err(error(token.span(), message, None));
        }
        self.open.push(Open { token, within });
        self.push_all(&[if within == Within::Selectors {
            "["
        } else {
            "("
        }]);
        Ok(())
    }

    fn open_group(&mut self, at: usize) -> Result<(), Error> {
        let token = self.tokens[at];
        let call = at > 0 && self.kind(at - 1) == Some(Kind::Function);
        if !call {
            return self.open(token, Within::Group);
        }
        let is_call = |open: &&Open| matches!(open.within, Within::Call(_));
        if self.open.iter().filter(is_call).count() == CALLS {
            let message = format!("more than {CALLS} functions within each other");
            return Err(error(token.span(), message, None));
        }
        self.open(token, Within::Call(self.spelling.functions.len() - 1))
    }

    fn close(&mut self, token: Token) -> Result<(), Error> {
        let written = self.text_of(token);
        match self.open.pop() {
            Some(open) if open.closing() == written => {
                self.push_all(&[written]);
                Ok(())
            }
            Some(open) => {
                let message = format!("`{}` is expected, not `{written}`", open.closing());
                let opening = self.text_of(open.token);
                let help = format!("`{opening}` at character {} is open", open.token.start + 1);
                Err(error(token.span(), message, Some(&help)))
            }
            None => {
                let message = format!("nothing is open that `{written}` could close");
                Err(error(token.span(), message, None))
            }
        }
    }

    /// `?` begins a filter and `,` ends it; in any other place the parser refuses them.
    fn turn(&mut self, kind: Kind, written: &str) {
        if let Some(open) = self.open.last_mut() {
            open.within = match (kind, open.within) {
                (Kind::Question, Within::Selectors) => Within::Filter,
                (Kind::Comma, Within::Filter) => Within::Selectors,
                (_, same) => same,
            };
        }
        self.push_all(&[written]);
    }

    fn function(&mut self, token: Token) -> Result<(), Error> {
        let name = self.text_of(token);
        let condition = self.spelling.form == Form::Condition && !self.in_filter();
        let known = match name {
            // The grammar has no `present`; `count` takes the same arguments.
            "present" if condition => "count",
            "present" => {
                let message = "`present()` stands in conditions, not in filters".to_owned();
                let help = "in a filter write `@.a != null && @.a`";
                return Err(error(token.span(), message, Some(help)));
            }
            "length" | "count" | "value" | "match" | "search" => name,
            _ => {
                let message = format!("there is no function `{name}`");
                let help = if condition {
                    "there are `present`, `length`, `count`, `value`, `match` and `search`"
                } else {
                    "there are `length`, `count`, `value`, `match` and `search`"
                };
                return Err(error(token.span(), message, Some(help)));
            }
        };
        self.push_all(&[known]);
        let span = token.span();
        self.spelling.functions.push(Function { name, span });
        Ok(())
    }

    /// Where the query that begins at a token stands: to the end of its last segment.
    fn extent(&self, root: usize) -> Range<usize> {
        let mut end = self.tokens[root].end;
        let mut depth = 0usize;
        for token in &self.tokens[root + 1..] {
            match token.kind {
                Kind::OpenBracket => depth += 1,
                Kind::CloseBracket if depth > 0 => depth -= 1,
                Kind::Dot | Kind::DotDot | Kind::Name => {}
                Kind::Star if depth == 0 && self.text_behind_dot(token) => {}
                _ if depth > 0 => continue,
                _ => break,
            }
            if depth == 0 {
                end = token.end;
            }
        }
        self.tokens[root].start..end
    }

    fn text_behind_dot(&self, token: &Token) -> bool {
        self.spelling.text[..token.start].ends_with('.')
    }
}

impl Open {
    fn closing(&self) -> &'static str {
        match self.token.kind {
            Kind::OpenBracket => "]",
            _ => ")",
        }
    }
}

impl Form {
    fn noun(self) -> &'static str {
        match self {
            Form::Query => "query",
            Form::Condition => "condition",
        }
    }
}

/// An index as RFC 9535 §2.3.3 has it: whole, without leading zeros, no `-0`, exact in a double.
fn check_index(token: Token, written: &str) -> Result<(), Error> {
    let digits = written.strip_prefix('-').unwrap_or(written);
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) || written == "-0" {
        let message = "an index is a whole number".to_owned();
        return Err(error(token.span(), message, None));
    }
    match digits.parse::<u64>() {
        Ok(index) if index <= LARGEST => Ok(()),
        _ => {
            let message = format!("an index is at most {LARGEST}");
            Err(error(token.span(), message, None))
        }
    }
}

fn word_error(token: Token, word: &str, within: Within) -> Error {
    let help = match (word.to_ascii_lowercase().as_str(), within) {
        (_, Within::Selectors) => format!("a name in brackets stands in quotes: `'{word}'`"),
        ("and", _) => "conditions are joined by `&&`".to_owned(),
        ("or", _) => "conditions are joined by `||`".to_owned(),
        ("not", _) => "a condition is turned round by `!`".to_owned(),
        _ => format!("text stands in quotes, `'{word}'`; a path begins with `$.`"),
    };
    let message = format!("`{word}` has no meaning here");
    error(token.span(), message, Some(&help))
}

impl Spelling<'_> {
    /// How long the text is as it was written.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Says what is wrong where the parser stopped: at this byte of the text it was given.
    pub(super) fn explain(&self, stopped: usize) -> Error {
        let at = self.words.partition_point(|word| word.spelled <= stopped);
        let before = at.checked_sub(1).map(|last| self.words[last].token.kind);
        let Some(word) = self.words.get(at) else {
            let end = self.text.len();
            let message = format!("the {} ends too early", self.form.noun());
            return error(end..end, message, operand_help(before));
        };
        let (message, help) = self.reason(word, before);
        error(word.token.span(), message, help)
    }

    fn reason(&self, word: &Word, before: Option<Kind>) -> (String, Option<&'static str>) {
        let written = &self.text[word.token.span()];
        let closes = matches!(
            word.token.kind,
            Kind::CloseBracket | Kind::CloseGroup | Kind::Comma
        );
        match word.within {
            _ if word.token.kind == Kind::Comparison => (
                format!("what stands beside `{written}` is not one value"),
                Some(
                    "compare literals, paths of names and indexes, `length()`, `count()`, `value()`",
                ),
            ),
            Within::Call(function) if closes && is_complete(before) => {
                let name = self.functions[function].name;
                let count = match name {
                    "match" | "search" => "two arguments",
                    _ => "one argument",
                };
                (format!("`{name}()` takes {count}"), None)
            }
            Within::Selectors if is_complete(before) => {
                (format!("`,` or `]` is expected, not `{written}`"), None)
            }
            Within::Selectors => (
                format!("a selector is expected, not `{written}`"),
                Some("a name in quotes, an index, a slice `1:3`, `*` or a filter `?…`"),
            ),
            _ if closes && is_literal(before) => (
                "a literal alone is no condition".to_owned(),
                Some("compare it with something: `$.a.b == 1`"),
            ),
            _ if is_complete(before) => (
                format!("an operator is expected, not `{written}`"),
                Some("`==`, `!=`, `<`, `<=`, `>`, `>=` compare; `&&` and `||` join"),
            ),
            _ => (
                format!("a path, a literal or a function is expected, not `{written}`"),
                operand_help(before),
            ),
        }
    }
}

fn operand_help(before: Option<Kind>) -> Option<&'static str> {
    match before {
        Some(Kind::Comparison) => Some("something to compare with is missing"),
        Some(Kind::And | Kind::Or | Kind::Not) => Some("a condition is missing"),
        Some(kind) if is_literal(Some(kind)) => Some("compare it with something: `$.a.b == 1`"),
        _ => None,
    }
}

fn is_literal(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Text | Kind::Number | Kind::Word))
}

fn is_complete(kind: Option<Kind>) -> bool {
    use Kind::{CloseBracket, CloseGroup, Current, Name, Root, Star};
    let ends_path = matches!(
        kind,
        Some(CloseBracket | CloseGroup | Current | Name | Root | Star)
    );
    ends_path || is_literal(kind)
}
