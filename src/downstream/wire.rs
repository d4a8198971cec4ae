//! Kept answers as bytes, for the store that all instances share.
//!
//! The form is ours: lengths and numbers in little endian, times in milliseconds, moments by the wall
//! clock, since instances share no other. What cannot be read is no answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::cache::rules::Freshness;
use crate::downstream::kept::Kept;

/// A note of how the answers of a URL differ: the headers' names, and the epoch of its answers.
pub type Note = (Vec<HeaderName>, u64);

const ANSWER: u8 = 1;
const NOTE: u8 = 2;

pub fn write_answer(kept: &Kept, now: Instant, today: SystemTime) -> Bytes {
    let mut out = Vec::with_capacity(kept.size() + 128);
    out.put_u8(ANSWER);
    out.put_u16_le(kept.status);
    let since = now.saturating_duration_since(kept.received);
    let received = today.checked_sub(since).unwrap_or(UNIX_EPOCH);
    put_time(
        &mut out,
        received.duration_since(UNIX_EPOCH).unwrap_or_default(),
    );
    put_time(&mut out, kept.took);
    let Freshness {
        lifetime,
        initial_age,
        stale_while_revalidate,
        stale_if_error,
        may_serve_stale,
        always_validate,
    } = &kept.freshness;
    put_time(&mut out, *lifetime);
    put_time(&mut out, *initial_age);
    for time in [stale_while_revalidate, stale_if_error] {
        out.put_u8(u8::from(time.is_some()));
        put_time(&mut out, time.unwrap_or_default());
    }
    out.put_u8(u8::from(*may_serve_stale));
    out.put_u8(u8::from(*always_validate));
    out.put_u8(u8::from(kept.is_failure));
    put_bytes(&mut out, kept.service.as_bytes());
    put_bytes(&mut out, kept.path.as_bytes());
    put_length(&mut out, kept.headers.len());
    for (name, value) in &kept.headers {
        put_bytes(&mut out, name.as_str().as_bytes());
        put_bytes(&mut out, value.as_bytes());
    }
    put_bytes(&mut out, &kept.body);
    out.into()
}

/// An answer that came by another instance's clock is as old as the two clocks say, and no younger
/// than new.
pub fn read_answer(bytes: Bytes, now: Instant, today: SystemTime) -> Option<Kept> {
    let mut bytes = bytes;
    if take_u8(&mut bytes)? != ANSWER {
        return None;
    }
    let status = bytes.try_get_u16_le().ok()?;
    let received = UNIX_EPOCH.checked_add(take_time(&mut bytes)?)?;
    let since = today.duration_since(received).unwrap_or_default();
    let took = take_time(&mut bytes)?;
    let lifetime = take_time(&mut bytes)?;
    // The time in between is a part of the age that it came with.
    let initial_age = take_time(&mut bytes)?.saturating_add(since);
    let mut stale = || {
        let is_there = take_u8(&mut bytes)? == 1;
        let time = take_time(&mut bytes)?;
        Some(is_there.then_some(time))
    };
    let freshness = Freshness {
        lifetime,
        initial_age,
        stale_while_revalidate: stale()?,
        stale_if_error: stale()?,
        may_serve_stale: take_u8(&mut bytes)? == 1,
        always_validate: take_u8(&mut bytes)? == 1,
    };
    let is_failure = take_u8(&mut bytes)? == 1;
    let service = take_text(&mut bytes)?;
    let path = take_text(&mut bytes)?;
    let mut headers = HeaderMap::new();
    for _ in 0..take_length(&mut bytes)? {
        let name = HeaderName::from_bytes(&take_bytes(&mut bytes)?).ok()?;
        let value = HeaderValue::from_bytes(&take_bytes(&mut bytes)?).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(Kept {
        status,
        headers,
        body: take_bytes(&mut bytes)?,
        service,
        path,
        is_failure,
        received: now,
        took,
        freshness,
    })
}

pub fn write_note(names: &[HeaderName], epoch: u64) -> Bytes {
    let mut out = Vec::with_capacity(64);
    out.put_u8(NOTE);
    out.put_u64_le(epoch);
    put_length(&mut out, names.len());
    for name in names {
        put_bytes(&mut out, name.as_str().as_bytes());
    }
    out.into()
}

pub fn read_note(bytes: Bytes) -> Option<Note> {
    let mut bytes = bytes;
    if take_u8(&mut bytes)? != NOTE {
        return None;
    }
    let epoch = bytes.try_get_u64_le().ok()?;
    let length = take_length(&mut bytes)?;
    let names = (0..length).map(|_| HeaderName::from_bytes(&take_bytes(&mut bytes)?).ok());
    Some((names.collect::<Option<_>>()?, epoch))
}

fn put_time(out: &mut Vec<u8>, time: Duration) {
    out.put_u64_le(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take_u8(bytes: &mut Bytes) -> Option<u8> {
    bytes.try_get_u8().ok()
}

fn take_time(bytes: &mut Bytes) -> Option<Duration> {
    bytes.try_get_u64_le().ok().map(Duration::from_millis)
}

/// A length that what is left can hold.
fn take_length(bytes: &mut Bytes) -> Option<usize> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    (length <= bytes.len()).then_some(length)
}

fn take_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let length = take_length(bytes)?;
    Some(bytes.split_to(length))
}

fn take_text(bytes: &mut Bytes) -> Option<Box<str>> {
    let bytes = take_bytes(bytes)?;
    Some(std::str::from_utf8(&bytes).ok()?.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept() -> Kept {
        let mut headers = HeaderMap::new();
        headers.append("etag", HeaderValue::from_static("\"a\""));
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_bytes(b"\xe9").unwrap());
        Kept {
            status: 203,
            headers,
            body: Bytes::from_static(b"{\"a\":1}"),
            service: "users".into(),
            path: "/me".into(),
            is_failure: false,
            received: Instant::now(),
            took: Duration::from_millis(17),
            freshness: Freshness {
                lifetime: Duration::from_secs(60),
                initial_age: Duration::from_secs(2),
                stale_while_revalidate: None,
                stale_if_error: Some(Duration::from_secs(9)),
                may_serve_stale: true,
                always_validate: false,
            },
        }
    }

    #[test]
    fn an_answer_comes_back_as_old_as_it_has_become() {
        let kept = kept();
        let today = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let later = Duration::from_secs(3);
        let bytes = write_answer(&kept, kept.received + later, today + later);
        let now = Instant::now() + Duration::from_secs(100);
        let back = read_answer(bytes, now, today + 2 * later).unwrap();
        assert_eq!(back.age(now), Duration::from_secs(2 + 6));
        assert_eq!(back.freshness.lifetime, kept.freshness.lifetime);
        assert_eq!(back.freshness.stale_if_error, kept.freshness.stale_if_error);
        assert_eq!(back.freshness.stale_while_revalidate, None);
        assert_eq!((back.status, back.took), (kept.status, kept.took));
        assert_eq!(back.headers, kept.headers);
        assert_eq!(back.body, kept.body);
        assert_eq!((back.service, back.path), (kept.service, kept.path));
    }

    #[test]
    fn another_clock_that_is_behind_makes_nothing_younger() {
        let kept = kept();
        let today = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let bytes = write_answer(&kept, kept.received, today);
        let behind = today - Duration::from_secs(50);
        let back = read_answer(bytes, kept.received, behind).unwrap();
        assert_eq!(back.age(kept.received), Duration::from_secs(2));
    }

    #[test]
    fn a_note_comes_back() {
        let names = vec![http::header::ACCEPT, http::header::ACCEPT_LANGUAGE];
        assert_eq!(read_note(write_note(&names, 7)), Some((names, 7)));
        assert_eq!(
            read_note(write_note(&[], u64::MAX)),
            Some((vec![], u64::MAX))
        );
    }

    proptest! {
        #[test]
        fn what_is_cut_or_changed_is_read_as_nothing_or_something_but_never_panics(
            cut in 0usize..400, at in 0usize..400, byte: u8
        ) {
            let (now, today) = (Instant::now(), SystemTime::now());
            let whole = write_answer(&kept(), now, today);
            prop_assert!(read_note(whole.clone()).is_none());
            if cut < whole.len() {
                prop_assert!(read_answer(whole.slice(..cut), now, today).is_none());
            }
            let mut changed = whole.to_vec();
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            let _ = read_answer(changed.into(), now, today);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = read_answer(bytes.clone(), Instant::now(), SystemTime::now());
            let _ = read_note(bytes);
        }
    }
}
