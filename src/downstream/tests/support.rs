//! A scripted service: what it does with each connection is a function. Over TCP for what only a real
//! socket can do, over an in-memory pipe for what needs virtual time.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::downstream::dial::{Dial, Tcp};
use crate::downstream::observe::{Kind, Observe};
use crate::downstream::tasks::Tasks;
use crate::downstream::{Client, Process};
use crate::engine::code::Code;
use crate::engine::fetch::{Exchange, Fetch, Fetched, Identity, Made};
use crate::json;
use crate::plan::settings::{self, Endpoint, HttpVersion};
use crate::plan::{
    Body, Call, CallId, Decode, ForwardQuery, Input, Response, ResponseBody, Retry, Role, Route,
    ServiceId, Status, Table,
};
use crate::policy::breaker::State;
use crate::policy::memory::Memory;
use crate::policy::shed::Priority;
use crate::policy::{breaker, budget, bulkhead};
use crate::template::{Place, Text};

// === Services

type Done = Pin<Box<dyn Future<Output = ()> + Send>>;
type Script = Arc<dyn Fn(usize, Peer) -> Done + Send + Sync>;

/// The service's end of a connection.
pub enum Peer {
    Tcp(TcpStream),
    Pipe(DuplexStream),
}

impl Peer {
    /// The next request, head and body by its length; `None` when the other side has closed.
    pub async fn request(&mut self) -> Option<String> {
        let mut text = String::new();
        let head = loop {
            if let Some(end) = text.find("\r\n\r\n") {
                break end + 4;
            }
            self.more(&mut text).await?;
        };
        let length: usize = text[..head]
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        while text.len() < head + length {
            self.more(&mut text).await?;
        }
        Some(text)
    }

    pub async fn more(&mut self, text: &mut String) -> Option<()> {
        let mut buffer = [0; 4096];
        let count = match self {
            Peer::Tcp(stream) => stream.read(&mut buffer).await,
            Peer::Pipe(stream) => stream.read(&mut buffer).await,
        };
        let count = count.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        Some(())
    }

    /// Writes; `false` if the other side has gone.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        let written = match self {
            Peer::Tcp(stream) => stream.write_all(bytes).await,
            Peer::Pipe(stream) => stream.write_all(bytes).await,
        };
        written.is_ok()
    }

    /// A whole JSON answer.
    pub async fn json(&mut self, body: &str) -> bool {
        self.write(answer("200 OK", "content-type: application/json", body))
            .await
    }

    /// Waits until the other side closes.
    pub async fn closed(&mut self) {
        while self.request().await.is_some() {}
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        match self {
            Peer::Tcp(stream) => stream.set_zero_linger().unwrap(),
            Peer::Pipe(_) => panic!("a pipe has no RST"),
        }
    }
}

/// An answer with these header lines, framed by its length.
pub fn answer(status: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    let lines = match lines {
        "" => String::new(),
        lines => format!("{lines}\r\n"),
    };
    format!("HTTP/1.1 {status}\r\n{lines}content-length: {length}\r\n\r\n{body}")
}

/// Makes a script of an async function of the connection's number, from 0, and its end.
pub fn script<F>(function: impl Fn(usize, Peer) -> F + Send + Sync + 'static) -> Script
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |number, peer| Box::pin(function(number, peer)))
}

/// Answers every request on every connection with the same bytes.
pub fn always(bytes: impl Into<String>) -> Script {
    let bytes: String = bytes.into();
    script(move |_, mut peer| {
        let bytes = bytes.clone();
        async move { while peer.request().await.is_some() && peer.write(&bytes).await {} }
    })
}

/// Starts a service on a port of its own.
pub async fn serve(script: Script) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(number, Peer::Tcp(stream)));
        }
    });
    port
}

/// Dials the script over a pipe in memory.
pub struct Piped {
    script: Script,
    pub dialed: AtomicUsize,
}

impl Piped {
    pub fn new(script: Script) -> Piped {
        Piped {
            script,
            dialed: AtomicUsize::new(0),
        }
    }
}

impl Dial for Piped {
    type Io = DuplexStream;

    async fn dial(&self, _: &str, _: u16, _: Instant) -> Result<DuplexStream, Code> {
        let number = self.dialed.fetch_add(1, Ordering::SeqCst);
        let (near, far) = tokio::io::duplex(16 * 1024);
        tokio::spawn((self.script)(number, Peer::Pipe(far)));
        Ok(near)
    }
}

/// Never gets a connection.
pub struct Blackhole;

impl Dial for Blackhole {
    type Io = DuplexStream;

    async fn dial(&self, _: &str, _: u16, by: Instant) -> Result<DuplexStream, Code> {
        tokio::time::sleep_until(by).await;
        Err(Code::ConnectTimeout)
    }
}

// === Clients

/// Writes down what it hears.
#[derive(Default)]
pub struct Heard {
    attempts: Mutex<Vec<String>>,
    in_flight: Mutex<i64>,
    /// `endpoint:state`, in order.
    pub breakers: Mutex<Vec<String>>,
    pub denied: Mutex<Vec<&'static str>>,
    pub waits: Mutex<Vec<Duration>>,
}

impl Heard {
    /// `kind` or `kind:reason`, in order.
    pub fn attempts(&self) -> Vec<String> {
        self.attempts.lock().unwrap().clone()
    }

    pub fn in_flight(&self) -> i64 {
        *self.in_flight.lock().unwrap()
    }
}

impl Observe for Heard {
    fn attempt(&self, _: ServiceId, kind: Kind, reason: &'static str) {
        let text = match reason {
            "" => kind.name().to_owned(),
            reason => format!("{}:{reason}", kind.name()),
        };
        self.attempts.lock().unwrap().push(text);
    }

    fn in_flight(&self, _: ServiceId, change: i64) {
        *self.in_flight.lock().unwrap() += change;
    }

    fn breaker(&self, _: ServiceId, endpoint: usize, to: State) {
        let text = format!("{endpoint}:{}", to.name());
        self.breakers.lock().unwrap().push(text);
    }

    fn breaker_state(&self, _: ServiceId, _: usize, _: State) {}

    fn budget_denied(&self, _: ServiceId, kind: Kind) {
        self.denied.lock().unwrap().push(kind.name());
    }

    fn waited(&self, _: ServiceId, time: Duration) {
        self.waits.lock().unwrap().push(time);
    }

    fn budget_tokens(&self, _: ServiceId, _: f64) {}

    fn cache(&self, _: &'static str, _: &'static str) {}
}

/// A client of one service, and what it told.
pub struct Fixture<D: Dial> {
    pub client: Arc<Client<D>>,
    pub heard: Arc<Heard>,
    pub process: Process,
    pub dial: Arc<D>,
}

impl<D: Dial> Fixture<D> {
    pub fn new(service: settings::Service, dial: D) -> Fixture<D> {
        Fixture::of_workers(1, service, dial)
    }

    /// One whose calls are made on so many workers.
    pub fn of_workers(workers: usize, service: settings::Service, dial: D) -> Fixture<D> {
        fastrand::seed(7);
        let (heard, dial) = (Arc::new(Heard::default()), Arc::new(dial));
        let process = Process {
            workers,
            ..Process::new(Tasks::new(64), Memory::new(1 << 30))
        };
        let client = Client::new(
            &table(service),
            dial.clone(),
            process.clone(),
            heard.clone(),
        );
        Fixture {
            client: Arc::new(client.unwrap()),
            heard,
            process,
            dial,
        }
    }

    pub async fn fetch(&self, call: Call, milliseconds: u64) -> Fetched {
        self.client.fetch(exchange(call, milliseconds).into()).await
    }

    /// The outcome in one line, `200 {"a":1} x1` or `reset x2`.
    pub async fn outcome(&self, call: Call, milliseconds: u64) -> String {
        shown(&self.fetch(call, milliseconds).await)
    }
}

pub fn over_tcp(port: u16) -> Fixture<Tcp> {
    Fixture::new(service(port), Tcp::new())
}

pub fn piped(script: Script) -> Fixture<Piped> {
    Fixture::new(service(80), Piped::new(script))
}

/// A service that answers the nth request, from 1, as `respond` says, after a while; and how often it
/// was asked.
pub fn responding(
    respond: impl Fn(usize, &str) -> (u64, String) + Send + Sync + 'static,
) -> (Fixture<Piped>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, respond) = (asked.clone(), Arc::new(respond));
    let script = script(move |_, mut peer| {
        let (count, respond) = (count.clone(), respond.clone());
        async move {
            while let Some(request) = peer.request().await {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let (wait, answer) = respond(number, &request);
                tokio::time::sleep(Duration::from_millis(wait)).await;
                peer.write(answer).await;
            }
        }
    });
    (piped(script), asked)
}

pub fn shown(fetched: &Fetched) -> String {
    let attempts = fetched.attempts;
    match &fetched.result {
        Ok(answer) => {
            let body = answer.body.as_ref().map(|body| body.bytes().clone());
            let body = String::from_utf8(body.unwrap_or_default().to_vec()).unwrap();
            format!("{} {body} x{attempts}", answer.status)
        }
        Err(error) => format!("{} x{attempts}", error.code.name()),
    }
}

pub fn table(service: settings::Service) -> Table {
    Table {
        server: settings::Server::default(),
        admin: settings::Admin::default(),
        cache: settings::Cache::default(),
        services: vec![service],
        routes: Vec::new(),
        matcher: Default::default(),
        files: Vec::new(),
        watched: Vec::new(),
    }
}

pub fn service(port: u16) -> settings::Service {
    settings::Service {
        name: "users".into(),
        endpoints: vec![endpoint(port)],
        http: HttpVersion::Auto,
        connect_timeout: Duration::from_secs(1),
        pool: settings::Pool::default(),
        breaker: Some(breaker::Settings::default()),
        bulkhead: Some(bulkhead::Settings::default()),
        budget: budget::Settings::default(),
        tls: Arc::default(),
    }
}

pub fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        https: false,
        host: "127.0.0.1".into(),
        port,
        prefix: "/base".into(),
        authority: format!("127.0.0.1:{port}"),
    }
}

// === Calls

/// A GET with the defaults of `resilience.md` §2.
pub fn get() -> Call {
    Call {
        name: "user".into(),
        service: ServiceId(0),
        role: Role::Normal,
        method: Method::GET,
        path: Text::parse("/me", &[], Place::Path).unwrap(),
        query: Vec::new(),
        headers: Vec::new(),
        forward_headers: Vec::new(),
        forward_query: ForwardQuery::Names(Vec::new()),
        body: Body::None,
        timeout: None,
        attempt_timeout: Duration::from_secs(10),
        retry: Retry {
            attempts: 2,
            connect: true,
            reset: true,
            timeout: true,
            statuses: vec![429, 502, 503, 504],
            backoff: (Duration::from_millis(25), Duration::from_millis(250)),
        },
        hedge: None,
        optional: false,
        fallback: Vec::new(),
        when: None,
        when_per_element: false,
        needs: Vec::new(),
        unblocks: Vec::new(),
        for_each: None,
        pass_status: Vec::new(),
        success_when: None,
        take: None,
        decode: Decode::Auto,
        max_body: 1024 * 1024,
        cache: None,
        coalesce: false,
        idempotency_key: None,
        repeatable: true,
        write: false,
        key_prefix: String::new(),
        keeps_headers: true,
        raw_demand: json::Demand::default(),
        taken_demand: None,
    }
}

/// A POST without a key, and the one retry it may have.
pub fn post() -> Call {
    let retry = Retry {
        reset: false,
        timeout: false,
        statuses: Vec::new(),
        ..get().retry
    };
    Call {
        method: Method::POST,
        retry,
        repeatable: false,
        write: true,
        ..get()
    }
}

pub fn once(call: Call) -> Call {
    let retry = Retry {
        attempts: 1,
        ..call.retry
    };
    Call { retry, ..call }
}

pub fn exchange(call: Call, milliseconds: u64) -> Exchange {
    let body = match call.write {
        true => Bytes::from_static(b"{\"a\":1}"),
        false => Bytes::new(),
    };
    let mut headers = HeaderMap::new();
    let name = HeaderName::from_static("x-user");
    headers.insert(name, HeaderValue::from_static("7"));
    Exchange {
        route: Arc::new(route(call)),
        call: CallId(0),
        target: "/me?page=1".into(),
        headers,
        body,
        deadline: Instant::now() + Duration::from_millis(milliseconds),
        ends_with_route: false,
        made: Made::default(),
        identity: Arc::new(identity()),
    }
}

pub fn identity() -> Identity {
    Identity {
        request_id: "req-1".into(),
        trace_id: *b"0af7651916cd43dd8448eb211c80319c",
        trace_flags: 1,
        trace_state: Some("a=b".into()),
        client_ip: "127.0.0.1".parse().unwrap(),
        via: Some("1.1 edge".into()),
    }
}

fn route(call: Call) -> Route {
    Route {
        index: 0,
        name: "page".into(),
        method: Method::GET,
        pattern: "/page".into(),
        host: None,
        parameters: Vec::new(),
        has_rest: false,
        priority: Priority::Normal,
        timeout: Duration::from_secs(2),
        input: Input::default(),
        calls: vec![call],
        response: Response {
            status: Status::Constant(200),
            headers: Vec::new(),
            body: ResponseBody::None,
            computed: None,
        },
        sources: Vec::new(),
        body_demand: None,
        forwards_body: false,
        streams_request: false,
        json_limits: settings::Server::default().json,
        place: "test".into(),
    }
}
