//! Which route a request is for: by host, then segment by segment on the path as sent.
//!
//! Case and a final `/` count. A literal goes before `{name}`, that before `{name...}`; a route with a
//! host before one without. Among the patterns that fit a path the first that has the method wins,
//! so `POST /a/{x}` is found beside `GET /a/b`.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use foldhash::fast::FixedState;
use http::Method;

use crate::plan::pattern::{Pattern, Segment};

/// What a request's method, host and path come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Match {
    /// The route's index and its parameters, decoded once. A GET route also takes HEAD.
    Route {
        index: usize,
        parameters: Vec<String>,
    },
    /// OPTIONS that no route takes: 204 with this `allow`.
    Options { allow: String },
    /// 405 with this `allow`.
    MethodNotAllowed { allow: String },
    /// 404.
    NotFound,
    /// A parameter's percent-encoding is broken or not UTF-8, or a rest parameter has a `%2F`, which
    /// would split where the client did not: 400.
    BadPath,
}

/// Its tables have a quick hash without a seed: all keys are an operator's, clients only look them up.
#[derive(Debug, Default)]
pub struct Matcher {
    hosts: HashMap<String, Branch, FixedState>,
    any_host: Branch,
}

/// The patterns that share what was matched so far.
#[derive(Debug, Default)]
struct Branch {
    literals: HashMap<String, Branch, FixedState>,
    parameter: Option<Box<Branch>>,
    rest: Methods,
    ends: Methods,
}

/// The routes of one pattern by their methods: a handful at most.
type Methods = Vec<(Method, usize)>;

/// A pattern that fits.
struct Fitting<'m> {
    methods: &'m Methods,
    has_rest: bool,
}

impl Matcher {
    /// Adds a route. `Err` is the index of the route of the same method, host and shape.
    pub fn insert(
        &mut self,
        method: &Method,
        host: Option<&str>,
        pattern: &Pattern,
        index: usize,
    ) -> Result<(), usize> {
        let mut branch = match host {
            Some(host) => self.hosts.entry(host.to_owned()).or_default(),
            None => &mut self.any_host,
        };
        for segment in &pattern.segments {
            branch = match segment {
                Segment::Literal(text) => branch.literals.entry(text.clone()).or_default(),
                Segment::Parameter(_) => branch.parameter.get_or_insert_default(),
                Segment::Rest(_) => return claim(&mut branch.rest, method, index),
            };
        }
        claim(&mut branch.ends, method, index)
    }

    /// `host` without a port, lower case; `path` as sent, without the query.
    pub fn find(&self, method: &Method, host: &str, path: &str) -> Match {
        let Some(path) = path.strip_prefix('/') else {
            return Match::NotFound;
        };
        let branches = || self.hosts.get(host).into_iter().chain([&self.any_host]);
        let mut parameters = Vec::new();
        for branch in branches() {
            let taken = branch.visit(Some(path), &mut parameters, &mut |fitting| match index_of(
                fitting.methods,
                method,
            ) {
                Some(index) => ControlFlow::Break((index, fitting.has_rest)),
                None => ControlFlow::Continue(()),
            });
            if let ControlFlow::Break((index, has_rest)) = taken {
                return match decode_all(&parameters, has_rest) {
                    Some(parameters) => Match::Route { index, parameters },
                    None => Match::BadPath,
                };
            }
        }
        // Nobody takes it: who would take another method?
        let mut allowed = BTreeSet::new();
        for branch in branches() {
            let _ = branch.visit(Some(path), &mut parameters, &mut |fitting| {
                allowed.extend(fitting.methods.iter().map(|(method, _)| method.as_str()));
                ControlFlow::<()>::Continue(())
            });
        }
        match allowed.is_empty() {
            true => Match::NotFound,
            false if *method == Method::OPTIONS => Match::Options {
                allow: allow(allowed),
            },
            false => Match::MethodNotAllowed {
                allow: allow(allowed),
            },
        }
    }
}

impl Branch {
    /// Shows `visit` each pattern that fits `remaining` (`None`: the path has ended), best first, until it
    /// has what it wants; `parameters` are those of that one then, as sent. Each branch is visited at most
    /// once, so it costs no more than the table has branches.
    fn visit<'m, 'p, B>(
        &'m self,
        remaining: Option<&'p str>,
        parameters: &mut Vec<&'p str>,
        visit: &mut impl FnMut(Fitting<'m>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(remaining) = remaining else {
            return match self.ends.is_empty() {
                true => ControlFlow::Continue(()),
                false => visit(Fitting {
                    methods: &self.ends,
                    has_rest: false,
                }),
            };
        };
        let (first, others) = match memchr::memchr(b'/', remaining.as_bytes()) {
            Some(slash) => (&remaining[..slash], Some(&remaining[slash + 1..])),
            None => (remaining, None),
        };
        if let Some(branch) = self.literals.get(first) {
            branch.visit(others, parameters, visit)?;
        }
        if let Some(branch) = &self.parameter
            && !first.is_empty()
        {
            parameters.push(first);
            branch.visit(others, parameters, visit)?;
            parameters.pop();
        }
        if !self.rest.is_empty() && !remaining.is_empty() {
            parameters.push(remaining);
            visit(Fitting {
                methods: &self.rest,
                has_rest: true,
            })?;
            parameters.pop();
        }
        ControlFlow::Continue(())
    }
}

fn claim(methods: &mut Methods, method: &Method, index: usize) -> Result<(), usize> {
    match of_method(methods, method) {
        Some(other) => Err(other),
        None => {
            methods.push((method.clone(), index));
            Ok(())
        }
    }
}

fn of_method(methods: &Methods, method: &Method) -> Option<usize> {
    let mut methods = methods.iter();
    let (_, index) = methods.find(|(taken, _)| taken == method)?;
    Some(*index)
}

fn index_of(methods: &Methods, method: &Method) -> Option<usize> {
    let fallback = || (*method == Method::HEAD).then(|| of_method(methods, &Method::GET))?;
    of_method(methods, method).or_else(fallback)
}

/// Every method that is answered, HEAD and OPTIONS included.
fn allow(mut methods: BTreeSet<&str>) -> String {
    methods.insert("OPTIONS");
    if methods.contains("GET") {
        methods.insert("HEAD");
    }
    Vec::from_iter(methods).join(", ")
}

fn decode_all(parameters: &[&str], has_rest: bool) -> Option<Vec<String>> {
    let last = parameters.len().checked_sub(1);
    let decode = |(place, text): (usize, &&str)| {
        let is_rest = has_rest && Some(place) == last;
        if is_rest && text.to_ascii_lowercase().contains("%2f") {
            return None;
        }
        percent_decode(text)
    };
    parameters.iter().enumerate().map(decode).collect()
}

/// Decodes `%XX` once. `None` for a broken escape or what is not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &[(&str, Option<&str>, &str)] = &[
        ("GET", None, "/"),
        ("GET", None, "/a/b"),
        ("POST", None, "/a/{x}"),
        ("GET", None, "/a/{x}"),
        ("GET", None, "/a/{x}/c"),
        ("GET", None, "/files/{path...}"),
        ("GET", None, "/files/{name}"),
        ("GET", None, "/slash/"),
        ("GET", Some("shop.example.com"), "/a/{y}"),
        ("OPTIONS", None, "/own"),
        ("GET", None, "/own"),
    ];

    fn matcher() -> Matcher {
        let mut matcher = Matcher::default();
        for (index, (method, host, pattern)) in ROUTES.iter().enumerate() {
            let pattern = Pattern::parse(pattern).unwrap();
            let method = method.parse().unwrap();
            assert_eq!(matcher.insert(&method, *host, &pattern, index), Ok(()));
        }
        matcher
    }

    fn check(method: &str, host: &str, path: &str, expected: &str) {
        let matched = matcher().find(&method.parse().unwrap(), host, path);
        let shown = match matched {
            Match::Route { index, parameters } => {
                let (method, host, pattern) = ROUTES[index];
                format!("{method} {}{pattern} {parameters:?}", host.unwrap_or(""))
            }
            Match::Options { allow } => format!("options {allow}"),
            Match::MethodNotAllowed { allow } => format!("405 {allow}"),
            Match::NotFound => "404".to_owned(),
            Match::BadPath => "400".to_owned(),
        };
        assert_eq!(shown, expected, "{method} {host} {path}");
    }

    #[test]
    fn a_request_finds_its_route() {
        for (method, path, expected) in [
            ("GET", "/", "GET / []"),
            ("GET", "/a/b", "GET /a/b []"),
            ("HEAD", "/a/b", "GET /a/b []"),
            ("POST", "/a/b", "POST /a/{x} [\"b\"]"),
            ("GET", "/a/B", "GET /a/{x} [\"B\"]"),
            ("GET", "/A/b", "404"),
            ("GET", "/a/b/", "404"),
            ("GET", "/a/b/c", "GET /a/{x}/c [\"b\"]"),
            ("GET", "/a/", "404"),
            ("GET", "/a//c", "404"),
            ("GET", "/a/x%2Fy", "GET /a/{x} [\"x/y\"]"),
            ("GET", "/a/%C3%A9", "GET /a/{x} [\"é\"]"),
            ("GET", "/a/%252e", "GET /a/{x} [\"%2e\"]"),
            ("GET", "/a/%FF", "400"),
            ("GET", "/a/%4", "400"),
            ("GET", "/a/%zz", "400"),
            ("GET", "/slash/", "GET /slash/ []"),
            ("GET", "/slash", "404"),
            ("GET", "/files/x", "GET /files/{name} [\"x\"]"),
            ("GET", "/files/x/y", "GET /files/{path...} [\"x/y\"]"),
            ("GET", "/files/x/y/", "GET /files/{path...} [\"x/y/\"]"),
            ("GET", "/files/x%2Fy/z", "400"),
            ("GET", "/files/", "404"),
            ("DELETE", "/a/b", "405 GET, HEAD, OPTIONS, POST"),
            ("OPTIONS", "/a/b", "options GET, HEAD, OPTIONS, POST"),
            ("OPTIONS", "/own", "OPTIONS /own []"),
            ("OPTIONS", "/nothing", "404"),
            ("GET", "*", "404"),
        ] {
            check(method, "other.example.com", path, expected);
        }
    }

    #[test]
    fn a_route_with_a_host_goes_first() {
        check(
            "GET",
            "shop.example.com",
            "/a/q",
            "GET shop.example.com/a/{y} [\"q\"]",
        );
        check("GET", "shop.example.com", "/a/b/c", "GET /a/{x}/c [\"b\"]");
        check("POST", "shop.example.com", "/a/q", "POST /a/{x} [\"q\"]");
    }

    /// What was gone past leaves no parameter behind.
    #[test]
    fn the_rest_of_another_method_is_not_in_the_way() {
        let mut matcher = Matcher::default();
        for (index, (method, pattern)) in [("GET", "/a/{x}/{r...}"), ("POST", "/a/{r...}")]
            .into_iter()
            .enumerate()
        {
            let pattern = Pattern::parse(pattern).unwrap();
            let inserted = matcher.insert(&method.parse().unwrap(), None, &pattern, index);
            assert_eq!(inserted, Ok(()));
        }
        let expected = Match::Route {
            index: 1,
            parameters: vec!["b/c".into()],
        };
        assert_eq!(matcher.find(&Method::POST, "h", "/a/b/c"), expected);
    }

    #[test]
    fn the_same_shape_twice_is_refused() {
        let mut matcher = matcher();
        let pattern = Pattern::parse("/a/{other}").unwrap();
        assert_eq!(matcher.insert(&Method::GET, None, &pattern, 99), Err(3));
        assert_eq!(
            matcher.insert(&Method::GET, Some("else.example.com"), &pattern, 99),
            Ok(())
        );
    }
}
