//! What the client asked, as the server hands it to a run.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::Instant;

use crate::engine::fetch::{ByteStream, Identity};
use crate::json;

pub struct Request {
    pub method: Method,
    /// Without the port, lower case.
    pub host: String,
    /// The path's parameters, decoded once, in the order of `Route::parameters`.
    pub parameters: Vec<String>,
    /// Decoded pairs, in the order of the query; `+` is a space. The raw text is beside it.
    pub query: Vec<(String, String)>,
    pub raw_query: Option<String>,
    /// End-to-end headers only.
    pub headers: HeaderMap,
    pub body: RequestBody,
    pub client_ip: IpAddr,
    pub identity: Arc<Identity>,
    /// When the request's head was complete.
    pub started: Instant,
    /// By then the client has its answer: the route's timeout, lowered by a trusted header.
    pub deadline: Instant,
    /// There is too much to do: optional calls are left out.
    pub brownout: bool,
}

/// The client's body as far as this route needs it.
pub enum RequestBody {
    /// Read to its end, its framing checked.
    Read(Bytes),
    /// Left on the socket for `Route::streams_request`. The lock is never waited for: it only lets
    /// the request be shared while its body is still to come.
    Stream(Mutex<Option<ByteStream>>),
}

/// A request that fits the route's input, with its typed values. Made by [`crate::engine::input::accept`].
pub struct Accepted {
    pub request: Request,
    /// Typed by `input`, defaults put in: name and JSON bytes, by the first value.
    pub query: Vec<(String, Vec<u8>)>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub cookies: Vec<(String, Vec<u8>)>,
    pub path: Vec<Vec<u8>>,
    /// Present when the route reads the body.
    pub body: Option<json::Body>,
}
