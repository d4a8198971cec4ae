//! A query as it is evaluated: our own small tree, in which nothing is left to check.

use std::ops::Range;

use super::Bound;
use super::pattern::Pattern;
use crate::json::Value;

/// A query that begins with `$`, in the list of all of them that a text holds.
#[derive(Clone, Debug)]
pub(super) struct RootedPath {
    /// Where it stands in the text.
    pub(super) span: Range<usize>,
    /// One for each name of the first segment if that is a list of names, else one without a name.
    pub(super) starts: Vec<Start>,
    pub(super) segments: Vec<Segment>,
    pub(super) reading: Reading,
}

#[derive(Clone, Debug)]
pub(super) struct Start {
    /// What the first segment selects here: it then stands for the first segment.
    pub(super) name: Option<String>,
    pub(super) bound: Option<Bound>,
}

#[derive(Clone, Debug)]
pub(super) enum Path {
    /// Begins with `@`.
    Relative(Vec<Segment>, Reading),
    /// The number of a [`RootedPath`].
    Rooted(usize),
}

/// What is done with the nodes of a query: how far somebody looks into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// They are moved, counted, or compared with a literal.
    Surface,
    /// Their members are counted.
    Size,
    /// They are compared with other nodes, as deep as they go.
    Whole,
}

#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// `..`: the selectors apply to the value and to all below it.
    pub(super) descends: bool,
    pub(super) selectors: Vec<Selector>,
}

#[derive(Clone, Debug)]
pub(super) enum Selector {
    Name(String),
    Index(i64),
    Every,
    Slice(Slice),
    Filter(Test),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) step: i64,
}

/// A logical expression.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Any(Vec<Test>),
    All(Vec<Test>),
    Not(Box<Test>),
    Exists(Path),
    Present(Path),
    Compare(Operand, Relation, Operand),
    Match(Operand, Pattern),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What gives one value or nothing.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Literal(Vec<u8>),
    Single(Path),
    Length(Box<Operand>),
    Count(Path),
    Value(Path),
}

impl Segment {
    /// The one name or index that it selects.
    pub(super) fn single(&self) -> Option<&Selector> {
        match self.selectors.as_slice() {
            [only @ (Selector::Name(_) | Selector::Index(_))] if !self.descends => Some(only),
            _ => None,
        }
    }
}

impl Selector {
    /// The part that a name or an index selects.
    pub(super) fn part<'a>(&self, value: Value<'a>) -> Option<Value<'a>> {
        match self {
            Selector::Name(name) => value.get(name),
            Selector::Index(index) => value.index(*index),
            _ => None,
        }
    }
}

impl Test {
    /// Calls `visit` for each query of this expression, but not for those inside of their filters.
    pub(super) fn each_path(&self, visit: &mut dyn FnMut(&Path)) {
        match self {
            Test::Any(tests) | Test::All(tests) => {
                tests.iter().for_each(|test| test.each_path(visit));
            }
            Test::Not(test) => test.each_path(visit),
            Test::Exists(path) | Test::Present(path) => visit(path),
            Test::Compare(one, _, other) => {
                one.each_path(visit);
                other.each_path(visit);
            }
            Test::Match(text, pattern) => {
                text.each_path(visit);
                if let Some(operand) = pattern.operand() {
                    operand.each_path(visit);
                }
            }
        }
    }
}

impl Test {
    /// Calls `visit` for each query that is asked for no more than whether it exists.
    pub(super) fn each_bare(&self, visit: &mut dyn FnMut(&Path)) {
        match self {
            Test::Any(tests) | Test::All(tests) => {
                tests.iter().for_each(|test| test.each_bare(visit));
            }
            Test::Not(test) => test.each_bare(visit),
            Test::Exists(path) => visit(path),
            Test::Present(_) | Test::Compare(..) | Test::Match(..) => {}
        }
    }
}

impl Operand {
    fn each_path(&self, visit: &mut dyn FnMut(&Path)) {
        match self {
            Operand::Literal(_) => {}
            Operand::Length(operand) => operand.each_path(visit),
            Operand::Single(path) | Operand::Count(path) | Operand::Value(path) => visit(path),
        }
    }
}
