//! What the names of a route's paths and templates mean: the context document, as roots.
//!
//! One [`Names`] lives as long as its route is compiled. Whoever compiles a key first says who reads
//! there ([`Names::reading`]); every path that is bound then says what is read: the graph and the
//! demands on each body come out of it. Read `bind.rs` next for what a path may name.

mod bind;

use std::collections::{HashMap, HashSet};

use crate::config::document;
use crate::diagnostic::{Diagnostic, Span};
use crate::json::{Demand, Step};
use crate::path::Root;
use crate::plan::{CallId, CallPart, RequestPart, Role, Source};
use crate::template::choice::Choice;

/// Who reads, which decides what may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// What a call sends, asks (`when`, `for_each`) or falls back to.
    Call(CallId),
    /// `take`: `$.reply` beside the context document.
    Take(CallId),
    /// `success_when`: `$.reply` alone.
    SuccessWhen(CallId),
    /// `rows` of a `batch`: `$.reply` alone.
    Rows(CallId),
    /// `match` of a `batch`: `$.row` alone.
    Match(CallId),
    Response,
}

impl Reader {
    pub fn call(self) -> Option<CallId> {
        match self {
            Reader::Call(call)
            | Reader::Take(call)
            | Reader::SuccessWhen(call)
            | Reader::Rows(call)
            | Reader::Match(call) => Some(call),
            Reader::Response => None,
        }
    }
}

/// One call that a key reads, for the graph and the rules.
#[derive(Clone, Debug)]
pub struct Read {
    pub reader: Reader,
    pub call: CallId,
    pub part: Option<CallPart>,
    /// Of the value that reads.
    pub span: Span,
}

pub struct Names {
    calls: Vec<Known>,
    parameters: Vec<String>,
    has_rest: bool,
    /// The route's path could not be read, so it may have any parameter.
    pub any_parameter: bool,
    /// A name may come from a key that could not be read: what is not known is then no fault of who
    /// reads it.
    pub any_name: bool,
    pub sources: Vec<Source>,
    roots: HashMap<Source, Root>,
    pub request_demand: Option<Demand>,
    pub demands: Vec<Demands>,
    /// The calls that headers of answers are read of.
    pub headers_read: HashSet<CallId>,
    pub reads: Vec<Read>,
    /// What is read of the client's request, and by whom.
    pub request_reads: Vec<(Reader, RequestPart)>,
    reader: Reader,
    span: Span,
    variables: Vec<Variable>,
    /// The variables that were read since [`Names::forget_read`].
    variables_read: Vec<Root>,
    pub diagnostics: Vec<Diagnostic>,
}

/// What is known of a call before anything is compiled.
pub struct Known {
    pub name: String,
    pub role: Role,
    /// The text of its `for_each` path, without spaces and `?? []`.
    pub list: Option<String>,
    pub has_take: bool,
    /// One answer is for many elements, so that a body of it is a row.
    pub has_batch: bool,
}

impl Known {
    /// What others read is not the answer's body as it came.
    pub fn has_body_of_its_own(&self) -> bool {
        self.has_take || self.has_batch
    }
}

#[derive(Default)]
pub struct Demands {
    pub raw: Demand,
    pub taken: Demand,
}

/// A loop variable in force.
struct Variable {
    name: String,
    root: Root,
    /// The text of the path it runs over.
    list: String,
    /// Where its list stands, so that what is read of an element is looked into there.
    origins: Vec<(Holder, Vec<Step>)>,
    /// It is one element, and what is compiled stands for many.
    is_hidden: bool,
}

/// A body that something is read of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Request,
    Body(CallId),
    Reply(CallId),
}

impl Names {
    pub fn new(calls: Vec<Known>, parameters: Vec<String>, has_rest: bool, span: Span) -> Names {
        Names {
            demands: calls.iter().map(|_| Demands::default()).collect(),
            calls,
            parameters,
            has_rest,
            any_parameter: false,
            any_name: false,
            sources: Vec::new(),
            roots: HashMap::new(),
            headers_read: HashSet::new(),
            request_demand: None,
            reads: Vec::new(),
            request_reads: Vec::new(),
            reader: Reader::Response,
            span,
            variables: Vec::new(),
            variables_read: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    /// From now on `reader` reads, in the value at `span`.
    pub fn reading(&mut self, reader: Reader, span: Span) {
        self.reader = reader;
        self.span = span;
    }

    pub fn call_named(&self, name: &str) -> Option<CallId> {
        let place = self.calls.iter().position(|call| call.name == name)?;
        Some(CallId(place))
    }

    /// The place of the parameter that holds the rest of the path.
    pub fn rest_parameter(&self) -> Option<usize> {
        self.has_rest.then(|| self.parameters.len() - 1)
    }

    pub fn call_names(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().map(|call| call.name.as_str())
    }

    pub fn has_body_of_its_own(&self, call: CallId) -> bool {
        self.calls[call.0].has_body_of_its_own()
    }

    pub fn role(&self, call: CallId) -> Role {
        self.calls[call.0].role
    }

    /// A loop variable comes into force: it runs over `list` (the text of the path, without spaces
    /// and `?? []`), whose first query is `query`. Must be called after the query is bound.
    pub fn enter(
        &mut self,
        name: &str,
        list: &str,
        query: &crate::path::Query,
    ) -> Result<Root, String> {
        if let Some(message) = self.refuse_variable(name) {
            return Err(message);
        }
        let origin = query.root();
        let root = self.root(Source::Variable(name.to_owned(), origin));
        let origins = self.origins_of(query);
        self.variables.push(Variable {
            name: name.to_owned(),
            root,
            list: list.to_owned(),
            origins,
            is_hidden: false,
        });
        Ok(root)
    }

    /// `$.keys` comes into force, in what a `batch` call sends; what loops over the elements is hidden
    /// there. `origin` is what the elements were read from.
    pub fn enter_keys(&mut self, origin: Root) -> Root {
        for variable in &mut self.variables {
            variable.is_hidden = true;
        }
        self.enter_reserved("keys", origin, Vec::new())
    }

    /// `$.keys` goes, and one element is in force again.
    pub fn leave_keys(&mut self) {
        self.leave();
        for variable in &mut self.variables {
            variable.is_hidden = false;
        }
    }

    /// `$.row` comes into force, an element of `rows` (`None` where they could not be compiled); the
    /// reader has to be the one that read them.
    pub fn enter_row(&mut self, rows: Option<&Choice>) -> Root {
        let queries = rows.iter().flat_map(|rows| &rows.queries);
        let origins = queries.flat_map(|query| self.origins_of(query)).collect();
        let origin = rows.map_or(Root(u32::MAX), |rows| rows.queries[0].root());
        self.enter_reserved("row", origin, origins)
    }

    fn enter_reserved(
        &mut self,
        name: &str,
        origin: Root,
        origins: Vec<(Holder, Vec<Step>)>,
    ) -> Root {
        let root = self.root(Source::Variable(name.to_owned(), origin));
        self.variables.push(Variable {
            name: name.to_owned(),
            root,
            list: String::new(),
            origins,
            is_hidden: false,
        });
        root
    }

    pub fn forget_read(&mut self) {
        self.variables_read.clear();
    }

    /// Whether this variable was read since [`Names::forget_read`].
    pub fn has_read(&self, variable: Root) -> bool {
        self.variables_read.contains(&variable)
    }

    /// A loop variable comes into force whose list could not be compiled: a finding was made, and
    /// what reads the variable is none.
    pub fn enter_unknown(&mut self, name: &str, list: &str) {
        let root = self.root(Source::Variable(name.to_owned(), Root(u32::MAX)));
        self.variables.push(Variable {
            name: name.to_owned(),
            root,
            list: list.to_owned(),
            origins: Vec::new(),
            is_hidden: false,
        });
    }

    /// The innermost loop variable goes.
    pub fn leave(&mut self) {
        self.variables.pop();
    }

    #[cfg(test)]
    pub fn is_outside_loops(&self) -> bool {
        self.variables.is_empty()
    }

    fn refuse_variable(&self, name: &str) -> Option<String> {
        if !is_name(name) {
            return Some(format!("`{name}` cannot be the name of a variable"));
        }
        if crate::template::RESERVED.contains(&name) {
            return Some(format!("the variable `{name}` has a reserved name"));
        }
        if self.call_named(name).is_some() {
            return Some(format!("the variable `{name}` has the name of a call"));
        }
        let is_outer = self.variables.iter().any(|variable| variable.name == name);
        is_outer.then(|| format!("the variable `{name}` has the name of an outer variable"))
    }

    fn origins_of(&mut self, query: &crate::path::Query) -> Vec<(Holder, Vec<Step>)> {
        let mut origins = Vec::new();
        for (prefix, mut lists) in query.reads() {
            if lists.is_empty() {
                lists.push(Vec::new());
            }
            for beyond in lists {
                let mut steps: Vec<Step> = prefix.iter().chain(&beyond).cloned().collect();
                // A singular query is the list itself; its elements are one step further.
                if beyond.is_empty() {
                    steps.push(Step::Every);
                }
                origins.extend(self.holders(&steps));
            }
        }
        origins
    }

    /// The bodies that a rooted list of steps reads, and the steps within them.
    fn holders(&self, steps: &[Step]) -> Vec<(Holder, Vec<Step>)> {
        let Some((Step::Name(first), rest)) = steps.split_first() else {
            return Vec::new();
        };
        if let Some(variable) = self
            .variables
            .iter()
            .find(|variable| variable.name == *first)
        {
            let within = |(holder, outer): &(Holder, Vec<Step>)| {
                (*holder, outer.iter().chain(rest).cloned().collect())
            };
            return variable.origins.iter().map(within).collect();
        }
        let Some((Step::Name(part), within)) = rest.split_first() else {
            return Vec::new();
        };
        let holder = match (first.as_str(), part.as_str(), self.reader) {
            ("request", "body", _) => Holder::Request,
            (
                "reply",
                "body",
                Reader::Take(call) | Reader::SuccessWhen(call) | Reader::Rows(call),
            ) => Holder::Reply(call),
            (name, "body", _) => match self.call_named(name) {
                Some(call) => Holder::Body(call),
                None => return Vec::new(),
            },
            _ => return Vec::new(),
        };
        vec![(holder, within.to_vec())]
    }

    fn demand(&mut self, holder: Holder) -> &mut Demand {
        match holder {
            Holder::Request => self.request_demand.get_or_insert_default(),
            Holder::Reply(call) => &mut self.demands[call.0].raw,
            Holder::Body(call) if self.calls[call.0].has_body_of_its_own() => {
                &mut self.demands[call.0].taken
            }
            Holder::Body(call) => &mut self.demands[call.0].raw,
        }
    }

    fn root(&mut self, source: Source) -> Root {
        if let Some(root) = self.roots.get(&source) {
            return *root;
        }
        let root = Root(self.sources.len() as u32);
        self.sources.push(source.clone());
        self.roots.insert(source, root);
        root
    }
}

/// Names of calls and variables.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(is_first)
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `a`, `b` and `c` in backticks; `nothing` for none.
pub fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    }
}

/// What is known of the calls before any is compiled.
pub fn known(calls: &[document::Call], roles: &[Role]) -> Vec<Known> {
    let known = calls.iter().zip(roles).map(|(call, role)| Known {
        name: call.name.value.clone(),
        role: *role,
        list: call.for_each.as_ref().map(|node| loop_path(&node.value)),
        has_take: call.take.is_some(),
        has_batch: call.batch.is_some(),
    });
    known.collect()
}

/// The path of `p in PATH`, without spaces and `?? []`.
fn loop_path(node: &crate::config::node::Node) -> String {
    let crate::config::node::Kind::Text(text) = &node.kind else {
        return String::new();
    };
    let (_, path) = text.source.split_once(" in ").unwrap_or(("", &text.source));
    without_spaces(path)
}

/// The text of a path as loops compare it: spaces and `?? []` aside.
pub fn without_spaces(path: &str) -> String {
    let bare: String = path.chars().filter(|c| !c.is_whitespace()).collect();
    bare.strip_suffix("??[]")
        .map_or(bare.clone(), str::to_owned)
}
