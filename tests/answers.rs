//! Answers that a README shows beneath a request are the ones that come: each example is served over
//! the demo's services, every `curl` of its README is sent, and what stands after it is compared: a JSON
//! block with the body, an `http` block with lines of the head, of which it shows some.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anabranch::app;
use anabranch::demo::{self, Demo};
use anabranch::reload::watch::Mode;
use anabranch::telemetry::log::Log;
use support::case::{compact, fits};
use support::{Block, Folder, blocks, files_below, root};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn the_readme_shows_the_demo() {
    assert_eq!(check("routes", "README.md").await, 1);
}

#[tokio::test]
async fn the_hello_example_answers_as_shown() {
    assert_eq!(check("examples/hello", "examples/hello/README.md").await, 1);
}

#[tokio::test]
async fn the_product_page_answers_as_shown() {
    let readme = "examples/product-page/README.md";
    assert_eq!(check("examples/product-page", readme).await, 2);
}

#[tokio::test]
async fn the_sidecar_answers_as_shown() {
    let readme = "examples/sidecar/README.md";
    assert_eq!(check("examples/sidecar", readme).await, 2);
}

#[tokio::test]
async fn kept_answers_are_given_as_shown() {
    let readme = "examples/caching/README.md";
    assert_eq!(check("examples/caching", readme).await, 4);
}

#[tokio::test]
async fn the_checkout_answers_as_shown() {
    let readme = "examples/checkout/README.md";
    assert_eq!(check("examples/checkout", readme).await, 3);
}

/// Serves `folder` and goes through `readme`; how many answers were compared.
async fn check(folder: &str, readme: &str) -> usize {
    let demo = demo::start(demo::Ports::Free).await.unwrap();
    let copy = moved(&root().join(folder), &demo);
    let running = app::start(app::Options {
        paths: vec![copy.path().to_owned()],
        watch: Mode::Off,
        log: Log::silent(),
        workers: 2,
    })
    .await
    .unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut compared = 0;
    let mut answer = Answer::default();
    for block in blocks(&fs::read_to_string(root().join(readme)).unwrap()) {
        match block.info.as_str() {
            "sh" => {
                for command in commands(&block) {
                    let address = match command.port {
                        demo::CONTROL_PORT => demo.control(),
                        9900..=9909 => running.admin,
                        _ => running.listen,
                    };
                    answer = send(&command, address).await;
                }
            }
            "json" => {
                let expected = compact(&block.text);
                let got = compact(&answer.body);
                let fits = fits(&expected, &got);
                assert!(fits, "{readme}:{}\n{expected}\n{got}", block.line);
                compared += 1;
            }
            "http" => {
                for shown in block.text.lines() {
                    let is_there = answer.head.lines().any(|line| fits(shown, line));
                    assert!(
                        is_there,
                        "{readme}:{}\n{shown}\n{}",
                        block.line, answer.head
                    );
                }
                compared += 1;
            }
            _ => {}
        }
    }
    compared
}

/// A copy of `folder` whose services and listeners are on free ports.
fn moved(folder: &Path, demo: &Demo) -> Folder {
    let copy = Folder::new();
    let services = demo.services_yaml();
    let ports = services.lines().filter_map(|line| {
        let (_, address) = line.split_once("http://127.0.0.1:")?;
        Some(address.trim_end_matches([' ', '}']).to_owned())
    });
    let ports: Vec<String> = ports.collect();
    for file in files_below(folder, ".yaml") {
        let mut text = fs::read_to_string(&file).unwrap();
        for (place, port) in ports.iter().enumerate() {
            let usual = format!("http://127.0.0.1:{}", 9001 + place);
            text = text.replace(&usual, &format!("http://127.0.0.1:{port}"));
        }
        for (key, usual) in [("server", "808"), ("admin", "990")] {
            for digit in 0..10 {
                let listen = |port: &str| format!("{key}: {{ listen: 127.0.0.1:{port} }}");
                text = text.replace(&listen(&format!("{usual}{digit}")), &listen("0"));
            }
        }
        let name = file.file_name().unwrap().to_str().unwrap();
        copy.write(name, &text);
    }
    for file in files_below(folder, ".json") {
        let name = file.file_name().unwrap().to_str().unwrap();
        copy.write(name, &fs::read_to_string(&file).unwrap());
    }
    let all = files_below(folder, ".yaml");
    let says = |key: &str| {
        let mut texts = all.iter().map(|file| fs::read_to_string(file).unwrap());
        texts.any(|text| text.lines().any(|line| line.starts_with(key)))
    };
    if !says("server:") {
        let text = "server: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0 }\n";
        copy.write("listen.yaml", text);
    }
    copy
}

/// One `curl` command: what it sends, and whether to the switchboard.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    method: String,
    port: u16,
    target: String,
    headers: Vec<String>,
    body: String,
}

/// The `curl` commands of a block; any other command is left alone.
fn commands(block: &Block) -> Vec<Command> {
    let joined = block.text.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| line.starts_with("curl "));
    lines.map(|line| command(&words(line))).collect()
}

fn command(words: &[String]) -> Command {
    let mut found = Command {
        method: "GET".to_owned(),
        port: 0,
        target: String::new(),
        headers: Vec::new(),
        body: String::new(),
    };
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("an option has a value").clone();
        match word.as_str() {
            "-s" | "-i" => {}
            "-X" => found.method = value(),
            "-H" => found.headers.push(value()),
            "-d" => {
                found.method = "POST".to_owned();
                found.body = value();
            }
            url => {
                let rest = url.strip_prefix("http://127.0.0.1:").expect("a local URL");
                let (port, target) = rest.split_once('/').expect("a path");
                found.port = port.parse().unwrap();
                found.target = format!("/{target}");
            }
        }
    }
    found
}

/// Words as a shell cuts them, so far as the documents need it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for sign in line.chars() {
        match sign {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            _ => word.push(sign),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[derive(Default)]
struct Answer {
    head: String,
    body: String,
}

async fn send(command: &Command, address: SocketAddr) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let Command {
        method,
        target,
        headers,
        body,
        ..
    } = command;
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    Answer {
        head: head.to_owned(),
        body: match head.contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_owned(),
        },
    }
}

fn unchunked(body: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk has a size");
        if size == 0 {
            break;
        }
        out.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    out
}

#[test]
fn a_curl_command_is_read_as_a_shell_reads_it() {
    let block = Block {
        info: "sh".to_owned(),
        text:
            "cargo run\ncurl -s 'http://127.0.0.1:8080/a?b=c d' -H 'x-a: 1' \\\n  -d '{\"a\":1}'\n"
                .to_owned(),
        line: 1,
    };
    let expected = Command {
        method: "POST".to_owned(),
        port: 8080,
        target: "/a?b=c d".to_owned(),
        headers: vec!["x-a: 1".to_owned()],
        body: "{\"a\":1}".to_owned(),
    };
    assert_eq!(commands(&block), [expected]);
}
