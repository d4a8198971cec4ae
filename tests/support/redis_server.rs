//! A real `redis-server` for the tests of a binary: those beside `downstream::remote`, and those over
//! the whole proxy. `ANABRANCH_REDIS_SERVER` says where it is, if it is not in the `PATH`; without one
//! nothing is tested, unless `ANABRANCH_REQUIRE_REDIS=1`.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longer than anything takes on a machine that has much else to do.
pub const BOUND: Duration = Duration::from_secs(30);
pub const POLL: Duration = Duration::from_millis(5);

fn binary() -> Option<OsString> {
    let named = std::env::var_os("ANABRANCH_REDIS_SERVER");
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return Some(named);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    if let Some(found) = found.find(|file| file.is_file()) {
        return Some(found.into());
    }
    let required = std::env::var_os("ANABRANCH_REQUIRE_REDIS").is_some_and(|value| value == "1");
    assert!(!required, "there is no redis-server");
    static NOTE: Once = Once::new();
    // Written past the harness, which would keep it from who reads a passing run.
    NOTE.call_once(|| {
        let note = b"not run: the tests of the Redis store (there is no redis-server)\n";
        std::io::stderr().write_all(note).expect("stderr is open");
    });
    None
}

/// A Redis of its own, in a folder of its own; both go with it.
pub struct Server {
    binary: OsString,
    pub arguments: Vec<String>,
    pub folder: PathBuf,
    pub port: u16,
    child: Option<Child>,
}

impl Server {
    /// `None`: there is no `redis-server`.
    pub fn start(arguments: &[&str]) -> Option<Server> {
        let mut server = Server::down(arguments)?;
        server.up();
        Some(server)
    }

    /// One that is not started yet.
    pub fn down(arguments: &[&str]) -> Option<Server> {
        let binary = binary()?;
        let port = free_port();
        let folder = format!("anabranch-redis-{}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        Some(Server {
            binary,
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            folder,
            port,
            child: None,
        })
    }

    pub fn up(&mut self) {
        let deadline = std::time::Instant::now() + BOUND;
        while std::time::Instant::now() < deadline {
            let child = Command::new(&self.binary)
                .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
                .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
                .args(["--dir", &self.folder.display().to_string()])
                .args(&self.arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn();
            self.child = Some(child.unwrap());
            while std::time::Instant::now() < deadline {
                if self.answers() {
                    return;
                }
                if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(POLL);
            }
        }
        panic!("redis-server does not start on port {}", self.port);
    }

    /// Whether it answers at all, if only that it wants a password.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return false;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut first = [0];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut first).is_ok()
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn signal(&self, signal: &str) {
        let process = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([signal, &process]).status();
        assert!(status.unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Asks it past the store.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // What is left behind in a temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Asks again and again until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(POLL).await;
    }
}
