//! Turns the Handlebars parser's tree into a [`Piece`] list.
//!
//! The tree and the tags of [`super::tags`] are walked side by side: the tree says what a tag means
//! and how white space around blocks on lines of their own is treated, the tags say where it stands
//! and how its numbers were written.

use handlebars::template::{BlockParam, HelperTemplate, Parameter, Subexpression};
use handlebars::template::{Template, TemplateElement};
use handlebars::{TemplateError, TemplateErrorReason};

use crate::json::Step;
use crate::template::Error;
use crate::template::program::{Call, From, Helper, Key, Name, Operand, Piece, ways};
use crate::template::tags::{Kind, Tag, Token, error, is_placeholder};

/// Names that mean something in the context document, or will.
const RESERVED: [&str; 9] = crate::template::RESERVED;

/// Compiles a text whose tags were found.
pub(super) fn compile(source: &str, fills: &[String], tags: &[Tag]) -> Result<Vec<Piece>, Error> {
    if tags.is_empty() && !source.contains("{{") {
        return Ok(literal(source, fills));
    }
    let template = Template::compile(source).map_err(|fault| syntax(source, tags, &fault))?;
    let mut compiler = Compiler {
        source,
        fills,
        tags: tags.iter(),
        tag: None,
        tokens: [].iter(),
        loops: Vec::new(),
        in_condition: false,
    };
    compiler.template(&template)
}

fn literal(text: &str, fills: &[String]) -> Vec<Piece> {
    match fill(text, fills) {
        text if text.is_empty() => Vec::new(),
        text => vec![Piece::Literal(text.into())],
    }
}

/// Puts the fills where their placeholders stand.
pub(super) fn fill(text: &str, fills: &[String]) -> String {
    if fills.is_empty() {
        return text.to_owned();
    }
    let mut filled = String::with_capacity(text.len());
    for character in text.chars() {
        let number = (character as usize).wrapping_sub(0xFDD0);
        match fills.get(number) {
            Some(fill) if is_placeholder(character) => filled.push_str(fill),
            _ => filled.push(character),
        }
    }
    filled
}

/// The parser's own errors speak of its grammar; what is left for them is said in one sentence.
fn syntax(source: &str, tags: &[Tag], fault: &TemplateError) -> Error {
    if let TemplateErrorReason::InvalidParam(text) = fault.reason() {
        let offset = source.find(text.as_str()).unwrap_or(0);
        let message = format!("`{text}` is no argument");
        return error(
            offset,
            text.len(),
            message,
            "arguments are names, numbers or text in quotes",
        );
    }
    let at = fault
        .pos()
        .map_or(0, |(line, column)| offset(source, line, column));
    let tag = tags.iter().rev().find(|tag| tag.start <= at);
    let (start, end) = tag.map_or((0, source.len()), |tag| (tag.start, tag.end));
    let written = &source[start..end];
    let help = match tag.map(|tag| tag.kind) {
        Some(Kind::Open | Kind::ElseIf) if written.contains("each") => {
            "write `{{#each LIST as |x|}}`"
        }
        Some(Kind::Open | Kind::ElseIf) => "write `{{#if NAME}}` or `{{#if (eq NAME \"text\")}}`",
        _ => {
            "a hole is a name with dots, or a helper and its arguments: `{{default NAME \"text\"}}`"
        }
    };
    error(start, end - start, "this tag cannot be read", help)
}

/// The byte offset of a line and column, both from 1, columns in characters.
fn offset(source: &str, line: usize, column: usize) -> usize {
    let mut start = 0;
    for text in source.split_inclusive('\n').take(line.saturating_sub(1)) {
        start += text.len();
    }
    let within = source[start..].char_indices().nth(column.saturating_sub(1));
    within.map_or(source.len(), |(offset, _)| start + offset)
}

struct Compiler<'s> {
    source: &'s str,
    fills: &'s [String],
    tags: std::slice::Iter<'s, Tag>,
    /// The tag that is being compiled, and those of its tokens that are to come.
    tag: Option<&'s Tag>,
    tokens: std::slice::Iter<'s, Token>,
    loops: Vec<Loop>,
    in_condition: bool,
}

/// A loop in force and what was read of its elements so far.
struct Loop {
    variable: String,
    reads: Vec<Vec<Step>>,
}

impl<'s> Compiler<'s> {
    fn template(&mut self, template: &Template) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        for element in &template.elements {
            match element {
                TemplateElement::RawString(text) => pieces.extend(literal(text, self.fills)),
                TemplateElement::Comment(_) => self.enter(Kind::Comment)?,
                TemplateElement::Expression(expression) => {
                    self.enter(Kind::Hole)?;
                    pieces.push(Piece::Hole(self.hole(expression)?));
                }
                TemplateElement::HelperBlock(block) => {
                    self.enter(Kind::Open)?;
                    self.skip(1);
                    let piece = self.block(block)?;
                    self.enter(Kind::Close)?;
                    pieces.push(piece);
                }
                _ => return Err(self.unknown()),
            }
        }
        Ok(pieces)
    }

    /// Goes on to the next tag, which is of this kind.
    fn enter(&mut self, kind: Kind) -> Result<(), Error> {
        self.tag = self.tags.next();
        match self.tag {
            Some(tag) if tag.kind == kind => {
                self.tokens = tag.tokens.iter();
                Ok(())
            }
            _ => Err(self.unknown()),
        }
    }

    fn skip(&mut self, tokens: usize) {
        for _ in 0..tokens {
            self.tokens.next();
        }
    }

    fn next_kind(&self) -> Option<Kind> {
        self.tags.as_slice().first().map(|tag| tag.kind)
    }

    fn place(&self) -> (usize, usize) {
        self.tag.map_or((0, self.source.len()), |tag| {
            (tag.start, tag.end - tag.start)
        })
    }

    /// An error about the tag as a whole.
    fn refuse(&self, message: impl Into<String>, help: impl Into<String>) -> Error {
        let (offset, length) = self.place();
        error(offset, length, message, help)
    }

    fn unknown(&self) -> Error {
        let help = "a hole is a name with dots, or a helper and its arguments";
        self.refuse("this tag cannot be read", help)
    }

    /// The next token, and its text.
    fn token(&mut self) -> Result<(usize, &'s str), Error> {
        match self.tokens.next() {
            Some(token) => Ok((token.start, &self.source[token.start..token.end])),
            None => Err(self.unknown()),
        }
    }

    // === blocks ===

    /// A block whose opening tag (or `{{else if}}`) is entered, with the words before its operands
    /// skipped.
    fn block(&mut self, block: &HelperTemplate) -> Result<Piece, Error> {
        if !block.hash.is_empty() {
            return Err(self.refuse("arguments have no names", "write the value alone"));
        }
        match block.name.as_name() {
            Some("if") => self.choice(block, true),
            Some("unless") => self.choice(block, false),
            Some("each") => self.each(block),
            _ => Err(self.unknown()),
        }
    }

    fn choice(&mut self, block: &HelperTemplate, wanted: bool) -> Result<Piece, Error> {
        let [parameter] = block.params.as_slice() else {
            let help = "write one name, or a comparison in parentheses: `{{#if (eq NAME 1)}}`";
            return Err(self.refuse("a condition is one value", help));
        };
        if block.block_param.is_some() {
            return Err(self.refuse("`as |…|` belongs to `#each`", "leave it out"));
        }
        self.in_condition = true;
        let test = self.operand(parameter);
        self.in_condition = false;
        Ok(Piece::If {
            test: test?,
            wanted,
            then: self.branch(block.template.as_ref())?,
            otherwise: self.otherwise(block)?,
        })
    }

    fn branch(&mut self, template: Option<&Template>) -> Result<Vec<Piece>, Error> {
        template.map_or(Ok(Vec::new()), |template| self.template(template))
    }

    fn otherwise(&mut self, block: &HelperTemplate) -> Result<Vec<Piece>, Error> {
        match self.next_kind() {
            Some(Kind::ElseIf) => {
                self.enter(Kind::ElseIf)?;
                self.skip(2);
                let inverse = block
                    .inverse
                    .as_ref()
                    .map(|inverse| inverse.elements.as_slice());
                let Some([TemplateElement::HelperBlock(chained)]) = inverse else {
                    return Err(self.unknown());
                };
                Ok(vec![self.block(chained)?])
            }
            Some(Kind::Else) => {
                self.enter(Kind::Else)?;
                self.branch(block.inverse.as_ref())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn each(&mut self, block: &HelperTemplate) -> Result<Piece, Error> {
        let usage = "write `{{#each LIST as |x|}}`";
        let [parameter] = block.params.as_slice() else {
            return Err(self.refuse("`#each` takes one list", usage));
        };
        let mut list = self.operand(parameter)?;
        if matches!(
            list,
            Operand::Literal(_) | Operand::Index | Operand::First | Operand::Last
        ) {
            return Err(self.refuse("`#each` over what is no list", usage));
        }
        let variable = self.variable(block)?;
        self.loops.push(Loop {
            variable,
            reads: Vec::new(),
        });
        let body = self.branch(block.template.as_ref());
        let reads = self.loops.pop().map_or(Vec::new(), |inner| inner.reads);
        self.note(&mut list, &elements_of(reads));
        Ok(Piece::Each {
            list,
            body: body?,
            otherwise: self.otherwise(block)?,
        })
    }

    fn variable(&self, block: &HelperTemplate) -> Result<String, Error> {
        let name = match &block.block_param {
            Some(BlockParam::Single(name)) => name.as_name(),
            Some(BlockParam::Pair(_)) => {
                let help = "write `as |x|`; the index is `@index`";
                return Err(self.refuse("`#each` has one variable", help));
            }
            _ => None,
        };
        let Some(name) = name else {
            let help = "write `{{#each LIST as |x|}}`";
            return Err(self.refuse("`#each` without a variable", help));
        };
        if !is_identifier(name) {
            let help = "write letters, digits and `_`";
            return Err(self.refuse(format!("`{name}` is no name for a variable"), help));
        }
        let outer = self.loops.iter().any(|outer| outer.variable == name);
        if outer || RESERVED.contains(&name) || name == "this" {
            let message = format!("the variable `{name}` has the name of something else");
            return Err(self.refuse(message, "choose another name"));
        }
        Ok(name.to_owned())
    }

    /// Notes what a loop reads of its list, where the list is a name.
    fn note(&mut self, list: &mut Operand, reads: &[Vec<Step>]) {
        match list {
            Operand::Name(name) => match name.from {
                From::Loop { out } => {
                    let ways = ways(&name.keys, reads);
                    self.read(out, ways);
                }
                From::Context | From::Root { .. } => name.reads = reads.to_vec(),
            },
            Operand::Call(call) => {
                for argument in &mut call.arguments {
                    self.note(argument, reads);
                }
            }
            _ => {}
        }
    }

    fn read(&mut self, out: usize, ways: Vec<Vec<Step>>) {
        if let Some(index) = self.loops.len().checked_sub(out + 1) {
            self.loops[index].reads.extend(ways);
        }
    }

    // === values ===

    fn hole(&mut self, expression: &HelperTemplate) -> Result<Operand, Error> {
        let name_only = expression.params.is_empty() && expression.hash.is_empty();
        match &expression.name {
            Parameter::Path(_) if name_only => self.name(),
            Parameter::Subexpression(_) => {
                let help = "write `{{lower NAME}}` without parentheses";
                Err(self.refuse("parentheses around the whole hole", help))
            }
            _ => self.call(expression),
        }
    }

    fn operand(&mut self, parameter: &Parameter) -> Result<Operand, Error> {
        match parameter {
            Parameter::Path(_) => self.name(),
            Parameter::Literal(value) => self.constant(value),
            Parameter::Subexpression(Subexpression { element, .. }) => match element.as_ref() {
                TemplateElement::Expression(inner) if !inner.params.is_empty() => self.call(inner),
                _ => {
                    let help = "parentheses hold a helper and its arguments";
                    Err(self.refuse("parentheses around a name", help))
                }
            },
            _ => Err(self.unknown()),
        }
    }

    fn constant(&mut self, value: &handlebars::JsonValue) -> Result<Operand, Error> {
        let (_, written) = self.token()?;
        let mut json = Vec::new();
        match value {
            handlebars::JsonValue::String(text) => {
                crate::json::write_text(&mut json, &fill(text, self.fills));
            }
            handlebars::JsonValue::Array(_) | handlebars::JsonValue::Object(_) => {
                let help = "write a name, a number or text in quotes";
                return Err(self.refuse("a list or an object in a hole", help));
            }
            // As it is written, since the parser's number may have lost digits.
            _ => json.extend_from_slice(written.as_bytes()),
        }
        Ok(Operand::Literal(json.into()))
    }

    fn call(&mut self, expression: &HelperTemplate) -> Result<Operand, Error> {
        let (offset, name) = self.token()?;
        let refuse = |message: String, help: &str| Err(error(offset, name.len(), message, help));
        if !expression.hash.is_empty() {
            return refuse("arguments have no names".into(), "write the value alone");
        }
        let Some((helper, least, most, condition)) = Helper::of(name) else {
            let help =
                "there are `default`, `join`, `json`, `lower`, `upper`, `trim`, `base64`, `len`";
            let help = match name {
                "lookup" => "write the name with dots: `a.b.0.[odd name]`",
                _ => help,
            };
            return refuse(format!("unknown helper `{name}`"), help);
        };
        if condition && !self.in_condition {
            let help = format!("write `{{{{#if ({name} …)}}}}…{{{{/if}}}}`");
            return refuse(format!("`{name}` outside a condition"), &help);
        }
        if !(least..=most).contains(&expression.params.len()) {
            return refuse(arguments(name, least, most), usage(helper));
        }
        let arguments = expression
            .params
            .iter()
            .map(|parameter| self.operand(parameter))
            .collect::<Result<Vec<_>, _>>()?;
        let text = self.text_of_tag();
        Ok(Operand::Call(Call {
            helper,
            arguments,
            text,
        }))
    }

    /// The tag as written: what a message calls a helper's value.
    fn text_of_tag(&self) -> Box<str> {
        let (offset, length) = self.place();
        let text = &self.source[offset..offset + length];
        text.chars()
            .map(|character| {
                if is_placeholder(character) {
                    '…'
                } else {
                    character
                }
            })
            .collect::<String>()
            .into()
    }

    /// The next token as a name.
    fn name(&mut self) -> Result<Operand, Error> {
        let (offset, text) = self.token()?;
        let refuse = |message: String, help: &str| error(offset, text.len(), message, help);
        if let Some(rest) = text.strip_prefix('@') {
            return self.local(offset, text, rest);
        }
        let keys = keys(text).map_err(|(message, help)| refuse(message, help))?;
        let first = match &keys[0] {
            Key::Name(first) | Key::Digits(_, first) => first.to_string(),
        };
        if keys.len() == 1 && Helper::of(&first).is_some() {
            return Err(refuse(format!("`{first}` without its arguments"), ""));
        }
        if self.loops.is_empty() {
            return match first.as_str() {
                "this" => Err(refuse(
                    "`this` outside `#each`".into(),
                    "write the whole name",
                )),
                _ => Ok(context(offset, text, keys)),
            };
        }
        let out = match first.as_str() {
            "this" => Some(0),
            _ => self
                .loops
                .iter()
                .rev()
                .position(|inner| inner.variable == first),
        };
        let Some(out) = out else {
            let message = format!("`{text}` inside `#each`");
            return Err(refuse(message, &format!("write `@root.{text}`")));
        };
        let keys = keys[1..].to_vec();
        self.read(out, ways(&keys, &[]));
        Ok(Operand::Name(Name {
            text: text.into(),
            offset,
            from: From::Loop { out },
            keys,
            reads: Vec::new(),
        }))
    }

    /// A name that begins with `@`.
    fn local(&self, offset: usize, text: &str, rest: &str) -> Result<Operand, Error> {
        let refuse = |message: String, help: &str| Err(error(offset, text.len(), message, help));
        let root = rest
            .strip_prefix("root")
            .filter(|name| name.is_empty() || name.starts_with('.'));
        if self.loops.is_empty() {
            let help = match root {
                Some(name) => format!("write `{}`", name.trim_start_matches('.')),
                None => "it is known inside `{{#each LIST as |x|}}`".to_owned(),
            };
            return refuse(format!("`{text}` outside `#each`"), &help);
        }
        match (rest, root) {
            ("index", _) => Ok(Operand::Index),
            ("first", _) => Ok(Operand::First),
            ("last", _) => Ok(Operand::Last),
            (_, Some(name)) if name.len() > 1 => {
                let keys = keys(&name[1..])
                    .map_err(|(message, help)| error(offset, text.len(), message, help))?;
                Ok(context(offset, text, keys))
            }
            (_, Some(_)) => refuse(
                "`@root` alone".into(),
                "write a name behind it: `@root.request.path.id`",
            ),
            _ => {
                let help = "there are `@index`, `@first`, `@last` and `@root.NAME`";
                refuse(format!("unknown name `{text}`"), help)
            }
        }
    }
}

fn context(offset: usize, text: &str, keys: Vec<Key>) -> Operand {
    Operand::Name(Name {
        text: text.into(),
        offset,
        from: From::Context,
        keys,
        reads: Vec::new(),
    })
}

/// What is read of a list whose elements' parts are read so.
fn elements_of(reads: Vec<Vec<Step>>) -> Vec<Vec<Step>> {
    if reads.is_empty() {
        return vec![vec![Step::Every]];
    }
    reads
        .into_iter()
        .map(|read| [&[Step::Every], read.as_slice()].concat())
        .collect()
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|next| next.is_ascii_alphanumeric() || next == '_')
}

fn arguments(name: &str, least: usize, most: usize) -> String {
    match (least, most) {
        (1, 1) => format!("`{name}` takes one argument"),
        (2, 2) => format!("`{name}` takes two arguments"),
        _ => format!("`{name}` takes {least} to {most} arguments"),
    }
}

fn usage(helper: Helper) -> &'static str {
    match helper {
        Helper::Default => "write `default NAME \"text\"`",
        Helper::Join => "write `join LIST \",\"`",
        _ => "put an argument that is a helper itself in parentheses",
    }
}

/// Cuts a name at its dots; what stands in brackets is one step. At least one step.
fn keys(text: &str) -> Result<Vec<Key>, (String, &'static str)> {
    let help = "write names with dots between them: `a.b`, `items.0.sku`, `a.[odd name]`";
    let mut keys = Vec::new();
    let mut rest = text;
    loop {
        let (name, bracketed, after) = match rest.strip_prefix('[') {
            Some(inner) => {
                let end = inner
                    .find(']')
                    .ok_or(("`[` is never closed".to_owned(), help))?;
                (&inner[..end], true, &inner[end + 1..])
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (&rest[..end], false, &rest[end..])
            }
        };
        let odd = !bracketed && (name.is_empty() || name.contains(['[', ']', '@']));
        if odd {
            return Err((format!("`{text}` is no name"), help));
        }
        keys.push(key(name));
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => break,
            None => return Err((format!("`{text}` is no name"), help)),
        }
    }
    match &keys[0] {
        Key::Name(first) if !first.starts_with(|c: char| c.is_ascii_digit()) => Ok(keys),
        _ => Err((
            format!("`{text}` is no name"),
            "a name begins with `request` or the name of a call",
        )),
    }
}

fn key(name: &str) -> Key {
    let canonical = name == "0" || !name.starts_with('0');
    let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    match name.parse() {
        Ok(index) if digits && canonical => Key::Digits(index, name.into()),
        _ => Key::Name(name.into()),
    }
}
