//! What each path of the admin listener answers.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Admin, Answer, problem, with_type};
use crate::downstream::Client;
use crate::plan::Route;
use crate::policy::breaker::State;
use crate::reload::{Refused, Trigger};
use crate::telemetry::metrics::ReloadResult;
use crate::telemetry::time;

/// The process is there. What its services are up to does not matter: starting it again would not
/// mend them.
pub(super) fn live() -> Answer {
    text(StatusCode::OK, "ok\n".into())
}

/// Whether new requests should come here.
pub(super) fn ready(admin: &Admin, verbose: bool) -> Answer {
    let (status, word) = match admin.drain.is_draining() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        false => (StatusCode::OK, "ok"),
    };
    if !verbose {
        return text(status, format!("{word}\n"));
    }
    let generation = admin.generations.in_force();
    let files = match is_refused(admin) {
        true => "the last edit was refused, see /config",
        false => "ok",
    };
    let load = load(admin);
    let body = format!(
        "listener: {word}\nconfiguration: ok, generation {} since {}\nfiles: {files}\n\
         load: {} requests on {} connections, {} of {} bytes for bodies, lag {} ms\n",
        generation.number,
        time::rfc3339(generation.since),
        load["requests"],
        load["connections"],
        load["memory_reserved"],
        load["memory_limit"],
        load["lag_ms"],
    );
    text(status, body)
}

/// What is under way at this moment, and how hard that is.
fn load(admin: &Admin) -> Value {
    let load = &admin.load;
    json!({
        "requests": load.counts.requests(),
        "connections": load.counts.connections(),
        "memory_reserved": load.memory.reserved(),
        "memory_limit": load.memory.limit(),
        "lag_ms": time::milliseconds(load.lag()),
    })
}

fn is_refused(admin: &Admin) -> bool {
    let refused = admin.generations.refused();
    refused.is_some_and(|refused| refused.stands)
}

pub(super) async fn metrics(admin: &Admin) -> Answer {
    let telemetry = admin.telemetry.clone();
    let load = &admin.load;
    admin.generations.in_force().client.tell();
    let metrics = telemetry.metrics();
    metrics.pressed(load.memory.reserved(), load.lag());
    match tokio::task::spawn_blocking(move || telemetry.render()).await {
        Ok(body) => with_type(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            body,
        ),
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics could not be written",
        ),
    }
}

pub(super) fn config(admin: &Admin) -> Answer {
    let generation = admin.generations.in_force();
    let kept = admin.generations.kept();
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": time::rfc3339(admin.started),
        "generation": generation.number,
        "since": time::rfc3339(generation.since),
        "fingerprint": format!("{:016x}", generation.fingerprint),
        "files": generation.table.files,
        "routes": generation.table.routes.len(),
        "services": generation.table.services.len(),
        "load": load(admin),
        "cache": { "memory": generation.client.shelf().bytes(), "memory_limit": generation.table.cache.memory },
        "resting": resting(&generation.client),
        "last_refused": admin.generations.refused().map(|refused| refused_json(&refused)),
        "kept": kept.iter().map(|kept| kept.json()).collect::<Vec<_>>(),
    });
    with_json(StatusCode::OK, &body)
}

/// The endpoints whose breaker is not closed.
fn resting(client: &Client) -> Vec<Value> {
    let services = client.breakers();
    let endpoints = services.flat_map(|(service, states)| {
        let states = states.into_iter().enumerate();
        let resting = states.filter(|(_, state)| *state != State::Closed);
        resting.map(move |(endpoint, state)| {
            json!({ "service": service, "endpoint": endpoint, "breaker": state.name() })
        })
    });
    endpoints.collect()
}

fn refused_json(refused: &Refused) -> Value {
    json!({
        "when": time::rfc3339(refused.when),
        "fingerprint": format!("{:016x}", refused.fingerprint),
        "stands": refused.stands,
        "diagnostics": refused.findings.json(),
        "unreadable": refused.findings.unreadable,
    })
}

pub(super) fn routes(admin: &Admin) -> Answer {
    let generation = admin.generations.in_force();
    let routes: Vec<Value> = generation
        .table
        .routes
        .iter()
        .map(|route| route_json(route))
        .collect();
    with_json(
        StatusCode::OK,
        &json!({ "generation": generation.number, "routes": routes }),
    )
}

fn route_json(route: &Route) -> Value {
    let calls: Vec<&str> = route.calls.iter().map(|call| call.name.as_str()).collect();
    json!({
        "name": route.name,
        "method": route.method.as_str(),
        "path": route.pattern,
        "host": route.host,
        "timeout_ms": time::milliseconds(route.timeout),
        "calls": calls,
        "place": route.place,
    })
}

pub(super) async fn reload(admin: &Admin) -> Answer {
    let report = admin.generations.examine(Trigger::Asked).await;
    let status = match report.result {
        ReloadResult::Accepted | ReloadResult::Unchanged => StatusCode::OK,
        ReloadResult::Refused => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let body = json!({
        "result": report.result.name(),
        "generation": report.generation,
        "diagnostics": report.findings.json(),
        "unreadable": report.findings.unreadable,
        "kept": report.kept.iter().map(|kept| kept.json()).collect::<Vec<_>>(),
    });
    with_json(status, &body)
}

pub(super) fn drain(admin: &Admin) -> Answer {
    admin.drain.begin();
    with_json(StatusCode::ACCEPTED, &json!({ "draining": true }))
}

fn text(status: StatusCode, body: String) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body)
}

pub(super) fn with_json(status: StatusCode, body: &Value) -> Answer {
    with_type(status, "application/json", format!("{body:#}\n"))
}
