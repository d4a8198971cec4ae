//! The switchboard: lists the services and switches one of them.

use std::sync::Arc;

use http::Response;
use serde::Serialize;

use crate::demo::instance::{Instance, Switch};
use crate::demo::message::{Answer, Request};
use crate::demo::serve::{self, Body};

#[derive(Serialize)]
struct Board {
    services: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    port: u16,
    state: &'static str,
    hits: u64,
}

/// `GET /` lists, `POST /{service}/{switch}` switches.
pub(super) async fn answer(instances: Arc<[Instance]>, request: Request) -> Response<Body> {
    let (method, path) = request.shape();
    let answer = match (method, path.as_slice()) {
        ("GET" | "HEAD", []) => list(&instances),
        ("POST", [name, switch]) => turn(&instances, name, switch).await,
        (_, [_, _]) => Answer::refuse(405, "a switch is turned by POST"),
        _ => Answer::refuse(404, USE),
    };
    serve::respond(end_line(answer))
}

const USE: &str = "GET / lists the services; POST /{service}/{up|down|slow|broken} switches one";

fn list(instances: &[Instance]) -> Answer {
    let services = instances.iter().map(row).collect();
    Answer::ok(&Board { services })
}

async fn turn(instances: &[Instance], name: &str, switch: &str) -> Answer {
    let mut all = instances.iter();
    let Some(instance) = all.find(|instance| instance.service().name == name) else {
        return Answer::refuse(404, USE);
    };
    let Some(switch) = Switch::named(switch) else {
        return Answer::refuse(404, USE);
    };
    match instance.turn(switch).await {
        Ok(()) => Answer::ok(&row(instance)),
        Err(cause) => Answer::refuse(
            409,
            &format!("port {} cannot be opened again: {cause}", instance.port()),
        ),
    }
}

fn row(instance: &Instance) -> Row {
    Row {
        name: instance.service().name,
        port: instance.port(),
        state: instance.switch().name(),
        hits: instance.hits(),
    }
}

/// People read these answers in a terminal.
fn end_line(answer: Answer) -> Answer {
    let mut body = answer.body.to_vec();
    body.push(b'\n');
    Answer {
        body: body.into(),
        ..answer
    }
}
