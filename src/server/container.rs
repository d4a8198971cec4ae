//! How much memory there is for bodies: a size, or a share of what the container may take, or where
//! no container is, of the machine. Read anew at each reload, for limits are raised on running
//! containers.

use std::fs;

use crate::plan::settings::MemoryLimit;

/// Where nothing can be read: another system, or a `/proc` that is hidden.
const UNKNOWN: u64 = 1024 * 1024 * 1024;

/// Where version 2 of cgroups is mounted, and the memory controller of version 1.
const UNIFIED: &str = "/sys/fs/cgroup";
const CONTROLLER: &str = "/sys/fs/cgroup/memory";

/// The bytes that `shed.memory` allows.
pub fn memory(limit: MemoryLimit) -> usize {
    match limit {
        MemoryLimit::Size(bytes) => bytes,
        MemoryLimit::Share(hundredths) => {
            let all = find(|path| fs::read_to_string(path).ok());
            share(all, hundredths)
        }
    }
}

fn share(bytes: u64, hundredths: u32) -> usize {
    let part = u128::from(bytes) * u128::from(hundredths) / 10_000;
    usize::try_from(part).unwrap_or(usize::MAX)
}

/// The least of all that bounds this process. A cgroup is bounded by those above it as well.
fn find(read: impl Fn(&str) -> Option<String>) -> u64 {
    let cgroups = read("/proc/self/cgroup").unwrap_or_default();
    let of_cgroups = files(&cgroups)
        .into_iter()
        .filter_map(|file| read(&file)?.trim().parse().ok());
    let of_machine = read("/proc/meminfo").and_then(|text| total(&text));
    of_cgroups.chain(of_machine).min().unwrap_or(UNKNOWN)
}

/// The files with the limits of the cgroups that `/proc/self/cgroup` names, and of those above them.
/// Inside a container the path may be the host's, of which only the top is to be seen.
fn files(cgroups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, file) = match controllers {
            "" => (UNIFIED, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (CONTROLLER, "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut folders: Vec<&str> = path
            .split('/')
            .filter(|folder| !matches!(*folder, "" | ".." | "."))
            .collect();
        loop {
            let below: String = folders.iter().map(|folder| format!("/{folder}")).collect();
            files.push(format!("{root}{below}/{file}"));
            if folders.pop().is_none() {
                break;
            }
        }
    }
    files
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = (
        "/proc/meminfo",
        "MemTotal:        4096000 kB\nMemFree: 1 kB\n",
    );

    fn check(files: &[(&str, &str)], expected: u64) {
        let read = |path: &str| {
            let file = files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| text.to_string())
        };
        assert_eq!(find(read), expected, "{files:?}");
    }

    #[test]
    fn the_narrowest_limit_counts() {
        let machine = 4_096_000 * 1024;
        let two = ("/proc/self/cgroup", "0::/a.slice/b.scope\n");
        let own = "/sys/fs/cgroup/a.slice/b.scope/memory.max";
        let above = "/sys/fs/cgroup/a.slice/memory.max";
        let top = "/sys/fs/cgroup/memory.max";
        check(&[], UNKNOWN);
        check(&[MEMINFO], machine);
        check(&[MEMINFO, two], machine);
        check(&[MEMINFO, two, (own, "max\n")], machine);
        check(&[MEMINFO, two, (own, "1000\n"), (above, "2000\n")], 1000);
        check(&[MEMINFO, two, (own, "max\n"), (above, "2000\n")], 2000);
        // A container that sees the host's path, but only its own files.
        check(&[MEMINFO, two, (top, "3000\n")], 3000);
        let namespaced = ("/proc/self/cgroup", "0::/../../x\n");
        check(&[MEMINFO, namespaced, (top, "3000\n")], 3000);
        // More than there is.
        check(&[MEMINFO, two, (own, "9999999999999\n")], machine);
    }

    #[test]
    fn version_one_has_its_own_files() {
        let machine = 4_096_000 * 1024;
        let one = (
            "/proc/self/cgroup",
            "5:cpu,cpuacct:/c\n4:hugetlb,memory:/d/e\n0::/\n",
        );
        let own = "/sys/fs/cgroup/memory/d/e/memory.limit_in_bytes";
        let top = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        check(&[MEMINFO, one, (own, "5000\n")], 5000);
        check(&[MEMINFO, one, (top, "6000\n")], 6000);
        check(&[MEMINFO, one, (own, "9223372036854771712\n")], machine);
    }

    #[test]
    fn what_cannot_be_understood_says_nothing() {
        let broken = ("/proc/self/cgroup", "nonsense\n\n1:memory\n0::\n");
        check(&[broken, ("/proc/meminfo", "MemTotal: many kB\n")], UNKNOWN);
        check(
            &[broken, ("/sys/fs/cgroup/memory.max", "-1\n"), MEMINFO],
            4_096_000 * 1024,
        );
    }

    #[test]
    fn a_share_is_in_hundredths_of_a_percent() {
        assert_eq!(share(1 << 30, 2500), 1 << 28);
        assert_eq!(share(10_000, 1), 1);
        assert_eq!(share(u64::MAX, 10_000), usize::MAX);
        assert_eq!(memory(MemoryLimit::Size(7)), 7);
    }
}
