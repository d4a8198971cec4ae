//! A faulty service on an HTTP/2 connection, with prior knowledge: what only streams can do, and the
//! answers that both have.

use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Connection, SendResponse};
use http::Response;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::behaviour::{Act, Answer, Behaviour};
use super::{End, Faulty, Message, Wire};

/// What a stream asks of its connection.
enum Wish {
    GoAway,
    Close,
}

pub(super) async fn converse(service: &Arc<Faulty>, connection: usize, wire: impl Wire) {
    let Ok(mut line) = h2::server::handshake(wire).await else {
        return;
    };
    let (wish, mut wishes) = mpsc::unbounded_channel();
    let mut streams = JoinSet::new();
    let mut turn = 0;
    loop {
        tokio::select! {
            biased;
            Some(wish) = wishes.recv() => obey(&mut line, wish),
            accepted = line.accept() => {
                let Some(Ok((request, respond))) = accepted else { break };
                let (service, wish) = (service.clone(), wish.clone());
                streams.spawn(async move {
                    let Some(message) = message(request).await else { return };
                    let (number, behaviour) = service.asked(connection, turn, message);
                    let end = act(respond, behaviour, &wish).await;
                    service.ended(number, end.unwrap_or(End::Gone));
                });
                turn += 1;
            }
        }
    }
    // They learn of the end by themselves, and write down how it ended.
    drop(line);
    while streams.join_next().await.is_some() {}
}

fn obey(line: &mut Connection<impl Wire, Bytes>, wish: Wish) {
    match wish {
        Wish::GoAway => line.graceful_shutdown(),
        Wish::Close => line.abrupt_shutdown(Reason::INTERNAL_ERROR),
    }
}

async fn message(request: http::Request<h2::RecvStream>) -> Option<Message> {
    let (parts, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(bytes) = stream.data().await {
        let bytes = bytes.ok()?;
        stream.flow_control().release_capacity(bytes.len()).ok()?;
        body.extend_from_slice(&bytes);
    }
    Some(Message {
        method: parts.method,
        target: parts.uri.path_and_query()?.to_string(),
        headers: parts.headers,
        body: body.into(),
    })
}

/// `None` if the other side goes away before the behaviour has come to its end.
async fn act(
    mut respond: SendResponse<Bytes>,
    Behaviour { after, act }: Behaviour,
    wish: &mpsc::UnboundedSender<Wish>,
) -> Option<End> {
    stays(&mut respond, Behaviour::latency(after)).await?;
    match act {
        Act::Answer(answer) => send(&mut respond, answer),
        Act::Never => {
            std::future::poll_fn(|context| respond.poll_reset(context))
                .await
                .ok();
            None
        }
        Act::Reset => {
            respond.send_reset(Reason::INTERNAL_ERROR);
            Some(End::Broke)
        }
        Act::Close => {
            wish.send(Wish::Close).ok()?;
            std::future::poll_fn(|context| respond.poll_reset(context))
                .await
                .ok();
            Some(End::Broke)
        }
        Act::Truncate(answer, sent) => {
            let mut stream = respond.send_response(head(&answer), false).ok()?;
            stream.send_data(answer.body.slice(..sent), false).ok()?;
            stream.send_reset(Reason::INTERNAL_ERROR);
            Some(End::Broke)
        }
        Act::Hold(gate, answer) => {
            stays(&mut respond, gate.opened()).await?;
            send(&mut respond, answer)
        }
        Act::RefuseStream => {
            respond.send_reset(Reason::REFUSED_STREAM);
            Some(End::Unprocessed)
        }
        Act::GoAway(answer) => {
            wish.send(Wish::GoAway).ok()?;
            send(&mut respond, answer)
        }
        Act::Drip(_) | Act::HalfClose(_) | Act::Raw(_) | Act::Stream { .. } => {
            panic!("it is not told to do this over HTTP/2")
        }
    }
}

async fn stays<T>(respond: &mut SendResponse<Bytes>, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        _ = std::future::poll_fn(|context| respond.poll_reset(context)) => None,
        output = future => Some(output),
    }
}

fn send(respond: &mut SendResponse<Bytes>, answer: Answer) -> Option<End> {
    let mut stream = respond.send_response(head(&answer), false).ok()?;
    stream.send_data(answer.body, true).ok()?;
    Some(End::Answered)
}

fn head(answer: &Answer) -> Response<()> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response.body(()).expect("a script's head is one")
}
