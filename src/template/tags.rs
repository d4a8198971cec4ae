//! Finds the tags of a text and refuses those that are not in the language.
//!
//! It reads a text before the Handlebars parser does, for three reasons. What our language leaves out
//! is named at its own place, where a grammar could only say that it expected something else. Nesting
//! is bounded, since that parser recurses. And every operand gets its offset, which the parser's tree
//! does not hold. What the tags mean is for [`super::compile`].

use crate::template::Error;

/// The longest text that is read, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// How deep blocks, and parentheses in one tag, may nest.
const MAX_DEPTH: usize = 16;
/// How many `{{else if}}` one block may have.
const MAX_CHAIN: usize = 32;

/// One `{{ }}`.
#[derive(Debug)]
pub(super) struct Tag {
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
    /// The words and strings in it, in order; of `{{#if a}}` they are `if` and `a`.
    pub tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hole,
    Open,
    Else,
    ElseIf,
    Close,
    Comment,
}

/// A word or a string (with its quotes) in a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub start: usize,
    pub end: usize,
}

/// An error at a place in the text.
pub(super) fn error(
    offset: usize,
    length: usize,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Error {
    let help: String = help.into();
    Error {
        offset,
        length,
        message: message.into(),
        help: (!help.is_empty()).then_some(help),
    }
}

/// All tags of a text, in order, with blocks known to be closed properly.
pub(super) fn scan(source: &str) -> Result<Vec<Tag>, Error> {
    if source.len() > MAX_TEXT {
        let message = format!("a text of more than {} KiB", MAX_TEXT / 1024);
        return Err(error(0, 0, message, "put it into a service or a file"));
    }
    let mut tags = Vec::new();
    let mut blocks = Blocks::default();
    let mut at = 0;
    while let Some(start) = next_tag(source, at) {
        let tag = Lexer { source, at: start }.tag()?;
        blocks.follow(source, &tag)?;
        at = tag.end;
        tags.push(tag);
    }
    blocks.finish()?;
    Ok(tags)
}

/// Where the next `{{` begins that is not written literally. One backslash before it makes it
/// literal, more than one are backslashes before a tag.
fn next_tag(source: &str, from: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        if source[at..].starts_with("{{") {
            return Some(at);
        }
        let slashes = bytes[at..]
            .iter()
            .take_while(|&&byte| byte == b'\\')
            .count();
        at += match slashes {
            0 => source[at..].chars().next().map_or(1, char::len_utf8),
            1 if source[at + 1..].starts_with("{{{{") => 5,
            1 if source[at + 1..].starts_with("{{") => 3,
            more => more,
        };
    }
    None
}

/// The blocks that are open while the tags go by.
#[derive(Default)]
struct Blocks {
    open: Vec<Block>,
}

struct Block {
    name: String,
    start: usize,
    length: usize,
    chain: usize,
    closed_by_else: bool,
}

impl Blocks {
    fn follow(&mut self, source: &str, tag: &Tag) -> Result<(), Error> {
        match tag.kind {
            Kind::Hole | Kind::Comment => Ok(()),
            Kind::Open => self.enter(source, tag),
            Kind::Else | Kind::ElseIf => self.turn(tag),
            Kind::Close => self.leave(source, tag),
        }
    }

    fn enter(&mut self, source: &str, tag: &Tag) -> Result<(), Error> {
        let length = tag.end - tag.start;
        let name = word(source, tag, 0);
        if !matches!(name, "if" | "unless" | "each") {
            let message = format!("unknown block `#{name}`");
            return Err(error(tag.start, length, message, block_help(name)));
        }
        if self.open.len() == MAX_DEPTH {
            let message = format!("blocks more than {MAX_DEPTH} deep");
            return Err(error(tag.start, length, message, "split the text"));
        }
        self.open.push(Block {
            name: name.to_owned(),
            start: tag.start,
            length,
            chain: 0,
            closed_by_else: false,
        });
        Ok(())
    }

    fn turn(&mut self, tag: &Tag) -> Result<(), Error> {
        let length = tag.end - tag.start;
        let Some(block) = self.open.last_mut() else {
            return Err(error(tag.start, length, "`{{else}}` outside a block", ""));
        };
        if block.closed_by_else {
            let message = format!("a second `{{{{else}}}}` in `{{{{#{}}}}}`", block.name);
            let help = "the block's last branch is the one before";
            return Err(error(tag.start, length, message, help));
        }
        if block.chain == MAX_CHAIN {
            let message = format!("more than {MAX_CHAIN} `{{{{else if}}}}` in one block");
            return Err(error(tag.start, length, message, "split the text"));
        }
        block.chain += 1;
        block.closed_by_else = tag.kind == Kind::Else;
        Ok(())
    }

    fn leave(&mut self, source: &str, tag: &Tag) -> Result<(), Error> {
        let length = tag.end - tag.start;
        let name = word(source, tag, 0);
        let Some(block) = self.open.pop() else {
            let message = format!("`{{{{/{name}}}}}` closes no block");
            return Err(error(tag.start, length, message, ""));
        };
        if block.name == name {
            return Ok(());
        }
        let message = format!("`{{{{/{name}}}}}` where `{{{{#{}}}}}` is open", block.name);
        let help = format!("write `{{{{/{}}}}}`", block.name);
        Err(error(tag.start, length, message, help))
    }

    fn finish(self) -> Result<(), Error> {
        let Some(block) = self.open.last() else {
            return Ok(());
        };
        let message = format!("`{{{{#{}}}}}` is never closed", block.name);
        let help = format!("write `{{{{/{}}}}}` where it ends", block.name);
        Err(error(block.start, block.length, message, help))
    }
}

fn block_help(name: &str) -> &'static str {
    match name {
        "with" => "write the whole name in every hole",
        "lookup" | "log" => "blocks are `#if`, `#unless` and `#each LIST as |x|`",
        _ => "there are `#if`, `#unless` and `#each LIST as |x|`",
    }
}

/// The token of this number, or nothing.
fn word<'s>(source: &'s str, tag: &Tag, number: usize) -> &'s str {
    tag.tokens
        .get(number)
        .map_or("", |token| &source[token.start..token.end])
}

/// Reads one tag, from its `{{` on.
struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn tag(mut self) -> Result<Tag, Error> {
        let start = self.at;
        self.opening()?;
        if self.rest().starts_with("{{!") {
            return self.comment();
        }
        self.at += 2;
        self.skip_space();
        let sigil = self.rest().chars().next();
        if matches!(sigil, Some('#' | '/')) {
            self.at += 1;
            self.skip_space();
        }
        let tokens = self.tokens(start)?;
        let mut tag = Tag {
            start,
            end: self.at,
            kind: Kind::Hole,
            tokens,
        };
        tag.kind = match sigil {
            Some('#') => Kind::Open,
            Some('/') => Kind::Close,
            _ if word(self.source, &tag, 0) != "else" => Kind::Hole,
            _ if tag.tokens.len() == 1 => Kind::Else,
            _ => Kind::ElseIf,
        };
        self.check(&tag)?;
        Ok(tag)
    }

    /// Refuses the openings of Handlebars that are not in the language.
    fn opening(&self) -> Result<(), Error> {
        let rest = self.rest();
        let inner = rest[2..].trim_start_matches([' ', '\t', '\n', '\r', '~']);
        let block = inner
            .strip_prefix('#')
            .map(|block| block.trim_start_matches([' ', '\t', '\n', '\r']));
        let (message, help) = if rest.starts_with("{{{{") {
            (
                "`{{{{` opens a raw block, which there is not",
                "write `\\{{` where `{{` is meant literally",
            )
        } else if inner.starts_with('{') {
            (
                "`{{{ }}}` is refused: a value is always escaped for its place, never for HTML",
                "write `{{ }}`",
            )
        } else if inner.starts_with('&') {
            (
                "`{{& }}` is refused: a value is always escaped for its place, never for HTML",
                "write `{{ }}`",
            )
        } else if inner.starts_with('>') || block.is_some_and(|block| block.starts_with('>')) {
            (
                "`{{> }}` is refused: there are no partials",
                "write the text where it is needed",
            )
        } else if inner.starts_with('*') || block.is_some_and(|block| block.starts_with('*')) {
            (
                "`{{* }}` is refused: there are no decorators",
                "leave it out",
            )
        } else if inner.starts_with('^') {
            (
                "`{{^}}` is refused",
                "write `{{else}}`, or `{{#unless NAME}}`",
            )
        } else if rest[2..].starts_with('~') {
            (
                "`~` is refused: white space is kept as it is written",
                "leave the `~` out",
            )
        } else {
            return Ok(());
        };
        let length = rest.find("}}").map_or(2, |end| end + 2);
        Err(error(self.at, length, message, help))
    }

    fn comment(self) -> Result<Tag, Error> {
        let rest = self.rest();
        let long = rest[3..]
            .trim_start_matches([' ', '\t', '\n', '\r'])
            .starts_with("--");
        let end = match rest.find("--}}") {
            Some(end) if long && end > 3 => Some(end + 4),
            _ => rest.find("}}").map(|end| end + 2),
        };
        let Some(end) = end else {
            return Err(unclosed(self.at));
        };
        Ok(Tag {
            start: self.at,
            end: self.at + end,
            kind: Kind::Comment,
            tokens: Vec::new(),
        })
    }

    /// The words and strings up to `}}`.
    fn tokens(&mut self, start: usize) -> Result<Vec<Token>, Error> {
        let mut tokens = Vec::new();
        let mut depth = 0usize;
        loop {
            self.skip_space();
            let Some(next) = self.rest().chars().next() else {
                return Err(unclosed(start));
            };
            let from = self.at;
            match next {
                '}' if self.rest().starts_with("}}") => {
                    self.at += 2;
                    return Ok(tokens);
                }
                '"' | '\'' => tokens.push(self.string(next)?),
                '(' if depth == MAX_DEPTH => {
                    let message = format!("parentheses more than {MAX_DEPTH} deep");
                    return Err(error(from, 1, message, "write it in fewer steps"));
                }
                '(' => {
                    depth += 1;
                    self.at += 1;
                }
                ')' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                '|' => self.at += 1,
                _ if is_word(next) || next == '[' => tokens.push(self.word()?),
                _ => return Err(stray(self.source, from, next)),
            }
        }
    }

    fn string(&mut self, quote: char) -> Result<Token, Error> {
        let start = self.at;
        let mut escaped = false;
        for (offset, character) in self.rest().char_indices().skip(1) {
            if character == quote && !escaped {
                self.at = start + offset + 1;
                return Ok(Token {
                    start,
                    end: self.at,
                });
            }
            escaped = character == '\\' && !escaped;
        }
        Err(error(start, 1, format!("`{quote}` is never closed"), ""))
    }

    /// A name, a number or a keyword; `[…]` in it may hold anything but `]`.
    fn word(&mut self) -> Result<Token, Error> {
        let start = self.at;
        while let Some(next) = self.rest().chars().next() {
            if next == '[' {
                self.bracket(start)?;
            } else if is_word(next) {
                self.at += next.len_utf8();
            } else {
                break;
            }
        }
        let token = Token {
            start,
            end: self.at,
        };
        check_word(self.source, token)?;
        Ok(token)
    }

    fn bracket(&mut self, start: usize) -> Result<(), Error> {
        let before = &self.source[start..self.at];
        let Some(length) = self.rest().find(']') else {
            return Err(error(self.at, 1, "`[` is never closed", ""));
        };
        let inner = &self.rest()[1..length];
        // The parser would try these as lists and objects first, as deep as they go.
        if let Some(offset) = inner.find(['[', '{', '"', '\'']) {
            let help = "write the name alone: `a.[odd name]`; a list cannot be written here";
            let message = "a quote or bracket inside `[ ]`";
            return Err(error(self.at + 1 + offset, 1, message, help));
        }
        if !before.is_empty() && !before.ends_with(['.', '/']) {
            let help = format!("write `{before}.{}`", bare_or_bracketed(inner));
            let message = "`[` without a dot before it";
            return Err(error(self.at, length + 1, message, help));
        }
        self.at += length + 1;
        Ok(())
    }

    /// What can be said of a tag by its words alone.
    fn check(&self, tag: &Tag) -> Result<(), Error> {
        let length = tag.end - tag.start;
        if tag.tokens.is_empty() {
            let help = "write a name in it, or `\\{{` where `{{` is meant literally";
            return Err(error(tag.start, length, "an empty `{{ }}`", help));
        }
        let chained = word(self.source, tag, 1);
        if tag.kind == Kind::ElseIf && !matches!(chained, "if" | "unless") {
            let message = format!("`{{{{else {chained} …}}}}` is refused");
            return Err(error(tag.start, length, message, "write `{{else if …}}`"));
        }
        Ok(())
    }
}

fn unclosed(start: usize) -> Error {
    let help = "close it with `}}`, or write `\\{{` where `{{` is meant literally";
    error(start, 2, "`{{` is never closed", help)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, '-' | '_' | '$' | ':' | '@' | '.' | '/')
        || !character.is_ascii()
}

fn bare_or_bracketed(name: &str) -> String {
    let name = name.trim_matches(['"', '\'']);
    if !name.is_empty() && name.chars().all(|c| is_word(c) && !matches!(c, '.' | '/')) {
        name.to_owned()
    } else {
        format!("[{name}]")
    }
}

/// What is wrong with a word whatever it names.
fn check_word(source: &str, token: Token) -> Result<(), Error> {
    let Token { start, end } = token;
    let text = &source[start..end];
    let refuse = |message: &str, help: String| Err(error(start, end - start, message, help));
    let bare = outside_brackets(text);
    if let Some(at) = text.find(is_placeholder) {
        let help = "put it in quotes, as an argument of `default`, or outside the hole";
        let message = "`${…}` inside a hole";
        return Err(error(start + at, 3, message, help));
    }
    if text.starts_with('$') {
        let name = text.trim_start_matches('$').trim_start_matches('.');
        return refuse(
            "a name in `{{ }}` does not begin with `$`",
            format!("write `{name}`"),
        );
    }
    if bare.contains("..") || text.starts_with("./") {
        let help = "inside `#each` write `@root.NAME`".to_owned();
        return refuse("`../` and `./` are refused", help);
    }
    if bare.contains('/') {
        return refuse("`/` in a name", "write a dot between names".into());
    }
    let number = text
        .trim_start_matches('-')
        .starts_with(|c: char| c.is_ascii_digit());
    let numeric = |c: char| matches!(c, '0'..='9' | '.' | '-');
    if number && text.chars().all(numeric) && !is_number(text) {
        return refuse("no JSON number", "write it in quotes if it is text".into());
    }
    Ok(())
}

/// The word with one `_` for what stands in each pair of brackets.
fn outside_brackets(text: &str) -> String {
    let mut outside = String::with_capacity(text.len());
    let mut is_inside = false;
    for character in text.chars() {
        match character {
            '[' if !is_inside => {
                is_inside = true;
                outside.push('_');
            }
            ']' => is_inside = false,
            _ if !is_inside => outside.push(character),
            _ => {}
        }
    }
    outside
}

fn is_number(text: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// Whether a character stands for a `${…}` that was filled in.
pub(super) fn is_placeholder(character: char) -> bool {
    ('\u{FDD0}'..='\u{FDEF}').contains(&character)
}

/// A character that has no business in a tag.
fn stray(source: &str, at: usize, character: char) -> Error {
    let help = match character {
        '?' => "write `default NAME \"…\"` for a value that may be absent",
        '=' => "arguments have no names; write `(eq A B)` to compare",
        ',' => "arguments are separated by spaces",
        '~' => "leave it out: white space is kept as it is written",
        '*' => "a list is written with `join LIST \",\"` or `#each LIST as |x|`",
        '!' | '<' | '>' | '&' => "write `eq ne gt gte lt lte and or not` inside `#if`",
        '+' | '%' | '^' => "there is no arithmetic",
        _ => "a hole is a name with dots, or a helper and its arguments",
    };
    let length = character.len_utf8();
    let what = if source[at..].starts_with("??") {
        "??".to_owned()
    } else {
        character.to_string()
    };
    error(
        at,
        length.max(what.len()),
        format!("`{what}` inside `{{{{ }}}}`"),
        help,
    )
}

#[cfg(test)]
mod tests;
