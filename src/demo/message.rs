//! What a service of the demo is asked and what it answers, away from sockets.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A request, read to its end and cut into the parts that services look at.
pub(super) struct Request {
    pub method: Method,
    /// The path's segments, decoded.
    pub path: Vec<String>,
    /// The query's pairs, decoded.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub fn new(method: Method, uri: &http::Uri, headers: HeaderMap, body: Bytes) -> Request {
        let segments = uri.path().split('/').filter(|segment| !segment.is_empty());
        let pairs = uri.query().unwrap_or("").split('&');
        Request {
            method,
            path: segments.map(decode).collect(),
            query: pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
            headers,
            body,
        }
    }

    /// The method and the path in a form to match on.
    pub fn shape(&self) -> (&str, Vec<&str>) {
        let path = self.path.iter().map(String::as_str);
        (self.method.as_str(), path.collect())
    }

    pub fn is(&self, method: &str, path: &[&str]) -> bool {
        let (asked, segments) = self.shape();
        asked == method && segments == path
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A query value that counts something, at least 1.
    pub fn count(&self, name: &str, default: usize) -> usize {
        let written = self.query(name).and_then(|value| value.parse().ok());
        written.unwrap_or(default).max(1)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, or the answer that refuses it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Answer> {
        serde_json::from_slice(&self.body).map_err(|cause| Answer::refuse(400, &cause.to_string()))
    }
}

/// A status, a JSON body, and what caches are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub cache_control: Option<&'static str>,
    pub body: Bytes,
}

impl Answer {
    pub fn ok(body: &impl Serialize) -> Answer {
        Answer::json(200, body)
    }

    pub fn created(body: &impl Serialize) -> Answer {
        Answer::json(201, body)
    }

    pub fn json(status: u16, body: &impl Serialize) -> Answer {
        let bytes = serde_json::to_vec(body).expect("the demo's bodies have text keys");
        Answer {
            status,
            cache_control: None,
            body: bytes.into(),
        }
    }

    pub fn kept(self, cache_control: &'static str) -> Answer {
        Answer {
            cache_control: Some(cache_control),
            ..self
        }
    }

    pub fn refuse(status: u16, reason: &str) -> Answer {
        Answer::json(status, &serde_json::json!({ "error": reason }))
    }

    pub fn not_found() -> Answer {
        Answer::refuse(404, "there is nothing here")
    }
}

/// Money in cents, written with two digits behind the point, always: `12.10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount(pub u64);

impl Amount {
    /// This much off, rounded down to a cent.
    pub fn less_percent(self, percent: u64) -> Amount {
        Amount(self.0 - self.0 / 100 * percent - self.0 % 100 * percent / 100)
    }

    fn parse(text: &str) -> Option<Amount> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        if part.len() > 2 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let cents: u64 = format!("{part:0<2}").parse().ok()?;
        let whole: u64 = whole.parse().ok()?;
        whole.checked_mul(100)?.checked_add(cents).map(Amount)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = format!("{}.{:02}", self.0 / 100, self.0 % 100);
        RawValue::from_string(text)
            .expect("digits around a point are a JSON number")
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        let written = Box::<RawValue>::deserialize(deserializer)?;
        Amount::parse(written.get())
            .ok_or_else(|| serde::de::Error::custom("an amount has at most two decimals"))
    }
}

/// Undoes percent-encoding; what is not properly encoded stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3);
        match (bytes[at], hex.map(|hex| u8::from_str_radix(hex, 16))) {
            (b'%', Some(Ok(byte))) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_keeps_its_two_digits() {
        let check = |written: &str, expected: Option<&str>| {
            let amount = serde_json::from_str::<Amount>(written).ok();
            let text = amount.map(|amount| serde_json::to_string(&amount).unwrap());
            assert_eq!(text.as_deref(), expected, "{written}");
        };
        check("12.10", Some("12.10"));
        check("12.1", Some("12.10"));
        check("12", Some("12.00"));
        check("0.05", Some("0.05"));
        check("12.105", None);
        check("-1", None);
        check("1e2", None);
        check("99999999999999999999", None);
        check("\"12\"", None);
    }

    #[test]
    fn a_discount_rounds_the_price_to_a_cent() {
        assert_eq!(Amount(1210).less_percent(10), Amount(1089));
        assert_eq!(Amount(999).less_percent(10), Amount(900));
        assert_eq!(Amount(5).less_percent(10), Amount(5));
        assert_eq!(Amount(u64::MAX).less_percent(100).0, 0);
    }

    #[test]
    fn percent_encoding_is_undone_once_and_never_panics() {
        let check = |written: &str, expected: &str| assert_eq!(decode(written), expected);
        check("a%2Cb", "a,b");
        check("%252C", "%2C");
        check("100%", "100%");
        check("%zz%4", "%zz%4");
        check("%é", "%é");
        check("%C3%A9", "é");
    }
}
