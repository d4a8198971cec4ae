//! The driver: starts the services, one peer after the other, and the load, and says what came of it. Every
//! process is started anew for every measurement, and the peers take turns, so that what drifts on the
//! machine meets all of them.

mod check;
mod measure;
mod peer;
mod process;
mod report;
mod sweep;
mod turns;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anabranch_bench::workload::Workload;
use clap::{Parser, ValueEnum};
use serde_json::json;

use crate::measure::{Latency, Load, Sample, Task, baseline, measure};
use crate::peer::Place;
use crate::report::Figures;
use crate::sweep::Sweep;

pub type Error = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(name = "bench/run", about = "Measures Anabranch and its peers.")]
struct Arguments {
    #[arg(value_enum, default_value = "peers")]
    what: What,
    /// Those to run, in this order.
    #[arg(
        long,
        env = "BENCH_PEERS",
        value_delimiter = ',',
        default_value = "floor,tree,anabranch"
    )]
    peers: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "w1,w2,w3,w4,w5")]
    workloads: Vec<Workload>,
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "calls,field,whole,routes,clients"
    )]
    sweeps: Vec<Sweep>,
    /// Three; of turns 40.
    #[arg(long)]
    rounds: Option<usize>,
    /// How long one load lasts: three; of turns a quarter.
    #[arg(long)]
    seconds: Option<f64>,
    /// Clients of the closed loop.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// The peer's port; the next one is that of its admin listener.
    #[arg(long, default_value_t = 18080)]
    port: u16,
    /// The first of eighteen.
    #[arg(long, default_value_t = 21000)]
    services_port: u16,
    /// The peer has this core to itself.
    #[arg(long, default_value_t = 0)]
    peer_core: usize,
    /// Services and load share this one.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// Compare the answers, then measure the workloads.
    Peers,
    /// The same, once and one second each: to see that it works.
    Quick,
    /// Compare the answers.
    Check,
    /// What a request costs as calls, bytes, routes and clients grow.
    Sweep,
    /// All peers up at once and loaded in short turns: what each costs beside the first.
    Turns,
}

impl Arguments {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(self.what.usual().0)
    }

    fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(self.what.usual().1)
    }
}

impl What {
    /// Rounds, and the seconds of a load.
    fn usual(self) -> (usize, f64) {
        match self {
            What::Quick => (1, 1.0),
            What::Turns => (40, 0.25),
            What::Peers | What::Check | What::Sweep => (3, 3.0),
        }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            for failure in failures {
                eprintln!("FAILED {failure}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for; gives back the measurements that failed.
fn run(arguments: Arguments) -> Result<Vec<String>, Error> {
    let (rounds, seconds) = (arguments.rounds(), arguments.seconds());
    let place = place(&arguments)?;
    fs::create_dir_all(place.results())?;
    let _services = place.start_services()?;
    let machine = machine();
    let mut record = Record::default();
    match arguments.what {
        What::Sweep => measure_sweeps(&arguments, &place, &mut record)?,
        What::Peers | What::Quick => measure_peers(&arguments, &place, &mut record)?,
        What::Turns => {
            println!("{machine}; {rounds} turns of {seconds} s, medians (quartiles)\n");
            return measure_turns(&arguments, &place);
        }
        What::Check => {
            check::compare(&place, &arguments.peers, &arguments.workloads)?;
            return Ok(Vec::new());
        }
    }
    let figures = Figures::of(&record.samples);
    println!(
        "{machine}; {rounds} rounds of {seconds} s, {} clients, medians (smallest–largest)\n",
        arguments.clients
    );
    for table in [figures.table(), figures.ratios(), figures.bar()] {
        if !table.is_empty() {
            println!("{table}");
        }
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = place.results().join(format!("{seconds}.json"));
    let result =
        json!({ "machine": machine, "samples": record.samples, "failures": record.failures });
    fs::write(&path, serde_json::to_vec_pretty(&result)?)?;
    eprintln!("every sample: {}", path.display());
    Ok(record.failures)
}

fn place(arguments: &Arguments) -> Result<Place, Error> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let program = std::env::current_exe()?;
    let named = |name: &str, usual: &str| {
        std::env::var_os(name).map_or_else(|| folder.join("../target").join(usual), PathBuf::from)
    };
    Ok(Place {
        anabranch: named("ANABRANCH_BIN", "image/anabranch"),
        plain: named("ANABRANCH_PLAIN_BIN", "release/anabranch"),
        programs: program
            .parent()
            .ok_or("this program is in no folder")?
            .to_owned(),
        folder,
        port: arguments.port,
        services_port: arguments.services_port,
        peer_core: arguments.peer_core,
        load_core: arguments.load_core,
    })
}

/// What was measured, and what could not be.
#[derive(Default)]
struct Record {
    samples: Vec<Sample>,
    failures: Vec<String>,
}

impl Record {
    /// A peer that fails leaves no figure, and does not keep the others from theirs.
    fn measure(&mut self, place: &Place, task: &Task) {
        eprintln!("{}, {}", task.subject, task.peer);
        match measure(place, task) {
            Ok(sample) => self.samples.push(sample),
            Err(error) => {
                let failure = format!("{}, {}: {error}", task.subject, task.peer);
                eprintln!("FAILED {failure}");
                self.failures.push(failure);
            }
        }
    }
}

/// The tables go out as they come; gives back the workloads that failed.
fn measure_turns(arguments: &Arguments, place: &Place) -> Result<Vec<String>, Error> {
    let does = check::compare(place, &arguments.peers, &arguments.workloads)?;
    let mut failures = Vec::new();
    for &workload in &arguments.workloads {
        let peers = arguments.peers.iter().map(String::as_str);
        let peers: Vec<&str> = peers
            .filter(|peer| does[*peer].contains(&workload))
            .collect();
        eprintln!("{workload:?}, {}", peers.join(", "));
        let load = Load::of(workload, arguments.clients, arguments.seconds());
        match turns::measure(place, workload, &peers, arguments.rounds(), &load) {
            Ok(table) => println!("{table}"),
            Err(error) => failures.push(format!("{workload:?}: {error}")),
        }
    }
    Ok(failures)
}

fn measure_peers(arguments: &Arguments, place: &Place, record: &mut Record) -> Result<(), Error> {
    let (rounds, seconds) = (arguments.rounds(), arguments.seconds());
    let does = check::compare(place, &arguments.peers, &arguments.workloads)?;
    let routes = place.routes();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for &workload in &arguments.workloads {
            let baseline = baseline(place, workload, seconds)?;
            for peer in arguments
                .peers
                .iter()
                .filter(|peer| does[*peer].contains(&workload))
            {
                let task = Task {
                    subject: format!("{workload:?}"),
                    peer,
                    routes: &routes,
                    load: Load::of(workload, arguments.clients, seconds),
                    latency: Latency::of(workload, baseline),
                };
                record.measure(place, &task);
            }
        }
    }
    Ok(())
}

fn measure_sweeps(arguments: &Arguments, place: &Place, record: &mut Record) -> Result<(), Error> {
    let rounds = arguments.rounds();
    for &sweep in &arguments.sweeps {
        let points = sweep::points(place, sweep, arguments.clients, arguments.seconds())?;
        for round in 1..=rounds {
            eprintln!("{sweep:?}, round {round} of {rounds}");
            for point in &points {
                for peer in point.peers {
                    record.measure(place, &point.task(peer));
                }
            }
        }
    }
    Ok(())
}

/// Processor, kernel, and whether it had something else to do.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let models: Vec<&str> = processors
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, model)| model)
        .collect();
    let average = read("/proc/loadavg");
    format!(
        "{} × {}, Linux {}, load average {} at the start",
        models.len(),
        models.first().unwrap_or(&"an unknown processor"),
        read("/proc/sys/kernel/osrelease").trim(),
        average.split(' ').next().unwrap_or_default()
    )
}
