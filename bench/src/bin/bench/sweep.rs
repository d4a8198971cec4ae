//! What a request costs as one thing grows: calls, bytes, routes, clients. The floor goes along where it
//! can; the routes of `anabranch` are written for each point.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anabranch_bench::workload::Workload;

use crate::Error;
use crate::measure::{Latency, Load, Task};
use crate::peer::Place;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sweep {
    /// 1 to 32 parallel calls of 1 KB.
    Calls,
    /// One call of 1 KB to 4 MB, one field of it.
    Field,
    /// One call of 1 KB to 4 MB, moved whole.
    Whole,
    /// 1 to 10000 routes.
    Routes,
    /// 8 to 2000 clients in W1.
    Clients,
}

/// One point: its routes lie in a folder of their own.
pub struct Point {
    pub subject: String,
    pub peers: &'static [&'static str],
    routes: PathBuf,
    load: Load,
}

impl Point {
    pub fn task<'a>(&'a self, peer: &'a str) -> Task<'a> {
        Task {
            subject: self.subject.clone(),
            peer,
            routes: &self.routes,
            load: self.load.clone(),
            latency: Latency::None,
        }
    }
}

const BOTH: &[&str] = &["floor", "anabranch"];
/// An id for each of so many routes is asked in turn.
const ROUTES_ASKED: usize = 1024;

/// What is beside the point of a sweep gives way: shedding by lag, the concurrency of a service.
const WIDE: Gateway = Gateway {
    lag: "5s",
    service: ", bulkhead: { max: 4096 }",
};
const DEFAULT: Gateway = Gateway {
    lag: "20ms",
    service: "",
};

struct Gateway {
    lag: &'static str,
    /// Stands behind the URL of each service.
    service: &'static str,
}

pub fn points(
    place: &Place,
    sweep: Sweep,
    clients: usize,
    seconds: f64,
) -> Result<Vec<Point>, Error> {
    let point =
        |subject: String, peers, load, gateway: &Gateway, routes: &str| -> Result<Point, Error> {
            let folder = place
                .results()
                .join("routes")
                .join(subject.replace(' ', "-"));
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("services.yaml"), gateway.document())?;
            fs::write(folder.join("routes.yaml"), routes)?;
            Ok(Point {
                subject,
                peers,
                routes: folder,
                load,
            })
        };
    let load = |path: String| Load {
        path,
        ids: 16,
        clients,
        seconds,
    };
    match sweep {
        Sweep::Calls => [1, 2, 4, 8, 16, 32]
            .into_iter()
            .map(|calls| {
                let load = load(format!("/fan/{calls}/{{id}}"));
                point(format!("{calls} calls"), BOTH, load, &DEFAULT, &fan(calls))
            })
            .collect(),
        Sweep::Field | Sweep::Whole => [1_000, 10_000, 100_000, 1_000_000, 4_000_000]
            .into_iter()
            .map(|bytes| {
                let (name, part) = match sweep {
                    Sweep::Field => ("field", ".summary.total"),
                    _ => ("whole", ""),
                };
                let large = bytes >= 1_000_000;
                // A body of 4 MB takes some 10 ms: more clients only wait longer.
                let clients = if large { clients.min(8) } else { clients };
                let load = Load {
                    clients,
                    ..load(format!("/{name}/{bytes}/{{id}}"))
                };
                let gateway = if large { &WIDE } else { &DEFAULT };
                let subject = format!("{name} of {} KB", bytes / 1000);
                point(subject, BOTH, load, gateway, &one(name, bytes, part))
            })
            .collect(),
        Sweep::Routes => [1, 10, 100, 1000, 10_000]
            .into_iter()
            .map(|count| {
                let load = Load {
                    ids: count.min(ROUTES_ASKED),
                    ..load("/r{id}/things/7".to_owned())
                };
                point(
                    format!("{count} routes"),
                    &["anabranch"],
                    load,
                    &DEFAULT,
                    &many(count),
                )
            })
            .collect(),
        Sweep::Clients => [8, 32, 128, 512, 2000]
            .into_iter()
            .map(|clients| {
                let load = Load::of(Workload::W1, clients, seconds);
                let route = fs::read_to_string(place.routes().join("w1.yaml"))?;
                let subject = format!("{clients} clients");
                if clients <= 128 {
                    return point(subject, BOTH, load, &DEFAULT, &route);
                }
                // So many wait for one core longer than the 2 s of a route.
                let patient = route.replace("calls:", "timeout: 10s\ncalls:");
                point(subject, BOTH, load, &WIDE, &patient)
            })
            .collect(),
    }
}

impl Gateway {
    fn document(&self) -> String {
        let Gateway { lag, service } = self;
        let mut document = format!(
            "server:\n  listen: \"127.0.0.1:${{PORT}}\"\n  shed: {{ lag: {lag} }}\n  json: {{ nodes: 1000000 }}\n\
             admin: {{ listen: \"127.0.0.1:${{ADMIN_PORT}}\" }}\nservices:\n"
        );
        for number in 0..8 {
            writeln!(
                document,
                "  s{number}: {{ url: \"http://127.0.0.1:${{S{number}}}\"{service} }}"
            )
            .expect("a string takes all");
        }
        document
    }
}

/// A route of one call and one part of its body.
fn one(name: &str, bytes: usize, part: &str) -> String {
    format!(
        "route: GET /{name}/{bytes}/{{id}}\n\
         calls:\n  a: {{ service: s0, get: \"/bytes/{bytes}/{{{{request.path.id}}}}\", max_body: 8MiB }}\n\
         response: {{ body: {{ part: $.a.body{part} }} }}\n"
    )
}

fn fan(calls: usize) -> String {
    let mut route = format!("route: GET /fan/{calls}/{{id}}\ncalls:\n");
    for call in 0..calls {
        let service = call % 8;
        writeln!(
            route,
            "  c{call}: {{ service: s{service}, get: \"/bytes/1000/{{{{request.path.id}}}}\" }}"
        )
        .expect("a string takes all");
    }
    route.push_str("response:\n  body:\n");
    for call in 0..calls {
        writeln!(route, "    c{call}: $.c{call}.body.summary.total").expect("a string takes all");
    }
    route
}

fn many(count: usize) -> String {
    let route = |number| {
        format!(
            "route: GET /r{number}/things/{{id}}\n\
             calls:\n  a: {{ service: s0, get: \"/bytes/1000/{{{{request.path.id}}}}\" }}\n\
             response: {{ body: {{ part: $.a.body.summary.total }} }}\n"
        )
    };
    (0..count).map(route).collect::<Vec<_>>().join("---\n")
}
