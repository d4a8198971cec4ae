//! One measurement: a fresh process of a peer, warmed up, under a load.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anabranch_bench::load::Outcome;
use anabranch_bench::workload::Workload;
use serde::Serialize;

use crate::Error;
use crate::peer::Place;
use crate::process::pinned;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// User and system time of the proxy per request, in microseconds.
    Cpu,
    /// Answers a second of the closed loop.
    PerSecond,
    /// Milliseconds of the open loop above those of the services.
    AddedP50,
    AddedP99,
    AddedP999,
    /// MiB before the first request.
    Rest,
    /// MiB at the most.
    Peak,
}

/// What one measurement found.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    pub subject: String,
    pub peer: String,
    pub values: BTreeMap<Metric, f64>,
}

/// A load without its server.
#[derive(Clone)]
pub struct Load {
    pub path: String,
    pub ids: usize,
    pub clients: usize,
    pub seconds: f64,
}

/// An open loop may open so many connections.
const OPEN_CLIENTS: usize = 512;

impl Load {
    pub fn of(workload: Workload, clients: usize, seconds: f64) -> Self {
        // In W5 it is the id that decides who waits: of 1000, a twentieth is near enough to 5 %.
        let ids = if workload == Workload::W5 { 1000 } else { 16 };
        // In W4 a peer that builds trees takes 13 ms: 32 clients would wait for 416 ms on an idle machine,
        // and run into the 500 ms of a call on any other.
        let clients = if workload == Workload::W4 {
            clients.min(8)
        } else {
            clients
        };
        Load {
            path: workload.path().to_owned(),
            ids,
            clients,
            seconds,
        }
    }

    /// Puts it on `port`, until what `peer` is does not change any more.
    pub fn warm_up(&self, place: &Place, port: u16, peer: &str) -> Result<(), Error> {
        let seconds = place.warm_up(peer)?.as_secs_f64();
        let load = Load {
            seconds,
            ..self.clone()
        };
        load.run(place, port, None).map(drop)
    }

    /// Puts it on `port`; without `rate` the loop is closed. It is an error if one answer is not right.
    pub fn run(&self, place: &Place, port: u16, rate: Option<f64>) -> Result<Outcome, Error> {
        let mut command = Command::new(place.programs.join("load"));
        command.args(["--path", &self.path, "--port", &port.to_string()]);
        command.args([
            "--ids",
            &self.ids.to_string(),
            "--seconds",
            &self.seconds.to_string(),
        ]);
        match rate {
            None => command.args(["--clients", &self.clients.to_string()]),
            Some(rate) => command.args([
                "--clients",
                &OPEN_CLIENTS.to_string(),
                "--rate",
                &rate.to_string(),
            ]),
        };
        let output = pinned(&command, place.load_core).output()?;
        if !output.status.success() {
            return Err(format!(
                "the load failed: {}",
                String::from_utf8_lossy(&output.stderr)
            )
            .into());
        }
        let outcome: Outcome = serde_json::from_slice(&output.stdout)?;
        match &outcome.first_failure {
            None if outcome.answers > 0 => Ok(outcome),
            None => Err("no request was answered".into()),
            Some(first) => Err(format!(
                "{} of {} requests were not answered by a whole 200; the first: {first}",
                outcome.failures,
                outcome.failures + outcome.answers
            )
            .into()),
        }
    }
}

/// The open loop of a workload: well below what the slowest peer can do.
fn rate(workload: Workload) -> f64 {
    match workload {
        Workload::W1 | Workload::W2 | Workload::W3 => 300.0,
        Workload::W4 => 30.0,
        Workload::W5 => 200.0,
    }
}

/// What the services alone take, in milliseconds: p50, p99 and p99.9.
pub fn baseline(place: &Place, workload: Workload, seconds: f64) -> Result<[f64; 3], Error> {
    let path = match workload {
        Workload::W1 => "/prices/{id}",
        Workload::W2 => "/orders/{id}",
        Workload::W3 => "/document/{id}",
        Workload::W4 => "/catalogue/{id}",
        Workload::W5 => return Ok([20.0, 100.0, 100.0]),
    };
    let load = Load {
        path: path.to_owned(),
        ..Load::of(workload, 1, seconds)
    };
    Ok(milliseconds(&load.run(
        place,
        place.services_port,
        Some(rate(workload)),
    )?))
}

/// What to measure.
pub struct Task<'a> {
    pub subject: String,
    pub peer: &'a str,
    pub routes: &'a Path,
    pub load: Load,
    pub latency: Latency,
}

/// The open loop of a task, at `rate` a second, whose times count from the `baseline` in milliseconds.
pub enum Latency {
    /// Cost and speed alone.
    None,
    /// After the closed loop, which has the cost.
    After { rate: f64, baseline: [f64; 3] },
    /// In place of the closed loop, and twice as long: what it costs to wait.
    Alone { rate: f64, baseline: [f64; 3] },
}

impl Latency {
    pub fn of(workload: Workload, baseline: [f64; 3]) -> Self {
        let rate = rate(workload);
        match workload {
            Workload::W5 => Latency::Alone { rate, baseline },
            _ => Latency::After { rate, baseline },
        }
    }
}

/// From the first answer on the port to rest.
const SETTLE: Duration = Duration::from_millis(500);

pub fn measure(place: &Place, task: &Task) -> Result<Sample, Error> {
    let Task {
        subject,
        peer,
        routes,
        load,
        latency,
    } = task;
    let process = place.start(peer, routes)?;
    let ask = |load: &Load, rate| load.run(place, place.port, rate);
    let mut values = BTreeMap::new();
    sleep(SETTLE);
    values.insert(Metric::Rest, process.memory("VmRSS")?);
    load.warm_up(place, place.port, peer)?;

    let before = process.cpu_seconds()?;
    let outcome = match latency {
        Latency::Alone { rate, .. } => ask(
            &Load {
                seconds: 2.0 * load.seconds,
                ..load.clone()
            },
            Some(*rate),
        )?,
        _ => ask(load, None)?,
    };
    values.insert(
        Metric::Cpu,
        (process.cpu_seconds()? - before) * 1e6 / outcome.answers as f64,
    );
    values.insert(Metric::Peak, process.memory("VmHWM")?);

    match latency {
        Latency::None => _ = values.insert(Metric::PerSecond, outcome.per_second),
        Latency::After { rate, baseline } => {
            values.insert(Metric::PerSecond, outcome.per_second);
            values.extend(added(&ask(load, Some(*rate))?, *baseline));
        }
        Latency::Alone { baseline, .. } => values.extend(added(&outcome, *baseline)),
    }
    Ok(Sample {
        subject: subject.clone(),
        peer: (*peer).to_owned(),
        values,
    })
}

fn added(outcome: &Outcome, baseline: [f64; 3]) -> [(Metric, f64); 3] {
    let [p50, p99, p999] = milliseconds(outcome);
    [
        (Metric::AddedP50, p50 - baseline[0]),
        (Metric::AddedP99, p99 - baseline[1]),
        (Metric::AddedP999, p999 - baseline[2]),
    ]
}

fn milliseconds(outcome: &Outcome) -> [f64; 3] {
    [outcome.p50, outcome.p99, outcome.p999].map(|microseconds| microseconds / 1000.0)
}
