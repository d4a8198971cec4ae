//! What holds for any value: seeded, so that a failure comes again.

use proptest::prelude::*;

use super::trees::{choice, condition, constant, object, path, repeat, text};
use super::*;

/// A document whose only values are one text and one tree.
struct Single<'v> {
    value: Value<'v>,
}

impl Scope for Single<'_> {
    fn value<'a>(&'a self, _: Root, _: Option<&'a path::Frame<'a>>) -> Option<Value<'a>> {
        Some(self.value)
    }
}

fn decoded(segment: &str) -> Vec<u8> {
    let bytes = segment.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&segment[at + 1..at + 3], 16).expect("digits"));
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

fn nasty() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "..", ".", "/", "//", "%2e", "%2F", "%00", "%", "?", "#", "@", ":", "\\", "\r\n", " ", "é",
        "a", "{{a}}", "\0", "http://e",
    ]);
    prop_oneof![
        any::<String>(),
        prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat()),
    ]
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        nasty().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec(("[a-c]", inner), 0..4)
                .prop_map(|members| { serde_json::Value::Object(members.into_iter().collect()) }),
        ]
    })
}

/// Every kind of node, over whatever the roots hold.
fn any_tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "$.a",
            "$.a.b",
            "$.a[0]",
            "$.a[*]",
            "$.a..c",
            "$.a ?? \"x\"",
            "$.a.b ?? $.a.c ?? []",
        ])
        .prop_map(path),
        prop::sample::select(vec![
            "x",
            "{{a}}",
            "{{json a}}",
            "{{default a.b \"\\\"\"}}",
            "{{#each a as |x|}}{{json x}}{{/each}}",
            "{{#if a}}{{len a}}{{/if}}",
        ])
        .prop_map(text),
        prop::sample::select(vec!["null", "1.0", "\"\\n\"", "[]"]).prop_map(constant),
        Just(Json::First(choice("$.a[*]"))),
        Just(Json::Count(choice("$.a[*]"))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop::sample::select(vec!["k", "k?", "k!", "\"\\\"?", "é"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Merge),
            prop::collection::vec((key, inner.clone()), 0..4).prop_map(object),
            inner
                .clone()
                .prop_map(|each| repeat(P, "$.a ?? []", Some("$.p != 1"), each)),
            (inner.clone(), inner).prop_map(|(then, otherwise)| Json::If {
                condition: condition("present($.a.b)"),
                then: Box::new(then),
                otherwise: Box::new(otherwise),
            }),
        ]
    })
}

fn seeded() -> ProptestConfig {
    ProptestConfig {
        cases: 400,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn no_value_leaves_its_segment(value in nasty()) {
        let mut bytes = Vec::new();
        crate::json::write_text(&mut bytes, &value);
        let scope = Single { value: Value::trusted(&bytes) };
        let env = Env { scope: &scope, frame: None };
        let text = bound("/pre/{{a}}/x-{{a}}.json{{#if a}}/{{lower a}}{{/if}}", Place::Path);
        let mut out = String::new();
        if text.render(&env, &mut out).is_err() {
            prop_assert!(out.is_empty());
            return Ok(());
        }
        let uri: http::Uri = format!("http://host:1{out}").parse().expect("a URL");
        prop_assert_eq!(uri.authority().map(|authority| authority.as_str()), Some("host:1"));
        prop_assert_eq!(uri.scheme_str(), Some("http"));
        prop_assert_eq!((uri.path(), uri.query()), (out.as_str(), None));
        let segments: Vec<&str> = out.split('/').collect();
        prop_assert_eq!(segments.len(), 5);
        prop_assert_eq!(segments[1], "pre");
        prop_assert_eq!(decoded(segments[2]), value.clone().into_bytes());
        prop_assert_eq!(decoded(segments[3]), format!("x-{value}.json").into_bytes());
        prop_assert!(!matches!(value.as_str(), "" | "." | ".."));
    }

    #[test]
    fn no_value_of_a_rest_climbs(value in nasty()) {
        let mut bytes = Vec::new();
        crate::json::write_text(&mut bytes, &value);
        let scope = Single { value: Value::trusted(&bytes) };
        let env = Env { scope: &scope, frame: None };
        let mut out = String::new();
        if bound("/pre/{{request.path.rest}}", Place::Path).render(&env, &mut out).is_err() {
            return Ok(());
        }
        prop_assert!(out.starts_with("/pre/"));
        let rest: Vec<String> = out[5..]
            .split('/')
            .map(|segment| String::from_utf8(decoded(segment)).expect("text"))
            .collect();
        prop_assert_eq!(rest.join("/"), value);
        prop_assert!(rest.iter().all(|segment| !matches!(segment.as_str(), "" | "." | "..")));
    }

    #[test]
    fn whatever_is_rendered_is_json(tree in any_tree(), value in any_json()) {
        let bytes = serde_json::to_vec(&value).expect("JSON");
        let scope = Single { value: Value::trusted(&bytes) };
        let env = Env { scope: &scope, frame: None };
        let mut out = Vec::new();
        match tree.render(&env, &mut out) {
            Ok(true) => {
                let read: Result<serde_json::Value, _> = serde_json::from_slice(&out);
                prop_assert!(read.is_ok(), "{}", String::from_utf8_lossy(&out));
            }
            Ok(false) => prop_assert!(out.is_empty()),
            Err(_) => {}
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(pieces in prop::collection::vec(prop::sample::select(vec![
        "{{", "}}", "{{{", "}}}", "#if ", "#each ", "#unless ", "/if", "/each", "else", "else if ",
        " as |x|", "a.b", "a", "x", "this", "@root.", "@index", "(", ")", "eq ", "\"", "'", "[", "]",
        " ", "\n", "\\", "!", "!--", "--", "1", "-", ".", "|", "~", "é", "\u{FDD0}",
    ]), 0..24)) {
        let source = pieces.concat();
        for place in [Place::Plain, Place::Path] {
            if let Err(fault) = Text::parse(&source, &["f".to_owned()], place) {
                prop_assert!(source.get(fault.offset..fault.offset + fault.length).is_some(), "{source:?} {fault:?}");
            }
        }
    }

    #[test]
    fn a_line_of_literals_and_holes_keeps_its_spaces(pieces in prop::collection::vec(prop::sample::select(vec![
        (" ", " "), ("x", "x"), ("{{b.body.k}}", "2"), ("\\{{", "{{"), ("{", "{"), ("}", "}"), ("  y", "  y"),
    ]), 0..12)) {
        let source: String = pieces.iter().map(|(source, _)| *source).collect();
        let expected: String = pieces.iter().map(|(_, expected)| *expected).collect();
        // Pieces that make a tag together are another text.
        prop_assume!(!source.replace("\\{{", "").replace("{{b.body.k}}", "").contains("{{"));
        prop_assume!(!source.contains("{{{") && !source.contains("}}}"));
        prop_assert_eq!(rendered(&source, Place::Plain), Ok(expected));
    }
}
