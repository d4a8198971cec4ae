//! Who is measured. `anabranch`, `plain`, `floor` and `tree` are programs of this repository; every other peer is a
//! folder of `peers/` with a program `start`, which becomes the server on `PORT`, with the services from
//! `SERVICES_PORT` on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Error;
use crate::process::Process;

/// Where things are, and which ports are theirs.
pub struct Place {
    /// The folder `bench/` of the repository.
    pub folder: PathBuf,
    /// The folder of this program and its companions.
    pub programs: PathBuf,
    pub anabranch: PathBuf,
    /// The same without a profile.
    pub plain: PathBuf,
    pub port: u16,
    pub services_port: u16,
    pub peer_core: usize,
    pub load_core: usize,
}

impl Place {
    pub fn start_services(&self) -> Result<Process, Error> {
        let mut command = Command::new(self.programs.join("services"));
        command.env("SERVICES_PORT", self.services_port.to_string());
        let last = self.services_port + 17;
        Process::start(
            "services",
            &command,
            self.load_core,
            last,
            &self.log("services"),
        )
    }

    /// Starts a peer; `routes` are those of `anabranch` and `plain`.
    pub fn start(&self, peer: &str, routes: &Path) -> Result<Process, Error> {
        self.start_on(self.port, peer, routes)
    }

    /// The same on this port; its admin listener is on the next.
    pub fn start_on(&self, port: u16, peer: &str, routes: &Path) -> Result<Process, Error> {
        let mut command = match peer {
            "anabranch" => serving(&self.anabranch, routes),
            "plain" => serving(&self.plain, routes),
            "floor" | "tree" => Command::new(self.programs.join(peer)),
            _ => Command::new(self.peer_folder(peer).join("start")),
        };
        command.env("PORT", port.to_string());
        command.env("SERVICES_PORT", self.services_port.to_string());
        command.env("ADMIN_PORT", (port + 1).to_string());
        for number in 0..8 {
            command.env(
                format!("S{number}"),
                (self.services_port + number).to_string(),
            );
            command.env(
                format!("LATE{number}"),
                (self.services_port + 10 + number).to_string(),
            );
        }
        Process::start(peer, &command, self.peer_core, port, &self.log(peer))
    }

    /// How long a peer is asked before it counts: a virtual machine has to compile first. A peer that needs
    /// more than a second says so in its file `warm-up`, in seconds.
    pub fn warm_up(&self, peer: &str) -> Result<Duration, Error> {
        let path = self.peer_folder(peer).join("warm-up");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let seconds = text
                    .trim()
                    .parse()
                    .map_err(|_| format!("{} holds no seconds", path.display()))?;
                Ok(Duration::from_secs(seconds))
            }
            Err(_) => Ok(Duration::from_secs(1)),
        }
    }

    pub fn routes(&self) -> PathBuf {
        self.folder.join("anabranch")
    }

    pub fn results(&self) -> PathBuf {
        self.folder.join("results")
    }

    fn peer_folder(&self, peer: &str) -> PathBuf {
        self.folder.join("peers").join(peer)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.results().join(format!("{name}.log"))
    }
}

fn serving(program: &Path, routes: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("serve").arg(routes);
    command
}
