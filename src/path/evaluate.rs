//! Evaluates a query over values as bytes, node by node, and stops as soon as enough is known.
//!
//! Nodes come one at a time to a visitor, in the order of RFC 9535, so that an existence test ends
//! at the first and nothing is collected but what is asked for. It recurses at each segment that
//! selects more than one node and into filters; both are bounded when a query is read. How deep a
//! body is costs no stack.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::pattern::Pattern;
use super::tree::{Operand, Path, Relation, RootedPath, Segment, Selector, Slice, Test};
use super::{Bound, Env};
use crate::json::{Children, Kind, Value};

type Flow = ControlFlow<()>;
type Visit<'v, 'a> = &'v mut dyn FnMut(Value<'a>) -> Flow;

const ON: Flow = ControlFlow::Continue(());
const STOP: Flow = ControlFlow::Break(());

/// What an evaluation reads: the bound queries of a text, and their surroundings.
#[derive(Clone, Copy)]
pub(super) struct Evaluation<'e, 'a> {
    pub(super) rooted: &'e [RootedPath],
    pub(super) env: &'e Env<'a>,
}

/// What an operand gives.
enum Answer<'x> {
    Nothing,
    Found(Value<'x>),
    /// A number that no document holds.
    Made(String),
}

impl Answer<'_> {
    fn count(count: usize) -> Self {
        Answer::Made(count.to_string())
    }

    fn value(&self) -> Option<Value<'_>> {
        match self {
            Answer::Nothing => None,
            Answer::Found(value) => Some(*value),
            Answer::Made(number) => Some(Value::trusted(number.as_bytes())),
        }
    }
}

impl<'x> From<Option<Value<'x>>> for Answer<'x> {
    fn from(value: Option<Value<'x>>) -> Self {
        value.map_or(Answer::Nothing, Answer::Found)
    }
}

impl<'a> Evaluation<'_, 'a> {
    // === nodes ===

    /// Visits the nodes of a query that begins with `$`.
    pub(super) fn rooted(&self, number: usize, visit: Visit<'_, 'a>) -> Flow {
        let path = &self.rooted[number];
        for start in &path.starts {
            let Some(Bound { root, consumed }) = start.bound else {
                continue;
            };
            let Some(value) = self.env.value(root) else {
                continue;
            };
            let begin = match (&start.name, consumed) {
                (Some(name), 0) => value.get(name).map(|value| (value, 1)),
                _ => Some((value, consumed)),
            };
            if let Some((value, taken)) = begin {
                let rest = path.segments.get(taken..).unwrap_or_default();
                self.walk(rest, value, visit)?;
            }
        }
        ON
    }

    fn path(&self, path: &Path, current: Option<Value<'a>>, visit: Visit<'_, 'a>) -> Flow {
        match (path, current) {
            (Path::Rooted(number), _) => self.rooted(*number, visit),
            (Path::Relative(segments, _), Some(value)) => self.walk(segments, value, visit),
            (Path::Relative(..), None) => ON,
        }
    }

    fn walk(&self, segments: &[Segment], from: Value<'a>, visit: Visit<'_, 'a>) -> Flow {
        let mut value = from;
        let mut rest = segments;
        // Most segments are names: they need no recursion.
        while let Some((segment, behind)) = rest.split_first() {
            let Some(single) = segment.single() else {
                return self.branch(segment, behind, value, visit);
            };
            match single.part(value) {
                Some(part) => value = part,
                None => return ON,
            }
            rest = behind;
        }
        visit(value)
    }

    fn branch(
        &self,
        segment: &Segment,
        behind: &[Segment],
        value: Value<'a>,
        visit: Visit<'_, 'a>,
    ) -> Flow {
        self.select_all(segment, behind, value, visit)?;
        if !segment.descends {
            return ON;
        }
        let mut open: Vec<Children<'a>> = vec![value.children()];
        while let Some(children) = open.last_mut() {
            match children.next() {
                Some(child) => {
                    self.select_all(segment, behind, child, visit)?;
                    open.push(child.children());
                }
                None => drop(open.pop()),
            }
        }
        ON
    }

    fn select_all(
        &self,
        segment: &Segment,
        behind: &[Segment],
        value: Value<'a>,
        visit: Visit<'_, 'a>,
    ) -> Flow {
        for selector in &segment.selectors {
            self.select(selector, value, &mut |selected| {
                self.walk(behind, selected, visit)
            })?;
        }
        ON
    }

    fn select(&self, selector: &Selector, value: Value<'a>, visit: Visit<'_, 'a>) -> Flow {
        match selector {
            Selector::Name(_) | Selector::Index(_) => match selector.part(value) {
                Some(part) => visit(part),
                None => ON,
            },
            Selector::Every => value.children().try_for_each(visit),
            Selector::Slice(slice) => select_slice(*slice, value, visit),
            Selector::Filter(test) => (value.children())
                .filter(|child| self.holds(test, Some(*child)))
                .try_for_each(visit),
        }
    }

    fn first(&self, path: &Path, current: Option<Value<'a>>) -> Option<Value<'a>> {
        let mut found = None;
        let _ = self.path(path, current, &mut |value| {
            found = Some(value);
            STOP
        });
        found
    }

    fn count(&self, path: &Path, current: Option<Value<'a>>) -> usize {
        let mut count = 0;
        let _ = self.path(path, current, &mut |_| {
            count += 1;
            ON
        });
        count
    }

    /// The node, if there is just one.
    fn only(&self, path: &Path, current: Option<Value<'a>>) -> Option<Value<'a>> {
        let mut found = None;
        let flow = self.path(path, current, &mut |value| match found.replace(value) {
            None => ON,
            Some(_) => STOP,
        });
        found.filter(|_| flow.is_continue())
    }

    // === logical expressions ===

    pub(super) fn holds(&self, test: &Test, current: Option<Value<'a>>) -> bool {
        match test {
            Test::Any(tests) => tests.iter().any(|test| self.holds(test, current)),
            Test::All(tests) => tests.iter().all(|test| self.holds(test, current)),
            Test::Not(test) => !self.holds(test, current),
            Test::Exists(path) => self.first(path, current).is_some(),
            Test::Present(path) => {
                let first = self.first(path, current);
                first.is_some_and(|value| !value.is_null())
            }
            Test::Compare(one, relation, other) => {
                let one = self.operand(one, current);
                let other = self.operand(other, current);
                compares(one.value(), *relation, other.value())
            }
            Test::Match(text, pattern) => self.matches(text, pattern, current),
        }
    }

    fn matches(&self, text: &Operand, pattern: &Pattern, current: Option<Value<'a>>) -> bool {
        let text = self.operand(text, current);
        let Some(text) = text.value().and_then(Value::text) else {
            return false;
        };
        match pattern {
            Pattern::Never => false,
            Pattern::Fixed(regex) => regex.is_match(&text),
            Pattern::Found(found) => {
                let pattern = self.operand(found.operand(), current);
                let pattern = pattern.value().and_then(Value::text);
                pattern.is_some_and(|pattern| found.matches(&pattern, &text))
            }
        }
    }

    fn operand<'x>(&self, operand: &'x Operand, current: Option<Value<'a>>) -> Answer<'x>
    where
        'a: 'x,
    {
        match operand {
            Operand::Literal(bytes) => Answer::Found(Value::trusted(bytes)),
            Operand::Single(path) => self.first(path, current).into(),
            Operand::Value(path) => self.only(path, current).into(),
            Operand::Count(path) => Answer::count(self.count(path, current)),
            Operand::Length(of) => {
                let of = self.operand(of, current);
                of.value()
                    .and_then(length)
                    .map_or(Answer::Nothing, Answer::count)
            }
        }
    }
}

fn length(value: Value<'_>) -> Option<usize> {
    match value.kind() {
        Kind::Text => Some(value.text()?.chars().count()),
        Kind::Array => Some(value.elements().count()),
        Kind::Object => Some(value.members().count()),
        Kind::Null | Kind::Boolean(_) | Kind::Number => None,
    }
}

/// RFC 9535 §2.3.5.2.2: nothing equals nothing only; only numbers and strings have an order.
fn compares(one: Option<Value<'_>>, relation: Relation, other: Option<Value<'_>>) -> bool {
    let equal = || match (one, other) {
        (Some(one), Some(other)) => one.equals(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    let order = || one?.compare(other?);
    match relation {
        Relation::Equal => equal(),
        Relation::NotEqual => !equal(),
        Relation::Less => order() == Some(Ordering::Less),
        Relation::Greater => order() == Some(Ordering::Greater),
        Relation::LessOrEqual => order() == Some(Ordering::Less) || equal(),
        Relation::GreaterOrEqual => order() == Some(Ordering::Greater) || equal(),
    }
}

/// RFC 9535 §2.3.4.2.2.
fn select_slice<'a>(slice: Slice, value: Value<'a>, visit: Visit<'_, 'a>) -> Flow {
    if value.kind() != Kind::Array || slice.step == 0 {
        return ON;
    }
    let length = value.elements().count() as i64;
    let bound = |bound: i64| if bound < 0 { length + bound } else { bound };
    let step = usize::try_from(slice.step.unsigned_abs()).unwrap_or(usize::MAX);
    if slice.step > 0 {
        let lower = bound(slice.start.unwrap_or(0)).clamp(0, length) as usize;
        let upper = bound(slice.end.unwrap_or(length)).clamp(0, length) as usize;
        let inside = value.elements().take(upper).skip(lower);
        return inside.step_by(step).try_for_each(visit);
    }
    let upper = bound(slice.start.unwrap_or(length - 1)).clamp(-1, length - 1);
    let lower = slice.end.map_or(-1, bound).clamp(-1, length - 1);
    let elements = value.elements().take((upper + 1) as usize);
    let inside: Vec<_> = elements.skip((lower + 1) as usize).collect();
    inside.into_iter().rev().step_by(step).try_for_each(visit)
}
