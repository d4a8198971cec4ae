//! The query of a target, decoded into pairs.

use crate::plan::matcher::percent_decode;

/// The pairs in their order; `+` is a space. `None` where an escape is broken or is no UTF-8.
pub fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    if query.is_empty() {
        return Some(Vec::new());
    }
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    percent_decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'p> = &'p [(&'p str, &'p str)];

    #[test]
    fn a_query_is_pairs_in_order() {
        let rows: [(&str, Option<Pairs<'_>>); 9] = [
            ("", Some(&[])),
            ("a=1&b=2&a=3", Some(&[("a", "1"), ("b", "2"), ("a", "3")])),
            ("a", Some(&[("a", "")])),
            ("a=&&=b", Some(&[("a", ""), ("", "b")])),
            ("a=b=c", Some(&[("a", "b=c")])),
            ("q=a+b%2B%26", Some(&[("q", "a b+&")])),
            ("q=%C3%A4", Some(&[("q", "ä")])),
            ("q=%C3", None),
            ("q=%4", None),
        ];
        for (query, expected) in rows {
            let expected = expected.map(|pairs| {
                pairs
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(pairs(query), expected, "{query}");
        }
        assert_eq!(pairs("q=%zz"), None);
    }
}
