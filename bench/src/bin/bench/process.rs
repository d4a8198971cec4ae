//! Processes that are pinned to a core, and what they cost, read off `/proc`. A peer may be several
//! processes (nginx has a master and workers): all figures are of the tree.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Error;

/// Of `utime` and `stime`; it is 100 on every Linux, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;
/// A virtual machine that starts cold on a shared core.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Within it the workers of the one before have left the port.
const END_LIMIT: Duration = Duration::from_secs(3);

pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command` on `core` and waits until `port` answers. What it says goes to `log`.
    pub fn start(
        name: &str,
        command: &Command,
        core: usize,
        port: u16,
        log: &Path,
    ) -> Result<Self, Error> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let begin = Instant::now();
        while TcpStream::connect(address).is_ok() {
            if begin.elapsed() > END_LIMIT {
                return Err(format!("port {port} is taken: {name} cannot have it").into());
            }
            sleep(Duration::from_millis(20));
        }
        let child = pinned(command, core)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()
            .map_err(|error| format!("{name} could not be started: {error}"))?;
        let mut process = Process {
            name: name.to_owned(),
            child,
        };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(
                    format!("{name} ended at once ({status}); see {}", log.display()).into(),
                );
            }
            if begin.elapsed() > START_LIMIT {
                return Err(format!(
                    "{name} does not answer on port {port}; see {}",
                    log.display()
                )
                .into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// User and system time of the tree so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64, Error> {
        let tree = self.tree()?;
        Ok(tree.iter().map(|entry| entry.ticks).sum::<u64>() as f64 / TICKS_PER_SECOND)
    }

    /// The same to the nanosecond, for what is too short to be told by ticks: of the threads that are there.
    pub fn scheduled_seconds(&self) -> Result<f64, Error> {
        let mut nanoseconds = 0;
        for entry in self.tree()? {
            for thread in fs::read_dir(format!("/proc/{}/task", entry.id))? {
                // One that has ended meanwhile costs nothing more.
                let scheduled = fs::read_to_string(thread?.path().join("schedstat"));
                let scheduled = scheduled.unwrap_or_default();
                let first = scheduled
                    .split(' ')
                    .next()
                    .and_then(|first| first.parse::<u64>().ok());
                nanoseconds += first.unwrap_or_default();
            }
        }
        Ok(nanoseconds as f64 / 1e9)
    }

    /// Memory in MiB, by its name in `/proc/PID/status`: `VmRSS` now, `VmHWM` at its peak.
    pub fn memory(&self, field: &str) -> Result<f64, Error> {
        let mut kibibytes = 0;
        for entry in self.tree()? {
            let status = fs::read_to_string(format!("/proc/{}/status", entry.id))?;
            kibibytes += status
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
                .and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok())
                .ok_or_else(|| format!("{} has no {field}: it has ended", self.name))?;
        }
        Ok(kibibytes as f64 / 1024.0)
    }

    fn tree(&self) -> Result<Vec<Entry>, Error> {
        let all: Vec<Entry> = fs::read_dir("/proc")?
            .filter_map(|entry| Entry::read(&entry.ok()?.path().join("stat")))
            .collect();
        let mut tree: Vec<Entry> = all
            .iter()
            .filter(|entry| entry.id == self.child.id())
            .copied()
            .collect();
        let mut next = 0;
        while let Some(parent) = tree.get(next).map(|entry| entry.id) {
            tree.extend(all.iter().filter(|entry| entry.parent == parent));
            next += 1;
        }
        if tree.is_empty() {
            return Err(format!("{} has ended", self.name).into());
        }
        Ok(tree)
    }
}

impl Drop for Process {
    /// The whole tree at once, the parent first: there is nothing in it that is worth an orderly end.
    fn drop(&mut self) {
        let ids = self.tree().unwrap_or_default();
        let _ = Command::new("kill")
            .arg("-KILL")
            .args(ids.iter().map(|entry| entry.id.to_string()))
            .status();
        let _ = self.child.wait();
    }
}

/// `command` on `core`; it ends with the driver.
pub fn pinned(command: &Command, core: usize) -> Command {
    let mut pinned = Command::new("setpriv");
    pinned.args([
        "--pdeathsig",
        "TERM",
        "taskset",
        "--cpu-list",
        &core.to_string(),
    ]);
    pinned.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            pinned.env(name, value);
        }
    }
    pinned
}

/// What `/proc/PID/stat` says of a process and all its threads.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    id: u32,
    parent: u32,
    ticks: u64,
}

impl Entry {
    fn read(path: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    /// The name may hold blanks and brackets: what counts begins after the last bracket (proc(5)).
    fn parse(stat: &str) -> Option<Self> {
        let id = stat.split(' ').next()?.parse().ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Entry {
            id,
            parent: fields.get(1)?.parse().ok()?,
            ticks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat =
            "4242 (nginx: a) (b) S 17 4242 4242 0 -1 4194560 1 0 0 0 31 12 5 6 20 0 3 0 99 1 1";
        assert_eq!(
            Entry::parse(stat),
            Some(Entry {
                id: 4242,
                parent: 17,
                ticks: 43
            })
        );
        assert_eq!(Entry::parse("4242 (gone"), None);
    }
}
