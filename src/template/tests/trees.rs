//! What trees come out as.

use super::*;

pub(super) fn json(tree: &Json) -> Result<String, String> {
    let mut out = b"before|".to_vec();
    match tree.render(&env(), &mut out) {
        Ok(true) => Ok(String::from_utf8(out.split_off(7)).expect("text")),
        Ok(false) => {
            assert_eq!(out, b"before|");
            Ok("absent".to_owned())
        }
        Err(failure) => Err(format!("{:?} {}", failure.kind, failure.path)),
    }
}

pub(super) fn choice(text: &str) -> Choice {
    let mut choice = choice::parse(text, true).expect(text);
    choice.bind(&mut Binder::default()).expect(text);
    choice
}

pub(super) fn condition(text: &str) -> Condition {
    let mut condition = Condition::parse(text).expect(text);
    condition.bind(&mut Binder::default()).expect(text);
    condition
}

pub(super) fn path(text: &str) -> Json {
    Json::Choice(choice(text))
}

pub(super) fn text(source: &str) -> Json {
    Json::Text(bound(source, Place::Plain))
}

pub(super) fn constant(bytes: &str) -> Json {
    Json::Constant(bytes.as_bytes().into())
}

pub(super) fn object(members: Vec<(&str, Json)>) -> Json {
    let members = members.into_iter().map(|(written, value)| {
        let (name, mark) = key(written).expect(written);
        let mut key = Vec::new();
        crate::json::write_text(&mut key, &name);
        key.push(b':');
        Member {
            key: key.into(),
            mark,
            value,
        }
    });
    Json::Object(members.collect())
}

pub(super) fn repeat(variable: Root, source: &str, filter: Option<&str>, each: Json) -> Json {
    Json::For {
        variable,
        source: choice(source),
        filter: filter.map(condition),
        each: Box::new(each),
    }
}

#[test]
fn trees_are_spliced_from_bytes() {
    let rows = [
        (path("$.a.body.price"), "12.10"),
        (path("$.a.body.big"), "1e400"),
        (path("$.a.body.words"), r#"["x", 1, true, 1.50]"#),
        (path("$.a.body.words[*]"), r#"["x",1,true,1.50]"#),
        (path("$.a.body.missing[*]"), "[]"),
        (path("$.a.body.list[*].qty"), "[1,null]"),
        (path("$.a.body.missing"), "absent"),
        (path("$.a.body.nothing"), "absent"),
        (path("$.a.body.nothing ?? $.a.body.price"), "12.10"),
        (path("$.a.body.nothing ?? \"EUR\""), "\"EUR\""),
        (path("$.a.body.nothing ?? 1.50"), "1.50"),
        (path("$.a.body.no ?? 1"), "false"),
        (path("$.a.body.missing ?? null"), "absent"),
        (path("$.request.headers.x-user"), "\"Ada\""),
        (text("{{a.body.quote}}"), r#""say \"hi\"\n<b>""#),
        (text("x {{a.body.missing}}"), "absent"),
        (constant("null"), "absent"),
        (constant("1.0"), "1.0"),
        (Json::Array(vec![]), "[]"),
        (
            Json::Array(vec![
                path("$.a.body.missing"),
                constant("1"),
                text("{{b.body.z}}"),
            ]),
            "[null,1,null]",
        ),
        (Json::First(choice("$.a.body.list[*].sku")), "\"p1\""),
        (
            Json::First(choice("$.a.body.list[?@.sku == 'p2'].tags")),
            "[]",
        ),
        (
            Json::First(choice("$.a.body.list[?@.sku == 'p9']")),
            "absent",
        ),
        (
            Json::First(choice("$.a.body.list[?@.sku == 'p9'] ?? $.b.body.k")),
            "2",
        ),
        (Json::First(choice("$.a.body.list[1:].qty ?? 7")), "7"),
        (Json::Count(choice("$.a.body.list[*].tags[*]")), "2"),
        (Json::Count(choice("$.a.body.missing[*]")), "0"),
    ];
    for (tree, expected) in rows {
        assert_eq!(json(&tree).as_deref(), Ok(expected), "{tree:?}");
    }
}

#[test]
fn marks_say_what_becomes_of_an_absent_value() {
    let members = vec![
        ("a?", path("$.a.body.missing")),
        ("b", path("$.a.body.missing")),
        ("c?", constant("1")),
        ("why??", constant("2")),
        ("d?", text("{{a.body.nothing}}")),
        ("e!", path("$.a.body.price")),
        ("f\"?", constant("null")),
    ];
    let expected = r#"{"b":null,"c":1,"why?":2,"e":12.10}"#;
    assert_eq!(json(&object(members)).as_deref(), Ok(expected));
    let only = object(vec![("a?", path("$.a.body.missing"))]);
    assert_eq!(json(&only).as_deref(), Ok("{}"));
    let rows = [
        (
            path("$.a.body.missing ?? $.b.z"),
            "Missing $.a.body.missing ?? $.b.z",
        ),
        (
            text("{{b.body.k}} {{a.body.nothing}}"),
            "Missing a.body.nothing",
        ),
        (
            Json::First(choice("$.a.body.none[*]")),
            "Missing $.a.body.none[*]",
        ),
    ];
    for (tree, expected) in rows {
        let tree = object(vec![("x", constant("1")), ("key!", tree)]);
        assert_eq!(json(&tree), Err(expected.to_owned()));
    }
    // An object in a text is a fault, not an absence.
    let tree = object(vec![("x?", text("{{a.body.object}}"))]);
    assert_eq!(json(&tree), Err("Missing a.body.object".to_owned()));
}

#[test]
fn loops_write_one_element_each() {
    let sku = || object(vec![("sku", path("$.p.sku")), ("qty?", path("$.p.qty"))]);
    let rows = [
        (
            repeat(P, "$.a.body.list", None, sku()),
            Ok(r#"[{"sku":"p1","qty":1},{"sku":"p2"}]"#),
        ),
        (
            repeat(P, "$.a.body.list[*]", Some("$.p.qty > 0"), sku()),
            Ok(r#"[{"sku":"p1","qty":1}]"#),
        ),
        (
            repeat(P, "$.a.body.list", Some("$.p.qty > 9"), sku()),
            Ok("[]"),
        ),
        (
            repeat(P, "$.a.body.list", None, path("$.p.qty")),
            Ok("[1,null]"),
        ),
        (
            repeat(P, "$.a.body.list", None, text("/{{p.sku}}/{{b.body.k}}")),
            Ok(r#"["/p1/2","/p2/2"]"#),
        ),
        (
            repeat(
                P,
                "$.a.body.list",
                None,
                repeat(Q, "$.p.tags", None, text("{{p.sku}}{{q}}")),
            ),
            Ok(r#"[["p1x","p1y"],[]]"#),
        ),
        (repeat(P, "$.a.body.missing", None, sku()), Ok("absent")),
        (repeat(P, "$.a.body.missing ?? []", None, sku()), Ok("[]")),
        (repeat(P, "$.a.body.missing[*]", None, sku()), Ok("[]")),
        (
            repeat(
                P,
                "$.a.body.missing[*] ?? $.a.body.words",
                None,
                path("$.p"),
            ),
            Ok(r#"["x",1,true,1.50]"#),
        ),
        (
            repeat(P, "$.a.body.object", None, sku()),
            Err("Missing $.a.body.object"),
        ),
        (
            Json::First(choice("$.a.body.list[?@.sku == $.b.body.k]")),
            Ok("absent"),
        ),
    ];
    for (tree, expected) in rows {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(json(&tree), expected, "{tree:?}");
    }
}

#[test]
fn conditions_and_merges_build_objects() {
    let choose = |test: &str| Json::If {
        condition: condition(test),
        then: Box::new(path("$.b.body.k")),
        otherwise: Box::new(constant("null")),
    };
    let rows = [
        (choose("present($.a.body.name)"), Ok("2")),
        (choose("present($.a.body.nothing)"), Ok("absent")),
        (
            Json::Merge(vec![
                path("$.a.body.object"),
                path("$.a.body.missing"),
                path("$.b.body"),
                object(vec![("z?", path("$.b.none")), ("\u{6b}", constant("3"))]),
            ]),
            Ok(r#"{"k":3,"42":"answer","odd name":"odd","m":[1]}"#),
        ),
        (Json::Merge(vec![path("$.a.body.missing")]), Ok("{}")),
        (
            Json::Merge(vec![path("$.b.body"), path("$.a.body.words")]),
            Err("Missing $.a.body.words"),
        ),
    ];
    for (tree, expected) in rows {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(json(&tree), expected, "{tree:?}");
    }
}
