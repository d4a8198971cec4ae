//! An answer as it is kept: for the response cache, and as the last good one for
//! `fallback: [ { stale: … } ]`. It is kept as it came, before `take`, and looked at anew by whoever
//! asks for it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;

use crate::cache::control::Control;
use crate::cache::rules::{self, Freshness, Use};
use crate::downstream::headers;
use crate::engine::code::Code;
use crate::engine::fetch::{Answer, CallError, Exchange, Lasting};
use crate::engine::lasting::lasting;
use crate::json;
use crate::plan::Ttl;

/// One answer. Its body is shared by all who are given it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub status: u16,
    /// End-to-end headers.
    pub headers: HeaderMap,
    /// Of a passed call: as it came. Else valid JSON, and nothing is null.
    pub body: Bytes,
    /// The service's name and the path that was asked, without its query and in its one form: what a
    /// purge goes by.
    pub service: Box<str>,
    pub path: Box<str>,
    /// By the words of the call, or, if it is passed, by its status.
    pub is_failure: bool,
    pub received: Instant,
    /// How long it took to come.
    pub took: Duration,
    pub freshness: Freshness,
}

/// How a kept answer may be used for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// It may be given, but a new one is to be fetched meanwhile.
    Due,
    /// The service has to be asked.
    Stale,
    /// The request, as it wants no kept one, asks the service.
    Unwanted,
    /// Neither may be (`only-if-cached`).
    Refused,
}

impl Kept {
    pub fn age(&self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.received);
        self.freshness.initial_age.saturating_add(since)
    }

    /// How long it stays fresh, in seconds; below zero: how long it has been stale.
    pub fn ttl(&self, now: Instant) -> i64 {
        let (age, lifetime) = (self.age(now), self.freshness.lifetime);
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        match lifetime.checked_sub(age) {
            Some(left) => seconds(left),
            None => -seconds(age - lifetime),
        }
    }

    /// `chance`, above 0 and up to 1, decides about an early refresh: the nearer the end and the
    /// longer a fetch takes, the likelier it is, so that few are left to find it stale at once
    /// (Vattani et al., Optimal Probabilistic Cache Stampede Prevention, VLDB 2015; β = 1).
    pub fn standing(&self, asked: &Control, now: Instant, chance: f64) -> Standing {
        let age = self.age(now);
        match rules::usable(asked, &self.freshness, age) {
            Use::Fresh => {
                let early = self
                    .took
                    .mul_f64(-chance.clamp(f64::MIN_POSITIVE, 1.0).ln());
                match age + early < self.freshness.lifetime {
                    true => Standing::Good,
                    false => Standing::Due,
                }
            }
            Use::Stale => Standing::Good,
            Use::Refresh => Standing::Due,
            Use::Refuse => Standing::Refused,
            Use::Validate if age < self.freshness.lifetime && !self.freshness.always_validate => {
                Standing::Unwanted
            }
            Use::Validate => Standing::Stale,
        }
    }

    /// Whether it may stand in for a failure.
    pub fn stands_in(&self, asked: &Control, now: Instant) -> bool {
        !self.is_failure && rules::stands_in(asked, &self.freshness, self.age(now))
    }

    /// How long it can be of use to anybody.
    pub fn useful_for(&self, now: Instant) -> Duration {
        let freshness = &self.freshness;
        let stale = freshness
            .stale_while_revalidate
            .max(freshness.stale_if_error)
            .unwrap_or_default();
        let validates = match rules::validators(&self.headers).is_empty() {
            true => Duration::ZERO,
            false => WORTH_VALIDATING,
        };
        let whole = freshness.lifetime.saturating_add(stale.max(validates));
        whole.saturating_sub(self.age(now))
    }

    pub fn size(&self) -> usize {
        let names = self.service.len() + self.path.len();
        headers::written_size(&self.headers) + self.body.len() + names
    }

    /// As an answer to this exchange; `None` where its limits are narrower than those it was kept
    /// under.
    pub fn answer_to(&self, exchange: &Exchange) -> Option<Box<Answer>> {
        let call = exchange.call();
        if self.body.len() > call.max_body {
            return None;
        }
        let check = || {
            json::Body::check(
                self.body.clone(),
                &call.raw_demand,
                exchange.route.json_limits,
            )
        };
        Some(Box::new(Answer {
            status: self.status,
            headers: self.headers.clone(),
            body: match self.body.is_empty() {
                true => None,
                false => Some(check().ok()?),
            },
            held: None,
            lasting: None,
        }))
    }

    /// The failure that is kept: a 404 or 410.
    pub fn failure(&self) -> Option<CallError> {
        self.is_failure.then(|| CallError {
            status: Some(self.status),
            ..CallError::new(Code::Service4xx)
        })
    }

    /// With the age it has now (RFC 9111 §5.1).
    pub fn head(&self, now: Instant) -> HeaderMap {
        let mut headers = self.headers.clone();
        let age = self.age(now).as_secs();
        headers.insert(header::AGE, HeaderValue::from(age));
        headers
    }

    /// For whoever keeps what it becomes a part of.
    pub fn lasting(&self, now: Instant, ttl: Ttl) -> Lasting {
        let age = self.age(now);
        match ttl {
            Ttl::For(_) => Lasting::written(age, self.freshness.lifetime),
            Ttl::FromHeaders => Lasting {
                age,
                ..lasting(self.status, &self.headers, date_of(self.received))
            },
        }
    }
}

/// What the wall clock showed at a moment that has passed.
pub fn date_of(moment: Instant) -> SystemTime {
    let date = SystemTime::now().checked_sub(moment.elapsed());
    date.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// How long an answer is kept that is good for nothing but to be validated.
const WORTH_VALIDATING: Duration = Duration::from_secs(3600);
