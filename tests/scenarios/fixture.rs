//! The fixture of `resilience.md` §6: the route `GET /page/{id}` over four services.

use crate::faulty::Plot;
use crate::faulty::behaviour::Behaviour;

/// What a healthy service takes to answer.
const HEALTHY: u64 = 10;

/// The keys of `price`, which is kept for a second.
pub const PRICE: &str = "optional: true, cache: { ttl: 1s, stale_if_error: 60s }";

/// The configuration, with the keys that scenarios differ in. `http://NAME.test` is the service that
/// the world has under this name.
#[derive(Clone)]
pub struct Page {
    /// Keys of `server`.
    pub server: &'static str,
    /// Keys of the services.
    pub u: &'static str,
    pub o: &'static str,
    pub r: &'static str,
    pub p: &'static str,
    pub timeout: &'static str,
    /// Keys of the calls.
    pub user: &'static str,
    pub orders: &'static str,
    pub recs: &'static str,
    pub price: &'static str,
    /// Further route documents.
    pub more: &'static str,
}

impl Default for Page {
    fn default() -> Self {
        Page {
            server: "",
            u: "url: 'http://u.test'",
            o: "url: 'http://o.test'",
            r: "url: 'http://r.test'",
            p: "url: 'http://p.test'",
            timeout: "1000ms",
            user: "timeout: 300ms",
            orders: "timeout: 300ms",
            recs: "timeout: 300ms",
            price: PRICE,
            more: "",
        }
    }
}

impl Page {
    /// `shed.lag` keeps a busy machine from turning requests away.
    pub fn yaml(&self) -> String {
        let Page {
            server,
            u,
            o,
            r,
            p,
            timeout,
            user,
            orders,
            recs,
            price,
            more,
        } = self;
        let separator = if server.is_empty() { "" } else { ", " };
        format!(
            "\
server: {{ listen: '127.0.0.1:0', shed: {{ lag: 5s }}{separator}{server} }}
admin: {{ listen: '127.0.0.1:0' }}
services:
  u: {{ {u} }}
  o: {{ {o} }}
  r: {{ {r} }}
  p: {{ {p} }}
---
route: GET /page/{{id}}
name: page
timeout: {timeout}
calls:
  user: {{ service: u, get: '/users/{{{{request.path.id}}}}', {user} }}
  orders: {{ service: o, get: /orders, query: {{ user: $.user.body.id }}, {orders} }}
  recs: {{ service: r, get: /recs, {recs}, optional: true, fallback: [ {{ value: [] }} ] }}
  price: {{ service: p, get: /price, {price} }}
response:
  body:
    user: $.user.body
    orders: $.orders.body
    recs: $.recs.body
    price: $.price.body
    errors: $.errors
{more}"
        )
    }

    pub fn services(&self) -> [(&'static str, Plot); 4] {
        [
            ("u", healthy("{\"id\":7,\"name\":\"Ann\"}")),
            ("o", healthy("[{\"order\":1}]")),
            ("r", healthy("[1,2]")),
            ("p", healthy("{\"amount\":12.10}")),
        ]
    }
}

/// A service that is well.
pub fn healthy(body: &'static str) -> Plot {
    Plot::always(well(body))
}

/// An answer of a service that is well.
pub fn well(body: &'static str) -> Behaviour {
    Behaviour::json(body).after(HEALTHY)
}

/// The page when all is well.
pub const WHOLE: &str = "{\"user\":{\"id\":7,\"name\":\"Ann\"},\"orders\":[{\"order\":1}],\
                         \"recs\":[1,2],\"price\":{\"amount\":12.10},\"errors\":[]}";
