//! Tests of the checker and of what is found, by example and against serde_json.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value as Tree;

use super::pass::Bracket;
use super::*;

const LIMITS: Limits = Limits {
    depth: 200,
    nodes: 100_000,
};

fn names(steps: &str) -> Vec<Step> {
    let step = |text: &str| match text {
        "*" => Step::Every,
        ".." => Step::Deep,
        text => match text.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Name(text.to_owned()),
        },
    };
    steps.split_whitespace().map(step).collect()
}

fn body(text: &[u8], demand: &Demand) -> Result<Body, Fault> {
    Body::check(Bytes::copy_from_slice(text), demand, LIMITS)
}

/// Fed byte by byte; each call sees all bytes so far.
fn body_in_pieces(text: &[u8], cuts: &[usize], demand: &Demand) -> Result<Body, Fault> {
    let mut scan = Scan::new(demand, LIMITS);
    for cut in cuts {
        scan.advance(&text[..*cut])?;
    }
    scan.finish(Bytes::copy_from_slice(text))
}

fn check_syntax(text: &str, offset: usize) {
    match body(text.as_bytes(), &Demand::default()) {
        Err(Fault::Syntax { offset: at, .. }) => assert_eq!(at, offset, "{text}"),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_is_no_json_is_refused_where_it_goes_wrong() {
    let rows = [
        ("", 0),
        (" \n", 2),
        ("[1,]", 3),
        ("[,1]", 1),
        ("[1 2]", 3),
        ("[1}", 2),
        ("[1", 2),
        ("{\"a\":1,}", 7),
        ("{\"a\" 1}", 5),
        ("{\"a\":}", 5),
        ("{a:1}", 1),
        ("{\"a\":1 \"b\":2}", 7),
        ("{1:1}", 1),
        ("1 2", 2),
        ("{} []", 3),
        ("01", 1),
        ("-", 1),
        ("-x", 1),
        ("1.", 2),
        ("1.e1", 2),
        ("[1e]", 3),
        ("1e+", 3),
        ("+1", 0),
        (".5", 0),
        ("trua", 3),
        ("tru", 3),
        ("nulll", 4),
        ("NaN", 0),
        ("\"a", 2),
        ("\"\\x\"", 1),
        ("\"\\u12G4\"", 5),
        ("\"\\u12\"", 5),
        ("\"a\nb\"", 2),
        ("\"a\u{1}\"", 2),
        ("'a'", 0),
        ("// x\n1", 0),
        ("\u{a0}1", 0),
        ("]", 0),
    ];
    for (text, offset) in rows {
        check_syntax(text, offset);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    for inside in [
        &b"\xff"[..],
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xe2\x82",
        b"\xf8\x88\x80\x80\x80",
        b"abcdefgh\x80",
    ] {
        let text = [b"[\"", inside, b"\"]"].concat();
        let whole = body(&text, &Demand::default());
        assert!(matches!(whole, Err(Fault::Syntax { .. })), "{inside:?}");
        let cuts: Vec<_> = (0..text.len()).collect();
        let pieces = body_in_pieces(&text, &cuts, &Demand::default());
        assert_eq!(pieces.unwrap_err(), whole.unwrap_err(), "{inside:?}");
    }
}

/// Strings are gone past in one way and asked for UTF-8 in another: the first fault still counts.
#[test]
fn bytes_that_are_not_utf8_are_the_fault_where_they_stand() {
    let good = "é".repeat(40);
    let texts: [(&[&[u8]], usize); 5] = [
        // A fault of another kind comes later, or in the same string.
        (&[b"[\"", good.as_bytes(), b"\xff\",tru]"], 82),
        (&[b"{\"a\":{\"\xe2\x82\":1,,}}"], 7),
        (&[b"[[\"\xc3\"],[\"a\x00\"]]"], 3),
        (&[b"[\"\xed\xa0\x80\\x\"]"], 2),
        // One comes before.
        (&[b"[\"\\x\xff\"]"], 2),
    ];
    for (parts, expected) in texts {
        let text = parts.concat();
        for cut in 0..=text.len() {
            match body_in_pieces(&text, &[cut], &Demand::default()) {
                Err(Fault::Syntax { offset, .. }) => assert_eq!(offset, expected, "{cut} {text:?}"),
                other => panic!("{cut} {text:?}: {other:?}"),
            }
        }
    }
}

/// In long strings, of which blocks see nothing but the inside, and in short ones.
#[test]
fn a_fault_in_a_string_is_found_wherever_it_stands() {
    let faults: [&[u8]; 9] = [
        b"\x01",
        b"\\x",
        b"\\u12G4",
        b"\\\"",
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ];
    let long = "aéa😀".repeat(80);
    let short = "aéa\",\"a😀".repeat(60);
    let front = format!("[[{}\"", "1,".repeat(100));
    let back = format!("\"{}]]", ",1".repeat(100));
    for (inside, fault) in [&long, &short]
        .iter()
        .flat_map(|inside| faults.map(|fault| (inside, fault)))
    {
        for at in (0..200).filter(|at| inside.is_char_boundary(*at)) {
            let (before, behind) = inside.split_at(at);
            let text = [
                front.as_bytes(),
                before.as_bytes(),
                fault,
                behind.as_bytes(),
                back.as_bytes(),
            ]
            .concat();
            let whole = body(&text, &Demand::default());
            let cuts: Vec<_> = (0..text.len()).collect();
            let pieces = body_in_pieces(&text, &cuts, &Demand::default());
            assert_eq!(
                whole.as_ref().err(),
                pieces.as_ref().err(),
                "{}",
                text.escape_ascii()
            );
            assert_eq!(whole.is_ok(), accepted(&text), "{}", text.escape_ascii());
        }
    }
}

/// The bracket that closes the last unread value may be the last byte of a block.
#[test]
fn what_is_unread_ends_at_any_place_of_a_block() {
    let mut demand = Demand::default();
    let slot = demand.slot(&names("a"));
    for (opens, unit, closes) in [("[", "1,", "]"), ("{", "\"k\":1,", "}")] {
        let key = unit.strip_suffix("1,").unwrap();
        for digits in 1..=64 {
            let check = |members: &str| {
                let (units, number) = (unit.repeat(100), "1".repeat(digits));
                let rest = " ".repeat(600);
                let text = format!("{{\"b\":{opens}{units}{key}{number}{closes},{members}{rest}}}");
                body(text.as_bytes(), &demand)
            };
            let right = check("\"a\":[]").unwrap();
            assert_eq!(right.slice(slot).unwrap(), "[]");
            for wrong in ["1", "1,2", "true"] {
                assert!(matches!(check(wrong), Err(Fault::Syntax { .. })), "{wrong}");
            }
            for double in ["\"b\":2", "\"a\":1,\"c\":2,\"a\":3"] {
                assert!(
                    matches!(check(double), Err(Fault::Duplicate { .. })),
                    "{double}"
                );
            }
        }
    }
}

/// Where much is read at once, at every place of a block.
#[test]
fn what_is_no_json_is_refused_wherever_it_stands() {
    let wrong = r#"[1,] [,1] [,] {"a":1,} {,"a":1} {,} {"a"} {"a",} {"a":} {:1} {"a"::1} ["a""b"] {1:2} {true:2}
        {"a"1} ["a":1] {"a":1:2} {"a":"b":1} {"a":1"b":2} [} {] [1} {"a":1] {[]:1} {{}:1} [[]1] [1[]] {"a":{}1}
        [tru] [nulll] [01] [1.] [-] [1e] [1"a"] ["a"1] [\] ["a"\] [1\] ["\"] }"#;
    let wrong = wrong.split_whitespace().map(str::to_owned);
    let wrong = wrong
        .chain(["[1 2]", "{\"a\" 1}", "[1 ,]", "{1 :2}", "[\u{c}]", "[,\n]"].map(str::to_owned));
    let right = r#"[] {} [[],{}] {"a":[]} {"a":{"b":-1.5e+3}} [true,null,"\"\u00e9\\"]"#;
    let right = right.split_whitespace().map(str::to_owned);
    let right = right.chain(["[ ]", "{\n\t}", "{ \"a\" : [ 1 , 2 ] }"].map(str::to_owned));
    let fragments: Vec<_> = wrong
        .map(|text| (text, false))
        .chain(right.map(|text| (text, true)))
        .collect();
    let units = "1,".repeat(100);
    for digits in 1..=64 {
        for (fragment, is_right) in &fragments {
            let number = "1".repeat(digits);
            let text = format!("[[{units}{number},{fragment},{units}{units}2]]");
            let whole = body(text.as_bytes(), &Demand::default());
            assert_eq!(whole.is_ok(), *is_right, "{text}");
            let cuts: Vec<_> = (0..text.len()).collect();
            let pieces = body_in_pieces(text.as_bytes(), &cuts, &Demand::default());
            assert_eq!(whole.err(), pieces.err(), "{text}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_refused_also_in_pieces() {
    let text = b"\xEF\xBB\xBF{}";
    let demand = Demand::default();
    assert_eq!(body(text, &demand).unwrap_err(), Fault::ByteOrderMark);
    let pieces = body_in_pieces(text, &[0, 1, 2, 3], &demand);
    assert_eq!(pieces.unwrap_err(), Fault::ByteOrderMark);
    assert!(matches!(
        body(b"\xEF\xBB", &demand),
        Err(Fault::Syntax { offset: 0, .. })
    ));
}

#[test]
fn depth_is_met_at_the_bracket_that_is_too_many() {
    let demand = Demand::default();
    let limits = Limits { depth: 3, nodes: 9 };
    let check = |text: &str, expected: Result<(), Fault>| {
        let result = Body::check(Bytes::copy_from_slice(text.as_bytes()), &demand, limits);
        assert_eq!(result.map(drop), expected, "{text}");
    };
    check("[[[1]]]", Ok(()));
    check("[[[[", Err(Fault::TooDeep { offset: 3 }));
    check(r#"{"a":[{"b":{"#, Err(Fault::TooDeep { offset: 11 }));
    check("[1,2,3,4,5,6,7,8]", Ok(()));
    check(
        "[1,2,3,4,5,6,7,8,9]",
        Err(Fault::TooManyNodes { offset: 17 }),
    );
    check(r#"{"a":1,"b":{"c":[]},"d":[1,2,3,4]}"#, Ok(()));

    let hostile = vec![b'['; 1 << 20];
    let mut scan = Scan::new(&demand, LIMITS);
    let fault = scan.advance(&hostile).unwrap_err();
    assert_eq!(fault, Fault::TooDeep { offset: 200 });
}

#[test]
fn a_fault_shows_before_the_body_is_complete() {
    let demand = Demand::default();
    let mut scan = Scan::new(&demand, LIMITS);
    assert_eq!(scan.advance(b"[1, 2"), Ok(()));
    assert!(scan.advance(b"[1, 2;").is_err());
}

#[test]
fn a_number_at_the_top_ends_with_the_body() {
    for text in ["0", "-12.5e+3", " 7 "] {
        let cuts: Vec<_> = (0..=text.len()).collect();
        let body = body_in_pieces(text.as_bytes(), &cuts, &Demand::default()).unwrap();
        assert_eq!(body.whole().bytes(), text.trim().as_bytes());
    }
}

fn check_slot(text: &str, steps: &str, expected: Option<&str>) {
    let mut demand = Demand::default();
    let slot = demand.slot(&names(steps));
    let cuts: Vec<_> = (0..text.len()).collect();
    for body in [
        body(text.as_bytes(), &demand).unwrap(),
        body_in_pieces(text.as_bytes(), &cuts, &demand).unwrap(),
    ] {
        let found = body.slot(slot).map(|value| format!("{value:?}"));
        assert_eq!(found.as_deref(), expected, "{steps} of {text}");
        let slice = body.slice(slot).map(|bytes| bytes.to_vec());
        assert_eq!(slice.as_deref(), expected.map(str::as_bytes));
    }
}

#[test]
fn the_parts_that_are_asked_for_are_found() {
    let text =
        r#" { "a" : { "b" : [ 1.10 , {"c":"x\"}"} , [] ], "a":3e400 } , "d":null , "\u0065":5 } "#;
    let rows = [
        ("", Some(text.trim())),
        ("a b 0", Some("1.10")),
        ("a b 1", Some(r#"{"c":"x\"}"}"#)),
        ("a b 1 c", Some(r#""x\"}""#)),
        ("a b 2", Some("[]")),
        ("a b 3", None),
        ("a a", Some("3e400")),
        ("d", Some("null")),
        ("d x", None),
        ("e", Some("5")),
        ("0", None),
        ("a 0", None),
        ("a b c", None),
    ];
    for (steps, expected) in rows {
        check_slot(text, steps, expected);
    }
    check_slot("7", "", Some("7"));
    check_slot("[[0],[1,[2]]]", "1 1 0", Some("2"));
}

#[test]
fn slots_are_the_same_for_the_same_steps_and_may_lie_in_each_other() {
    let mut demand = Demand::default();
    let outer = demand.slot(&names("a"));
    let inner = demand.slot(&names("a b"));
    assert_eq!(demand.slot(&names("a")), outer);
    assert_ne!(outer, inner);
    demand.look(&names("a * x"));
    demand.look(&names("* y"));
    let body = body(br#"{"a":{"b":{"x":1}},"z":[{"y":1}]}"#, &demand).unwrap();
    assert_eq!(body.slot(outer).unwrap().bytes(), br#"{"b":{"x":1}}"#);
    assert_eq!(body.slot(inner).unwrap().bytes(), br#"{"x":1}"#);
}

fn check_duplicate(looks: &str, text: &str, expected: Option<(usize, &str)>) {
    let mut demand = Demand::default();
    for look in looks.split(';').filter(|look| !look.is_empty()) {
        demand.look(&names(look));
    }
    let fault = body(text.as_bytes(), &demand).err();
    let expected = expected.map(|(offset, key)| Fault::Duplicate {
        offset,
        key: key.to_owned(),
    });
    assert_eq!(fault, expected, "{looks} on {text}");
}

#[test]
fn duplicate_keys_are_refused_where_somebody_looks() {
    let twice = r#"{"a":1,"a":2}"#;
    check_duplicate("", twice, None);
    check_duplicate("x", twice, Some((7, "a")));
    check_duplicate("*", twice, Some((7, "a")));
    check_duplicate("..", twice, Some((7, "a")));
    check_duplicate("0", twice, None);
    check_duplicate("a", r#"{"a":1,"\u0061":2}"#, Some((7, "a")));
    check_duplicate("a", r#"{"\u0061":1,"\u0061":2}"#, Some((12, "a")));
    check_duplicate("a", r#"{"a":1,"A":2}"#, None);
    check_duplicate("a", r#"{"x":1,"x":2}"#, Some((7, "x")));
    let below = r#"{"b":{"c":1,"c":2}}"#;
    check_duplicate("b", below, None);
    check_duplicate("a c", below, None);
    check_duplicate("b c", below, Some((12, "c")));
    check_duplicate("b *", below, Some((12, "c")));
    check_duplicate("* x", below, Some((12, "c")));
    check_duplicate("b 0", below, None);
    check_duplicate("..", below, Some((12, "c")));
    check_duplicate("b ..", below, Some((12, "c")));
    check_duplicate("a ..", below, None);
    let listed = r#"[{"c":{"d":0,"d":0}},{"e":0,"e":0}]"#;
    check_duplicate("0 c", listed, None);
    check_duplicate("0 c d", listed, Some((13, "d")));
    check_duplicate("1 x", listed, Some((28, "e")));
    check_duplicate("* x", listed, Some((28, "e")));
    check_duplicate("2 x", listed, None);
    check_duplicate("0 c;* c d", listed, Some((13, "d")));
    check_duplicate("..", listed, Some((13, "d")));
}

#[test]
fn a_strict_demand_looks_everywhere() {
    let demand = Demand::default().strict();
    let text = br#"{"x":[0,{"c":1,"c":2}]}"#;
    let fault = body(text, &demand).unwrap_err();
    assert!(matches!(fault, Fault::Duplicate { offset: 15, .. }));
    assert!(body(br#"[{"a":{"a":1}},{"a":1}]"#, &demand).is_ok());
}

#[test]
fn a_large_object_is_looked_into_in_linear_time() {
    let demand = Demand::default().strict();
    let member = |number: usize| format!("\"k{number}\":0,\"\\u006b{number}x\":{{\"a\":0}}");
    let members: Vec<_> = (0..20_000).map(member).collect();
    let text = format!("{{{}}}", members.join(","));
    assert!(body(text.as_bytes(), &demand).is_ok());
    for again in ["k0", "k19999", "k7x"] {
        let text = format!("{{{},\"{again}\":1}}", members.join(","));
        let fault = body(text.as_bytes(), &demand).unwrap_err();
        assert!(matches!(fault, Fault::Duplicate { key, .. } if key == again));
    }
}

#[test]
fn texts_are_decoded_and_written() {
    let rows = [
        (r#""""#, ""),
        (r#""a b""#, "a b"),
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u00e9\u20AC é""#, "é€ é"),
        (r#""\ud83d\ude00x""#, "😀x"),
        (r#""\ud83dx""#, "\u{fffd}x"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
        (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
        (r#""\ude00""#, "\u{fffd}"),
    ];
    for (text, expected) in rows {
        let body = body(text.as_bytes(), &Demand::default()).unwrap();
        assert_eq!(body.whole().text().unwrap(), expected);
        let mut written = Vec::new();
        write_text(&mut written, expected);
        let back: String = serde_json::from_slice(&written).unwrap();
        assert_eq!(back, expected);
    }
    assert_eq!(Value::trusted(b"12").text(), None);
}

#[test]
fn members_and_elements_are_found_by_name_and_index() {
    let value = Value::trusted(br#"{ "a" : [ 1 , [2,"]"] ,3] , "\u0062":{"}":"\\"}, "c":true }"#);
    let list = value.get("a").unwrap();
    let shown = |value: Option<Value<'_>>| value.map(|value| format!("{value:?}"));
    assert_eq!(shown(list.index(1)).unwrap(), r#"[2,"]"]"#);
    assert_eq!(shown(list.index(-1)).unwrap(), "3");
    assert_eq!(shown(list.index(-3)).unwrap(), "1");
    assert_eq!(shown(list.index(-4)), None);
    assert_eq!(shown(list.index(i64::MIN)), None);
    assert_eq!(shown(list.index(3)), None);
    assert_eq!(shown(value.get("b")).unwrap(), r#"{"}":"\\"}"#);
    assert_eq!(shown(value.get("c")).unwrap(), "true");
    assert_eq!(shown(value.get("d")), None);
    assert_eq!(shown(list.get("a")), None);
    assert_eq!(value.elements().count(), 0);
    assert_eq!(list.members().count(), 0);
    assert_eq!(value.children().count(), 3);
    assert_eq!(list.children().count(), 3);
    let kinds = [
        ("null", Kind::Null),
        ("false", Kind::Boolean(false)),
        ("-1", Kind::Number),
        ("\"\"", Kind::Text),
        ("[]", Kind::Array),
        ("{}", Kind::Object),
    ];
    for (text, kind) in kinds {
        assert_eq!(Value::trusted(text.as_bytes()).kind(), kind);
    }
}

#[test]
fn equality_is_that_of_json_values() {
    let rows = [
        ("null", "null", true),
        ("null", "false", false),
        ("true", "true", true),
        ("1.10", "1.1", true),
        ("1152921504606846976", "1152921504606846977", false),
        (r#""a""#, r#""\u0061""#, true),
        (r#""1""#, "1", false),
        ("[1,2]", "[ 1.0 , 2 ]", true),
        ("[1,2]", "[2,1]", false),
        ("[1,2]", "[1,2,3]", false),
        ("[1,2,3]", "[1,2]", false),
        ("[]", "{}", false),
        (r#"{"a":1,"b":[{}]}"#, r#"{"b":[{}],"\u0061":1e0}"#, true),
        (r#"{"a":1}"#, r#"{"a":1,"b":1}"#, false),
        (r#"{"a":1}"#, r#"{"b":1}"#, false),
        (r#"{"a":1}"#, r#"{"a":2}"#, false),
    ];
    for (one, other, expected) in rows {
        let (a, b) = (
            Value::trusted(one.as_bytes()),
            Value::trusted(other.as_bytes()),
        );
        assert_eq!(a.equals(b), expected, "{one} and {other}");
        assert_eq!(b.equals(a), expected, "{other} and {one}");
    }
    let deep = |inmost: &str| format!("{}{inmost}{}", "[".repeat(9000), "]".repeat(9000));
    let (one, other) = (deep("1"), deep("1.0"));
    assert!(Value::trusted(one.as_bytes()).equals(Value::trusted(other.as_bytes())));
}

// === against serde_json ===

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<f64>().prop_map(Tree::from),
        "[a-c\"\\\\\u{1}é😀]{0,12}".prop_map(Tree::from),
        "[a-z ]{0,80}[é😀\n]{0,2}[a-z ]{0,40}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::from),
            prop::collection::vec(("[a-c\"é]{0,2}", inner), 0..6)
                .prop_map(|members| Tree::Object(members.into_iter().collect())),
        ]
    })
}

fn check_same(value: Value<'_>, tree: &Tree) {
    let parsed: Tree = serde_json::from_slice(value.bytes()).unwrap();
    assert_eq!(&parsed, tree);
    match tree {
        Tree::String(text) => assert_eq!(value.text().unwrap(), text.as_str()),
        Tree::Array(elements) => {
            assert_eq!(value.elements().count(), elements.len());
            for (index, element) in elements.iter().enumerate() {
                check_same(value.index(index as i64).unwrap(), element);
            }
        }
        Tree::Object(members) => {
            assert_eq!(value.members().count(), members.len());
            for (name, member) in members {
                check_same(value.get(name).unwrap(), member);
            }
        }
        _ => {}
    }
}

/// All places of a tree as steps, with what stands there.
fn places<'t>(tree: &'t Tree, steps: &mut Vec<Step>, out: &mut Vec<(Vec<Step>, &'t Tree)>) {
    out.push((steps.clone(), tree));
    let children: Vec<(Step, &Tree)> = match tree {
        Tree::Array(elements) => (elements.iter().enumerate())
            .map(|(index, element)| (Step::Index(index), element))
            .collect(),
        Tree::Object(members) => (members.iter())
            .map(|(name, member)| (Step::Name(name.clone()), member))
            .collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        steps.push(step);
        places(child, steps, out);
        steps.pop();
    }
}

/// A place, what is done there (see [`apply`]), and with which byte.
type Edit = (prop::sample::Index, usize, u8);

fn edit() -> impl Strategy<Value = Edit> {
    let bytes = &b"[]{},:\"\\ue01-+.tfnr \n\x00\x1f\x80\xc3\xa9\xf0\x9f"[..];
    (
        any::<prop::sample::Index>(),
        0usize..3,
        prop::sample::select(bytes),
    )
}

fn apply(edit: &Edit, text: &mut Vec<u8>) {
    let (at, kind, byte) = *edit;
    let at = at.index(text.len().max(1));
    match kind {
        0 if at < text.len() => text[at] = byte,
        1 if at < text.len() => drop(text.remove(at)),
        _ => text.insert(at.min(text.len()), byte),
    }
}

fn bracket() -> impl Strategy<Value = Bracket> {
    prop_oneof![Just(Bracket::Array), Just(Bracket::Object)]
}

/// Whole tokens and long runs, to be put in front of a bracket, comma or colon or behind it.
fn pieces() -> impl Strategy<Value = Vec<(prop::sample::Index, bool, String)>> {
    let few = prop::sample::select(
        &[
            "1", "\"a\"", "\"k\":", "1:", "true", "1:2,", "1 :2,", ":1,", ",", ":", "[", "]", "[]",
            "{", "}", "{}", " ", "\n\t",
        ][..],
    );
    let piece = prop_oneof![
        4 => few.prop_map(str::to_owned),
        1 => "[ \n]{50,140}",
        1 => r#""(\\\\){25,70}[a"]?""#,
        1 => "[1-9]{50,140}",
    ];
    prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), piece), 0..4)
}

fn insert(piece: &(prop::sample::Index, bool, String), text: &mut Vec<u8>) {
    let (index, is_behind, piece) = piece;
    let marks = text.iter().enumerate();
    let marks = marks.filter(|(_, byte)| b"[]{},:".contains(byte));
    let places: Vec<usize> = marks.map(|(at, _)| at + usize::from(*is_behind)).collect();
    if !places.is_empty() {
        let at = places[index.index(places.len())];
        text.splice(at..at, piece.bytes());
    }
}

fn accepted(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(20), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_serde_json_writes_is_accepted_and_found(tree in tree(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) }.unwrap();
        let mut all = Vec::new();
        places(&tree, &mut Vec::new(), &mut all);
        let mut demand = Demand::default().strict();
        let slots: Vec<_> = all.iter().map(|(steps, _)| demand.slot(steps)).collect();
        let body = body(&text, &demand).unwrap();
        check_same(body.whole(), &tree);
        for (slot, (_, tree)) in slots.into_iter().zip(all) {
            check_same(body.slot(slot).unwrap(), tree);
        }
    }

    #[test]
    fn pieces_give_what_the_whole_gives(tree in tree(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8), edit in prop::option::of((any::<prop::sample::Index>(), any::<u8>()))) {
        let mut text = serde_json::to_vec(&tree).unwrap();
        if let Some((at, byte)) = edit {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let mut demand = Demand::default();
        let slot = demand.slot(&names("0"));
        demand.look(&names("* a"));
        let whole = body(&text, &demand);
        let pieces = body_in_pieces(&text, &cuts, &demand);
        prop_assert_eq!(whole.as_ref().err(), pieces.as_ref().err());
        if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
            prop_assert_eq!(whole.slice(slot), pieces.slice(slot));
        }
    }

    /// Fed byte by byte, the machine in `scan.rs` reads nearly all; fed at once, nearly nothing.
    #[test]
    fn the_quick_ways_see_what_the_machine_sees(tree in tree(), pretty in any::<bool>(), strict in any::<bool>(), looks in prop::collection::vec("[a-c*0.]( [a-c*0])?", 0..3), depth in 0u32..9, nodes in 0u32..60, edits in prop::collection::vec(edit(), 0..3)) {
        let mut text = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) }.unwrap();
        for edit in &edits {
            apply(edit, &mut text);
        }
        let mut demand = Demand::default();
        let whole = demand.slot(&[]);
        for look in &looks {
            demand.look(&names(&look.replace('.', "..")));
        }
        let demand = if strict { demand.strict() } else { demand };
        let cuts: Vec<_> = (0..text.len()).collect();
        for limits in [LIMITS, Limits { depth, nodes }] {
            let check = |cuts: &[usize]| {
                let mut scan = Scan::new(&demand, limits);
                for cut in cuts {
                    scan.advance(&text[..*cut])?;
                }
                scan.finish(Bytes::copy_from_slice(&text))
            };
            let found = |body: Body| (body.whole().bytes().to_vec(), body.slice(whole));
            prop_assert_eq!(check(&[]).map(found), check(&cuts).map(found));
        }
    }

    /// The end of the whole may be cut off, or come too late, or not be that of what is open.
    #[test]
    fn blocks_go_where_tokens_go(
        trees in prop::collection::vec(tree(), 1..8),
        pretty in any::<bool>(),
        spaced in any::<bool>(),
        around in prop::option::of(bracket()),
        unread in prop::collection::vec(bracket(), 1..4),
        end in "[]}, ]{0,4}",
        depth in 0usize..9,
        nodes in 0u32..200,
        pieces in pieces(),
        edits in prop::collection::vec(edit(), 0..2),
    ) {
        let next = match (unread.last(), spaced) {
            (Some(Bracket::Array), _) => ",",
            (_, false) => ",\"k\":",
            (_, true) => ",\n\t\"k\" :  ",
        };
        let written: Vec<_> = trees.iter().map(|tree| if pretty { format!("{tree:#}") } else { tree.to_string() }).collect();
        let mut text = (written.join(next) + &end).into_bytes();
        for piece in &pieces {
            insert(piece, &mut text);
        }
        for edit in &edits {
            apply(edit, &mut text);
        }
        text.splice(..0, *b"1, ");
        for limits in [(200, 100_000), (depth, nodes)] {
            let [by_blocks, by_tokens] = blocks::tests::both_ways(&text, around, &unread, limits);
            prop_assert_eq!(by_blocks, by_tokens, "{}", text.escape_ascii());
        }
    }

    /// Nearly to the end: a number is left whose end is not to be seen.
    #[test]
    fn blocks_go_over_all_that_is_right(
        trees in prop::collection::vec(tree(), 1..8),
        pretty in any::<bool>(),
        run in r#"(\\\\){0,70}(\\")?"#,
        digits in "[1-9][0-9]{0,140}",
        spaces in "[ \n\t\r]{0,140}",
    ) {
        let written: Vec<_> = trees.iter().map(|tree| if pretty { format!("{tree:#}") } else { tree.to_string() }).collect();
        let text = "1, ".to_owned() + &written.join(&format!(",\"{run}\"{spaces},{spaces}{digits}{spaces},[{spaces}],"));
        let whole = &text.as_bytes()[..text.len().saturating_sub(256)];
        let mut is_inside = false;
        let mut is_escaped = false;
        let mut end = 0;
        for (at, byte) in whole.iter().enumerate().skip(blocks::BEFORE) {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_inside = !is_inside,
                b'[' | b']' | b'{' | b'}' | b',' | b':' if !is_inside => end = at + 1,
                _ => {}
            }
        }
        let reached = blocks::tests::end_of_blocks(text.as_bytes(), Bracket::Array);
        prop_assert!(reached >= end, "{reached} of {end}: {text}");
    }

    #[test]
    fn mutations_are_accepted_exactly_if_serde_json_accepts(tree in tree(), pretty in any::<bool>(), edits in prop::collection::vec(edit(), 1..4)) {
        let mut text = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) }.unwrap();
        for edit in &edits {
            apply(edit, &mut text);
        }
        let ours = body(&text, &Demand::default());
        prop_assert_eq!(ours.is_ok(), accepted(&text), "{:?}: {:?}", String::from_utf8_lossy(&text), ours);
    }

    #[test]
    fn comparison_never_contradicts_machine_numbers(one in any::<i64>(), other in any::<i64>(), power in 0i32..4) {
        let scaled = format!("{one}e-{power}");
        let order = Value::trusted(one.to_string().as_bytes()).compare(Value::trusted(other.to_string().as_bytes()));
        prop_assert_eq!(order, Some(one.cmp(&other)));
        let back = format!("{one}{}e-{power}", "0".repeat(power as usize));
        prop_assert_eq!(Value::trusted(back.as_bytes()).compare(Value::trusted(one.to_string().as_bytes())), Some(std::cmp::Ordering::Equal));
        let expected = (i128::from(one)).cmp(&(i128::from(other) * 10i128.pow(power as u32)));
        prop_assert_eq!(Value::trusted(scaled.as_bytes()).compare(Value::trusted(other.to_string().as_bytes())), Some(expected));
    }
}

#[test]
fn bytes_have_two_digits_each() {
    for first in 0..=u8::MAX {
        let bytes = [first, first.wrapping_add(1), !first, first.wrapping_mul(7)];
        let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal(bytes), expected.as_bytes());
    }
}
