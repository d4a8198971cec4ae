//! Whether a request that changes something comes from somebody who meant it.
//!
//! A web page can make a browser send a POST to any address, and by DNS rebinding under a name of its
//! own. What it cannot do is leave out or choose `Origin`, or write an address where its name stood.

use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use http::{HeaderMap, header};

/// `local` is the address on which the connection came in.
pub(super) fn check(headers: &HeaderMap, local: SocketAddr) -> Result<(), &'static str> {
    let host = single(headers, header::HOST)
        .ok()
        .flatten()
        .ok_or("exactly one host is needed")?;
    if !is_ours(host, local) {
        return Err("host must be localhost or the address of this listener");
    }
    match single(headers, header::ORIGIN) {
        Ok(None) => {}
        Ok(Some(origin)) if is_same(origin, host) => {}
        _ => return Err("another site may not change anything here"),
    }
    match headers.get("sec-fetch-site").map(|value| value.as_bytes()) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err("another site may not change anything here"),
    }
}

/// The one value of a header; an error where there are several or it is no text.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(());
    }
    first.map(|value| value.to_str().map_err(drop)).transpose()
}

fn is_ours(host: &str, local: SocketAddr) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    match literal.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address.is_loopback() || address == local.ip().to_canonical()
        }
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

fn is_same(origin: &str, host: &str) -> bool {
    origin
        .strip_prefix("http://")
        .is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_speaks_to_this_address_may_change_something() {
        for (headers, is_let_in) in [
            (vec![("host", "127.0.0.1:9901")], true),
            (vec![("host", "localhost:9901")], true),
            (vec![("host", "LOCALHOST")], true),
            (vec![("host", "[::1]:9901")], true),
            (vec![("host", "10.1.2.3:9901")], true),
            (vec![("host", "10.1.2.4:9901")], false),
            (vec![("host", "rebound.example:9901")], false),
            (vec![("host", "localhost.rebound.example")], false),
            (vec![("host", "127.0.0.1@rebound.example")], false),
            (vec![("host", "localhost"), ("host", "localhost")], false),
            (vec![], false),
            (
                vec![
                    ("host", "localhost:9901"),
                    ("origin", "http://localhost:9901"),
                ],
                true,
            ),
            (
                vec![
                    ("host", "localhost:9901"),
                    ("origin", "http://localhost:3000"),
                ],
                false,
            ),
            (
                vec![
                    ("host", "localhost:9901"),
                    ("origin", "https://evil.example"),
                ],
                false,
            ),
            (vec![("host", "localhost:9901"), ("origin", "null")], false),
            (
                vec![("host", "localhost"), ("sec-fetch-site", "cross-site")],
                false,
            ),
            (
                vec![("host", "localhost"), ("sec-fetch-site", "same-origin")],
                true,
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(*name, value.parse().expect("a value"));
            }
            let local = SocketAddr::from(([10, 1, 2, 3], 9901));
            assert_eq!(check(&map, local).is_ok(), is_let_in, "{headers:?}");
        }
    }
}
