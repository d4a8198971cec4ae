//! Writes the words of a query anew for jsonpath-rust, and keeps what its tree would lose.
//!
//! The new text has no white space, every name stands in brackets, a number that is a literal is
//! written as its place in a list (so its digits survive), and `present(` as a function the grammar
//! knows. What is kept beside it: where each `$` and each function stands, in the order of the text,
//! which is the order in which the tree holds them.

use std::ops::Range;

use super::Error;
use super::outline::{Form, Outline, Within};
use super::place;
use super::token::Kind;

/// A text as the parser gets it, with what it would lose.
#[derive(Debug)]
pub(super) struct Spelling<'t> {
    outline: Outline<'t>,
    pub(super) spelled: String,
    /// Where each word ends in `spelled`.
    ends: Vec<usize>,
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

pub(super) fn spell(text: &str, form: Form) -> Result<Spelling<'_>, Error> {
    let outline = Outline::of(text, form)?;
    place::check(&outline)?;
    let mut spelling = Spelling {
        spelled: String::with_capacity(text.len() * 2),
        ends: Vec::with_capacity(outline.len()),
        outline,
        numbers: Vec::new(),
        roots: Vec::new(),
        functions: Vec::new(),
    };
    spelling.write_all();
    Ok(spelling)
}

impl Spelling<'_> {
    /// How long the text is as it was written.
    pub(super) fn len(&self) -> usize {
        self.outline.text.len()
    }

    /// Says what is wrong where the parser stopped: at this byte of the text it was given.
    pub(super) fn explain(&self, stopped: usize) -> Error {
        let at = self.ends.partition_point(|end| *end <= stopped);
        place::explain(&self.outline, at)
    }

    fn write_all(&mut self) {
        // A condition is what stands in a filter.
        let (before, behind) = match self.outline.form {
            Form::Query => ("", ""),
            Form::Condition => ("$[?", "]"),
        };
        self.spelled.push_str(before);
        for at in 0..self.outline.len() {
            self.write(at);
            self.ends.push(self.spelled.len());
        }
        self.spelled.push_str(behind);
    }

    fn write(&mut self, at: usize) {
        let written = self.outline.written(at);
        match self.outline.token(at).kind {
            Kind::Dot if self.outline.kind(at + 1) == Some(Kind::Name) => {}
            Kind::Name => self.spelled.extend(["['", written, "']"]),
            Kind::Number if self.outline.within(at) != Within::Selectors => {
                let place = self.numbers.len().to_string();
                self.numbers.push(written);
                self.spelled.push_str(&place);
            }
            Kind::Root => {
                self.roots.push(self.extent(at));
                self.spelled.push('$');
            }
            Kind::Function => {
                let span = self.outline.token(at).span();
                let name = written;
                self.functions.push(Function { name, span });
                // The grammar has no `present`; `count` takes the same arguments.
                let known = if name == "present" { "count" } else { name };
                self.spelled.push_str(known);
            }
            _ => self.spelled.push_str(written),
        }
    }

    /// Where the query that begins at a word stands: to the end of its last segment.
    fn extent(&self, root: usize) -> Range<usize> {
        let mut at = root + 1;
        loop {
            at = match self.outline.kind(at) {
                Some(Kind::Dot | Kind::DotDot | Kind::Name | Kind::Star) => at + 1,
                Some(Kind::OpenBracket) => self.outline.behind(at),
                _ => break,
            };
        }
        self.outline.token(root).start..self.outline.token(at - 1).end
    }
}
