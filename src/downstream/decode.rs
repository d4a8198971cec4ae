//! Layer 12: reads an answer's body within its limits, checks it as it arrives, and judges the answer.
//! Only the body of a success is decoded; a bad one is the attempt's failure.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::downstream::Process;
use crate::downstream::dial::Dial;
use crate::downstream::fault::Fault;
use crate::downstream::headers;
use crate::downstream::inbound::Inbound;
use crate::engine::code::Code;
use crate::engine::fetch::{Answer, Exchange};
use crate::engine::judge;
use crate::json::{self, Scan};
use crate::plan::{Call, Decode, Route};
use crate::policy::memory::Reservation;

/// Reads the whole answer to `exchange`: an [`Answer`] if it is a success. What is unread of a failure
/// is left in `inbound`.
pub async fn answer<D: Dial>(
    exchange: &Exchange,
    inbound: &mut Inbound<D>,
    process: &Process,
) -> Result<Box<Answer>, Fault> {
    let mut reader = Reader {
        route: &exchange.route,
        call: exchange.call(),
        inbound,
        received: BytesMut::new(),
        reserved: process.memory.reservation(),
    };
    let body = match &reader.call.success_when {
        None => reader.by_status().await?,
        // In a box: such calls are few, and their state is large.
        Some(_) => Box::pin(reader.by_condition(exchange)).await?,
    };
    Ok(Box::new(Answer {
        held: reader.held(),
        status: inbound.status.as_u16(),
        headers: std::mem::take(&mut inbound.headers),
        body,
        lasting: None,
    }))
}

/// What a 304 says of the answer that is kept: its headers.
pub fn not_modified<D: Dial>(inbound: Inbound<D>, process: &Process) -> Box<Answer> {
    inbound.flow.discard(&process.leftovers);
    Box::new(Answer {
        status: inbound.status.as_u16(),
        headers: inbound.headers,
        body: None,
        held: None,
        lasting: None,
    })
}

/// What `success_when` sees of a body, and what the body is if the answer is a success.
type Seen = (Option<json::Body>, Result<Option<json::Body>, Fault>);

/// Reads one body.
struct Reader<'r, D: Dial> {
    route: &'r Route,
    call: &'r Call,
    inbound: &'r mut Inbound<D>,
    /// What has arrived.
    received: BytesMut,
    reserved: Reservation,
}

impl<'r, D: Dial> Reader<'r, D> {
    /// Success is a status of 2xx, so that the body of anything else is not looked at.
    async fn by_status(&mut self) -> Result<Option<json::Body>, Fault> {
        if !self.inbound.status.is_success() {
            return Err(self.inbound.status_fault());
        }
        match self.call.decode {
            _ if self.coding_fault().is_some() => self.nothing_else_than_empty().await,
            Decode::Auto | Decode::Json => self.json().await,
            Decode::Text => self.whole().await.and_then(|bytes| self.text(bytes)),
            Decode::None => self.skip().await.map(|()| None),
        }
    }

    /// `success_when` is asked, with the body if it is JSON, whatever the status or the content type.
    async fn by_condition(&mut self, exchange: &Exchange) -> Result<Option<json::Body>, Fault> {
        let (seen, decoded) = self.leniently().await?;
        let Inbound {
            status, headers, ..
        } = &*self.inbound;
        let is_success = judge::is_success(
            self.route,
            exchange.call,
            status.as_u16(),
            headers,
            seen.as_ref(),
        );
        if is_success {
            return decoded;
        }
        let fault = self.inbound.status_fault();
        Err(match status.is_success() {
            true => fault.with_detail("`success_when` does not hold"),
            false => fault,
        })
    }

    /// Waits for more; `false` at the end of the body.
    async fn more(&mut self) -> Result<bool, Fault> {
        let before = self.received.len();
        let to_come = self.inbound.flow.size_hint().lower();
        if self.is_too_long(before as u64 + to_come) {
            return Err(self.too_large());
        }
        let Some(filled) = self.inbound.flow.fill(&mut self.received).await else {
            return Ok(false);
        };
        filled?;
        if self.is_too_long(self.received.len() as u64) {
            return Err(self.too_large());
        }
        if self.reserved.grow(self.received.len() - before).is_err() {
            let fault = self.inbound.fault(Code::MemoryShed);
            return Err(fault.with_detail("`server.shed.memory` is used up"));
        }
        Ok(true)
    }

    /// What the body takes, to be held for as long as it is there.
    fn held(&mut self) -> Option<Arc<Reservation>> {
        let reserved = self.reserved.take();
        (reserved.bytes() > 0).then(|| Arc::new(reserved))
    }

    /// The body as JSON, checked as it arrives; an empty one is null.
    async fn json(&mut self) -> Result<Option<json::Body>, Fault> {
        let mut scan = Scan::new(&self.call.raw_demand, self.route.json_limits);
        while self.more().await? {
            scan.advance(&self.received)
                .map_err(|fault| self.json_fault(fault))?;
        }
        if self.received.is_empty() {
            return Ok(None);
        }
        let bytes = self.received.split().freeze();
        let body = scan.finish(bytes);
        body.map(Some).map_err(|fault| self.json_fault(fault))
    }

    /// The body as it is.
    async fn whole(&mut self) -> Result<Bytes, Fault> {
        while self.more().await? {}
        Ok(self.received.split().freeze())
    }

    /// Reads to the end and keeps nothing.
    async fn skip(&mut self) -> Result<(), Fault> {
        let mut skipped = 0;
        while self.more().await? {
            skipped += self.received.len() as u64;
            self.received.clear();
            self.reserved.clear();
            if self.is_too_long(skipped) {
                return Err(self.too_large());
            }
        }
        Ok(())
    }

    /// The body is not in a form that the call takes; one that is empty is null all the same.
    async fn nothing_else_than_empty(&mut self) -> Result<Option<json::Body>, Fault> {
        match (self.more().await?, self.coding_fault()) {
            (true, Some(fault)) => Err(fault),
            _ => Ok(None),
        }
    }

    /// The body for `success_when`, and for the caller if that holds.
    async fn leniently(&mut self) -> Result<Seen, Fault> {
        if self.call.decode == Decode::None {
            self.skip().await?;
            return Ok((None, Ok(None)));
        }
        if self.call.decode == Decode::Text {
            let bytes = self.whole().await?;
            let text = self.text(bytes.clone());
            let seen = match self.inbound.status.is_success() {
                true => text.clone().ok().flatten(),
                false => self.check(bytes).ok(),
            };
            return Ok((seen, text));
        }
        let found = self.json().await;
        if let Err(fault) = &found
            && !matches!(fault.code, Code::BadPayload | Code::JsonLimit)
        {
            return Err(fault.clone());
        }
        let seen = found.clone().ok().flatten();
        let decoded = match self.coding_fault() {
            Some(fault) if !matches!(found, Ok(None)) => Err(fault),
            _ => found,
        };
        Ok((seen, decoded))
    }

    /// A text as a JSON string.
    fn text(&self, bytes: Bytes) -> Result<Option<json::Body>, Fault> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Err(self.bad_payload("the body is not UTF-8"));
        };
        let mut quoted = Vec::with_capacity(text.len() + 2);
        json::write_text(&mut quoted, text);
        let body = self.check(quoted.into());
        body.map(Some).map_err(|fault| self.json_fault(fault))
    }

    fn check(&self, bytes: Bytes) -> Result<json::Body, json::Fault> {
        json::Body::check(bytes, &self.call.raw_demand, self.route.json_limits)
    }

    /// Why the body cannot be what the call takes, by its headers.
    fn coding_fault(&self) -> Option<Fault> {
        let headers = &self.inbound.headers;
        if self.call.decode == Decode::None {
            return None;
        }
        if headers::is_content_coded(headers) {
            return Some(
                self.bad_payload("the body has a content encoding that was not asked for"),
            );
        }
        (self.call.decode == Decode::Auto && !headers::may_be_json(headers))
            .then(|| self.bad_payload("the content type is not JSON's"))
    }

    fn json_fault(&self, fault: json::Fault) -> Fault {
        use json::Fault::*;
        // Only our own words: a key or a value of the body is not for operators' eyes.
        match fault {
            Syntax { offset, message } => {
                self.bad_payload(format!("not JSON at byte {offset}: {message}"))
            }
            ByteOrderMark => self.bad_payload("the body begins with a byte order mark"),
            Duplicate { offset, .. } => {
                self.bad_payload(format!("a key stands twice in an object, at byte {offset}"))
            }
            TooDeep { .. } => self.json_limit("the body is nested too deep"),
            TooManyNodes { .. } => self.json_limit("the body has too many values"),
        }
    }

    fn bad_payload(&self, detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
        self.inbound.fault(Code::BadPayload).with_detail(detail)
    }

    fn json_limit(&self, detail: &'static str) -> Fault {
        self.inbound.fault(Code::JsonLimit).with_detail(detail)
    }

    fn too_large(&self) -> Fault {
        let fault = self.inbound.fault(Code::TooLarge);
        fault.with_detail("the body is larger than `max_body`")
    }

    fn is_too_long(&self, length: u64) -> bool {
        length > self.call.max_body as u64
    }
}
