//! The front of the ladder: layer 3, the response cache, and layer 4, shared flights. What passes
//! both climbs the rest: [`crate::downstream::ladder`].
//!
//! [`fetch`] is for answers that are read whole, [`passed::open`] for those that are passed. What is
//! kept, and for whom it is good, is [`crate::downstream::shelf`].

pub mod passed;
pub mod rows;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::{Instant, timeout_at};

use crate::cache::control::Control;
use crate::cache::flight::{Leader, Role};
use crate::cache::rules;
use crate::downstream::Client;
use crate::downstream::dial::Dial;
use crate::downstream::kept::{Kept, Standing};
use crate::downstream::ladder::{Climbed, Whole, climb};
use crate::downstream::shelf::{self, Arrived, Wanted};
use crate::engine::code::Code;
use crate::engine::fetch::{
    Answer, CacheFate, CacheNote, CallError, Exchange, Fetched, Forward, Forwarded, Lasting, Made,
    is_too_late,
};
use crate::engine::lasting;
use crate::json;
use crate::moment;
use crate::plan::{self, Cache, CallId, Route, Ttl};

/// What a flight brings to all who wait for it.
#[derive(Clone)]
pub struct Landing {
    /// The call that has brought it.
    route: Arc<Route>,
    call: CallId,
    result: Result<Box<Answer>, CallError>,
    attempts: u32,
    note: Option<CacheNote>,
}

/// Why the service is asked, and what is kept already.
#[derive(Clone)]
pub(super) struct Missed {
    pub(super) why: Forward,
    pub(super) kept: Option<Arc<Kept>>,
}

impl Missed {
    /// Nothing is kept.
    fn nothing(why: Forward) -> Missed {
        Missed { why, kept: None }
    }

    fn stale(kept: Arc<Kept>) -> Missed {
        Missed {
            why: Forward::Stale,
            kept: Some(kept),
        }
    }
}

/// Makes one call, or gives what is known already.
pub async fn fetch<D: Dial>(client: &Client<D>, exchange: Arc<Exchange>) -> Fetched {
    let call = exchange.call();
    if call.cache.is_none() && !call.coalesce {
        return fetch_alone(client, exchange).await;
    }
    // In a box, so that calls that need none of it do not carry it about.
    Box::pin(fetch_or_give(client, exchange)).await
}

async fn fetch_or_give<D: Dial>(client: &Client<D>, exchange: Arc<Exchange>) -> Fetched {
    // 3 cache: a fresh answer returns; a stale one is kept for layer 2, and to be validated.
    let missed = match look(client, &exchange).await {
        Looked::Given(kept, is_due) => match given(&kept, &exchange) {
            Some(fetched) => {
                if is_due {
                    renew(client, &exchange, kept);
                }
                return fetched;
            }
            // This call's limits are narrower than those it was kept under.
            None => Missed::nothing(Forward::Miss),
        },
        Looked::Refused => return refused(),
        Looked::Missed(missed) => missed,
    };
    // 4 coalesce: one flight for what would send the same.
    match exchange.call().coalesce {
        false => fly(client, &exchange, missed).await.into(),
        true => share(client, exchange, missed).await,
    }
}

/// Neither layer has a part in it.
async fn fetch_alone<D: Dial>(client: &Client<D>, exchange: Arc<Exchange>) -> Fetched {
    let Climbed { result, attempts } = send(client, exchange.clone(), false).await;
    if let Ok(answer) = &result {
        keep_last_good(client, &exchange, answer, None);
    }
    Fetched {
        result: match exchange.route.response.computed.is_some() {
            true => result.map(lasting_by_headers),
            false => result,
        },
        attempts,
        note: None,
    }
}

// === 3 cache

enum Looked {
    /// `true`: a new one is to be fetched meanwhile.
    Given(Arc<Kept>, bool),
    Missed(Missed),
    /// The request wants a kept answer or none, and there is none.
    Refused,
}

async fn look<D: Dial>(client: &Client<D>, exchange: &Exchange) -> Looked {
    let call = exchange.call();
    // Of a bulk call each row is kept, and was looked for before.
    let Some(cache) = call.cache.filter(|_| call.batch().is_none()) else {
        return Looked::Missed(Missed::nothing(match call.cache {
            Some(_) => Forward::Miss,
            None => Forward::Bypass,
        }));
    };
    let wanted = Wanted {
        exchange,
        cache,
        service: client.name_of(exchange),
    };
    let found = client.process.shelf.look(&[wanted], &*client.observe).await;
    found
        .into_iter()
        .next()
        .expect("what is wanted is looked for")
        .into()
}

impl From<shelf::Looked> for Looked {
    fn from(found: shelf::Looked) -> Looked {
        match (found.kept, found.standing) {
            (Some(kept), Standing::Good) => Looked::Given(kept, false),
            (Some(kept), Standing::Due) => Looked::Given(kept, true),
            (_, Standing::Refused) => Looked::Refused,
            (kept, _) => Looked::Missed(Missed {
                why: found.why,
                kept,
            }),
        }
    }
}

/// Fetches a new answer in the background, unless somebody does already.
fn renew<D: Dial>(client: &Client<D>, exchange: &Exchange, kept: Arc<Kept>) {
    if let Some(leader) = client.process.flights.lead(exchange.key()) {
        let missed = Missed::stale(kept);
        launch(client, in_background(exchange), missed, leader);
    }
}

/// The same exchange, with the time of its own that a call in the background has.
fn in_background(exchange: &Exchange) -> Arc<Exchange> {
    let time = exchange.call().timeout.unwrap_or(exchange.route.timeout);
    Arc::new(Exchange {
        deadline: moment::now() + time,
        ends_with_route: false,
        made: Made::default(),
        ..exchange.clone()
    })
}

fn hit(kept: &Kept) -> CacheNote {
    CacheNote {
        fate: CacheFate::Hit,
        ttl: Some(kept.ttl(moment::now())),
    }
}

/// A kept answer, or the failure that is kept.
fn given(kept: &Kept, exchange: &Exchange) -> Option<Fetched> {
    let result = match kept.failure() {
        Some(failure) => Err(failure),
        None => Ok(lasting(kept.answer_to(exchange)?, kept, exchange)),
    };
    Some(Fetched {
        result,
        attempts: 0,
        note: Some(hit(kept)),
    })
}

/// Says how long the answer is good, where the route's own answer is made of that.
fn lasting(mut answer: Box<Answer>, kept: &Kept, exchange: &Exchange) -> Box<Answer> {
    let cache = exchange.call().cache;
    let wanted = cache.filter(|_| exchange.route.response.computed.is_some());
    answer.lasting = wanted.map(|cache| kept.lasting(moment::now(), cache.ttl));
    answer
}

fn lasting_by(mut answer: Box<Answer>, ttl: Ttl) -> Box<Answer> {
    let Ttl::For(ttl) = ttl else {
        return lasting_by_headers(answer);
    };
    answer.lasting = Some(Lasting::written(Duration::ZERO, ttl));
    answer
}

fn lasting_by_headers(mut answer: Box<Answer>) -> Box<Answer> {
    let lasting = lasting::lasting(answer.status, &answer.headers, moment::wall());
    answer.lasting = Some(lasting);
    answer
}

fn refused() -> Fetched {
    Fetched {
        result: Err(CallError {
            status: Some(504),
            detail: Some("`only-if-cached`, and nothing is kept".to_owned()),
            ..CallError::new(Code::ServiceUnavailable)
        }),
        attempts: 0,
        note: None,
    }
}

/// Whether an old answer may stand in for a failure of this kind (RFC 5861 §4): the service could not
/// be had, or could not do it. What it has said of the request itself stays said.
pub fn is_covered(code: Code) -> bool {
    !matches!(
        code,
        Code::Service4xx
            | Code::UnexpectedStatus
            | Code::MissingValue
            | Code::MissingRow
            | Code::BadValue
            | Code::LoopDetected
    )
}

// === 4 coalesce

/// Follows the flight that is under way, or leads one. Whoever follows a leader that fails may lead
/// once more, so that one bad moment is not everybody's.
pub(super) async fn share<D: Dial>(
    client: &Client<D>,
    exchange: Arc<Exchange>,
    missed: Missed,
) -> Fetched {
    let key = exchange.key();
    let mut may_take_over = true;
    loop {
        let (mut follower, leads) = match client.process.flights.join(key.clone()) {
            Role::Lead(leader, follower) => {
                if let Some(fetched) = landed_meanwhile(client, &exchange) {
                    return fetched;
                }
                launch(client, exchange.clone(), missed.clone(), leader);
                (follower, true)
            }
            Role::Follow(follower) => (follower, false),
        };
        let Ok(landed) = timeout_at(exchange.deadline, follower.landed()).await else {
            let made = exchange.made.so_far();
            return failed(Code::Timeout, if leads { made } else { 0 });
        };
        let has_time = !is_too_late(exchange.deadline, moment::now());
        match landed {
            Some(landing) if leads => return landing.into(),
            Some(landing) if landing.is_final() || !may_take_over || !has_time => {
                return match landing.shared_with(&exchange) {
                    Some(fetched) => fetched,
                    None => fly(client, &exchange, missed).await.into(),
                };
            }
            None if leads || !may_take_over => return failed(Code::Overloaded, 0),
            _ => may_take_over = false,
        }
    }
}

/// What a flight has brought that ended between our look at the cache and our turn to lead.
fn landed_meanwhile<D: Dial>(client: &Client<D>, exchange: &Exchange) -> Option<Fetched> {
    let call = exchange.call();
    let cache = call.cache.filter(|_| call.batch().is_none())?;
    let kept = client.process.shelf.peek(exchange, cache)?;
    given(&kept, exchange)
}

fn failed(code: Code, attempts: u32) -> Fetched {
    Fetched {
        result: Err(CallError::new(code)),
        attempts,
        note: None,
    }
}

/// Makes the request in a task of the process. It goes on without its client if others wait for it,
/// or if what it brings will be kept.
fn launch<D: Dial>(
    client: &Client<D>,
    exchange: Arc<Exchange>,
    missed: Missed,
    mut leader: Leader<Landing>,
) {
    let is_kept = exchange.call().cache.is_some();
    let client = client.clone();
    let tasks = client.process.tasks.clone();
    // With no room in the set the leader is dropped, which tells all who wait.
    let _ = tasks.spawn(async move {
        let flight = fly(&client, &exchange, missed);
        tokio::pin!(flight);
        let landing = tokio::select! {
            biased;
            landing = &mut flight => Some(landing),
            () = leader.abandoned(), if !is_kept => None,
        };
        if let Some(landing) = landing {
            leader.land(landing);
        }
    });
}

impl Landing {
    /// The service has answered, be it that it cannot: asked again it would say the same.
    fn is_final(&self) -> bool {
        match &self.result {
            Ok(_) => true,
            Err(error) => matches!(error.code, Code::Service4xx | Code::UnexpectedStatus),
        }
    }

    /// For another who has sent nothing; `None` if it is not for others, or does not fit.
    fn shared_with(self, exchange: &Exchange) -> Option<Fetched> {
        let result = match self.result {
            Ok(answer) => {
                let is_own =
                    Arc::ptr_eq(&self.route, &exchange.route) && self.call == exchange.call;
                Ok(fitted(answer, is_own, exchange)?)
            }
            Err(error) => Err(error),
        };
        let forwarded = match self.note.map(|note| note.fate) {
            Some(CacheFate::Forwarded(forwarded)) => forwarded,
            _ => Forwarded::because(Forward::Bypass),
        };
        Some(Fetched {
            result,
            attempts: 0,
            note: Some(CacheNote {
                fate: CacheFate::Forwarded(Forwarded {
                    collapsed: true,
                    ..forwarded
                }),
                ttl: self.note.and_then(|note| note.ttl),
            }),
        })
    }
}

/// The answer that another exchange brought, for this one; `is_own`: it is of the same call.
fn fitted(mut answer: Box<Answer>, is_own: bool, wanted: &Exchange) -> Option<Box<Answer>> {
    let call = wanted.call();
    let by_headers = call.cache.filter(|cache| cache.ttl == Ttl::FromHeaders);
    let is_for_one = answer.headers.contains_key(http::header::SET_COOKIE)
        || by_headers.is_some_and(|_| {
            let says = Control::of_answer(&answer.headers);
            says.no_store || says.private
        });
    if is_for_one {
        return None;
    }
    if is_own {
        return Some(answer);
    }
    let Some(body) = &answer.body else {
        return Some(answer);
    };
    if body.bytes().len() > call.max_body {
        return None;
    }
    let bytes = body.bytes().clone();
    let body = json::Body::check(bytes, &call.raw_demand, wanted.route.json_limits).ok()?;
    answer.body = Some(body);
    Some(answer)
}

impl From<Landing> for Fetched {
    fn from(landing: Landing) -> Fetched {
        Fetched {
            result: landing.result,
            attempts: landing.attempts,
            note: landing.note,
        }
    }
}

// === one request

/// Makes the request, and keeps what it brings.
async fn fly<D: Dial>(client: &Client<D>, exchange: &Arc<Exchange>, missed: Missed) -> Landing {
    let started = moment::now();
    let (conditions, validated) = conditions(exchange, &missed);
    if let Some(kept) = &validated {
        let climbed = send(client, with_conditions(exchange, conditions), true).await;
        match climbed.result {
            Ok(answer) if answer.status == 304 => {
                let confirmed = confirmed(client, exchange, kept, &answer, started);
                if let Some((answer, note)) = confirmed {
                    return Landing {
                        route: exchange.route.clone(),
                        call: exchange.call,
                        result: Ok(answer),
                        attempts: climbed.attempts,
                        note: Some(note),
                    };
                }
                // It is about another answer than the one that is kept: all of it is asked for.
            }
            _ => return landed(client, exchange, missed.why, climbed, started),
        }
    }
    let climbed = send(client, exchange.clone(), false).await;
    landed(client, exchange, missed.why, climbed, started)
}

async fn send<D: Dial>(
    client: &Client<D>,
    exchange: Arc<Exchange>,
    validates: bool,
) -> Climbed<Box<Answer>> {
    let process = client.process.clone();
    climb(client, exchange, None, Whole { process, validates }).await
}

/// What is asked along with the request because of what is kept, and what that is.
fn conditions(exchange: &Exchange, missed: &Missed) -> (HeaderMap, Option<Arc<Kept>>) {
    let usable = missed.kept.as_ref().filter(|kept| kept.status < 300);
    let Some(kept) = usable else {
        return (HeaderMap::new(), None);
    };
    let conditions = rules::validators(&kept.headers);
    let is_passed = exchange.call().role == plan::Role::Pass;
    let fits = is_passed || kept.answer_to(exchange).is_some();
    match conditions.is_empty() || !fits {
        true => (HeaderMap::new(), None),
        false => (conditions, Some(kept.clone())),
    }
}

/// With these conditions in place of the client's own.
fn with_conditions(exchange: &Exchange, conditions: HeaderMap) -> Arc<Exchange> {
    let mut sent = exchange.clone();
    for name in [
        http::header::IF_NONE_MATCH,
        http::header::IF_MODIFIED_SINCE,
        http::header::IF_MATCH,
        http::header::IF_UNMODIFIED_SINCE,
        http::header::IF_RANGE,
        http::header::RANGE,
    ] {
        sent.headers.remove(name);
    }
    sent.headers.extend(conditions);
    Arc::new(sent)
}

/// The service says that what is kept is good still.
fn confirmed<D: Dial>(
    client: &Client<D>,
    exchange: &Exchange,
    kept: &Kept,
    not_modified: &Answer,
    started: Instant,
) -> Option<(Box<Answer>, CacheNote)> {
    let cache = exchange.call().cache?;
    let arrived = Arrived::success(not_modified, started);
    let kept = client
        .process
        .shelf
        .freshen(exchange, cache, kept, arrived)?;
    let answer = lasting(kept.answer_to(exchange)?, &kept, exchange);
    keep_last_good(client, exchange, &answer, Some(&kept));
    Some((answer, validated_note(&kept)))
}

fn validated_note(kept: &Kept) -> CacheNote {
    CacheNote {
        fate: CacheFate::Forwarded(Forwarded {
            status: Some(304),
            stored: true,
            ..Forwarded::because(Forward::Stale)
        }),
        ttl: Some(kept.ttl(moment::now())),
    }
}

/// The request has ended: what it brought is kept, if it may be.
fn landed<D: Dial>(
    client: &Client<D>,
    exchange: &Exchange,
    why: Forward,
    climbed: Climbed<Box<Answer>>,
    started: Instant,
) -> Landing {
    let call = exchange.call();
    let is_bulk = call.batch().is_some();
    let kept = call
        .cache
        .filter(|_| !is_bulk)
        .and_then(|cache| keep(client, exchange, cache, &climbed.result, started));
    let note = call.cache.map(|_| CacheNote {
        fate: CacheFate::Forwarded(Forwarded {
            stored: kept.is_some(),
            ..Forwarded::because(why)
        }),
        ttl: kept.as_ref().map(|kept| kept.ttl(moment::now())),
    });
    let result = climbed.result.map(|answer| {
        keep_last_good(client, exchange, &answer, kept.as_deref());
        match &kept {
            Some(kept) => lasting(answer, kept, exchange),
            None if exchange.route.response.computed.is_some() => match call.cache {
                // Its rows are kept, each for itself.
                Some(cache) if is_bulk => lasting_by(answer, cache.ttl),
                _ => lasting_by_headers(answer),
            },
            None => answer,
        }
    });
    Landing {
        route: exchange.route.clone(),
        call: exchange.call,
        result,
        attempts: climbed.attempts,
        note,
    }
}

/// Keeps an answer, or a failure that may be kept. The body is copied only then.
fn keep<D: Dial>(
    client: &Client<D>,
    exchange: &Exchange,
    cache: Cache,
    result: &Result<Box<Answer>, CallError>,
    started: Instant,
) -> Option<Arc<Kept>> {
    let arrived = match result {
        Ok(answer) => Arrived::success(answer, started),
        Err(error) if error.code == Code::Service4xx => Arrived {
            status: error.status?,
            is_failure: true,
            headers: error.headers.as_deref()?,
            body: Bytes::new(),
            received: moment::now(),
            took: moment::since(started),
        },
        Err(_) => return None,
    };
    let freshness = shelf::promise(exchange, cache, &arrived)?;
    let arrived = Arrived {
        body: result
            .as_ref()
            .map_or_else(|_| Bytes::new(), |answer| shelf::bytes_of(answer)),
        ..arrived
    };
    let service = client.name_of(exchange);
    let shelf = &client.process.shelf;
    shelf.keep_promised(exchange, cache, service, arrived, freshness)
}

/// `kept`: the cache has it too, with a body that need not be copied again.
fn keep_last_good<D: Dial>(
    client: &Client<D>,
    exchange: &Exchange,
    answer: &Answer,
    kept: Option<&Kept>,
) {
    let call = exchange.call();
    if call.keeps_answers() && call.batch().is_none() {
        let arrived = Arrived {
            body: kept.map_or_else(|| shelf::bytes_of(answer), |kept| kept.body.clone()),
            ..Arrived::success(answer, moment::now())
        };
        let service = client.name_of(exchange);
        let shelf = &client.process.shelf;
        shelf.keep_last_good(exchange, service, arrived);
    }
}
