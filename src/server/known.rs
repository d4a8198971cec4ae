//! Which of the headers that the server itself acts on a message has. Found in one pass over the
//! names: to ask the map takes a hash for each, and most messages have next to none of them.

use http::{HeaderMap, HeaderName, header};

/// For one connection only, whatever `Connection` names beside them.
static HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Some of these headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known(u16);

impl Known {
    pub const CONNECTION: Known = Known(1);
    pub const CONTENT_LENGTH: Known = Known(1 << 1);
    pub const COOKIE: Known = Known(1 << 2);
    pub const FORWARDED_FOR: Known = Known(1 << 3);
    /// For one connection only, `Connection` itself apart.
    pub const HOP_BY_HOP: Known = Known(1 << 4);
    pub const PROXY_AUTHORIZATION: Known = Known(1 << 5);
    pub const REQUEST_ID: Known = Known(1 << 6);
    pub const TRACE_PARENT: Known = Known(1 << 7);
    pub const VIA: Known = Known(1 << 8);

    pub fn of(headers: &HeaderMap) -> Known {
        Known(headers.keys().fold(0, |all, name| all | bit(name)))
    }

    pub fn has(self, header: Known) -> bool {
        self.0 & header.0 != 0
    }

    /// Takes what is for one connection only out of the headers that this was found in.
    pub fn remove_hop_by_hop(self, headers: &mut HeaderMap) {
        if self.has(Known::CONNECTION) || self.has(Known::HOP_BY_HOP) {
            for name in &HOP_BY_HOP {
                headers.remove(name);
            }
        }
    }
}

fn bit(name: &HeaderName) -> u16 {
    let known = match name.as_str() {
        "connection" => Known::CONNECTION,
        "content-length" => Known::CONTENT_LENGTH,
        "cookie" => Known::COOKIE,
        "x-forwarded-for" => Known::FORWARDED_FOR,
        "te" | "trailer" | "transfer-encoding" | "upgrade" | "keep-alive" | "proxy-connection" => {
            Known::HOP_BY_HOP
        }
        "proxy-authorization" => Known::PROXY_AUTHORIZATION,
        "x-request-id" => Known::REQUEST_ID,
        "traceparent" => Known::TRACE_PARENT,
        "via" => Known::VIA,
        _ => Known(0),
    };
    known.0
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// What is taken out of a message is looked for only where it is known to be there.
    #[test]
    fn whatever_is_taken_out_is_known() {
        for name in &HOP_BY_HOP {
            let value = HeaderValue::from_static("a");
            let mut headers = HeaderMap::from_iter([(name.clone(), value)]);
            Known::of(&headers).remove_hop_by_hop(&mut headers);
            assert!(headers.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_there_is_found() {
        let mut headers = HeaderMap::new();
        for name in ["host", "Via", "TE", "x-request-id"] {
            let name = HeaderName::try_from(name).unwrap();
            headers.insert(name, HeaderValue::from_static("a"));
        }
        let known = Known::of(&headers);
        for header in [Known::VIA, Known::HOP_BY_HOP, Known::REQUEST_ID] {
            assert!(known.has(header), "{header:?}");
        }
        for header in [Known::CONNECTION, Known::COOKIE, Known::TRACE_PARENT] {
            assert!(!known.has(header), "{header:?}");
        }
    }
}
