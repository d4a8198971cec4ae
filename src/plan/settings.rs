//! What is not about routes: listeners, limits, and the services with their endpoints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::document::Secret;
use crate::json;
use crate::policy::{breaker, budget, bulkhead};

/// `server`: the client's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    pub trusted: Vec<IpNet>,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub json: json::Limits,
    pub shed: Shed,
    pub drain: Drain,
    pub server_timing: bool,
}

/// Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections: usize,
    pub header_bytes: usize,
    pub headers: usize,
    pub uri: usize,
    pub body: usize,
    pub streams: u32,
    /// Connections of one client address; `None`: any number.
    pub per_address: Option<usize>,
}

/// When requests are turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// How late tasks may get to run.
    pub lag: Duration,
    /// Requests that have no answer yet.
    pub in_flight: usize,
    pub memory: MemoryLimit,
}

/// What the bodies of all requests may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Of the container's memory, or the machine's, in hundredths of a percent.
    Share(u32),
    /// Bytes.
    Size(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub headers: Duration,
    pub idle: Duration,
    pub write_stall: Duration,
    /// Bytes a second that a request's body must bring.
    pub body_rate: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    pub grace: Duration,
    pub max: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen: SocketAddr,
}

/// `cache`: where good answers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes.
    pub memory: u64,
    pub redis: Option<Redis>,
}

/// The store that all instances share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    pub url: Secret,
    /// The longest that one lookup waits.
    pub timeout: Duration,
}

impl Default for Server {
    /// The figures of `resilience.md` §2.
    fn default() -> Self {
        Server {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            trusted: Vec::new(),
            limits: Limits {
                connections: 10_000,
                header_bytes: 32 * 1024,
                headers: 64,
                uri: 8 * 1024,
                body: 1024 * 1024,
                streams: 100,
                per_address: None,
            },
            timeouts: Timeouts {
                headers: Duration::from_secs(10),
                idle: Duration::from_secs(60),
                write_stall: Duration::from_secs(10),
                body_rate: 1024,
            },
            json: json::Limits {
                depth: 64,
                nodes: 100_000,
            },
            shed: Shed {
                lag: Duration::from_millis(20),
                in_flight: 4096,
                memory: MemoryLimit::Share(2500),
            },
            drain: Drain {
                grace: Duration::from_secs(5),
                max: Duration::from_secs(30),
            },
            server_timing: false,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Cache {
            memory: 64 * 1024 * 1024,
            redis: None,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Admin {
            listen: SocketAddr::from(([127, 0, 0, 1], 9901)),
        }
    }
}

/// A named downstream. A reload keeps the connections and the state of every service that did not
/// change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub endpoints: Vec<Endpoint>,
    pub http: HttpVersion,
    pub connect_timeout: Duration,
    pub pool: Pool,
    /// `None`: `breaker: false`.
    pub breaker: Option<breaker::Settings>,
    /// `None`: `bulkhead: false`.
    pub bulkhead: Option<bulkhead::Settings>,
    pub budget: budget::Settings,
    /// What differs from the system's roots and the URL's name; only used by `https` endpoints.
    pub tls: Arc<Tls>,
}

impl Service {
    /// Whether another generation's service is this one: the same endpoints, asked in the same way.
    /// What stands around its calls may differ.
    pub fn is_same_place(&self, other: &Service) -> bool {
        let Service {
            name,
            endpoints,
            http,
            connect_timeout,
            pool,
            breaker: _,
            bulkhead: _,
            budget: _,
            tls,
        } = other;
        self.name == *name
            && self.endpoints == *endpoints
            && self.http == *http
            && self.connect_timeout == *connect_timeout
            && self.pool == *pool
            && self.tls == *tls
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub https: bool,
    /// Without brackets around an IPv6 address.
    pub host: String,
    pub port: u16,
    /// What is put before a call's path; empty or `/x/y`, never with a `/` at its end.
    pub prefix: String,
    /// The value of `host` (the port only where it is not the scheme's).
    pub authority: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// h2 and http/1.1 by ALPN; without TLS HTTP/1.1.
    Auto,
    One,
    /// With TLS only h2 is offered; without it, prior knowledge.
    Two,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub idle: Duration,
    pub max_idle: usize,
    pub max_age: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Pool {
            idle: Duration::from_secs(4),
            max_idle: 64,
            max_age: Duration::from_secs(300),
        }
    }
}

/// PEM texts as read from the named files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    pub ca: Option<Vec<u8>>,
    /// Certificate chain and key of the client's side.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    pub server_name: Option<String>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}
