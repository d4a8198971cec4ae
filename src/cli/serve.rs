//! `serve [PATH]...`: the proxy itself.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::output::{self, ColourChoice};
use super::{Exit, cores, paths, runtime};
use crate::app::{self, Error, Options, Running, Signals};
use crate::reload::Findings;
use crate::reload::watch::Mode;
use crate::telemetry::log::{Level, Log};

/// Serve the routes of files and folders, and follow their changes
#[derive(Args)]
pub(super) struct Arguments {
    /// Files and folders [default: $ANABRANCH_CONFIG, else routes/]
    path: Vec<PathBuf>,
    /// How changes of files are seen
    #[arg(long, value_enum, default_value_t = Watch::Auto)]
    watch: Watch,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Watch {
    /// By the system's events, or else by looking
    Auto,
    /// By looking every two seconds (network file systems)
    Poll,
    /// Not at all: SIGHUP and `anabranch reload` remain
    Off,
}

impl Watch {
    pub fn mode(self) -> Mode {
        match self {
            Watch::Auto => Mode::Auto,
            Watch::Poll => Mode::Poll,
            Watch::Off => Mode::Off,
        }
    }
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("the runtime cannot start: {error}"));
            return Exit::CouldNot;
        }
    };
    runtime.block_on(async {
        let options = Options {
            paths: paths(&arguments.path),
            watch: arguments.watch.mode(),
            log: Log::stdout(),
            workers: cores(),
        };
        match start(options).await {
            Ok((running, signals)) => {
                running.until_signals_end_it(signals).await;
                Exit::Fine
            }
            Err(exit) => exit,
        }
    })
}

/// Starts, and says so, or why not.
pub(super) async fn start(options: Options) -> Result<(Running, Signals), Exit> {
    // Whoever reads that we serve may send one at once.
    let signals = Signals::new().map_err(|error| {
        output::complain(&format!("signals cannot be heard: {error}"));
        Exit::CouldNot
    })?;
    let log = options.log.clone();
    let running = app::start(options).await.map_err(|error| match error {
        Error::Refused(findings) => {
            show(&findings);
            output::complain("the configuration is refused");
            Exit::Configuration
        }
        Error::Listen { .. } | Error::Workers(_) => {
            output::complain(&error.to_string());
            Exit::CouldNot
        }
    })?;
    show(&running.findings);
    let table = running.generations.in_force().table.clone();
    output::talk(&format!(
        "anabranch serves {} on http://{}, admin on http://{}\n",
        super::counted(table.routes.len(), "route"),
        running.listen,
        running.admin,
    ));
    log.event(
        Level::Info,
        "started",
        [
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("listen", running.listen.to_string().into()),
            ("admin", running.admin.to_string().into()),
            ("generation", 1.into()),
            ("routes", table.routes.len().into()),
        ],
    );
    Ok((running, signals))
}

fn show(findings: &Findings) {
    let colour = ColourChoice::Auto.on(&io::stderr());
    output::talk(&findings.text(&findings.diagnostics, colour));
}
