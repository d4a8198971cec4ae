//! JSONPath (RFC 9535) over bodies as bytes: parsed once, evaluated many times.
//!
//! jsonpath-rust parses. What its tree holds is evaluated here over byte ranges, without building a
//! tree; where its parser takes what the RFC does not, the query is refused here. The first name
//! after `$` is not looked up in a document: the plan binds it, with as many of the names that follow
//! as it likes, to a [`Root`], a number, when the file is read.

use crate::json::{Demand, Step, Value};

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
    /// The leading singular steps: the first is always a name. Negative indexes end it.
    pub prefix: Vec<Step>,
    /// What is read beyond the prefix, as demand steps (a list of step lists, each relative to the
    /// end of the prefix; empty where the prefix is all there is).
    pub beyond: Vec<Vec<Step>>,
    /// Where this query stands in the text given to `parse`.
    pub offset: usize,
    pub length: usize,
    pub text: &'q str,
}

/// What a rooted query was bound to: the root stands for the first `consumed` steps of its prefix
/// (at least one).
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

/// A compiled query. Must be bound before it is evaluated.
#[derive(Clone, Debug)]
pub struct Query {
    _todo: (),
}

impl Query {
    /// Parses a query that begins with `$`. Before RFC 9535 applies, a name after a dot may hold
    /// `-` (`$.request.headers.x-user`).
    pub fn parse(_text: &str) -> Result<Query, Error> {
        unimplemented!()
    }
    pub fn text(&self) -> &str {
        unimplemented!()
    }
    /// Names and indexes only (RFC 9535 §2.3.5.1), one first name.
    pub fn is_singular(&self) -> bool {
        unimplemented!()
    }
    /// Binds every rooted query in it, those inside filters included.
    pub fn bind(&mut self, _binder: &mut dyn Bind) -> Result<(), Error> {
        unimplemented!()
    }
    /// The root this query was bound to (the first, for a list of names): for error messages.
    pub fn root(&self) -> Root {
        unimplemented!()
    }
    /// The first node.
    pub fn first<'a>(&self, _env: &Env<'a>) -> Option<Value<'a>> {
        unimplemented!()
    }
    /// All nodes, in RFC 9535 order.
    pub fn nodes<'a>(&self, _env: &Env<'a>, _out: &mut Vec<Value<'a>>) {
        unimplemented!()
    }
}

/// A compiled condition: the logical expression of RFC 9535 with `present(path)` and without `@`.
#[derive(Clone, Debug)]
pub struct Condition {
    _todo: (),
}

impl Condition {
    pub fn parse(_text: &str) -> Result<Condition, Error> {
        unimplemented!()
    }
    pub fn text(&self) -> &str {
        unimplemented!()
    }
    pub fn bind(&mut self, _binder: &mut dyn Bind) -> Result<(), Error> {
        unimplemented!()
    }
    pub fn holds(&self, _env: &Env<'_>) -> bool {
        unimplemented!()
    }
    /// Bare existence tests in it (`$.a.b` alone), which `check` warns about: offset and text.
    pub fn bare_tests(&self) -> Vec<(usize, String)> {
        unimplemented!()
    }
}

/// Marks in `demand` what `beyond` reads below the part at `prefix`, and gives its slot.
pub fn demand_of(demand: &mut Demand, prefix: &[Step], beyond: &[Vec<Step>]) -> crate::json::Slot {
    let slot = demand.slot(prefix);
    for steps in beyond {
        let whole: Vec<Step> = prefix.iter().chain(steps).cloned().collect();
        demand.look(&whole);
    }
    slot
}
