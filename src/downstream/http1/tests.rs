//! Exchanges over scripted pieces: what arrives, where it is cut, and what becomes of the connection.
//! hyper's client over the same pieces is the judge of what may not differ.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::*;
use crate::downstream::connection::Outgoing;
use crate::downstream::headers::{is_content_coded, keep_end_to_end, may_be_json};

/// Gives its pieces one read at a time, then ends or stays silent, and keeps what is written.
struct Script {
    pieces: VecDeque<Bytes>,
    ends: bool,
    written: Vec<u8>,
    /// What a write takes at most.
    takes: usize,
    /// Pieces come only once so much was written.
    after: usize,
}

impl Script {
    fn new(pieces: &[&[u8]], ends: bool) -> Script {
        let pieces = pieces.iter().filter(|piece| !piece.is_empty());
        Script {
            pieces: pieces.map(|piece| Bytes::copy_from_slice(piece)).collect(),
            ends,
            written: Vec::new(),
            takes: usize::MAX,
            after: 0,
        }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.written.len() < self.after {
            return Poll::Pending;
        }
        let Some(mut piece) = self.pieces.pop_front() else {
            return match self.ends {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            };
        };
        let now = piece.split_to(piece.len().min(buffer.remaining()));
        buffer.put_slice(&now);
        if !piece.is_empty() {
            self.pieces.push_front(piece);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.takes);
        self.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> One<T> {
    async fn send(&mut self, message: Message) -> Result<Head, Trouble> {
        self.begin(message);
        std::future::poll_fn(|context| self.poll_head(context)).await
    }
}

/// Of an answer with a body all is wanted.
const ALL: Wanted = Wanted {
    bodiless: false,
    all_headers: true,
};

fn get(is_head: bool) -> Message {
    let method = if is_head { "HEAD" } else { "GET" };
    Message {
        head: format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes(),
        body: Outgoing::Whole(Bytes::new()),
        wanted: Wanted {
            bodiless: is_head,
            ..ALL
        },
    }
}

/// How an exchange went.
#[derive(Debug, PartialEq)]
enum Went {
    /// Status, end-to-end headers, body; whether the connection may be used again.
    Whole(u16, HeaderMap, Vec<u8>, bool),
    /// No head came to its end, or its body did not.
    Broke,
    Waits,
}

fn ours(script: Script, is_head: bool) -> Went {
    exchanged(script, get(is_head))
}

fn exchanged(script: Script, message: Message) -> Went {
    let mut one = One::new(script, Instant::now());
    let head = match one.send(message).now_or_never() {
        Some(Ok(head)) => head,
        Some(Err(_)) => return Went::Broke,
        None => return Went::Waits,
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut body = BytesMut::new();
    loop {
        match one.poll_fill(&mut body, Room::Whole, &mut context) {
            Poll::Ready(Some(Ok(()))) => {}
            Poll::Ready(Some(Err(_))) => return Went::Broke,
            Poll::Ready(None) => break,
            Poll::Pending => return Went::Waits,
        }
    }
    let reusable = one.is_reusable();
    Went::Whole(head.status.as_u16(), head.headers, body.to_vec(), reusable)
}

fn of_hyper(mut script: Script, is_head: bool) -> Went {
    // hyper looks before it has anything to send.
    script.after = 1;
    let work = async {
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES).max_headers(HEAD_LINES);
        let (mut sender, connection) = builder
            .handshake::<_, Empty<Bytes>>(TokioIo::new(script))
            .await
            .unwrap();
        let mut connection = pin!(connection);
        let method = if is_head { "HEAD" } else { "GET" };
        let request = Request::builder().method(method).uri("/");
        let request = request.header("host", "a").body(Empty::new()).unwrap();
        let exchange = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>((head, body))
        };
        let mut exchange = pin!(exchange);
        let mut has_ended = false;
        let went = std::future::poll_fn(|context| {
            // Once before and once after, as the two wake each other.
            for _ in 0..64 {
                if !has_ended {
                    has_ended = connection.as_mut().poll(context).is_ready();
                }
                if let Poll::Ready(went) = exchange.as_mut().poll(context) {
                    return Poll::Ready(went);
                }
            }
            Poll::Pending
        })
        .await;
        let (head, body) = match went {
            Ok(parts) => parts,
            Err(_) => return Went::Broke,
        };
        let mut headers = head.headers;
        keep_end_to_end(&mut headers);
        Went::Whole(head.status.as_u16(), headers, body.to_vec(), !has_ended)
    };
    work.now_or_never().unwrap_or(Went::Waits)
}

fn body_of(went: Went) -> String {
    match went {
        Went::Whole(_, _, body, _) => String::from_utf8(body).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bodies_end_as_their_heads_say() {
    fn check(text: &str, is_head: bool, expected: &str, is_reusable: bool) {
        let went = ours(Script::new(&[text.as_bytes()], false), is_head);
        let Went::Whole(_, _, body, reusable) = went else {
            panic!("{went:?}: {text:?}");
        };
        assert_eq!(body, expected.as_bytes(), "{text:?}");
        assert_eq!(reusable, is_reusable, "{text:?}");
    }
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        false,
        "abc",
        true,
    );
    check(
        "HTTP/1.1 200\r\ncontent-length: 3, 3\r\n\r\nabc",
        false,
        "abc",
        true,
    );
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        false,
        "",
        true,
    );
    check("HTTP/1.1 204 No\r\n\r\n", false, "", true);
    check(
        "HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n",
        false,
        "",
        true,
    );
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
        true,
        "",
        true,
    );
    check(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        true,
        "",
        true,
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        false,
        "a",
        true,
    );
    check(
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
        false,
        "a",
        true,
    );
    check(
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na",
        false,
        "a",
        true,
    );
    // The connection ends with the answer.
    check(
        "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na",
        false,
        "a",
        false,
    );
    check(
        "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 1\r\n\r\na",
        false,
        "a",
        false,
    );
    check("HTTP/1.1 101 S\r\nupgrade: x\r\n\r\n", false, "", false);
    // It cannot be trusted any more.
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        false,
        "a",
        false,
    );
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        false,
        "a",
        false,
    );
    check(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nH",
        false,
        "a",
        false,
    );
    check(
        "HTTP/1.1 204 No\r\ncontent-length: 1\r\n\r\na",
        false,
        "",
        false,
    );
}

#[test]
fn without_a_length_the_end_of_the_connection_is_the_bodys() {
    let text = b"HTTP/1.1 200 OK\r\n\r\nabc";
    assert_eq!(
        body_of(ours(Script::new(&[text, b"def"], true), false)),
        "abcdef"
    );
    assert_eq!(ours(Script::new(&[text], false), false), Went::Waits);
}

#[test]
fn what_is_cut_off_or_malformed_breaks() {
    fn check(text: &str) {
        let went = ours(Script::new(&[text.as_bytes()], true), false);
        assert_eq!(went, Went::Broke, "{text:?}");
    }
    check("");
    check("HTTP/1.1 200 OK\r\ncontent-le");
    check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab");
    check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n");
    check("HTTP/1.1 100 C\r\n\r\n");
    check("HTTP/2 200 OK\r\n\r\n");
    check("SSH-2.0-x\r\n");
    check("\r\nHTTP/1.1 204 No\r\n\r\n");
    check("HTTP/1.1 100 C\r\n\r\n\nHTTP/1.1 204 No\r\n\r\n");
    check("HTTP/1.1 099 OK\r\n\r\n");
    check("HTTP/1.1 200 OK\r\na b: c\r\n\r\n");
    check("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n");
    check("HTTP/1.1 200 OK\r\ncontent-length : 1\r\n\r\na");
    check("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab");
    check("HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na");
    check("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\na");
    check("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n");
    check("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n");
    check("HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n\r\n");
    check("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding:\r\n\r\n0\r\n\r\n");
}

#[test]
fn heads_have_limits() {
    fn trouble(text: &str, piece: usize) -> Trouble {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
        let mut one = One::new(Script::new(&pieces, false), Instant::now());
        let sent = one.send(get(false)).now_or_never();
        sent.expect("it does not wait").expect_err("it is refused")
    }
    let line = format!("x: {}\r\n", "y".repeat(1000));
    let long = format!("HTTP/1.1 200 OK\r\n{}\r\n", line.repeat(70));
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(HEAD_BYTES + 9));
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "x: y\r\n".repeat(HEAD_LINES + 1)
    );
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD_BYTES / 25 + 1);
    for (text, piece) in [
        (&long, usize::MAX),
        (&long, 977),
        (&endless, usize::MAX),
        (&endless, 1),
        (&many, usize::MAX),
        (&interim, 4000),
    ] {
        let found = trouble(text, piece);
        assert!(matches!(found, Trouble::TooLarge), "{found:?}");
    }
}

#[test]
fn only_end_to_end_headers_are_left() {
    let text = "HTTP/1.1 200 OK\r\nA: 1\r\nconnection: b, keep-alive\r\nb: 2\r\nKeep-Alive: timeout=7\r\na: 3\r\nset-cookie: x\r\ncontent-length: 0\r\ntrailer: t\r\n\r\n";
    let mut one = One::new(Script::new(&[text.as_bytes()], false), Instant::now());
    let head = one.send(get(false)).now_or_never().unwrap().unwrap();
    let mut lines: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    lines.sort_by_key(|(name, _)| *name);
    assert_eq!(
        lines,
        [
            ("a", "1"),
            ("a", "3"),
            ("content-length", "0"),
            ("set-cookie", "x")
        ]
    );
    assert_eq!(head.keep_alive, Some(std::time::Duration::from_secs(7)));
}

#[test]
fn an_idle_connection_that_closed_or_spoke_is_not_used_again() {
    let answer = b"HTTP/1.1 204 No\r\n\r\n";
    for (pieces, ends, expected) in [
        (vec![&answer[..]], false, true),
        (vec![&answer[..]], true, false),
        (vec![&answer[..], b"HTTP/1.1 408 T\r\n\r\n"], false, false),
    ] {
        let mut one = One::new(Script::new(&pieces, ends), Instant::now());
        one.send(get(false)).now_or_never().unwrap().unwrap();
        assert_eq!(one.is_reusable(), expected, "{pieces:?} {ends}");
        assert_eq!(
            one.is_reusable(),
            expected,
            "{pieces:?} {ends}, asked again"
        );
    }
}

fn stream(frames: &[&'static str], length: Option<u64>) -> Outgoing {
    let frames: Vec<_> = frames
        .iter()
        .map(|frame| Ok(http_body::Frame::data(Bytes::from_static(frame.as_bytes()))))
        .collect();
    let body = StreamBody::new(futures_util::stream::iter(frames));
    match length {
        None => Outgoing::Streamed(body.boxed_unsync()),
        Some(length) => Outgoing::Streamed(Sized { body, length }.boxed_unsync()),
    }
}

/// Says a length, true or not.
struct Sized<B> {
    body: B,
    length: u64,
}

impl<B: http_body::Body + Unpin> http_body::Body for Sized<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[test]
fn requests_go_out_whole_however_little_is_taken_at_a_time() {
    fn check(body: Outgoing, takes: usize, expected: &str) {
        let mut script = Script::new(&[b"HTTP/1.1 204 No\r\n\r\n"], false);
        script.takes = takes;
        script.after = 3 + expected.len();
        let mut one = One::new(script, Instant::now());
        let message = Message {
            head: b"A\r\n".to_vec(),
            body,
            wanted: ALL,
        };
        one.send(message).now_or_never().unwrap().unwrap();
        let written = one.io.into_inner().written;
        assert_eq!(
            String::from_utf8(written).unwrap(),
            format!("A\r\n{expected}")
        );
    }
    for takes in [1, 2, 3, 7, 100] {
        check(
            Outgoing::Whole(Bytes::from_static(b"hello")),
            takes,
            "hello",
        );
        check(Outgoing::Whole(Bytes::new()), takes, "");
        check(stream(&["abc", "", "defgh"], Some(8)), takes, "abcdefgh");
        check(
            stream(&["abc", "", "0123456789abcdefg"], None),
            takes,
            "3\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n",
        );
    }
}

#[test]
fn a_body_that_is_not_as_long_as_it_said_is_the_sources_fault() {
    for frames in [&["ab"][..], &["abcd"], &[]] {
        let mut one = One::new(Script::new(&[], false), Instant::now());
        let message = Message {
            head: b"A\r\n".to_vec(),
            body: stream(frames, Some(3)),
            wanted: ALL,
        };
        let sent = one.send(message).now_or_never().unwrap();
        assert!(matches!(sent, Err(Trouble::SourceBroke)), "{frames:?}");
    }
}

#[test]
fn an_answer_before_the_request_is_sent_is_taken_and_ends_the_connection() {
    let answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
    let mut one = One::new(Script::new(&[answer], false), Instant::now());
    let endless = StreamBody::new(futures_util::stream::pending());
    let message = Message {
        head: b"A\r\n".to_vec(),
        body: Outgoing::Streamed(endless.boxed_unsync()),
        wanted: ALL,
    };
    let head = one.send(message).now_or_never().unwrap().unwrap();
    assert_eq!(head.status.as_u16(), 413);
    let mut body = BytesMut::new();
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        one.poll_fill(&mut body, Room::Whole, &mut context)
            .is_ready()
    );
    assert_eq!(&body[..], b"no");
    assert!(!one.is_reusable());
}

/// Over a pipe so narrow that both sides wait for each other all the time.
#[tokio::test(start_paused = true)]
async fn whoever_waits_is_woken() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (near, mut far) = tokio::io::duplex(7);
    let body = "0123456789".repeat(100);
    let expected = format!("A\r\n{}0\r\n\r\n", format!("3e8\r\n{body}\r\n").repeat(2));
    let service = async {
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), expected);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{body}");
        far.write_all(answer.as_bytes()).await.unwrap();
        far
    };
    let frames: Vec<_> = [body.clone(), body.clone()]
        .map(|frame| Ok(http_body::Frame::data(Bytes::from(frame))))
        .into();
    let source = StreamBody::new(futures_util::stream::iter(frames));
    let call = async {
        let mut one = One::new(near, Instant::now());
        let message = Message {
            head: b"A\r\n".to_vec(),
            body: Outgoing::Streamed(source.boxed_unsync()),
            wanted: ALL,
        };
        one.send(message).await.unwrap();
        let mut got = BytesMut::new();
        let fill = |context: &mut Context<'_>| one.poll_fill(&mut got, Room::Whole, context);
        let mut fill = fill;
        while let Some(filled) = std::future::poll_fn(&mut fill).await {
            filled.unwrap();
        }
        assert!(one.is_reusable());
        got
    };
    // On the paused clock a lost waker is a timeout at once.
    let both = async { tokio::join!(service, call) };
    let (_far, got) = tokio::time::timeout(std::time::Duration::from_secs(1), both)
        .await
        .expect("both are woken");
    assert_eq!(got, body.as_bytes());
}

/// Answers that are right, nearly right, and wrong.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let status = prop::sample::select(vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.1 204 No",
        "HTTP/1.1 304 N",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 404 ",
        "HTTP/1.1 503",
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK",
        "HTTP/1.1  200",
        "HTP/1.1 200 OK",
    ]);
    let line = prop::sample::select(vec![
        "content-length: 5",
        "Content-Length: 0",
        "content-length: 12",
        "content-length: 5, 5",
        "content-length: x",
        "transfer-encoding: chunked",
        "transfer-encoding: gzip",
        "connection: close",
        "connection: keep-alive",
        "connection: x-a",
        "x-a: 1",
        "x-b:",
        "set-cookie: a=b",
        "date: now",
        "content-type: application/json",
        "Content-Type: text/html",
        "content-encoding: gzip",
        "connection: content-type",
        "keep-alive: timeout=3",
        "x y: z",
        "x-c: \u{e9}",
        " folded",
    ]);
    let body = prop::sample::select(vec![
        "",
        "hello",
        "hello world!",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;x=y\r\nhello\r\n0\r\na: b\r\n\r\n",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "g\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello!\r\n0\r\n\r\n",
    ]);
    let lines = prop::collection::vec(line, 0..4);
    let noise = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    (status, lines, body, noise).prop_map(|(status, lines, body, noise)| {
        let mut text = format!("{status}\r\n");
        for line in lines {
            text += line;
            text += "\r\n";
        }
        let mut bytes = format!("{text}\r\n{body}").into_bytes();
        if let Some((place, byte)) = noise {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    })
}

fn cut<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn where_an_answer_is_cut_makes_no_difference(
        bytes in answers(), ends: bool, is_head: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)
    ) {
        let whole = ours(Script::new(&[&bytes], ends), is_head);
        let pieces = ours(Script::new(&cut(&bytes, &cuts), ends), is_head);
        // A head that is cut is not parsed before its empty line has come.
        if (&whole, &pieces) != (&Went::Broke, &Went::Waits) {
            prop_assert_eq!(whole, pieces);
        }
    }

    /// The headers that nobody reads are left out, and nothing else changes.
    #[test]
    fn what_nobody_reads_is_not_missed(bytes in answers(), ends: bool, is_head: bool) {
        let all = ours(Script::new(&[&bytes], ends), is_head);
        let wanted = Wanted { bodiless: is_head, all_headers: false };
        let message = Message { wanted, ..get(is_head) };
        let few = exchanged(Script::new(&[&bytes], ends), message);
        match (all, few) {
            (Went::Whole(status @ 200..300, headers, body, reusable), Went::Whole(s, left, b, r)) => {
                prop_assert_eq!((status, body, reusable), (s, b, r));
                prop_assert_eq!(may_be_json(&headers), may_be_json(&left));
                prop_assert_eq!(is_content_coded(&headers), is_content_coded(&left));
                let few = [CONTENT_TYPE, CONTENT_ENCODING];
                prop_assert!(left.keys().all(|name| few.contains(name)), "{:?}", left);
            }
            (all, few) => prop_assert_eq!(all, few),
        }
    }

    /// What we take, hyper takes as the same; what we refuse and it takes is refused on purpose.
    #[test]
    fn hyper_reads_the_same(bytes in answers(), ends: bool, is_head: bool) {
        let found = ours(Script::new(&[&bytes], ends), is_head);
        let judge = of_hyper(Script::new(&[&bytes], ends), is_head);
        match (found, judge) {
            (Went::Whole(status, headers, body, reusable), Went::Whole(s, h, b, may_be_used)) => {
                prop_assert_eq!((status, headers, body), (s, h, b));
                prop_assert!(may_be_used || !reusable, "we would use it again");
            }
            (Went::Broke, Went::Whole(..) | Went::Waits) => {
                let text = String::from_utf8_lossy(&bytes).to_lowercase().replace('\r', "");
                let is_strict = text.contains("transfer-encoding")
                    || text.contains("content-length")
                    // An empty line between an interim answer and the final one.
                    || text.contains("\n\n\nhttp/");
                prop_assert!(
                    is_strict,
                    "only framing and empty lines are read more strictly: {}", text
                );
            }
            (found, judge) => prop_assert_eq!(found, judge),
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_spin(bytes: Vec<u8>, ends: bool) {
        let _ = ours(Script::new(&[&bytes], ends), false);
        let text = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &bytes[..]].concat();
        let _ = ours(Script::new(&[&text], ends), false);
    }
}
