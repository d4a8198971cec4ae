//! What the names of a route's paths and templates mean: the context document, as roots.
//!
//! One [`Names`] lives as long as its route is compiled. Whoever compiles a key first says who reads
//! there ([`Names::reading`]); every path that is bound then says what is read: the graph and the
//! demands on each body come out of it.

use std::collections::HashMap;
use std::ops::Range;

use http::HeaderName;

use crate::config::document;
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::json::{Demand, Slot, Step};
use crate::path::{Bind, Bound, Error, Root, Rooted, demand_of};
use crate::plan::{CallId, CallPart, RequestPart, Role, Source};

/// Who reads, which decides what may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// What a call sends, asks (`when`, `for_each`) or falls back to.
    Call(CallId),
    /// `take`: `$.reply` beside the context document.
    Take(CallId),
    /// `success_when`: `$.reply` alone.
    SuccessWhen(CallId),
    Response,
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
    pub reads: Vec<Read>,
    reader: Reader,
    span: Span,
    variables: Vec<Variable>,
    pub diagnostics: Vec<Diagnostic>,
}

/// What is known of a call before anything is compiled.
pub struct Known {
    pub name: String,
    pub role: Role,
    /// The text of its `for_each` path, without spaces and `?? []`.
    pub list: Option<String>,
    pub has_take: bool,
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
            request_demand: None,
            reads: Vec::new(),
            reader: Reader::Response,
            span,
            variables: Vec::new(),
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
        });
        Ok(root)
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
            ("reply", "body", Reader::Take(call) | Reader::SuccessWhen(call)) => {
                Holder::Reply(call)
            }
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
            Holder::Body(call) if self.calls[call.0].has_take => &mut self.demands[call.0].taken,
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

    fn bind_request(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error> {
        let Some(Step::Name(part)) = rooted.prefix.get(1) else {
            self.request_demand.get_or_insert_default();
            return Ok(self.bound(Source::Request(RequestPart::Whole), 1));
        };
        let name = match rooted.prefix.get(2) {
            Some(Step::Name(name)) => Some(name.clone()),
            _ => None,
        };
        let consumed = if name.is_some() { 3 } else { 2 };
        let part = match part.as_str() {
            "method" => return Ok(self.bound(Source::Request(RequestPart::Method), 2)),
            "host" => return Ok(self.bound(Source::Request(RequestPart::Host), 2)),
            "id" => return Ok(self.bound(Source::Request(RequestPart::Id), 2)),
            "body" => {
                let slot = self.body_slot(Holder::Request, rooted, 2);
                let source = Source::Request(RequestPart::Body(slot));
                return Ok(self.bound(source, rooted.prefix.len()));
            }
            "client" => match name.as_deref() {
                None => RequestPart::Client,
                Some("ip") => RequestPart::ClientIp,
                Some(other) => return Err(unknown(rooted, "client", other, ["ip"])),
            },
            "path" => match name {
                None => RequestPart::Path(None),
                Some(name) => {
                    let place = self.parameters.iter().position(|known| *known == name);
                    if place.is_none() && !self.any_parameter {
                        let known = self.parameters.iter().map(String::as_str);
                        return Err(unknown(rooted, "path", &name, known));
                    }
                    RequestPart::Path(place)
                }
            },
            "query" => RequestPart::Query(name),
            "query_list" => RequestPart::QueryList(name),
            "cookies" => RequestPart::Cookies(name),
            "headers" => RequestPart::Headers(name.map(|name| header(rooted, &name)).transpose()?),
            other => return Err(unknown(rooted, "request", other, REQUEST_PARTS)),
        };
        Ok(self.bound(Source::Request(part), consumed))
    }

    fn bind_call(&mut self, rooted: &Rooted<'_>, call: CallId) -> Result<Bound, Error> {
        self.refuse_reading(rooted, call)?;
        if self.calls[call.0].list.is_some() {
            return self.bind_results(rooted, call);
        }
        let (part, consumed) = self.call_part(rooted, 1, Holder::Body(call))?;
        if self.role(call) == Role::Pass && !is_head(&part) {
            let help = "its body streams through: others read only `status` and `headers`";
            let name = &self.calls[call.0].name;
            return Err(at_name(
                rooted,
                name,
                format!("the body of `{name}` is passed"),
                help,
            ));
        }
        self.note(call, Some(part.clone()));
        Ok(self.bound(Source::Call(call, part), consumed))
    }

    /// `$.NAME` of a `for_each` is an array of results.
    fn bind_results(&mut self, rooted: &Rooted<'_>, call: CallId) -> Result<Bound, Error> {
        let name = self.calls[call.0].name.clone();
        if let Some(Step::Name(part)) = rooted.prefix.get(1) {
            let help = format!(
                "write `$.{name}[*].{part}`, or `$.each.{name}.{part}` inside a `$for` over the same path"
            );
            let message =
                format!("`$.{name}` is an array, one result an element: it has no `{part}`");
            return Err(at_name(rooted, part, message, &help));
        }
        for steps in self.all_steps(rooted) {
            if let [_, _, Step::Name(part), within @ ..] = steps.as_slice()
                && part == "body"
            {
                self.demand(Holder::Body(call)).look(within);
            }
        }
        self.note(call, None);
        Ok(self.bound(Source::Results(call), 1))
    }

    /// `$.each.NAME…`: this element's result.
    fn bind_each(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error> {
        let Some(Step::Name(name)) = rooted.prefix.get(1).cloned() else {
            let help = "name a `for_each` call: `$.each.NAME.body`";
            return Err(at_name(
                rooted,
                "each",
                "`$.each` alone is nothing".to_owned(),
                help,
            ));
        };
        let lists = self.calls.iter().filter(|call| call.list.is_some());
        let Some(call) = self.call_named(&name) else {
            return Err(unknown(
                rooted,
                "each",
                &name,
                lists.map(|call| call.name.as_str()),
            ));
        };
        self.refuse_reading(rooted, call)?;
        let Some(list) = &self.calls[call.0].list else {
            let help = format!("write `$.{name}`");
            return Err(at_name(
                rooted,
                &name,
                format!("`{name}` has no `for_each`"),
                &help,
            ));
        };
        let Some(variable) = self
            .variables
            .iter()
            .rev()
            .find(|variable| variable.list == *list)
        else {
            let help = format!("put it inside a `$for: x in {list}`, the path of that `for_each`");
            let message = format!("no loop over the path of `{name}` is in force here");
            return Err(at_name(rooted, &name, message, &help));
        };
        let variable = variable.root;
        let (part, consumed) = self.call_part(rooted, 2, Holder::Body(call))?;
        self.note(call, Some(part.clone()));
        Ok(self.bound(Source::Each(call, variable, part), consumed))
    }

    fn bind_reply(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error> {
        let (Reader::Take(call) | Reader::SuccessWhen(call)) = self.reader else {
            let help =
                "only `take` and `success_when` read `$.reply`; elsewhere write the call's name";
            return Err(at_name(
                rooted,
                "reply",
                "`$.reply` is not there".to_owned(),
                help,
            ));
        };
        let (part, consumed) = self.call_part(rooted, 1, Holder::Reply(call))?;
        match part {
            CallPart::Whole | CallPart::Body(_) | CallPart::Status | CallPart::Headers(_) => {
                Ok(self.bound(Source::Reply(part), consumed))
            }
            _ => {
                let help = "it has `status`, `headers` and `body`";
                Err(at_name(
                    rooted,
                    "reply",
                    "no such part of `$.reply`".to_owned(),
                    help,
                ))
            }
        }
    }

    /// The part of a call's result from the step `at` on, and how many steps it takes in all.
    fn call_part(
        &mut self,
        rooted: &Rooted<'_>,
        at: usize,
        holder: Holder,
    ) -> Result<(CallPart, usize), Error> {
        let Some(Step::Name(part)) = rooted.prefix.get(at) else {
            return Ok((CallPart::Whole, at));
        };
        let next = match rooted.prefix.get(at + 1) {
            Some(Step::Name(name)) => Some(name.as_str()),
            _ => None,
        };
        Ok(match (part.as_str(), next) {
            ("body", _) => {
                let slot = self.body_slot(holder, rooted, at + 1);
                (CallPart::Body(slot), rooted.prefix.len())
            }
            ("status", _) => (CallPart::Status, at + 1),
            ("source", _) => (CallPart::Source, at + 1),
            ("headers", None) => (CallPart::Headers(None), at + 1),
            ("headers", Some(name)) => (CallPart::Headers(Some(header(rooted, name)?)), at + 2),
            ("error", None) => (CallPart::Error, at + 1),
            ("error", Some("code")) => (CallPart::ErrorCode, at + 2),
            ("error", Some("status")) => (CallPart::ErrorStatus, at + 2),
            ("error", Some(other)) => {
                return Err(unknown(rooted, "error", other, ["code", "status"]));
            }
            (other, _) => {
                let whole = match rooted.prefix.get(at - 1) {
                    Some(Step::Name(name)) => name.clone(),
                    _ => String::new(),
                };
                return Err(unknown(rooted, &whole, other, CALL_PARTS));
            }
        })
    }

    fn body_slot(&mut self, holder: Holder, rooted: &Rooted<'_>, at: usize) -> Slot {
        demand_of(self.demand(holder), &rooted.prefix[at..], &rooted.beyond)
    }

    /// Whether this reader may read that call.
    fn refuse_reading(&self, rooted: &Rooted<'_>, call: CallId) -> Result<(), Error> {
        let name = &self.calls[call.0].name;
        let refuse = |message: String, help: &str| Err(at_name(rooted, name, message, help));
        let reader = match self.reader {
            Reader::Call(reader) | Reader::Take(reader) | Reader::SuccessWhen(reader) => {
                Some(reader)
            }
            Reader::Response => None,
        };
        if reader == Some(call) {
            return refuse(
                format!("`{name}` reads itself"),
                "its own answer is `$.reply`, in `take` and `success_when`",
            );
        }
        match self.role(call) {
            Role::Normal => Ok(()),
            Role::Detached => refuse(
                format!("`{name}` is detached: it is sent after the answer"),
                "nobody may read it; take `detached` away to wait for it",
            ),
            Role::Fallback => refuse(
                format!("`{name}` is named in a `fallback`: it starts only then"),
                "read the call it stands in for",
            ),
            Role::Pass if reader.is_none_or(|reader| self.role(reader) == Role::Detached) => Ok(()),
            Role::Pass => refuse(
                format!("`{name}` is passed: it starts when all other calls are settled"),
                "only `response.headers` and detached calls read it",
            ),
        }
    }

    fn refuse_early(&self, rooted: &Rooted<'_>, name: &str) -> Result<(), Error> {
        let is_late = match self.reader {
            Reader::Response => true,
            Reader::Call(call) => self.role(call) == Role::Detached,
            Reader::Take(_) | Reader::SuccessWhen(_) => false,
        };
        if is_late {
            return Ok(());
        }
        let help =
            "only `response` and detached calls read it: it is complete when all calls are settled";
        Err(at_name(
            rooted,
            name,
            format!("`$.{name}` cannot be read here"),
            help,
        ))
    }

    fn note(&mut self, call: CallId, part: Option<CallPart>) {
        self.reads.push(Read {
            reader: self.reader,
            call,
            part,
            span: self.span,
        });
    }

    fn bound(&mut self, source: Source, consumed: usize) -> Bound {
        Bound {
            root: self.root(source),
            consumed,
        }
    }

    /// The prefix and each list of steps beyond it, from the first name on.
    fn all_steps(&self, rooted: &Rooted<'_>) -> Vec<Vec<Step>> {
        let whole = |beyond: &Vec<Step>| rooted.prefix.iter().chain(beyond).cloned().collect();
        match rooted.beyond.is_empty() {
            true => vec![rooted.prefix.clone()],
            false => rooted.beyond.iter().map(whole).collect(),
        }
    }

    fn bind_variable(&mut self, rooted: &Rooted<'_>, root: Root) -> Bound {
        for steps in self.all_steps(rooted) {
            for (holder, within) in self.holders(&steps) {
                self.demand(holder).look(&within);
            }
        }
        Bound { root, consumed: 1 }
    }
}

impl Bind for Names {
    fn bind(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error> {
        let Some(Step::Name(first)) = rooted.prefix.first().cloned() else {
            let help =
                "begin with `request` or the name of a call: `$.request.path.id`, `$.pricing.body`";
            let message = "the first name after `$` must be written out".to_owned();
            return Err(at(rooted, None, message, help));
        };
        if matches!(self.reader, Reader::SuccessWhen(_)) && first != "reply" {
            let help = "write `$.reply.status`, `$.reply.headers` or `$.reply.body`";
            let message = "`success_when` reads only `$.reply`".to_owned();
            return Err(at_name(rooted, &first, message, help));
        }
        let variable = self
            .variables
            .iter()
            .find(|variable| variable.name == first);
        if let Some(root) = variable.map(|variable| variable.root) {
            return Ok(self.bind_variable(rooted, root));
        }
        match first.as_str() {
            "request" => self.bind_request(rooted),
            "each" if self.is_unsure() => Ok(self.bound(Source::Errors, 1)),
            "each" => self.bind_each(rooted),
            "reply" => self.bind_reply(rooted),
            "errors" => {
                self.refuse_early(rooted, "errors")?;
                Ok(self.bound(Source::Errors, 1))
            }
            "degraded" => {
                self.refuse_early(rooted, "degraded")?;
                Ok(self.bound(Source::Degraded, 1))
            }
            "env" => {
                let help = "write `${NAME}`: it is filled in when the file is read";
                Err(at_name(
                    rooted,
                    "env",
                    "the environment is not readable".to_owned(),
                    help,
                ))
            }
            "row" | "keys" | "item" => {
                let message = format!("`$.{first}` is not there");
                Err(at_name(rooted, &first, message, "it is a reserved name"))
            }
            name => match self.call_named(name) {
                Some(call) => self.bind_call(rooted, call),
                None if self.is_unsure() => Ok(self.bound(Source::Errors, 1)),
                None => Err(self.unknown_call(rooted, name)),
            },
        }
    }
}

impl Names {
    /// Whether an unknown name may come from what could not be read: `calls`, or a loop whose variable
    /// is therefore nameless.
    fn is_unsure(&self) -> bool {
        self.any_name
            || self
                .variables
                .iter()
                .any(|variable| variable.name.is_empty())
    }

    fn unknown_call(&self, rooted: &Rooted<'_>, name: &str) -> Error {
        let variables = self.variables.iter().map(|variable| variable.name.as_str());
        let known = self
            .call_names()
            .chain(variables)
            .chain(["request", "errors", "degraded"]);
        let help = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "the calls of this route are {}; the client's request is `request`",
                list(self.call_names())
            ),
        };
        at_name(rooted, name, format!("unknown call `{name}`"), &help)
    }
}

const REQUEST_PARTS: [&str; 9] = [
    "method",
    "host",
    "path",
    "query",
    "query_list",
    "headers",
    "cookies",
    "body",
    "id",
];
const CALL_PARTS: [&str; 5] = ["body", "status", "headers", "source", "error"];

/// Names of calls and variables.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(is_first)
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_head(part: &CallPart) -> bool {
    matches!(part, CallPart::Status | CallPart::Headers(_))
}

fn header(rooted: &Rooted<'_>, name: &str) -> Result<HeaderName, Error> {
    let lower = name.to_ascii_lowercase();
    if lower != name {
        let help = format!("write `{lower}`");
        let message = "names of headers are in lower case".to_owned();
        return Err(at_name(rooted, name, message, &help));
    }
    HeaderName::try_from(name).map_err(|_| {
        at_name(
            rooted,
            name,
            format!("`{name}` is not the name of a header"),
            "see RFC 9110 §5.1",
        )
    })
}

fn unknown<'k>(
    rooted: &Rooted<'_>,
    whole: &str,
    name: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", list(known.into_iter())),
    };
    let message = format!("`{whole}` has no `{name}`");
    at(rooted, find_step(rooted, name, Some(whole)), message, &help)
}

/// `a`, `b` and `c` in backticks; `nothing` for none.
pub fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    }
}

/// An error at the place of `name` within the query.
fn at_name(rooted: &Rooted<'_>, name: &str, message: String, help: &str) -> Error {
    at(rooted, find_step(rooted, name, None), message, help)
}

/// An error at a part of the query, or at the query as a whole.
fn at(rooted: &Rooted<'_>, place: Option<Range<usize>>, message: String, help: &str) -> Error {
    let place = place.unwrap_or(0..rooted.length);
    Error {
        offset: rooted.offset + place.start,
        length: place.len(),
        message,
        help: Some(help.to_owned()),
    }
}

/// Where the step `name` stands in the query: the first, or the first behind the step `behind`.
fn find_step(rooted: &Rooted<'_>, name: &str, behind: Option<&str>) -> Option<Range<usize>> {
    let mut from = 0;
    let mut before = None;
    for step in &rooted.prefix {
        let Step::Name(step) = step else {
            before = None;
            continue;
        };
        let place = from + find_name(&rooted.text[from..], step)?;
        from = place + step.len();
        if step == name && (behind.is_none() || behind == before) {
            return Some(place..from);
        }
        before = Some(step.as_str());
    }
    None
}

/// Where `name` stands as a whole word.
fn find_name(text: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name)
        .map(|(place, _)| place)
        .find(|&place| {
            let before = text[..place].chars().next_back();
            let after = text[place + name.len()..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
}

/// What is known of the calls before any is compiled.
pub fn known(calls: &[document::Call], roles: &[Role]) -> Vec<Known> {
    let known = calls.iter().zip(roles).map(|(call, role)| Known {
        name: call.name.value.clone(),
        role: *role,
        list: call.for_each.as_ref().map(|node| loop_path(&node.value)),
        has_take: call.take.is_some(),
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
