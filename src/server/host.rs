//! The grammar of `Host` and `:authority` (RFC 9110 §7.2), shared by the guard, which sees HTTP/1
//! bytes, and the door, which sees HTTP/2 requests.

use crate::ascii;

/// Whether this may stand in `Host`: a name or an address, and perhaps a port. Never user
/// information, never empty.
pub fn is_valid(host: &[u8]) -> bool {
    split(host).is_some_and(|(name, port)| is_port(port) && is_name(name))
}

/// The name in lower case and without the port, of a `host` that is valid, or is refused.
pub fn name(host: &[u8]) -> String {
    let (name, _) = split(host).unwrap_or_default();
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

/// Digits that are no more than a port can be; or none at all.
fn is_port(port: &[u8]) -> bool {
    let number = port.iter().try_fold(0, |number: u32, digit| {
        let number = digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))?;
        (number <= u32::from(u16::MAX)).then_some(number)
    });
    number.is_some()
}

/// Whether two valid hosts are the same but for case and the port that is the scheme's own.
pub fn same(left: &[u8], right: &[u8], default_port: &[u8]) -> bool {
    let (Some((left_name, left_port)), Some((right_name, right_port))) =
        (split(left), split(right))
    else {
        return false;
    };
    let port = |port: &'_ [u8]| -> Vec<u8> {
        if port.is_empty() {
            default_port.to_vec()
        } else {
            port.to_vec()
        }
    };
    left_name.eq_ignore_ascii_case(right_name) && port(left_port) == port(right_port)
}

/// Name and port; `None` where brackets do not close or a colon has nothing before it.
fn split(host: &[u8]) -> Option<(&[u8], &[u8])> {
    let name_end = if host.first() == Some(&b'[') {
        memchr::memchr(b']', host)? + 1
    } else {
        memchr::memchr(b':', host).unwrap_or(host.len())
    };
    let (name, rest) = host.split_at(name_end);
    match rest {
        [] => Some((name, b"")),
        [b':', port @ ..] => Some((name, port)),
        _ => None,
    }
}

fn is_name(name: &[u8]) -> bool {
    match name {
        [] => false,
        [b'[', address @ .., b']'] => std::str::from_utf8(address)
            .is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok()),
        _ => is_registered_name(name),
    }
}

/// `reg-name` of RFC 3986, with whole percent escapes only.
fn is_registered_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some(other) = rest.iter().position(|byte| !IS_PLAIN[usize::from(*byte)]) {
        match &rest[other..] {
            [b'%', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest = after;
            }
            _ => return false,
        }
    }
    true
}

/// `unreserved` and `sub-delims` of RFC 3986.
static IS_PLAIN: [bool; 256] = ascii::letters_digits_and(b"-._~!$&'()*+,;=");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        let rows: [(&str, Option<&str>); 15] = [
            ("shop.example", Some("shop.example")),
            ("Shop.Example:8080", Some("shop.example")),
            ("shop.example:", Some("shop.example")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("", None),
            (":80", None),
            ("[::1", None),
            ("[::1]x", None),
            ("a b", None),
            ("user@shop", None),
            ("shop:70000", None),
            ("shop:+80", None),
            ("sh%4", None),
        ];
        for (host, expected) in rows {
            assert_eq!(is_valid(host.as_bytes()), expected.is_some(), "{host}");
            if let Some(expected) = expected {
                assert_eq!(name(host.as_bytes()), expected);
            }
        }
    }

    #[test]
    fn hosts_are_compared_without_case_and_the_scheme_s_port() {
        assert!(same(b"A.b", b"a.B:80", b"80"));
        assert!(!same(b"a.b", b"a.b:81", b"80"));
        assert!(!same(b"a.b", b"a.c", b"80"));
    }
}
