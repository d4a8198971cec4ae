//! What one path means: its first names as a root, and what they may not name.

use std::ops::Range;

use http::HeaderName;

use crate::diagnostic::nearest;
use crate::json::{Slot, Step};
use crate::path::{Bind, Bound, Error, Root, Rooted, demand_of};
use crate::plan::compile::names::{Holder, Names, Read, Reader, list};
use crate::plan::{CallId, CallPart, RequestPart, Role, Source};

impl Names {
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
        self.headers_read.insert(call);
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
            .find(|variable| variable.list == *list && !variable.is_hidden)
        else {
            if self.variables.iter().any(|variable| variable.is_hidden) {
                return Err(one_of_many(rooted, "each"));
            }
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
        let (Reader::Take(call) | Reader::SuccessWhen(call) | Reader::Rows(call)) = self.reader
        else {
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
        let is_of_row = self.calls[call.0].has_batch && matches!(self.reader, Reader::Take(_));
        match part {
            CallPart::Whole | CallPart::Body(_) if is_of_row => {
                let help = "beside `batch` it is made of this element's row: write `$.row`";
                let message = "`take` reads the body of an answer for many elements".to_owned();
                Err(at_name(rooted, "reply", message, help))
            }
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
            self.read_headers(holder);
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
            ("headers", name) => {
                self.read_headers(holder);
                let name = name.map(|name| header(rooted, name)).transpose()?;
                let consumed = if name.is_some() { at + 2 } else { at + 1 };
                (CallPart::Headers(name), consumed)
            }
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

    fn read_headers(&mut self, holder: Holder) {
        if let Holder::Body(call) | Holder::Reply(call) = holder {
            self.headers_read.insert(call);
        }
    }

    fn body_slot(&mut self, holder: Holder, rooted: &Rooted<'_>, at: usize) -> Slot {
        demand_of(self.demand(holder), &rooted.prefix[at..], &rooted.beyond)
    }

    /// Whether this reader may read that call.
    fn refuse_reading(&self, rooted: &Rooted<'_>, call: CallId) -> Result<(), Error> {
        let name = &self.calls[call.0].name;
        let refuse = |message: String, help: &str| Err(at_name(rooted, name, message, help));
        let reader = self.reader.call();
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
            Reader::Take(_) | Reader::SuccessWhen(_) | Reader::Rows(_) | Reader::Match(_) => false,
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
        if let Source::Request(part) = &source {
            self.request_reads.push((self.reader, part.clone()));
        }
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
        self.variables_read.push(root);
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
        self.refuse_all_but_one(rooted, &first)?;
        let variable = self
            .variables
            .iter()
            .find(|variable| variable.name == first);
        if let Some(variable) = variable {
            if variable.is_hidden {
                return Err(one_of_many(rooted, &first));
            }
            let root = variable.root;
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
                let help = match first.as_str() {
                    "row" => "only `match` and `take` beside a `batch` read a row",
                    "keys" => "it is the list of keys in what a call with `batch` sends",
                    _ => "it is a reserved name",
                };
                let message = format!("`$.{first}` is not there");
                Err(at_name(rooted, &first, message, help))
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
    /// What stands for an answer, or for a row of it, reads nothing else.
    fn refuse_all_but_one(&self, rooted: &Rooted<'_>, first: &str) -> Result<(), Error> {
        const REPLY: &str = "write `$.reply.status`, `$.reply.headers` or `$.reply.body`";
        let (key, only, help) = match self.reader {
            Reader::SuccessWhen(_) => ("success_when", "reply", REPLY),
            Reader::Rows(_) => ("rows", "reply", "write it like `$.reply.body.prices[*]`"),
            Reader::Match(_) => ("match", "row", "write it like `$.row.sku`"),
            Reader::Call(_) | Reader::Take(_) | Reader::Response => return Ok(()),
        };
        if first == only {
            return Ok(());
        }
        let message = format!("`{key}` reads only `$.{only}`");
        Err(at_name(rooted, first, message, help))
    }

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

/// One element is read in what is sent for many.
fn one_of_many(rooted: &Rooted<'_>, name: &str) -> Error {
    let message = format!("`{name}` is of one element, and this request is for many");
    let help = "write the list of their keys: `{{join keys ','}}`, or `$.keys`";
    at_name(rooted, name, message, help)
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
