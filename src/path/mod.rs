//! JSONPath (RFC 9535) over bodies as bytes: parsed once, evaluated many times.
//!
//! jsonpath-rust parses. What its tree holds is evaluated here over byte ranges, without building a
//! tree; where its parser takes what the RFC does not, the query is refused here. The first name
//! after `$` is not looked up in a document: the plan binds it, with as many of the names that follow
//! as it likes, to a [`Root`], a number, when the file is read.
//!
//! This module does not know what a call or a route is: who binds the names does. The way of a text:
//! `token.rs` cuts it, `place.rs` says what is wrong with it, `spell.rs` writes it for the parser, `lower.rs` makes our tree of what comes
//! back, `reads.rs` says what it reads, `evaluate.rs` finds the nodes.

mod evaluate;
mod lower;
mod outline;
mod pattern;
mod place;
mod reads;
mod spell;
mod token;
mod tree;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use evaluate::Evaluation;
use lower::Lowered;
pub use pattern::whole_pattern;
use tree::{Path, RootedPath, Test};

use crate::json::{Demand, Slot, Step, Value};

/// Where a rooted query begins, as the plan numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root(pub u32);

/// A loop variable that is in force, innermost first.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    pub variable: Root,
    pub index: usize,
    pub value: Value<'a>,
    pub outer: Option<&'a Frame<'a>>,
}

/// Gives the values of roots that are not loop variables. `frame` is the innermost loop in force:
/// some roots (`$.each.NAME`) depend on a loop's index.
pub trait Scope {
    fn value<'a>(&'a self, root: Root, frame: Option<&'a Frame<'a>>) -> Option<Value<'a>>;
}

/// What a query, a condition or a template is evaluated in.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    pub scope: &'a dyn Scope,
    pub frame: Option<&'a Frame<'a>>,
}

impl<'a> Env<'a> {
    /// The value of a root: a loop variable's, or the scope's.
    pub fn value(&self, root: Root) -> Option<Value<'a>> {
        let mut frame = self.frame;
        while let Some(inner) = frame {
            if inner.variable == root {
                return Some(inner.value);
            }
            frame = inner.outer;
        }
        self.scope.value(root, self.frame)
    }
}

/// Why a text is not a query or a condition: byte offset and length within the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub offset: usize,
    pub length: usize,
    pub message: String,
    pub help: Option<String>,
}

/// A query that begins with `$`, as the plan sees it when it binds: the first names.
#[derive(Clone, Debug)]
pub struct Rooted<'q> {
    /// The leading singular steps. Negative indexes end it. It begins with a name unless the first
    /// segment is something else than names (`$`, `$..x`, `$.*`, `$[0]`), which a plan refuses.
    pub prefix: Vec<Step>,
    /// What is read beyond the prefix, as demand steps (a list of step lists, each relative to the
    /// end of the prefix; empty where the prefix is all there is).
    pub beyond: Vec<Vec<Step>>,
    /// Where this query stands in the text given to `parse`.
    pub offset: usize,
    pub length: usize,
    pub text: &'q str,
}

/// What a rooted query was bound to: the root stands for the first `consumed` steps of its prefix.
/// With none consumed the root is the document itself.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub root: Root,
    pub consumed: usize,
}

/// Gives a root to each rooted query. Called once for each name of a first segment that is a list
/// of names, and for each query inside a filter.
pub trait Bind {
    fn bind(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error>;
}

/// A compiled query. Must be bound before it is evaluated: what is not bound has no nodes.
#[derive(Clone, Debug)]
pub struct Query {
    text: Arc<str>,
    /// The first is the query itself, the others stand in its filters.
    rooted: Vec<RootedPath>,
    warnings: Vec<Error>,
}

impl Query {
    /// Parses a query that begins with `$`. Before RFC 9535 applies, a name after a dot may hold
    /// `-` (`$.request.headers.x-user`).
    pub fn parse(text: &str) -> Result<Query, Error> {
        let Lowered { rooted, warnings } = lower::query(text)?;
        Ok(Query {
            text: text.into(),
            rooted,
            warnings,
        })
    }

    /// What is allowed and yet surely not meant: a pattern that is no I-Regexp.
    pub fn warnings(&self) -> &[Error] {
        &self.warnings
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Names and indexes only (RFC 9535 §2.3.5.1), one first name.
    pub fn is_singular(&self) -> bool {
        let segments = &self.rooted[0].segments;
        segments.iter().all(|segment| segment.single().is_some())
    }

    /// The names of the first segment; `None` if it is anything but one name or a list of names.
    pub fn first_names(&self) -> Option<Vec<String>> {
        let starts = self.rooted[0].starts.iter();
        starts.map(|start| start.name.clone()).collect()
    }

    /// Binds every rooted query in it, those inside filters included.
    pub fn bind(&mut self, binder: &mut dyn Bind) -> Result<(), Error> {
        reads::bind(&mut self.rooted, &self.text, binder)
    }

    /// Where the nodes of the query itself are, once for each first name: its prefix, and the lists
    /// of steps beyond it, as in [`Rooted`].
    pub fn reads(&self) -> Vec<(Vec<Step>, Vec<Vec<Step>>)> {
        reads::of(&self.rooted[0])
    }

    /// The root this query was bound to (the first, for a list of names): for error messages.
    pub fn root(&self) -> Root {
        let bound = self.rooted[0].starts.first().and_then(|start| start.bound);
        bound.expect("a query is bound when its file is read").root
    }

    /// The first node.
    pub fn first<'a>(&self, env: &Env<'a>) -> Option<Value<'a>> {
        let mut found = None;
        let _ = self.evaluation(env).rooted(0, &mut |value| {
            found = Some(value);
            ControlFlow::Break(())
        });
        found
    }

    /// All nodes, in RFC 9535 order.
    pub fn nodes<'a>(&self, env: &Env<'a>, out: &mut Vec<Value<'a>>) {
        let _ = self.evaluation(env).rooted(0, &mut |value| {
            out.push(value);
            ControlFlow::Continue(())
        });
    }

    fn evaluation<'e, 'a>(&'e self, env: &'e Env<'a>) -> Evaluation<'e, 'a> {
        Evaluation {
            rooted: &self.rooted,
            env,
        }
    }
}

/// A compiled condition: the logical expression of RFC 9535 with `present(path)` and without `@`.
#[derive(Clone, Debug)]
pub struct Condition {
    text: Arc<str>,
    test: Test,
    rooted: Vec<RootedPath>,
    warnings: Vec<Error>,
}

impl Condition {
    /// Parses what stands inside `[?…]`, white space around it allowed.
    pub fn parse(text: &str) -> Result<Condition, Error> {
        let (test, Lowered { rooted, warnings }) = lower::condition(text)?;
        Ok(Condition {
            text: text.into(),
            test,
            rooted,
            warnings,
        })
    }

    /// The same as [`Query::warnings`].
    pub fn warnings(&self) -> &[Error] {
        &self.warnings
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Binds every query in it, those inside filters included.
    pub fn bind(&mut self, binder: &mut dyn Bind) -> Result<(), Error> {
        reads::bind(&mut self.rooted, &self.text, binder)
    }

    pub fn holds(&self, env: &Env<'_>) -> bool {
        let evaluation = Evaluation {
            rooted: &self.rooted,
            env,
        };
        evaluation.holds(&self.test, None)
    }

    /// Bare existence tests in it (`$.a.b` alone), which `check` warns about: offset and text.
    pub fn bare_tests(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        self.test.each_bare(&mut |path| {
            if let Path::Rooted(number) = path {
                let path = &self.rooted[*number];
                let single = path
                    .segments
                    .iter()
                    .all(|segment| segment.single().is_some());
                if single {
                    found.push((path.span.start, self.text[path.span.clone()].to_owned()));
                }
            }
        });
        found
    }
}

/// Marks in `demand` what `beyond` reads below the part at `prefix`, and gives its slot.
pub fn demand_of(demand: &mut Demand, prefix: &[Step], beyond: &[Vec<Step>]) -> Slot {
    let slot = demand.slot(prefix);
    for steps in beyond {
        let whole: Vec<Step> = prefix.iter().chain(steps).cloned().collect();
        demand.look(&whole);
    }
    slot
}
