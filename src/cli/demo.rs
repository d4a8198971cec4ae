//! `demo`: the proxy over a shop that runs in the same process.

use std::future::pending;
use std::path::PathBuf;

use clap::Args;

use super::serve::{self, Watch};
use super::{DEFAULT_PATH, Exit, cores, output, runtime};
use crate::app::Options;
use crate::demo::{self, Ports};
use crate::server::drain::Phase;
use crate::telemetry::log::Log;

/// Serve the demo's pages over twelve small services inside the process
#[derive(Args)]
pub(super) struct Arguments {
    /// The folder of the pages
    #[arg(default_value = DEFAULT_PATH)]
    path: PathBuf,
    /// How changes of files are seen
    #[arg(long, value_enum, default_value_t = Watch::Auto)]
    watch: Watch,
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("the runtime cannot start: {error}"));
            return Exit::CouldNot;
        }
    };
    runtime.block_on(open(arguments))
}

async fn open(arguments: Arguments) -> Exit {
    let shop = match demo::start(Ports::Usual).await {
        Ok(shop) => shop,
        Err(error) => {
            output::complain(&error.to_string());
            return Exit::CouldNot;
        }
    };
    let options = Options {
        paths: vec![arguments.path.clone()],
        watch: arguments.watch.mode(),
        log: Log::stdout(),
        workers: cores(),
    };
    let (running, signals) = match serve::start(options).await {
        Ok(started) => started,
        Err(exit) => return exit,
    };
    output::talk(&demo::banner::banner(
        &shop,
        running.listen,
        &arguments.path,
    ));
    // Nobody waits for a demo to drain: the first Ctrl-C ends it.
    let drain = running.drain.clone();
    let hurried = async {
        drain.reached(Phase::Grace).await;
        drain.end_now();
        pending::<()>().await;
    };
    tokio::select! {
        () = running.until_signals_end_it(signals) => {}
        () = hurried => {}
    }
    Exit::Fine
}
