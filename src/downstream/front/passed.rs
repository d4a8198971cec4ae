//! Layers 3 and 4 for answers that are passed: kept while they stream, and asked for once where they
//! will be kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Full};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cache::flight::{Leader, Role};
use crate::cache::range::{self, Part};
use crate::cache::rules;
use crate::downstream::Client;
use crate::downstream::dial::Dial;
use crate::downstream::front::{
    Looked, Missed, conditions, hit, in_background, is_covered, look, validated_note,
    with_conditions,
};
use crate::downstream::keeping::Keeping;
use crate::downstream::kept::Kept;
use crate::downstream::ladder::{HeadOnly, climb};
use crate::downstream::shelf::{self, Arrived};
use crate::engine::code::Code;
use crate::engine::fetch::{
    ByteStream, CacheFate, CacheNote, CallError, Exchange, Forward, Forwarded, Head, Opened,
    is_too_late,
};
use crate::moment;
use crate::plan::Cache;

/// Makes one call whose answer is passed, or gives what is kept. What may be kept is kept while it
/// streams, if it comes to its end.
pub async fn open<D: Dial>(
    client: &Client<D>,
    exchange: Arc<Exchange>,
    body: Option<ByteStream>,
) -> Opened {
    let cache = match (exchange.call().cache, body) {
        (Some(cache), None) => cache,
        (_, body) => return climb_to_head(client, exchange, body).await,
    };
    Box::pin(open_or_give(client, exchange, cache)).await
}

async fn open_or_give<D: Dial>(
    client: &Client<D>,
    exchange: Arc<Exchange>,
    cache: Cache,
) -> Opened {
    // 3 cache
    let missed = match look(client, &exchange).await {
        Looked::Given(kept, is_due) => {
            let opened = passed_from(&kept, &exchange, hit(&kept), 0);
            if is_due {
                renew(client, &exchange, kept);
            }
            return opened;
        }
        Looked::Refused => return nothing_kept(),
        Looked::Missed(missed) => missed,
    };
    // 4 coalesce
    open_shared(client, exchange, cache, missed).await
}

/// What is known of a passed answer when its head has come.
#[derive(Clone)]
pub enum Gate {
    /// It is not for others.
    Alone,
    /// It is being kept: `true` when it is there.
    Kept(watch::Receiver<bool>),
}

/// How long an answer that streams to its client may keep others from asking themselves.
const WHOLE_WITHIN: Duration = Duration::from_millis(250);

/// Who asks for what is under way waits until it is kept, or is known not to be.
async fn open_shared<D: Dial>(
    client: &Client<D>,
    exchange: Arc<Exchange>,
    cache: Cache,
    missed: Missed,
) -> Opened {
    if !exchange.call().coalesce {
        return open_anew(client, exchange, cache, missed, None).await;
    }
    let mut may_take_over = true;
    loop {
        let mut follower = match client.process.gates.join(exchange.key()) {
            Role::Lead(leader, _) => {
                // One may have ended between our look at the cache and our turn to lead.
                if let Some(kept) = client.process.shelf.peek(&exchange, cache) {
                    return passed_from(&kept, &exchange, hit(&kept), 0);
                }
                return open_anew(client, exchange, cache, missed, Some(leader)).await;
            }
            Role::Follow(follower) => follower,
        };
        let Ok(gate) = timeout_at(exchange.deadline, follower.landed()).await else {
            return Opened {
                result: Err(CallError::new(Code::Timeout)),
                attempts: 0,
                note: None,
                covered: None,
            };
        };
        let has_time = !is_too_late(exchange.deadline, moment::now());
        match gate {
            None if may_take_over && has_time => may_take_over = false,
            Some(Gate::Kept(mut whole)) => {
                let whole = timeout(WHOLE_WITHIN, whole.wait_for(|whole| *whole)).await;
                let is_whole = matches!(whole, Ok(Ok(_)));
                drop(whole);
                if is_whole && let Looked::Given(kept, _) = look(client, &exchange).await {
                    let note = collapsed(&kept, missed.why);
                    return passed_from(&kept, &exchange, note, 0);
                }
                return open_anew(client, exchange, cache, missed, None).await;
            }
            _ => return open_anew(client, exchange, cache, missed, None).await,
        }
    }
}

fn collapsed(kept: &Kept, why: Forward) -> CacheNote {
    CacheNote {
        fate: CacheFate::Forwarded(Forwarded {
            stored: true,
            collapsed: true,
            ..Forwarded::because(why)
        }),
        ttl: Some(kept.ttl(moment::now())),
    }
}

/// Asks the service for an answer that is passed, and for no more than whether what is kept is good
/// still, where that can be asked.
async fn open_anew<D: Dial>(
    client: &Client<D>,
    exchange: Arc<Exchange>,
    cache: Cache,
    missed: Missed,
    leader: Option<Leader<Gate>>,
) -> Opened {
    let started = moment::now();
    let (conditions, validated) = conditions(&exchange, &missed);
    let sent = match &validated {
        Some(_) => with_conditions(&exchange, conditions),
        None => exchange.clone(),
    };
    let mut opened = climb_to_head(client, sent, None).await;
    if let (Some(kept), Ok(head)) = (&validated, &opened.result)
        && head.status == 304
    {
        let arrived = Arrived {
            status: head.status,
            is_failure: false,
            headers: &head.headers,
            body: Bytes::new(),
            received: moment::now(),
            took: moment::since(started),
        };
        let shelf = &client.process.shelf;
        if let Some(kept) = shelf.freshen(&exchange, cache, kept, arrived) {
            if let Some(leader) = leader {
                leader.land(Gate::Kept(watch::channel(true).1));
            }
            return passed_from(&kept, &exchange, validated_note(&kept), opened.attempts);
        }
        opened = climb_to_head(client, exchange.clone(), None).await;
    }
    if let Some(covered) = covered(client, &exchange, cache, &opened) {
        return covered;
    }
    keep_passed(
        client, &exchange, cache, missed.why, opened, started, leader,
    )
}

/// A kept answer in place of a failure, where it may stand in for that.
fn covered<D: Dial>(
    client: &Client<D>,
    exchange: &Exchange,
    cache: Cache,
    opened: &Opened,
) -> Option<Opened> {
    let error = match &opened.result {
        Err(error) => error.clone(),
        // RFC 5861 §4 names these.
        Ok(head) if matches!(head.status, 500 | 502..=504) => CallError {
            status: Some(head.status),
            ..CallError::new(match head.status {
                500 => Code::Service5xx,
                _ => Code::ServiceUnavailable,
            })
        },
        Ok(_) => return None,
    };
    let kept =
        is_covered(error.code).then(|| client.process.shelf.stands_in(exchange, cache))??;
    let note = CacheNote {
        fate: CacheFate::Forwarded(Forwarded {
            status: error.status,
            ..Forwarded::because(Forward::Stale)
        }),
        ttl: Some(kept.ttl(moment::now())),
    };
    Some(Opened {
        covered: Some(error),
        ..passed_from(&kept, exchange, note, opened.attempts)
    })
}

async fn climb_to_head<D: Dial>(
    client: &Client<D>,
    exchange: Arc<Exchange>,
    body: Option<ByteStream>,
) -> Opened {
    let stall = client.stall;
    let climbed = climb(client, exchange, body, HeadOnly { stall }).await;
    Opened {
        result: climbed.result,
        attempts: climbed.attempts,
        note: None,
        covered: None,
    }
}

/// A kept answer, the part of it that the client asks for (RFC 9110 §14.2), or 304 where it has it
/// already (RFC 9111 §4.3.2).
fn passed_from(kept: &Kept, exchange: &Exchange, note: CacheNote, attempts: u32) -> Opened {
    let headers = kept.head(moment::now());
    let length = kept.body.len();
    let has_it = rules::is_not_modified(&exchange.headers, kept.status, &kept.headers);
    let (status, headers, body) = match part(kept, exchange) {
        _ if has_it => (304, headers, Bytes::new()),
        Part::Whole => (kept.status, headers, kept.body.clone()),
        Part::Bytes(bytes) => (
            206,
            range::head_of_part(headers, &bytes, length),
            kept.body.slice(bytes),
        ),
        Part::Nothing => (416, range::head_of_nothing(length), Bytes::new()),
    };
    Opened {
        result: Ok(Head {
            status,
            headers,
            body: whole(body),
        }),
        attempts,
        note: Some(note),
        covered: None,
    }
}

/// Parts are for GET, and of what was answered with 200.
fn part(kept: &Kept, exchange: &Exchange) -> Part {
    match exchange.call().method == Method::GET && kept.status == 200 {
        true => range::wanted(&exchange.headers, &kept.headers, kept.body.len()),
        false => Part::Whole,
    }
}

fn whole(bytes: Bytes) -> ByteStream {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// RFC 9111 §5.2.1.7.
fn nothing_kept() -> Opened {
    Opened {
        result: Ok(Head {
            status: 504,
            headers: HeaderMap::new(),
            body: whole(Bytes::new()),
        }),
        attempts: 0,
        note: None,
        covered: None,
    }
}

/// Lets the answer through, and keeps it when it has come to its end.
fn keep_passed<D: Dial>(
    client: &Client<D>,
    exchange: &Exchange,
    cache: Cache,
    why: Forward,
    opened: Opened,
    started: Instant,
    leader: Option<Leader<Gate>>,
) -> Opened {
    let (received, took) = (moment::now(), moment::since(started));
    let mut note = CacheNote {
        fate: CacheFate::Forwarded(Forwarded::because(why)),
        ttl: None,
    };
    let result = opened.result.map(|head| {
        let arrived = Arrived {
            status: head.status,
            is_failure: head.status >= 400,
            headers: &head.headers,
            body: Bytes::new(),
            received,
            took,
        };
        let Some(freshness) = shelf::promise(exchange, cache, &arrived) else {
            stands_alone(leader);
            return head;
        };
        let left = freshness.lifetime.saturating_sub(freshness.initial_age);
        let (is_whole, whole) = watch::channel(false);
        let (shelf, service) = (client.process.shelf.clone(), client.name_of(exchange));
        let most = exchange.call().max_body;
        let (exchange, service) = (exchange.clone(), service.to_owned());
        let (status, headers) = (head.status, head.headers.clone());
        let keep = move |body: Bytes| {
            let arrived = Arrived {
                status,
                is_failure: status >= 400,
                headers: &headers,
                body,
                received,
                took,
            };
            shelf.keep_promised(&exchange, cache, &service, arrived, freshness);
            // Nobody may wait for it.
            is_whole.send_replace(true);
        };
        let memory = client.process.memory.reservation();
        match Keeping::around(head.body, most, memory, keep) {
            Ok(body) => {
                if let Some(leader) = leader {
                    leader.land(Gate::Kept(whole));
                }
                note.fate = CacheFate::Forwarded(Forwarded {
                    stored: true,
                    ..Forwarded::because(why)
                });
                note.ttl = Some(i64::try_from(left.as_secs()).unwrap_or(i64::MAX));
                Head {
                    body: body.boxed_unsync(),
                    ..head
                }
            }
            Err(body) => {
                stands_alone(leader);
                Head { body, ..head }
            }
        }
    });
    Opened {
        result,
        attempts: opened.attempts,
        note: Some(note),
        covered: None,
    }
}

fn stands_alone(leader: Option<Leader<Gate>>) {
    if let Some(leader) = leader {
        leader.land(Gate::Alone);
    }
}

/// How long a renewal in the background may take to bring its body.
const RENEWED_WITHIN: Duration = Duration::from_secs(30);

/// Fetches a passed answer anew, reading it to its end so that it is kept.
fn renew<D: Dial>(client: &Client<D>, exchange: &Exchange, kept: Arc<Kept>) {
    let cache = exchange.call().cache;
    let leader = client.process.renewals.lead(exchange.key());
    let Some((cache, leader)) = cache.zip(leader) else {
        return;
    };
    let (client, exchange) = (client.clone(), in_background(exchange));
    let tasks = client.process.tasks.clone();
    let _ = tasks.spawn(async move {
        let opened = open_anew(&client, exchange, cache, Missed::stale(kept), None).await;
        if let Ok(head) = opened.result {
            let to_the_end = head.body.collect();
            let _ = timeout(RENEWED_WITHIN, to_the_end).await;
        }
        leader.land(());
    });
}
