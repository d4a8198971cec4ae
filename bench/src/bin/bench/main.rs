//! The driver: starts the services, one peer after the other, and the load, and says what came of it.

mod peer;
mod process;

use std::path::PathBuf;

use anabranch_bench::load::Outcome;
use anabranch_bench::workload::Workload;
use clap::Parser;

use crate::peer::Place;

pub type Error = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[arg(long, value_delimiter = ',', default_value = "floor,anabranch")]
    peers: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "w1,w2,w3,w4")]
    workloads: Vec<Workload>,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long, default_value_t = 32)]
    clients: usize,
    #[arg(long, default_value_t = 18080)]
    port: u16,
    #[arg(long, default_value_t = 21000)]
    services_port: u16,
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let program = std::env::current_exe()?;
    let place = Place {
        anabranch: std::env::var_os("ANABRANCH_BIN")
            .map_or(folder.join("../target/release/anabranch"), PathBuf::from),
        programs: program
            .parent()
            .ok_or("this program is in no folder")?
            .to_owned(),
        folder,
        port: arguments.port,
        services_port: arguments.services_port,
        peer_core: 0,
        load_core: 1,
    };
    std::fs::create_dir_all(place.results())?;
    let _services = place.start_services()?;
    for round in 1..=arguments.rounds {
        for &workload in &arguments.workloads {
            for peer in &arguments.peers {
                let process = place.start(peer, &place.routes())?;
                let load = |seconds: f64| -> Result<Outcome, Error> {
                    let mut command = std::process::Command::new(place.programs.join("load"));
                    command.args(["--path", workload.path(), "--port", &place.port.to_string()]);
                    command.args([
                        "--clients",
                        &arguments.clients.to_string(),
                        "--seconds",
                        &seconds.to_string(),
                    ]);
                    let output = process::pinned(&command, place.load_core).output()?;
                    Ok(serde_json::from_slice(&output.stdout)?)
                };
                load(place.warm_up(peer)?.as_secs_f64())?;
                let before = process.cpu_seconds()?;
                let outcome = load(arguments.seconds)?;
                let cpu = (process.cpu_seconds()? - before) * 1e6 / outcome.answers as f64;
                println!(
                    "round {round} {workload:?} {peer:12} {cpu:8.1} µs CPU a request, {:8.0} requests/s, peak {:.1} MiB, {} failures{}",
                    outcome.per_second,
                    process.memory("VmHWM")?,
                    outcome.failures,
                    outcome
                        .first_failure
                        .map(|failure| format!(" ({failure})"))
                        .unwrap_or_default(),
                );
            }
        }
    }
    Ok(())
}
