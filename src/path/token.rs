//! The words of a query, each with its place: what jsonpath-rust's grammar takes too lightly.
//!
//! That grammar allows white space inside of names, numbers and operators, and its tree has neither
//! places nor the digits of numbers. So the text is cut here, strictly by RFC 9535, and `spell.rs`
//! writes it anew for the parser.

use std::ops::Range;

use super::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Root,
    Current,
    Dot,
    DotDot,
    /// A name behind a dot.
    Name,
    Star,
    OpenBracket,
    CloseBracket,
    OpenGroup,
    CloseGroup,
    Comma,
    Colon,
    Question,
    Not,
    And,
    Or,
    Comparison,
    Text,
    Number,
    /// A word of letters that stands alone.
    Word,
    /// A word with `(` right behind it.
    Function,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// Cuts a text into its words.
pub(super) fn cut(text: &str) -> Result<Vec<Token>, Error> {
    let mut cutter = Cutter { text, at: 0 };
    let mut tokens: Vec<Token> = Vec::new();
    loop {
        let last = tokens.last().map(|last| last.kind);
        if !matches!(last, Some(Kind::Dot | Kind::DotDot)) {
            cutter.eat(|character| matches!(character, ' ' | '\t' | '\n' | '\r'));
        }
        let start = cutter.at;
        let kind = match last {
            Some(dot @ (Kind::Dot | Kind::DotDot)) => cutter.behind_dot(dot)?,
            _ => match cutter.next()? {
                Some(kind) => kind,
                None => return Ok(tokens),
            },
        };
        tokens.push(Token {
            kind,
            start,
            end: cutter.at,
        });
    }
}

struct Cutter<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cutter<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Goes past the characters that `belongs` takes; how many bytes they were.
    fn eat(&mut self, belongs: impl Fn(char) -> bool) -> usize {
        let rest = self.rest();
        let length = rest.find(|character| !belongs(character));
        let length = length.unwrap_or(rest.len());
        self.at += length;
        length
    }

    fn wrong(&self, at: usize, message: &str) -> Error {
        let length = self.text[at..].chars().next().map_or(0, char::len_utf8);
        Error {
            offset: at,
            length,
            message: message.to_owned(),
            help: None,
        }
    }

    /// A name, `*`, or, behind two dots, a bracket: without white space between.
    fn behind_dot(&mut self, dot: Kind) -> Result<Kind, Error> {
        match self.peek() {
            Some('*') => {
                self.at += 1;
                Ok(Kind::Star)
            }
            Some('[') if dot == Kind::DotDot => {
                self.at += 1;
                Ok(Kind::OpenBracket)
            }
            Some(first) if begins_name(first) => {
                self.eat(|character| continues_name(character) || character == '-');
                Ok(Kind::Name)
            }
            Some('[') => Err(Error {
                help: Some("leave the dot out: `a['b']`".to_owned()),
                ..self.wrong(self.at, "a name is expected behind `.`, not `[`")
            }),
            Some(_) => Err(Error {
                help: Some("write any other name in brackets: `['odd name']`".to_owned()),
                ..self.wrong(self.at, "a name is expected behind `.`")
            }),
            None => Err(self.wrong(self.at, "the text ends where a name is expected behind `.`")),
        }
    }

    fn next(&mut self) -> Result<Option<Kind>, Error> {
        let Some(first) = self.peek() else {
            return Ok(None);
        };
        if let Some((mark, kind)) = MARKS.iter().find(|(mark, _)| self.rest().starts_with(mark)) {
            self.at += mark.len();
            return Ok(Some(*kind));
        }
        match first {
            '\'' | '"' => self.text(first).map(Some),
            '-' | '0'..='9' => self.number().map(Some),
            first if begins_name(first) => Ok(Some(self.word())),
            _ => Err(self.odd(first)),
        }
    }

    fn odd(&self, character: char) -> Error {
        let help = match character {
            '=' => Some("`==` compares"),
            '&' => Some("`&&` joins conditions"),
            '|' => Some("`||` joins conditions"),
            '+' | '/' | '%' => Some("there is no arithmetic"),
            _ => None,
        };
        Error {
            help: help.map(str::to_owned),
            ..self.wrong(self.at, &format!("`{character}` has no meaning here"))
        }
    }

    fn word(&mut self) -> Kind {
        self.eat(continues_name);
        match self.peek() {
            Some('(') => Kind::Function,
            _ => Kind::Word,
        }
    }

    /// `-0`, `1.50`, `2e-7`: a number of RFC 9535, which is one of JSON.
    fn number(&mut self) -> Result<Kind, Error> {
        let digit = |character: char| character.is_ascii_digit();
        let start = self.at;
        self.at += usize::from(self.peek() == Some('-'));
        let first = self.peek();
        let mut complete = match self.eat(digit) {
            0 => false,
            length => length == 1 || first != Some('0'),
        };
        if self.peek() == Some('.') {
            self.at += 1;
            complete &= self.eat(digit) > 0;
        }
        if let Some('e' | 'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some('+' | '-')));
            complete &= self.eat(digit) > 0;
        }
        if complete {
            return Ok(Kind::Number);
        }
        Err(Error {
            length: self.at - start,
            help: Some("numbers are written as in JSON: `0.5`, `-1`, `2e3`".to_owned()),
            ..self.wrong(start, "this is no number")
        })
    }

    fn text(&mut self, quote: char) -> Result<Kind, Error> {
        let start = self.at;
        self.at += 1;
        loop {
            let Some(character) = self.peek() else {
                let message = format!("the `{quote}` that opens here is not closed");
                return Err(self.wrong(start, &message));
            };
            match character {
                '\\' => self.escape(quote)?,
                '\0'..='\u{1f}' => {
                    return Err(self.wrong(self.at, "a control character stands in quotes"));
                }
                _ => self.at += character.len_utf8(),
            }
            if character == quote {
                return Ok(Kind::Text);
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<(), Error> {
        let start = self.at;
        let wrong = |cutter: &Self| Error {
            length: 2.min(cutter.text.len() - start),
            ..cutter.wrong(start, "there is no such escape")
        };
        self.at += 1;
        match self.peek() {
            Some('u') => {
                let unit = self.unit().ok_or_else(|| wrong(self))?;
                let pair = (0xD800..0xDC00).contains(&unit);
                let low = pair && self.rest().starts_with("\\u");
                self.at += usize::from(low);
                let whole = match unit {
                    0xD800..0xDC00 => low && matches!(self.unit(), Some(0xDC00..0xE000)),
                    0xDC00..0xE000 => false,
                    _ => true,
                };
                if whole { Ok(()) } else { Err(wrong(self)) }
            }
            Some('b' | 'f' | 'n' | 'r' | 't' | '/' | '\\') => {
                self.at += 1;
                Ok(())
            }
            Some(same) if same == quote => {
                self.at += 1;
                Ok(())
            }
            Some(other) if !other.is_ascii() => Err(self.wrong(start, "there is no such escape")),
            _ => Err(wrong(self)),
        }
    }

    /// The four digits behind the `u` that stands here.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest().get(1..5)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 5;
        u32::from_str_radix(digits, 16).ok()
    }
}

/// Longer marks stand before those they begin with.
const MARKS: [(&str, Kind); 21] = [
    ("&&", Kind::And),
    ("||", Kind::Or),
    ("==", Kind::Comparison),
    ("!=", Kind::Comparison),
    ("<=", Kind::Comparison),
    (">=", Kind::Comparison),
    ("<", Kind::Comparison),
    (">", Kind::Comparison),
    ("..", Kind::DotDot),
    (".", Kind::Dot),
    ("$", Kind::Root),
    ("@", Kind::Current),
    ("*", Kind::Star),
    ("[", Kind::OpenBracket),
    ("]", Kind::CloseBracket),
    ("(", Kind::OpenGroup),
    (")", Kind::CloseGroup),
    (",", Kind::Comma),
    (":", Kind::Colon),
    ("?", Kind::Question),
    ("!", Kind::Not),
];

fn begins_name(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_' || !character.is_ascii()
}

fn continues_name(character: char) -> bool {
    begins_name(character) || character.is_ascii_digit()
}
