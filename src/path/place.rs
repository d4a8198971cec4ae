//! What may stand beside what: says what is wrong with a query in a sentence, before the parser.
//!
//! The parser reports the rules of its grammar, and often not the place at which a reader would
//! point. So each word is looked at here together with its neighbours. What is left to the parser
//! is little: comparisons of what is not one value.

use super::Error;
use super::outline::{Form, Outline, Within, error};
use super::token::Kind;

/// The largest index, 2^53 - 1 (RFC 9535 §2.1).
const LARGEST: u64 = (1 << 53) - 1;

const COMPARED: &str =
    "compare literals, paths of names and indexes, `length()`, `count()` or `value()`";

type Checked = Result<(), Error>;

pub(super) fn check(outline: &Outline<'_>) -> Checked {
    let places = Places { outline };
    places.check_begin()?;
    (0..outline.len()).try_for_each(|at| places.check_word(at))?;
    places.check_end()
}

/// Says what is wrong where the parser stopped, at the word `at`.
pub(super) fn explain(outline: &Outline<'_>, at: usize) -> Error {
    let comparison = (at..outline.len()).find(|at| outline.kind(*at) == Some(Kind::Comparison));
    match comparison {
        Some(at) => beside(outline, at),
        None => {
            let message = format!("this is no {} of RFC 9535", outline.form.noun());
            error(0..outline.text.len(), message, None)
        }
    }
}

fn beside(outline: &Outline<'_>, comparison: usize) -> Error {
    let written = outline.written(comparison);
    let message = format!("what stands beside `{written}` is not one value");
    error(outline.token(comparison).span(), message, Some(COMPARED))
}

#[derive(Clone, Copy)]
struct Places<'o, 't> {
    outline: &'o Outline<'t>,
}

impl Places<'_, '_> {
    fn wrong(self, at: usize, message: &str, help: Option<&str>) -> Checked {
        let message = format!("{message} `{}`", self.outline.written(at));
        Err(error(self.outline.token(at).span(), message, help))
    }

    fn check_begin(self) -> Checked {
        let (form, text) = (self.outline.form, self.outline.text);
        if self.outline.len() == 0 {
            let message = format!("the {} is empty", form.noun());
            return Err(error(0..text.len(), message, None));
        }
        let first = self.outline.token(0);
        if form == Form::Query && (first.kind != Kind::Root || first.start > 0) {
            let message = "a query begins with `$`".to_owned();
            let help = "write `$.`, then `request` or the name of a call";
            return Err(error(0..first.end, message, Some(help)));
        }
        Ok(())
    }

    fn check_end(self) -> Checked {
        let end = self.outline.text.len();
        let last = self.outline.len() - 1;
        match self.outline.form {
            Form::Query => {
                let last = self.outline.token(last);
                let message = "white space stands behind the query".to_owned();
                (last.end == end)
                    .then_some(())
                    .ok_or_else(|| error(last.end..end, message, None))
            }
            Form::Condition if is_complete(self.outline.kind(last)) => Ok(()),
            Form::Condition => {
                let message = "the condition ends too early".to_owned();
                Err(error(end..end, message, missing(self.outline.kind(last))))
            }
        }
    }

    fn check_word(self, at: usize) -> Checked {
        if let Some(Kind::Dot | Kind::DotDot) = self.outline.before(at) {
            return Ok(());
        }
        match self.outline.within(at) {
            Within::Top if self.outline.form == Form::Query => self.check_path(at),
            Within::Selectors => self.check_selector(at),
            _ => self.check_logical(at),
        }
    }

    /// Outside of all brackets of a query.
    fn check_path(self, at: usize) -> Checked {
        match self.outline.token(at).kind {
            Kind::Root if at == 0 => Ok(()),
            Kind::Dot | Kind::DotDot | Kind::OpenBracket => Ok(()),
            _ => {
                let message = format!("unexpected `{}` behind the path", self.outline.written(at));
                let help = "a path goes on with `.name` or `['any name']`";
                Err(error(self.outline.token(at).span(), message, Some(help)))
            }
        }
    }

    // === selectors ===

    fn check_selector(self, at: usize) -> Checked {
        use Kind::{Colon, Comma, Number, OpenBracket, Star, Text};
        let before = self.outline.before(at);
        let begins = matches!(before, Some(OpenBracket | Comma));
        let ended = matches!(before, Some(Text | Star | Number));
        let fits = match self.outline.token(at).kind {
            Text | Star | Kind::Question => begins,
            Number => begins || before == Some(Colon),
            Colon => begins || matches!(before, Some(Number | Colon)),
            Comma | Kind::CloseBracket => ended || before == Some(Colon),
            _ => false,
        };
        let written = self.outline.written(at);
        match self.outline.token(at).kind {
            Number if fits => self.check_index(at),
            _ if fits => Ok(()),
            Kind::Word if begins => {
                let help = format!("a name in brackets stands in quotes: `'{written}'`");
                Err(self.meaningless(at, &help))
            }
            _ if ended => self.wrong(at, "`,` or `]` is expected, not", None),
            _ => {
                let help = "a name in quotes, an index, a slice `1:3`, `*` or a filter `?…`";
                self.wrong(at, "a selector is expected, not", Some(help))
            }
        }
    }

    /// An index as RFC 9535 §2.3.3 has it: whole, no `-0`, exact in a double.
    fn check_index(self, at: usize) -> Checked {
        let span = self.outline.token(at).span();
        let written = self.outline.written(at);
        let digits = written.strip_prefix('-').unwrap_or(written);
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) || written == "-0" {
            return Err(error(span, "an index is a whole number".to_owned(), None));
        }
        match digits.parse::<u64>() {
            Ok(index) if index <= LARGEST => Ok(()),
            _ => Err(error(span, format!("an index is at most {LARGEST}"), None)),
        }
    }

    fn meaningless(self, at: usize, help: &str) -> Error {
        let message = format!("`{}` has no meaning here", self.outline.written(at));
        error(self.outline.token(at).span(), message, Some(help))
    }

    // === logical expressions ===

    fn check_logical(self, at: usize) -> Checked {
        use Kind::{CloseBracket, CloseGroup, Comma, Name, OpenBracket, OpenGroup};
        use Kind::{Current, Function, Not, Number, Root, Star, Text, Word};
        let before = self.outline.before(at);
        let within = self.outline.within(at);
        match self.outline.token(at).kind {
            Word if !matches!(self.outline.written(at), "true" | "false" | "null") => {
                Err(self.odd_word(at))
            }
            Comma if matches!(within, Within::Top | Within::Group) => self.out_of_place(at),
            Kind::Question | Kind::Colon => self.out_of_place(at),
            Kind::Dot | Kind::DotDot | OpenBracket => match before {
                Some(Root | Current | Name | Star | CloseBracket) => Ok(()),
                _ => self.no_operand(at, before),
            },
            Root | Current | Text | Number | Word | Function | OpenGroup | Not
                if !is_complete(before) =>
            {
                self.check_operand(at)
            }
            Kind::And | Kind::Or | CloseGroup | CloseBracket | Comma | Kind::Comparison
                if is_complete(before) =>
            {
                self.check_behind(at)
            }
            _ => self.no_operand(at, before),
        }
    }

    fn out_of_place(self, at: usize) -> Checked {
        let message = format!("unexpected `{}` in a condition", self.outline.written(at));
        let help = "conditions are joined by `&&` and `||`";
        Err(error(self.outline.token(at).span(), message, Some(help)))
    }

    fn no_operand(self, at: usize, before: Option<Kind>) -> Checked {
        if is_complete(before) {
            let help = "`==`, `!=`, `<`, `<=`, `>`, `>=` compare; `&&` and `||` join";
            return self.wrong(at, "an operator is expected, not", Some(help));
        }
        let message = "a path, a literal or a function is expected, not";
        self.wrong(at, message, missing(before))
    }

    fn odd_word(self, at: usize) -> Error {
        let word = self.outline.written(at);
        let help = match word.to_ascii_lowercase().as_str() {
            "and" => "conditions are joined by `&&`".to_owned(),
            "or" => "conditions are joined by `||`".to_owned(),
            "not" => "a condition is turned round by `!`".to_owned(),
            _ => format!("text stands in quotes, `'{word}'`; a path begins with `$.`"),
        };
        self.meaningless(at, &help)
    }

    /// What begins an operand where one may begin.
    fn check_operand(self, at: usize) -> Checked {
        let span = self.outline.token(at).span();
        let kind = self.outline.token(at).kind;
        match kind {
            Kind::Current if !self.outline.in_filter(at) => {
                let message = "`@` has no meaning in a condition".to_owned();
                let help = "write the path from its start: `$.name…`; `@` stands in `[?…]` only";
                Err(error(span, message, Some(help)))
            }
            Kind::Function => self.check_function(at),
            _ if is_literal(Some(kind)) && self.outline.within(at) != Within::Call => {
                let compared = self.outline.before(at) == Some(Kind::Comparison)
                    || self.outline.kind(at + 1) == Some(Kind::Comparison);
                let message = "a literal alone is no condition".to_owned();
                let help = "compare it with something: `$.a.b == 1`";
                compared
                    .then_some(())
                    .ok_or_else(|| error(span, message, Some(help)))
            }
            _ => Ok(()),
        }
    }

    /// What stands behind an operand.
    fn check_behind(self, at: usize) -> Checked {
        let token = self.outline.token(at);
        match (token.kind, self.outline.within(at)) {
            (Kind::Comparison, _) if self.closes_group(at) => Err(beside(self.outline, at)),
            (Kind::Comma | Kind::CloseGroup, Within::Call) => self.check_arguments(at),
            _ => Ok(()),
        }
    }

    /// Whether the word before this one closes a group, not the arguments of a function.
    fn closes_group(self, at: usize) -> bool {
        self.outline.before(at) == Some(Kind::CloseGroup)
            && self.outline.within(at - 1) == Within::Group
    }

    // === functions ===

    /// What the parser refuses of functions without saying where (RFC 9535 §2.4.1).
    fn check_function(self, at: usize) -> Checked {
        let span = self.outline.token(at).span();
        let name = self.outline.written(at);
        self.check_name(at, name)?;
        let logical = matches!(name, "match" | "search" | "present");
        let compared = self.outline.before(at) == Some(Kind::Comparison)
            || self.outline.kind(self.outline.behind(at + 1)) == Some(Kind::Comparison);
        if logical && compared {
            let message = format!("`{name}()` gives no value");
            return Err(error(span, message, Some("it is a condition by itself")));
        }
        let path = matches!(name, "count" | "value" | "present");
        let argument = self.outline.kind(at + 2);
        let is_path = matches!(argument, Some(Kind::Root | Kind::Current));
        if path && !is_path && argument != Some(Kind::CloseGroup) {
            return Err(error(span, format!("`{name}()` takes a path"), None));
        }
        Ok(())
    }

    fn check_name(self, at: usize, name: &str) -> Checked {
        let span = self.outline.token(at).span();
        let condition = self.outline.form == Form::Condition && !self.outline.in_filter(at);
        match name {
            "length" | "count" | "value" | "match" | "search" => Ok(()),
            "present" if condition => Ok(()),
            "present" => {
                let message = "`present()` stands in conditions, not in filters".to_owned();
                let help = "in a filter write `@.a && @.a != null`";
                Err(error(span, message, Some(help)))
            }
            _ => {
                let help = if condition {
                    "there are `present`, `length`, `count`, `value`, `match` and `search`"
                } else {
                    "there are `length`, `count`, `value`, `match` and `search`"
                };
                Err(error(
                    span,
                    format!("there is no function `{name}`"),
                    Some(help),
                ))
            }
        }
    }

    /// Counts the arguments of a function up to the `,` or `)` at this word.
    fn check_arguments(self, at: usize) -> Checked {
        let Some(open) = self.outline.around(at) else {
            return Ok(());
        };
        let is_comma = |word: &usize| {
            self.outline.kind(*word) == Some(Kind::Comma)
                && self.outline.around(*word) == Some(open)
        };
        let commas = (open..=at).filter(is_comma).count();
        let name = self.outline.written(open - 1);
        let (wanted, words) = match name {
            "match" | "search" => (1, "two arguments"),
            _ => (0, "one argument"),
        };
        let closes = self.outline.token(at).kind == Kind::CloseGroup;
        if commas > wanted || closes && commas < wanted {
            let message = format!("`{name}()` takes {words}");
            return Err(error(self.outline.token(at).span(), message, None));
        }
        Ok(())
    }
}

/// What is missing behind a word that wants something behind it.
fn missing(before: Option<Kind>) -> Option<&'static str> {
    match before {
        Some(Kind::Comparison) => Some("something to compare with is missing"),
        Some(Kind::And | Kind::Or | Kind::Not) => Some("a condition is missing"),
        _ => None,
    }
}

fn is_literal(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Text | Kind::Number | Kind::Word))
}

/// Whether a word may end an operand.
fn is_complete(kind: Option<Kind>) -> bool {
    use Kind::{CloseBracket, CloseGroup, Current, Name, Root, Star};
    let path = matches!(
        kind,
        Some(CloseBracket | CloseGroup | Current | Name | Root | Star)
    );
    path || is_literal(kind)
}
