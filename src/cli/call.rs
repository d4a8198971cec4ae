//! `call METHOD PATH`: one request through the engine and to the real services, without a server.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Exit, Report, output, runtime, table, waterfall};
use crate::downstream::observe::Silent;
use crate::downstream::tasks::Tasks;
use crate::downstream::{Client, Process};
use crate::engine::code::Code;
use crate::engine::fetch::{ByteStream, Exchange, Fetch};
use crate::engine::record::Record;
use crate::engine::reply::{Problem, ReplyBody};
use crate::engine::request::{Request, RequestBody};
use crate::engine::{input, run};
use crate::plan::matcher::Match;
use crate::plan::{Route, Table};
use crate::policy::memory::Memory;
use crate::server::{host, identity, query};
use crate::telemetry::{access, time};

/// Calls that may outlive the answer: writes already sent.
const MEMORY: usize = 1 << 30;
const TASKS: usize = 64;
/// What a detached call has without a timeout of its own, and what a write is waited for.
const DETACHED: Duration = Duration::from_secs(2);
const LEFT_TO_FINISH: Duration = Duration::from_secs(30);

/// Make one request through the engine without a server: the answer, and the waterfall of its calls
#[derive(Args)]
pub(super) struct Arguments {
    method: String,
    /// A path with its query, or a whole URL where the host counts
    path: String,
    /// A header of the client's, `name: value`
    #[arg(short = 'H', long = "header", value_name = "K:V")]
    headers: Vec<String>,
    /// The client's body: text, @FILE, or @- for standard input; JSON unless a content-type is given
    #[arg(short, long, value_name = "@FILE|TEXT")]
    data: Option<String>,
    /// Files and folders [default: $ANABRANCH_CONFIG, else routes/]
    #[arg(long, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Print the status and the headers before the body
    #[arg(short, long)]
    include: bool,
    #[arg(long, value_enum, default_value_t = Report::Text)]
    format: Report,
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let table = match table(&arguments.config) {
        Ok(table) => table,
        Err(exit) => return exit,
    };
    let called = ask(&arguments, &table).and_then(|asked| {
        let runtime = runtime().map_err(|error| format!("the runtime cannot start: {error}"))?;
        runtime.block_on(call(&arguments, &table, asked))
    });
    called.unwrap_or_else(|why| {
        output::complain(&why);
        Exit::CouldNot
    })
}

/// What is asked, before it has a route.
struct Asked {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    body: Bytes,
}

fn ask(arguments: &Arguments, table: &Table) -> Result<Asked, String> {
    let method: Method = arguments
        .method
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| format!("`{}` is no method", arguments.method))?;
    let target: Uri = arguments
        .path
        .parse()
        .ok()
        .filter(|target: &Uri| target.path().starts_with('/'))
        .ok_or_else(|| format!("`{}` is no path; it begins with `/`", arguments.path))?;
    let mut headers = HeaderMap::new();
    for line in &arguments.headers {
        let (name, value) = header_line(line)?;
        headers.append(name, value);
    }
    let body = match &arguments.data {
        None => Bytes::new(),
        Some(data) => {
            let json = HeaderValue::from_static("application/json");
            headers.entry(header::CONTENT_TYPE).or_insert(json);
            read(data)?
        }
    };
    if body.len() > table.server.limits.body {
        let most = table.server.limits.body;
        return Err(format!(
            "the body is larger than `server.limits.body`, {most} bytes"
        ));
    }
    let authority = target.authority().map_or("localhost", |host| host.as_str());
    if let Ok(authority) = HeaderValue::from_str(authority) {
        headers.entry(header::HOST).or_insert(authority);
    }
    Ok(Asked {
        method,
        target,
        headers,
        body,
    })
}

fn header_line(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = line.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::try_from(name.trim()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| format!("`{line}` is no header; write it as `name: value`"))
}

fn read(data: &str) -> Result<Bytes, String> {
    match data.strip_prefix('@') {
        None => Ok(Bytes::from(data.to_owned())),
        Some("-") => {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| format!("standard input: {error}"))?;
            Ok(bytes.into())
        }
        Some(file) => match fs::read(file) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(format!("{file}: {error}")),
        },
    }
}

/// What came back.
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: ReplyBody,
    /// Why the request failed, if it did.
    failure: Option<Code>,
    record: Option<Record>,
    detached: Vec<Exchange>,
}

async fn call(arguments: &Arguments, table: &Table, asked: Asked) -> Result<Exit, String> {
    let tasks = Tasks::new(TASKS);
    let client = Client::over_tcp(
        table,
        Process::new(tasks.clone(), Memory::new(MEMORY)),
        Arc::new(Silent),
    )?;
    let line = format!("{} {}", asked.method, asked.target);
    let is_head = asked.method == Method::HEAD;
    let mut answered = answer(table, &client, asked).await?;
    let detached = std::mem::take(&mut answered.detached);
    let status = answered.status;
    show(arguments, &line, is_head, answered).await?;
    after(&client, detached).await;
    // A write that was sent is left to finish; one that hangs is not waited for for ever.
    let _ = tokio::time::timeout(LEFT_TO_FINISH, tasks.finished()).await;
    Ok(match status {
        ..400 => Exit::Fine,
        _ => Exit::Findings,
    })
}

async fn answer(table: &Table, client: &Client, asked: Asked) -> Result<Answered, String> {
    let started = Instant::now();
    let peer = SocketAddr::from(([127, 0, 0, 1], 0));
    let identity = identity::read(&asked.headers, peer, &table.server.trusted);
    let host = match asked.headers.get(header::HOST).map(HeaderValue::as_bytes) {
        Some(host) if !host::is_valid(host) => {
            return Err(
                "the header `host` is no name or address, with or without a port".to_owned(),
            );
        }
        host => host.map_or_else(String::new, host::name),
    };
    let (route, parameters) = find(table, &asked, &host)?;
    let raw_query = asked.target.query().map(str::to_owned);
    let query = query::pairs(raw_query.as_deref().unwrap_or(""))
        .ok_or("an escape in the query is broken or is no UTF-8")?;
    let request_id = identity.request_id.clone();
    let body = match route.streams_request {
        true => RequestBody::Stream(Mutex::new(Some(whole(asked.body)))),
        false => RequestBody::Read(asked.body),
    };
    let request = Request {
        method: asked.method,
        host,
        parameters,
        query,
        raw_query,
        headers: asked.headers,
        body,
        client_ip: identity.client_ip,
        identity,
        started,
        deadline: started + route.timeout,
        brownout: false,
    };
    Ok(match input::accept(&route, request) {
        Ok(accepted) => {
            let reply = run::run(&route, &accepted, client).await;
            Answered {
                status: reply.status,
                headers: reply.headers,
                body: reply.body,
                failure: reply.record.failure,
                record: Some(reply.record),
                detached: reply.detached,
            }
        }
        Err(problem) => refused(&problem, &request_id),
    })
}

fn find(table: &Table, asked: &Asked, host: &str) -> Result<(Arc<Route>, Vec<String>), String> {
    let path = asked.target.path();
    match table.matcher.find(&asked.method, host, path) {
        Match::Route { index, parameters } => Ok((table.routes[index].clone(), parameters)),
        Match::Options { allow } => Err(format!(
            "no route takes OPTIONS; the answer is 204, allow: {allow}"
        )),
        Match::MethodNotAllowed { allow } => Err(format!(
            "`{path}` has routes, but not for {}; allow: {allow}",
            asked.method
        )),
        Match::NotFound => Err(format!("no route has the path `{path}`")),
        Match::BadPath => Err(format!("an escape in `{path}` is broken or is no UTF-8")),
    }
}

fn whole(bytes: Bytes) -> ByteStream {
    http_body_util::Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn refused(problem: &Problem, request_id: &str) -> Answered {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    Answered {
        status: problem.status,
        headers,
        body: ReplyBody::Bytes(problem.body(request_id).into()),
        failure: Some(problem.code),
        record: None,
        detached: Vec::new(),
    }
}

/// Makes the calls that come after the answer.
async fn after(client: &Client, detached: Vec<Exchange>) {
    let calls = detached.into_iter().map(|mut exchange| async move {
        let name = exchange.route.calls[exchange.call.0].name.clone();
        let timeout = exchange.route.calls[exchange.call.0].timeout;
        exchange.deadline = Instant::now() + timeout.unwrap_or(DETACHED);
        let fetched = client.fetch(exchange.into()).await;
        let came_of_it = match fetched.result {
            Ok(answer) => answer.status.to_string(),
            Err(error) => error.code.name().to_owned(),
        };
        output::talk(&format!("  {name}  after the answer: {came_of_it}\n"));
    });
    join_all(calls).await;
}

async fn show(
    arguments: &Arguments,
    line: &str,
    is_head: bool,
    answered: Answered,
) -> Result<(), String> {
    let Answered {
        status,
        headers,
        body,
        failure,
        record,
        detached: _,
    } = answered;
    match arguments.format {
        Report::Text => {
            if arguments.include {
                output::bytes(&head(status, &headers));
            }
            if !is_head {
                write(body).await?;
            }
            let text = match &record {
                Some(record) => waterfall::text(line, record),
                None => format!("{line} -> {status} ({})\n", failure.map_or("", Code::name)),
            };
            output::talk(&text);
        }
        Report::Json => {
            let body = collect(body).await?;
            let mut value = value(status, &headers, &body, record.as_ref());
            value["code"] = failure.map(Code::name).into();
            output::data(&format!("{value:#}\n"));
        }
    }
    Ok(())
}

fn head(status: u16, headers: &HeaderMap) -> Vec<u8> {
    let reason = StatusCode::from_u16(status).ok();
    let reason = reason.and_then(|status| status.canonical_reason());
    let mut head = format!("HTTP/1.1 {status} {}\n", reason.unwrap_or("")).into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.push(b'\n');
    }
    head.push(b'\n');
    head
}

/// Writes a body as it comes, and ends the line where somebody reads it.
async fn write(body: ReplyBody) -> Result<(), String> {
    let mut last = b'\n';
    match body {
        ReplyBody::Bytes(bytes) => {
            output::bytes(&bytes);
            last = bytes.last().copied().unwrap_or(last);
        }
        ReplyBody::Stream(mut stream) => {
            while let Some(frame) = stream.frame().await {
                let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
                if let Ok(bytes) = frame.into_data() {
                    output::bytes(&bytes);
                    last = bytes.last().copied().unwrap_or(last);
                }
            }
        }
    }
    if last != b'\n' && io::stdout().is_terminal() {
        output::data("\n");
    }
    Ok(())
}

async fn collect(body: ReplyBody) -> Result<Bytes, String> {
    match body {
        ReplyBody::Bytes(bytes) => Ok(bytes),
        ReplyBody::Stream(stream) => match stream.collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) => Err(format!("the answer broke off: {error}")),
        },
    }
}

fn value(status: u16, headers: &HeaderMap, body: &Bytes, record: Option<&Record>) -> Value {
    let headers: Vec<Value> = headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json!({
        "status": status,
        "headers": headers,
        // As text: a tree of it would not keep the digits of its numbers.
        "body": String::from_utf8_lossy(body),
        "route": record.map(|record| record.route.name.as_str()),
        "dur_ms": record.map(|record| time::milliseconds(record.elapsed)),
        "degraded": record.and_then(|record| record.degraded.as_deref()),
        "calls": record.map(access::calls_json),
    })
}
