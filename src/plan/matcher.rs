//! Which route a request is for: by host, then segment by segment on the path as sent.

use http::Method;

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
    /// A segment's percent-encoding is not UTF-8 or broken: 400.
    BadPath,
}

#[derive(Debug, Default)]
pub struct Matcher {
    _todo: (),
}

impl Matcher {
    /// `host` without a port, lower case; `path` as sent, without the query.
    pub fn find(&self, _method: &Method, _host: &str, _path: &str) -> Match {
        unimplemented!()
    }
}
