//! A whole proxy in the process, edited while it is asked.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anabranch::app::{self, Options, Running};
use anabranch::reload::watch::Mode;
use anabranch::telemetry::log::Log;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GATEWAY: &str = "\
server: { listen: 127.0.0.1:0, drain: { grace: 10ms, max: 5s } }
admin: { listen: 127.0.0.1:0 }
";

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anabranch-live-{}-{number}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        folder.save("gateway.yaml", GATEWAY);
        folder
    }

    /// As an editor saves: a new file, put in the old one's place.
    fn save(&self, name: &str, text: &str) {
        let beside = self.0.join(format!(".{name}.swp"));
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.0.join(name)).unwrap();
    }

    async fn serve(&self, watch: Mode) -> Running {
        let options = Options {
            paths: vec![self.0.clone()],
            watch,
            log: Log::silent(),
            workers: 2,
        };
        match app::start(options).await {
            Ok(running) => running,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn page(edition: u32) -> String {
    format!("route: GET /page\nresponse: {{ body: {{ edition: {edition} }} }}\n")
}

/// Sends one request on a connection of its own; status and body.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn until_generation(running: &Running, number: u64) {
    let mut progress = running.generations.progress();
    let reached = progress.wait_for(|progress| progress.generation >= number);
    let waited = tokio::time::timeout(Duration::from_secs(20), reached).await;
    waited.expect("a generation in time").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_edits_in_a_second_cost_no_request() {
    let folder = Folder::new();
    folder.save("page.yaml", &page(0));
    let running = folder.serve(Mode::Auto).await;
    let address = running.listen;
    let is_over = Arc::new(AtomicBool::new(false));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let is_over = is_over.clone();
            tokio::spawn(async move {
                let mut asked = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let (status, body) = get(address, "/page").await;
                    assert_eq!(status, 200, "{body}");
                    assert!(body.starts_with("{\"edition\":"), "{body}");
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    for edition in 1..=20 {
        pace.tick().await;
        folder.save("page.yaml", &page(edition));
    }
    let mut progress = running.generations.progress();
    while get(address, "/page").await.1 != "{\"edition\":20}" {
        let changed = tokio::time::timeout(Duration::from_secs(20), progress.changed()).await;
        changed.expect("the last edit in time").unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    for asker in askers {
        assert!(asker.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_wrong_edit_leaves_the_old_pages_and_a_right_one_brings_new_ones() {
    let folder = Folder::new();
    folder.save("page.yaml", &page(0));
    let running = folder.serve(Mode::Auto).await;
    folder.save("page.yaml", "route: GET /page\nresponze: {}\n");
    let mut progress = running.generations.progress();
    let refused = anabranch::telemetry::metrics::ReloadResult::Refused;
    let seen = progress.wait_for(|progress| progress.last == refused);
    let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
    seen.expect("a refusal in time").unwrap();
    assert_eq!(
        get(running.listen, "/page").await,
        (200, "{\"edition\":0}".into())
    );
    let (_, config) = get(running.admin, "/config").await;
    assert!(config.contains("\"stands\": true"), "{config}");
    folder.save("page.yaml", &page(1));
    until_generation(&running, 2).await;
    assert_eq!(
        get(running.listen, "/page").await,
        (200, "{\"edition\":1}".into())
    );
}

#[tokio::test]
async fn a_route_that_is_removed_is_not_found_and_back_with_its_file() {
    let folder = Folder::new();
    folder.save("page.yaml", &page(0));
    let running = folder.serve(Mode::Auto).await;
    fs::remove_file(folder.0.join("page.yaml")).unwrap();
    until_generation(&running, 2).await;
    assert_eq!(get(running.listen, "/page").await.0, 404);
    folder.save("page.yaml", &page(1));
    until_generation(&running, 3).await;
    assert_eq!(get(running.listen, "/page").await.0, 200);
}

#[tokio::test]
async fn the_metrics_tell_of_requests_and_of_the_generation() {
    let folder = Folder::new();
    folder.save("page.yaml", &page(0));
    let running = folder.serve(Mode::Off).await;
    get(running.listen, "/page").await;
    get(running.listen, "/nowhere").await;
    let (status, metrics) = get(running.admin, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "anabranch_requests_total{route=\"get-page\",status=\"200\"} 1",
        "anabranch_requests_total{route=\"-\",status=\"404\"} 1",
        "anabranch_request_duration_seconds_count{route=\"get-page\"} 1",
        "anabranch_config_generation 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_drain_ends_it() {
    let folder = Folder::new();
    folder.save("page.yaml", &page(0));
    let running = folder.serve(Mode::Off).await;
    assert_eq!(get(running.admin, "/readyz").await.0, 200);
    running.drain.begin();
    assert_eq!(get(running.admin, "/readyz").await.0, 503);
    assert_eq!(get(running.admin, "/livez").await.0, 200);
    let ended = tokio::time::timeout(Duration::from_secs(20), running.ended()).await;
    ended.expect("an end in time");
}

#[cfg(unix)]
#[tokio::test]
async fn a_mounted_config_map_is_followed_through_its_swaps() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    let lay = |number: u32| {
        let data = folder.0.join(format!("..{number}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("page.yaml"), page(number)).unwrap();
        let next = folder.0.join("..data_tmp");
        symlink(format!("..{number}"), &next).unwrap();
        fs::rename(next, folder.0.join("..data")).unwrap();
        if number > 1 {
            fs::remove_dir_all(folder.0.join(format!("..{}", number - 1))).unwrap();
        }
    };
    lay(1);
    symlink("..data/page.yaml", folder.0.join("page.yaml")).unwrap();
    let running = folder.serve(Mode::Auto).await;
    for number in 2..5 {
        lay(number);
        until_generation(&running, u64::from(number)).await;
        let expected = format!("{{\"edition\":{number}}}");
        assert_eq!(get(running.listen, "/page").await, (200, expected));
    }
}

#[tokio::test]
async fn a_secret_that_is_rotated_is_read_again() {
    let folder = Folder::new();
    folder.save("secret", "old\n");
    folder.save(
        "page.yaml",
        "route: GET /page\nresponse: { text: \"${file:secret}\" }\n",
    );
    let running = folder.serve(Mode::Auto).await;
    assert_eq!(get(running.listen, "/page").await, (200, "old".into()));
    folder.save("secret", "new\n");
    until_generation(&running, 2).await;
    assert_eq!(get(running.listen, "/page").await, (200, "new".into()));
}

#[tokio::test]
async fn a_file_that_is_emptied_first_empties_nothing() {
    let folder = Folder::new();
    folder.save("page.yaml", &page(0));
    let running = folder.serve(Mode::Auto).await;
    let mut progress = running.generations.progress();
    fs::write(folder.0.join("page.yaml"), "").unwrap();
    let refused = anabranch::telemetry::metrics::ReloadResult::Refused;
    let seen = progress.wait_for(|progress| progress.last == refused);
    let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
    seen.expect("a refusal in time").unwrap();
    assert_eq!(
        get(running.listen, "/page").await,
        (200, "{\"edition\":0}".into())
    );
}

#[tokio::test]
async fn an_address_that_is_changed_is_kept_until_the_next_start() {
    let folder = Folder::new();
    folder.save("page.yaml", &page(0));
    let running = folder.serve(Mode::Auto).await;
    folder.save(
        "gateway.yaml",
        &GATEWAY.replacen("127.0.0.1:0", "127.0.0.1:1", 1),
    );
    folder.save("page.yaml", &page(1));
    until_generation(&running, 2).await;
    let (status, config) = get(running.admin, "/config").await;
    assert_eq!(status, 200);
    assert!(config.contains("\"key\": \"server.listen\""), "{config}");
    assert!(config.contains("\"written\": \"127.0.0.1:1\""), "{config}");
    while get(running.listen, "/page").await != (200, "{\"edition\":1}".into()) {
        tokio::task::yield_now().await;
    }
}
