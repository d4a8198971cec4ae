//! From jsonpath-rust's tree to ours: what its parser takes and RFC 9535 does not is refused here.

use std::ops::Range;

use jsonpath_rust::parser::errors::JsonPathError;
use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment as Parsed,
    Selector as ParsedSelector, SingularQuery, SingularQuerySegment, Test as ParsedTest,
    TestFunction,
};
use jsonpath_rust::parser::parse_json_path;
use pest::error::InputLocation;

use super::Error;
use super::outline::Form;
use super::pattern::{Extent, Pattern};
use super::spell::{Function, Spelling, spell};
use super::tree::{
    Operand, Path, Reading, Relation, RootedPath, Segment, Selector, Slice, Start, Test,
};
use crate::json::write_text;

/// Segments of one query that select more than one node: the evaluation recurses at each.
const BRANCHES: usize = 32;

/// What a text holds beside its logical expression.
pub(super) struct Lowered {
    /// The queries that begin with `$`, in the order of the text.
    pub(super) rooted: Vec<RootedPath>,
    /// What is allowed and yet surely not meant.
    pub(super) warnings: Vec<Error>,
}

/// Reads a query: the first of the list is the query itself, the others stand in its filters.
pub(super) fn query(text: &str) -> Result<Lowered, Error> {
    if let Some(path) = plain(text) {
        return Ok(Lowered {
            rooted: vec![path],
            warnings: Vec::new(),
        });
    }
    let spelling = spell(text, Form::Query)?;
    let parsed = parse(&spelling)?;
    let mut lowering = Lowering::new(&spelling);
    lowering.rooted(parsed.segments, Reading::Surface)?;
    Ok(lowering.lowered)
}

/// `$.a.b-c.d`, names and nothing else: most paths of a route file. The parser would say the same of
/// them, in a hundred times the time, which a reload of a thousand routes feels.
fn plain(text: &str) -> Option<RootedPath> {
    /// Longer ones are the parser's to refuse.
    const LONGEST: usize = 256;
    let names = text.strip_prefix("$.").filter(|_| text.len() <= LONGEST)?;
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_other = |byte: u8| is_first(byte) || byte.is_ascii_digit() || byte == b'-';
    let is_name =
        |name: &str| name.bytes().next().is_some_and(is_first) && name.bytes().all(is_other);
    if !names.split('.').all(is_name) {
        return None;
    }
    let segment = |name: &str| Segment {
        descends: false,
        selectors: vec![Selector::Name(name.to_owned())],
    };
    let segments: Vec<Segment> = names.split('.').map(segment).collect();
    Some(RootedPath {
        span: 0..text.len(),
        starts: starts(&segments),
        segments,
        reading: Reading::Surface,
    })
}

/// Reads a condition.
pub(super) fn condition(text: &str) -> Result<(Test, Lowered), Error> {
    let spelling = spell(text, Form::Condition)?;
    let parsed = parse(&spelling)?;
    let mut lowering = Lowering::new(&spelling);
    match parsed.segments.into_iter().next() {
        Some(Parsed::Selector(ParsedSelector::Filter(filter))) => {
            let test = lowering.filter(filter)?;
            Ok((test, lowering.lowered))
        }
        _ => Err(lowering.wrong(0..text.len(), "this is no condition", None)),
    }
}

fn parse(spelling: &Spelling<'_>) -> Result<JpQuery, Error> {
    parse_json_path(&spelling.spelled).map_err(|error| match error {
        JsonPathError::PestError(error) => spelling.explain(match error.location {
            InputLocation::Pos(at) => at,
            InputLocation::Span((start, _)) => start,
        }),
        // All else that it refuses are functions out of place; the last it saw is the best guess.
        _ => {
            let span = spelling.functions.last().map(|last| last.span.clone());
            let span = span.unwrap_or(0..0);
            Error {
                offset: span.start,
                length: span.end - span.start,
                message: "a function does not fit its place or its arguments".to_owned(),
                help: Some(
                    "`match()` and `search()` stand alone; `count()` and `value()` take a path"
                        .to_owned(),
                ),
            }
        }
    })
}

struct Lowering<'s, 't> {
    spelling: &'s Spelling<'t>,
    /// What of the spelling's lists comes next: the tree is walked in the order of the text.
    next_function: usize,
    lowered: Lowered,
}

/// What a function takes and gives (RFC 9535 §2.4.1).
const TYPES: &str = "`length()`, `count()`, `value()` give a value to compare; `match()` and `search()` are conditions";

impl<'t> Lowering<'_, 't> {
    fn new<'s>(spelling: &'s Spelling<'t>) -> Lowering<'s, 't> {
        Lowering {
            spelling,
            next_function: 0,
            lowered: Lowered {
                rooted: Vec::new(),
                warnings: Vec::new(),
            },
        }
    }

    fn wrong(&self, span: Range<usize>, message: &str, help: Option<&str>) -> Error {
        Error {
            offset: span.start,
            length: span.end - span.start,
            message: message.to_owned(),
            help: help.map(str::to_owned),
        }
    }

    // === queries ===

    fn rooted(&mut self, segments: Vec<Parsed>, reading: Reading) -> Result<Path, Error> {
        let number = self.lowered.rooted.len();
        let span = self.spelling.roots[number].clone();
        // Takes its place in the list before the queries in its filters take theirs.
        self.lowered.rooted.push(RootedPath {
            span: span.clone(),
            starts: Vec::new(),
            segments: Vec::new(),
            reading,
        });
        let segments = self.segments(segments, span)?;
        self.lowered.rooted[number].starts = starts(&segments);
        self.lowered.rooted[number].segments = segments;
        Ok(Path::Rooted(number))
    }

    fn relative(&mut self, segments: Vec<Parsed>, reading: Reading) -> Result<Path, Error> {
        let all = 0..self.spelling.len();
        Ok(Path::Relative(self.segments(segments, all)?, reading))
    }

    fn segments(&mut self, parsed: Vec<Parsed>, span: Range<usize>) -> Result<Vec<Segment>, Error> {
        let mut segments = Vec::with_capacity(parsed.len());
        for segment in parsed {
            segments.push(self.segment(segment)?);
        }
        let branches = segments.iter().filter(|segment| segment.single().is_none());
        if branches.count() > BRANCHES {
            let message = format!("more than {BRANCHES} segments that select many values");
            return Err(self.wrong(span, &message, None));
        }
        Ok(segments)
    }

    fn segment(&mut self, parsed: Parsed) -> Result<Segment, Error> {
        let (descends, parsed) = match parsed {
            Parsed::Descendant(below) => (true, *below),
            other => (false, other),
        };
        let selectors = match parsed {
            Parsed::Selector(selector) => vec![self.selector(selector)?],
            Parsed::Selectors(selectors) => (selectors.into_iter())
                .map(|selector| self.selector(selector))
                .collect::<Result<_, _>>()?,
            Parsed::Descendant(_) => {
                let all = 0..self.spelling.len();
                return Err(self.wrong(all, "`..` stands twice in one segment", None));
            }
        };
        Ok(Segment {
            descends,
            selectors,
        })
    }

    fn selector(&mut self, parsed: ParsedSelector) -> Result<Selector, Error> {
        Ok(match parsed {
            ParsedSelector::Name(name) => Selector::Name(name),
            ParsedSelector::Wildcard => Selector::Every,
            ParsedSelector::Index(index) => Selector::Index(index),
            ParsedSelector::Slice(start, end, step) => Selector::Slice(Slice {
                start,
                end,
                step: step.unwrap_or(1),
            }),
            ParsedSelector::Filter(filter) => Selector::Filter(self.filter(filter)?),
        })
    }

    fn single(&mut self, parsed: SingularQuery, reading: Reading) -> Result<Path, Error> {
        let segment = |segment| {
            Parsed::Selector(match segment {
                SingularQuerySegment::Name(name) => ParsedSelector::Name(name),
                SingularQuerySegment::Index(index) => ParsedSelector::Index(index),
            })
        };
        match parsed {
            SingularQuery::Root(segments) => {
                self.rooted(segments.into_iter().map(segment).collect(), reading)
            }
            SingularQuery::Current(segments) => {
                self.relative(segments.into_iter().map(segment).collect(), reading)
            }
        }
    }

    // === logical expressions ===

    fn filter(&mut self, parsed: Filter) -> Result<Test, Error> {
        match parsed {
            Filter::Or(tests) => Ok(Test::Any(self.filters(tests)?)),
            Filter::And(tests) => Ok(Test::All(self.filters(tests)?)),
            Filter::Atom(FilterAtom::Filter { expr, not }) => Ok(negated(self.filter(*expr)?, not)),
            Filter::Atom(FilterAtom::Test { expr, not }) => Ok(negated(self.test(*expr)?, not)),
            Filter::Atom(FilterAtom::Comparison(comparison)) => self.comparison(*comparison),
        }
    }

    fn filters(&mut self, parsed: Vec<Filter>) -> Result<Vec<Test>, Error> {
        parsed.into_iter().map(|test| self.filter(test)).collect()
    }

    fn test(&mut self, parsed: ParsedTest) -> Result<Test, Error> {
        match parsed {
            ParsedTest::Function(function) => self.logical_function(*function),
            query => Ok(Test::Exists(self.nodes(query, Reading::Surface)?)),
        }
    }

    fn comparison(&mut self, parsed: Comparison) -> Result<Test, Error> {
        let (one, relation, other) = match parsed {
            Comparison::Eq(one, other) => (one, Relation::Equal, other),
            Comparison::Ne(one, other) => (one, Relation::NotEqual, other),
            Comparison::Gt(one, other) => (one, Relation::Greater, other),
            Comparison::Gte(one, other) => (one, Relation::GreaterOrEqual, other),
            Comparison::Lt(one, other) => (one, Relation::Less, other),
            Comparison::Lte(one, other) => (one, Relation::LessOrEqual, other),
        };
        let literal = |side: &Comparable| matches!(side, Comparable::Literal(_));
        let reading = match literal(&one) || literal(&other) {
            true => Reading::Surface,
            false => Reading::Whole,
        };
        let one = self.comparable(one, reading)?;
        let other = self.comparable(other, reading)?;
        Ok(Test::Compare(one, relation, other))
    }

    fn comparable(&mut self, parsed: Comparable, reading: Reading) -> Result<Operand, Error> {
        match parsed {
            Comparable::Literal(literal) => Ok(Operand::Literal(self.literal(literal))),
            Comparable::SingularQuery(query) => Ok(Operand::Single(self.single(query, reading)?)),
            Comparable::Function(function) => self.value_function(function, reading),
        }
    }

    /// A literal as JSON. Numbers were written as places in the list of numbers.
    fn literal(&self, parsed: Literal) -> Vec<u8> {
        let number = |place: usize| self.spelling.numbers[place].as_bytes().to_vec();
        match parsed {
            Literal::Int(place) => number(usize::try_from(place).unwrap_or_default()),
            Literal::Float(place) => number(place as usize),
            Literal::Bool(truth) => truth.to_string().into_bytes(),
            Literal::Null => b"null".to_vec(),
            Literal::String(text) => {
                let mut out = Vec::new();
                write_text(&mut out, &text);
                out
            }
        }
    }

    // === functions ===

    fn next_function(&mut self) -> Function<'t> {
        self.next_function += 1;
        self.spelling.functions[self.next_function - 1].clone()
    }

    fn logical_function(&mut self, parsed: TestFunction) -> Result<Test, Error> {
        let written = self.next_function();
        match parsed {
            TestFunction::Match(text, pattern) => {
                self.matching(text, pattern, Extent::Whole, written)
            }
            TestFunction::Search(text, pattern) => {
                self.matching(text, pattern, Extent::Part, written)
            }
            TestFunction::Count(path) if written.name == "present" => {
                Ok(Test::Present(self.nodes_argument(path, &written)?))
            }
            _ => {
                let message = format!("`{}()` is no condition by itself", written.name);
                Err(self.wrong(written.span, &message, Some(TYPES)))
            }
        }
    }

    fn matching(
        &mut self,
        text: FnArg,
        pattern: FnArg,
        extent: Extent,
        written: Function<'t>,
    ) -> Result<Test, Error> {
        let text = self.value_argument(text, Reading::Surface, &written)?;
        let pattern = match pattern {
            FnArg::Literal(Literal::String(pattern)) => {
                let pattern = Pattern::fixed(&pattern, extent);
                pattern.unwrap_or_else(|error| self.never_holds(&error, &written))
            }
            other => {
                let operand = self.value_argument(other, Reading::Surface, &written)?;
                Pattern::found(operand, extent)
            }
        };
        Ok(Test::Match(text, pattern))
    }

    fn never_holds(&mut self, error: &Error, written: &Function<'t>) -> Pattern {
        let message = format!(
            "`{}()` never holds: {} in its pattern",
            written.name, error.message
        );
        let warning = self.wrong(written.span.clone(), &message, error.help.as_deref());
        self.lowered.warnings.push(warning);
        Pattern::Never
    }

    fn value_function(&mut self, parsed: TestFunction, reading: Reading) -> Result<Operand, Error> {
        let written = self.next_function();
        match parsed {
            TestFunction::Length(of) => {
                let of = self.value_argument(*of, Reading::Size, &written)?;
                Ok(Operand::Length(Box::new(of)))
            }
            TestFunction::Value(path) => {
                let path = self.nodes_argument_read(path, reading, &written)?;
                Ok(Operand::Value(path))
            }
            TestFunction::Count(path) if written.name == "count" => {
                Ok(Operand::Count(self.nodes_argument(path, &written)?))
            }
            _ => {
                let message = format!("`{}()` gives no value", written.name);
                Err(self.wrong(written.span, &message, Some(TYPES)))
            }
        }
    }

    fn nodes_argument(&mut self, parsed: FnArg, of: &Function<'t>) -> Result<Path, Error> {
        self.nodes_argument_read(parsed, Reading::Surface, of)
    }

    fn nodes_argument_read(
        &mut self,
        parsed: FnArg,
        reading: Reading,
        of: &Function<'t>,
    ) -> Result<Path, Error> {
        match parsed {
            FnArg::Test(test) if !matches!(*test, ParsedTest::Function(_)) => {
                self.nodes(*test, reading)
            }
            _ => {
                let message = format!("`{}()` takes a path", of.name);
                Err(self.wrong(of.span.clone(), &message, None))
            }
        }
    }

    fn nodes(&mut self, parsed: ParsedTest, reading: Reading) -> Result<Path, Error> {
        match parsed {
            ParsedTest::RelQuery(segments) => self.relative(segments, reading),
            ParsedTest::AbsQuery(query) => self.rooted(query.segments, reading),
            ParsedTest::Function(_) => {
                let all = 0..self.spelling.len();
                Err(self.wrong(all, "a path is expected, not a function", None))
            }
        }
    }

    /// An argument that is one value: a literal, a singular query, or a function that gives one.
    fn value_argument(
        &mut self,
        parsed: FnArg,
        reading: Reading,
        of: &Function<'t>,
    ) -> Result<Operand, Error> {
        let test = match parsed {
            FnArg::Literal(literal) => return Ok(Operand::Literal(self.literal(literal))),
            FnArg::Test(test) => *test,
            FnArg::Filter(_) => {
                let message = format!("`{}()` takes a value, not a condition", of.name);
                return Err(self.wrong(of.span.clone(), &message, None));
            }
        };
        if let ParsedTest::Function(function) = test {
            return self.value_function(*function, reading);
        }
        let path = self.nodes(test, reading)?;
        if !self.is_single(&path) {
            let message = format!("`{}()` takes one value, this path may give many", of.name);
            let help = "`value(PATH)` gives the value if there is just one";
            return Err(self.wrong(of.span.clone(), &message, Some(help)));
        }
        Ok(Operand::Single(path))
    }

    fn is_single(&self, path: &Path) -> bool {
        let segments = match path {
            Path::Relative(segments, _) => segments,
            Path::Rooted(number) => &self.lowered.rooted[*number].segments,
        };
        segments.iter().all(|segment| segment.single().is_some())
    }
}

fn negated(test: Test, not: bool) -> Test {
    if not { Test::Not(Box::new(test)) } else { test }
}

/// One start for each name of a first segment that consists of names.
fn starts(segments: &[Segment]) -> Vec<Start> {
    let start = |name| Start { name, bound: None };
    let name = |selector: &Selector| match selector {
        Selector::Name(name) => Some(name.clone()),
        _ => None,
    };
    let first = segments.first().filter(|first| !first.descends);
    let names: Option<Vec<_>> = first.and_then(|first| first.selectors.iter().map(name).collect());
    match names {
        Some(names) => names.into_iter().map(|name| start(Some(name))).collect(),
        None => vec![start(None)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_means_what_the_parser_says() {
        for text in [
            "$.a",
            "$.a.b",
            "$.request.headers.x-user",
            "$._a1.b-",
            "$.true.null",
        ] {
            let spelling = spell(text, Form::Query).unwrap();
            let mut lowering = Lowering::new(&spelling);
            let parsed = parse(&spelling).unwrap();
            lowering.rooted(parsed.segments, Reading::Surface).unwrap();
            let slow = format!("{:?}", lowering.lowered.rooted);
            assert_eq!(format!("{:?}", [plain(text).unwrap()]), slow, "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_parser() {
        for text in [
            "$", "$.", "$.a[0]", "$.a.*", "$..a", "$.a .b", "$.-a", "$.1", "$.é", "$.a..b",
        ] {
            assert!(plain(text).is_none(), "{text}");
        }
    }
}
