//! YAML values as trees: what they come out as, and every finding at its place.

use super::*;
use crate::diagnostic::{FileId, Span};
use crate::json::Value;
use crate::path::{Env, Frame, Scope};
use crate::plan::compile::names::{Known, Reader};
use crate::plan::{CallPart, RequestPart, Role, Source};

const SPAN: Span = Span {
    file: FileId(0),
    start: 0,
    end: 0,
};

fn names() -> Names {
    let known = |name: &str, list: Option<&str>| Known {
        name: name.to_owned(),
        role: Role::Normal,
        list: list.map(str::to_owned),
        has_take: false,
        has_batch: false,
    };
    let calls = vec![
        known("a", None),
        known("shop", None),
        known("stock", Some("$.a.body.list")),
    ];
    let mut names = Names::new(calls, vec!["id".to_owned()], false, SPAN);
    names.reading(Reader::Response, SPAN);
    names
}

fn node(yaml: &str) -> Node {
    crate::config::node_of(yaml, &|name| (name == "N").then(|| "$.a {{x}}".to_owned()))
}

fn compiled(yaml: &str) -> (Json, Vec<Diagnostic>, Names) {
    let mut names = names();
    let tree = json(&node(yaml), &mut names);
    let found = std::mem::take(&mut names.diagnostics);
    (tree, found, names)
}

/// Gives every body the same value.
struct Everywhere<'n> {
    names: &'n Names,
}

const BODY: &str =
    r#"{"price": 12.10, "list": [{"sku": "x", "ok": true}, {"sku": "y", "ok": false}]}"#;

impl Scope for Everywhere<'_> {
    fn value<'a>(&'a self, root: Root, frame: Option<&'a Frame<'a>>) -> Option<Value<'a>> {
        let body = Value::trusted(BODY.as_bytes());
        match &self.names.sources[root.0 as usize] {
            Source::Call(_, CallPart::Body(slot)) => match slot.0 {
                0 => body.get("price"),
                _ => body.get("list"),
            },
            Source::Call(..) => Some(body),
            Source::Request(RequestPart::Path(_)) => Some(Value::trusted(b"\"42\"")),
            Source::Each(..) => frame.map(|frame| match frame.index {
                0 => Value::trusted(b"10"),
                _ => Value::trusted(b"11"),
            }),
            _ => None,
        }
    }
}

/// What a YAML value comes out as; `list` is the second part that is asked of a body.
fn check(yaml: &str, expected: &str) {
    let (tree, found, names) = compiled(yaml);
    assert_eq!(found, [], "{yaml}");
    let env = Env {
        scope: &Everywhere { names: &names },
        frame: None,
    };
    let mut out = Vec::new();
    if !tree.render(&env, &mut out).expect(yaml) {
        out = b"null".to_vec();
    }
    assert_eq!(String::from_utf8(out).as_deref(), Ok(expected), "{yaml}");
}

#[test]
fn yaml_values_become_json() {
    for (yaml, expected) in [
        ("12.10", "12.10"),
        ("1e400", "1e400"),
        ("~", "null"),
        ("true", "true"),
        ("NO", "\"NO\""),
        ("007", "\"007\""),
        ("\"${N}\"", "\"$.a {{x}}\""),
        ("$$.a", "\"$.a\""),
        ("[1, [a, ~], {}]", "[1,[\"a\",null],{}]"),
        (
            "{ a: 1, \"b?\": ~, c!: 2, why??: 3, $$d: 4 }",
            r#"{"a":1,"c":2,"why?":3,"$d":4}"#,
        ),
        ("{ p: $.a.body.price }", r#"{"p":12.10}"#),
        (
            "{ p: \"{{request.path.id}}: {{a.body.price}}\" }",
            r#"{"p":"42: 12.10"}"#,
        ),
        (
            "{ a: $.a.body.price, b: { $count: \"$.a.body.list[*]\" } }",
            r#"{"a":12.10,"b":2}"#,
        ),
    ] {
        check(yaml, expected);
    }
}

#[test]
fn objects_build() {
    for (rest, expected) in [
        (
            "{ $for: p in $.a.body.list, $each: { s: $.p.sku } }",
            r#"[{"s":"x"},{"s":"y"}]"#,
        ),
        (
            "{ $for: p in $.a.body.list, $if: $.p.ok == true, $each: $.p.sku }",
            r#"["x"]"#,
        ),
        (
            "{ $for: \"p in $.a.body.list[*] ?? []\", $each: \"/{{p.sku}}\" }",
            r#"["/x","/y"]"#,
        ),
        (
            "{ $for: p in $.a.body.list, $each: $.each.stock.body }",
            "[10,11]",
        ),
        ("{ $first: \"$.a.body.list[?@.sku == 'y'].ok\" }", "false"),
        (
            "{ $if: $.a.body.price > 12, $then: yes it is }",
            "\"yes it is\"",
        ),
        ("{ $if: $.a.body.price > 13, $then: 1, $else: 2 }", "2"),
        (
            "{ $merge: [ { a: 1 }, { b: 2, a: 3 } ] }",
            r#"{"a":3,"b":2}"#,
        ),
    ] {
        let yaml = format!("[ $.a.body.price, {rest} ]");
        check(&yaml, &format!("[12.10,{expected}]"));
    }
}

#[test]
fn what_has_no_holes_is_one_constant() {
    for (yaml, is_constant) in [
        ("{ a: [1, two, { b: 3.0 }], \"c?\": 4 }", true),
        ("\"${N} x\"", true),
        ("{ \"a?\": ~ }", false),
        ("{ a: $.a.body }", false),
        ("[ \"{{a.body.x}}\" ]", false),
    ] {
        let (tree, found, _) = compiled(yaml);
        assert_eq!(found, [], "{yaml}");
        assert_eq!(matches!(tree, Json::Constant(_)), is_constant, "{yaml}");
    }
}

/// Every finding of a value as `CODE what is underlined`, in the order of the file.
fn findings(yaml: &str) -> Vec<String> {
    let (_, mut found, names) = compiled(yaml);
    assert!(names.is_outside_loops(), "{yaml}");
    found.sort_by_key(|found| (found.span.start, found.span.end));
    let shown = found.iter().map(|found| {
        let (start, end) = (found.span.start as usize, found.span.end as usize);
        format!("{} {}", found.code, &yaml[start..end])
    });
    shown.collect()
}

#[test]
fn every_fault_is_found_at_its_place() {
    let rows: [(&str, &[&str]); 34] = [
        ("$.aa.body", &["R0201 aa"]),
        ("$.a.bdy", &["R0201 bdy"]),
        ("$.a.body.x ?? $.shp.body", &["R0201 shp"]),
        ("$.b.body ?? $.c.body ?? 1", &["R0201 b", "R0201 c"]),
        (
            "\"{{b.body}} {{default c.body d.body}}\"",
            &["R0201 b", "R0201 c", "R0201 d"],
        ),
        ("\"$$.{{b.body}}\"", &["R0201 b"]),
        ("'x \\ é {{ b.body }}'", &["R0201 b"]),
        ("\"x \\t \\u00e9 {{b.body}}\"", &["R0201 b"]),
        ("\"{{{a.body}}}\"", &["R0401 {{{a.body}}"]),
        ("\"{{a.body ?? 1}}\"", &["R0401 ??"]),
        ("$.a..", &["R0402 "]),
        ("$", &["R0402 $"]),
        ("\"$.a.body[*] ?? 1\"", &["R0402 $.a.body[*]"]),
        ("$.a.body ?? EUR", &["R0402 EUR"]),
        ("$.a.${N}", &["R0402 ${N}"]),
        (
            "{ a: $.b.x, c: [ $.d.x, \"{{e.x}}\" ] }",
            &["R0201 b", "R0201 d", "R0201 e"],
        ),
        ("{ a?!: 1 }", &["R0407 a?!"]),
        ("{ a: 1, a!: 2 }", &["R0407 a!"]),
        ("{ \"{{a.body}}\": 1 }", &["R0407 \"{{a.body}}\""]),
        (
            "{ $fro: p in $.a.body.list, $each: $.p.x }",
            &["R0408 $fro"],
        ),
        ("{ $for: p in $.a.body.list }", &["R0408 $for"]),
        ("{ $each: 1 }", &["R0408 $each"]),
        ("{ $if: present($.a.body) }", &["R0408 $if"]),
        ("{ $first: $.a.body, x: $.b.body }", &["R0408 x", "R0201 b"]),
        ("{ $foo: 1, x: $.b.body }", &["R0408 $foo", "R0201 b"]),
        (
            "{ $for: p in $.a.body.list, $each: 1, $then: 2 }",
            &["R0408 $then"],
        ),
        (
            "{ $for: p of $.a.body.list, $each: $.p.x }",
            &["R0406 p of $.a.body.list"],
        ),
        ("{ $for: 3, $each: 1 }", &["R0406 3"]),
        // The variable of a faulty list is known all the same.
        (
            "{ $for: p in $.b.body, $if: $.p.x == 1, $each: { x: $.p.x, y: $.c.x } }",
            &["R0201 b", "R0201 c"],
        ),
        (
            "{ $for: shop in $.a.body.list, $each: $.shop.x }",
            &["R0208 shop"],
        ),
        (
            "{ $for: row in $.a.body.list, $each: $.q.x }",
            &["R0208 row", "R0201 q"],
        ),
        (
            "{ $if: $.a.body == , $then: $.b.x }",
            &["R0404 ", "R0201 b"],
        ),
        ("{ $if: $.b.x == $.c.x, $then: 1 }", &["R0201 b", "R0201 c"]),
        ("{ $count: $.a.body ?? 1 }", &["R0402 $.a.body ?? 1"]),
    ];
    let mut wrong = Vec::new();
    for (yaml, expected) in rows {
        let found = findings(yaml);
        let fits = found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| {
                found == expected || (expected.ends_with(' ') && found.starts_with(expected))
            });
        if !fits {
            wrong.push(format!(
                "{yaml}\n  found    {found:?}\n  expected {expected:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_helpful_word_stands_beside_each_key_that_builds() {
    for (yaml, help) in [
        ("{ $fro: 1 }", "did you mean `$for`?"),
        (
            "{ $ref: 1 }",
            "a key that really begins with `$` is written `$$ref`",
        ),
        ("{ $merge: 1 }", "write `$merge: [ $.a.body, { more: 1 } ]`"),
        ("{ $count: 1 }", "write `$count: $.a.body.items[*]`"),
        ("{ $each: 1 }", "`$each` belongs to `$for`"),
        ("$.shp.body", "did you mean `shop`?"),
    ] {
        let (_, found, _) = compiled(yaml);
        let found = found[0].help.clone().unwrap_or_default();
        assert!(found.starts_with(help), "{yaml}: {found}");
    }
}

#[test]
fn a_text_takes_paths_and_letters() {
    let mut names = names();
    for (yaml, place, found) in [
        ("42", Place::Plain, None),
        ("true", Place::Header, None),
        ("$.a.body.price", Place::Plain, None),
        ("42", Place::Path, Some("R0401")),
        ("~", Place::Plain, Some("R0410")),
        ("{}", Place::Plain, Some("R0410")),
    ] {
        let text = text(&node(yaml), &mut names, place);
        let codes: Vec<&str> = names
            .diagnostics
            .drain(..)
            .map(|found| found.code)
            .collect();
        assert_eq!(codes, found.into_iter().collect::<Vec<_>>(), "{yaml}");
        assert_eq!(text.is_some(), found.is_none(), "{yaml}");
    }
}
