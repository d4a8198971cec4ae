use std::path::Path;

use super::*;
use crate::config::text::documents;
use crate::diagnostic::{Files, arrange};

fn variable(name: &str) -> Option<String> {
    (name == "SECRET").then(|| "hunter2".to_owned())
}

/// Every document of `text`, and the findings as `CODE line:column-column`.
fn read_all(text: &str) -> (Vec<Option<Node>>, Vec<String>, Vec<Diagnostic>) {
    let mut files = Files::default();
    let file = files.add("f.yaml".into(), "f.yaml".into(), text.into());
    let sources = Sources {
        variable: &variable,
        folder: Path::new("/nowhere"),
    };
    let mut nodes = Vec::new();
    let mut findings = Vec::new();
    for range in documents(text) {
        let document = read(text, range, file, &sources);
        nodes.push(document.node);
        findings.extend(document.findings);
    }
    let findings = arrange(findings, &files);
    let places = findings
        .iter()
        .map(|finding| {
            let (start, end) = files.place(finding.span);
            format!(
                "{} {}:{}-{}",
                finding.code, start.line, start.column, end.column
            )
        })
        .collect();
    (nodes, places, findings)
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let (_, places, findings) = read_all(text);
    assert_eq!(places, expected, "{text}\n{findings:#?}");
}

/// The one finding of `text`, and its help.
#[track_caller]
fn helped(text: &str, place: &str, help: &str) {
    let (_, places, findings) = read_all(text);
    assert_eq!(places, [place], "{text}\n{findings:#?}");
    assert_eq!(findings[0].help.as_deref(), Some(help), "{text}");
}

/// A node as compact text: what is quoted here is text there.
fn show(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Boolean(boolean) => boolean.to_string(),
        Kind::Number(digits) => digits.clone(),
        Kind::Text(text) => format!("{:?}", text.filled()),
        Kind::Sequence(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(","))
        }
        Kind::Mapping(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| format!("{}:{}", entry.key, show(&entry.value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Kind::Broken => "BROKEN".to_owned(),
    }
}

#[track_caller]
fn reads(text: &str, expected: &str) {
    let (nodes, places, findings) = read_all(text);
    assert_eq!(places, [""; 0], "{findings:#?}");
    let shown: Vec<String> = nodes
        .iter()
        .map(|node| node.as_ref().map_or("NONE".to_owned(), show))
        .collect();
    assert_eq!(shown.join(" "), expected);
}

#[test]
fn scalars_are_read_by_the_contract() {
    reads(
        "a: 1\nb: '1'\nc: NO\nd: ~\ne:\nf: 12.10\ng: true\nh: \"true\"\ni: 007\n",
        r#"{a:1,b:"1",c:"NO",d:null,e:null,f:12.10,g:true,h:"true",i:"007"}"#,
    );
    reads("a: |\n  true\n", r#"{a:"true\n"}"#);
    reads("a: ${SECRET}\nb: $${X}\n", r#"{a:"hunter2",b:"${X}"}"#);
    reads(
        "a: [1, {b: c}, ]\nb: {}\nc: []\n",
        r#"{a:[1,{b:"c"}],b:{},c:[]}"#,
    );
    reads("1: a\nnull: b\ntrue: c\n", r#"{1:"a",null:"b",true:"c"}"#);
    reads("a: 1\n---\nb: 2\n", "{a:1} {b:2}");
    reads("a: 1\r\nb: |\r\n  x\r\n  y\r\n", r#"{a:1,b:"x\ny\n"}"#);
}

#[test]
fn aliases_stand_for_their_anchor() {
    reads("a: &x {k: 1}\nb: *x\n", "{a:{k:1},b:{k:1}}");
    reads(
        "a: &x text\nb: [*x, *x]\n",
        r#"{a:"text",b:["text","text"]}"#,
    );
    reads("a: &x\n  k: [1]\nb: *x\n", "{a:{k:[1]},b:{k:[1]}}");
    check("a: &x {b: *x}\n", &["R0104 1:11-13"]);
    check("a: *x\nb: 1\n", &["R0103 1:4-6"]);
    check("a: &x 1\n---\nb: *x\n", &["R0103 3:4-6"]);
    check("&x a: 1\n*x : 2\n", &["R0104 2:1-3"]);
}

#[test]
fn what_the_format_has_not_is_refused() {
    check("a: !foo bar\n", &["R0104 1:4-8"]);
    check("a: !foo\n  b: 1\n", &["R0104 1:4-8"]);
    check("a: !foo [1]\n", &["R0104 1:4-8"]);
    check("!foo a: 1\n", &["R0104 1:1-5"]);
    check("<<: {a: 1}\n", &["R0104 1:1-3"]);
    check("a: &x {}\nb:\n  <<: *x\n", &["R0104 3:3-5"]);
    reads("\"<<\": 1\n", "{<<:1}");
    check("? [a]\n: b\n", &["R0104 1:3-6"]);
    check("{a: 1}: b\n", &["R0104 1:1-7"]);
    check("a: 1\n...\nb: 2\n", &["R0102 3:1-1"]);
}

#[test]
fn duplicate_keys_are_found_at_the_second() {
    check("a: 1\nb: 2\na: 3\n", &["R0108 3:1-2"]);
    check("a: 1\na: 2\na: 3\n", &["R0108 2:1-2", "R0108 3:1-2"]);
    check("x: {é: 1, \"é\": 2}\n", &["R0108 1:11-14"]);
    let (nodes, _, findings) = read_all("a: 1\nb: 2\na: 3\n");
    assert_eq!(show(nodes[0].as_ref().unwrap()), "{a:1,b:2}");
    assert_eq!(findings[0].labels[0].span.start, 0);
}

#[test]
fn each_trap_has_its_own_help() {
    helped(
        "a:\n  get: {{request.path.id}}\n  b: 1\n",
        "R0103 2:8-27",
        "quote it: `\"{{request.path.id}}\"`",
    );
    helped(
        "get: {{request.path.id}}/x # c\nb: 1\n",
        "R0103 1:6-27",
        "quote it: `\"{{request.path.id}}/x\"`",
    );
    helped(
        "- {{json \"x\"}}\n",
        "R0103 1:3-15",
        "quote it: `'{{json \"x\"}}'`",
    );
    helped(
        "query: { ids: {{x}} }\n",
        "R0103 1:15-20",
        "quote it: `\"{{x}}\"`",
    );
    helped("a: *.foo\n", "R0103 1:4-9", "quote it: `\"*.foo\"`");
    helped("a: @foo\n", "R0103 1:4-8", "quote it: `\"@foo\"`");
    helped("a: `foo`\n", "R0103 1:4-9", "quote it: `\"`foo`\"`");
    helped("a: %foo\n", "R0103 1:4-8", "quote it: `\"%foo\"`");
    helped(
        "when: !present($.x) && $.y\n",
        "R0104 1:7-20",
        "quote it: `\"!present($.x) && $.y\"`",
    );
    helped(
        "a: text with #{{x}} in it\n",
        "R0103 1:14-26",
        "quote the value as a whole, or put a space after the `#` of a real comment",
    );
    helped("a: x: y\n", "R0103 1:4-8", "quote it: `\"x: y\"`");
    helped("a:\n\tb: 1\n", "R0103 2:1-2", "replace it by spaces");
    helped("a:\tb\n", "R0103 1:3-4", "replace it by spaces");
    helped("a: { b: ${X} }\n", "R0103 1:9-13", "quote it: `\"${X}\"`");
    helped(
        "a: { b: $.x[0], c: 1 }\n",
        "R0103 1:9-15",
        "quote it: `\"$.x[0]\"`",
    );
    helped(
        "a: { b: $.x[?@.a == 'b, c'] }\n",
        "R0103 1:9-28",
        "quote it: `\"$.x[?@.a == 'b, c']\"`",
    );
    helped("a: [ $.x[0] ]\n", "R0103 1:6-12", "quote it: `\"$.x[0]\"`");
    helped(
        "when: \"a\" == $.b\n",
        "R0103 1:7-17",
        "quote the value as a whole: `'\"a\" == $.b'`",
    );
    helped("a: > 5\n", "R0103 1:4-7", "quote it: `\"> 5\"`");
}

#[test]
fn other_faults_of_syntax_stand_at_their_line() {
    check("a: 1\nb\n", &["R0102 2:1-2"]);
    check("a: b\nc\nd: e\n", &["R0102 2:1-2"]);
    check("a:\n    b: 1\n   c: 2\n", &["R0102 3:4-8"]);
    check("a: b\n c: d\n", &["R0102 2:2-6"]);
    check("a:\n  - b\n - c\n", &["R0102 3:2-5"]);
    check("- a\nb: 1\n", &["R0102 2:1-5"]);
    check("a: \"open\nb: 1\n", &["R0102 1:4-5"]);
    check("a: - b\n", &["R0102 1:4-7"]);
    check("a: \"\\q\"\n", &["R0102 1:4-8"]);
    check("a:\n- 1\n-2\n", &["R0102 3:1-3"]);
    check("a: [1, 2\nb: 3\n", &["R0102 1:4-5"]);
    check(
        "a: {b: [1, 2\nc: 3\nc: 4\n",
        &["R0102 1:4-5", "R0108 3:1-2"],
    );
    check("a: {\n  b: 1,\n", &["R0102 1:4-5"]);
    check("a: {\nb: 1\n}\n", &["R0102 2:1-5"]);
    check(": x\n", &["R0102 1:1-1"]);
}

#[test]
fn a_fault_of_syntax_hides_nothing_after_it() {
    check(
        "a: @x\nb: {{y}}/z\nc: 1\nc: 2\nd: k: v\ne: ${NONE}\n",
        &[
            "R0103 1:4-6",
            "R0103 2:4-11",
            "R0108 4:1-2",
            "R0103 5:4-8",
            "R0116 6:4-11",
        ],
    );
    check(
        "a: [\n---\nb: !x 1\n---\nc: @\n",
        &["R0102 1:4-5", "R0104 3:4-6", "R0103 5:4-5"],
    );
    check(
        "a: { b: ${X}, c: 1, c: 2, d: $.x[0] }\n",
        &["R0103 1:9-13", "R0108 1:21-22", "R0103 1:30-36"],
    );
    check(
        "a: {\n  b: ${X},\n  c: 1,\n  c: 2\n}\n",
        &["R0103 2:6-10", "R0108 4:3-4"],
    );
    check(
        "a:\n\tb: 1\n\tb: 2\nc: @\n",
        &["R0103 2:1-2", "R0108 3:2-3", "R0103 4:4-5"],
    );
    let (nodes, _, _) = read_all("a: @x\nb: 1\n---\n a: 1\nb: 2\n");
    assert_eq!(show(nodes[0].as_ref().unwrap()), "{a:BROKEN,b:1}");
    assert!(nodes[1].is_none());
}

#[test]
fn fills_are_refused_in_keys_and_in_what_is_no_text() {
    check("${X}: 1\n", &["R0115 1:1-5"]);
    check("a: \"x\\ty ${NONE}\"\n", &["R0116 1:10-17"]);
    check("a: >\n  é\n  ${NONE}\n", &["R0116 3:3-10"]);
    check("a: ${\n", &["R0115 1:4-6"]);
}

#[test]
fn what_is_too_much_ends_early() {
    check(&"[".repeat(10_000), &["R0105 1:256-257"]);
    check(&"{a: ".repeat(10_000), &["R0105 1:1021-1022"]);
    check(&format!("a: {}", "- ".repeat(10_000)), &["R0102 1:4-20003"]);
    let mut laughs = "l0: &l0 [x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        let aliases = vec![format!("*l{before}"); 9].join(", ");
        laughs.push_str(&format!("l{level}: &l{level} [{aliases}]\n"));
    }
    let (_, places, _) = read_all(&laughs);
    assert_eq!(places.len(), 1, "{places:?}");
    assert!(places[0].starts_with("R0105"), "{places:?}");
    let mut chain = "l0: &l0 [x]\n".to_owned();
    for level in 1..200 {
        chain.push_str(&format!("l{level}: &l{level} [*l{}]\n", level - 1));
    }
    let (_, places, _) = read_all(&chain);
    assert_eq!(places.len(), 1, "{places:?}");
    assert!(places[0].starts_with("R0105"), "{places:?}");
}

/// What stands in the file at the span of the value of `key`.
#[track_caller]
fn stands(text: &str, key: &str, expected: &str) {
    let (nodes, _, _) = read_all(text);
    let node = nodes[0].as_ref().unwrap().get(key).unwrap();
    let found = &text[node.span.start as usize..node.span.end as usize];
    assert_eq!(found, expected);
}

#[test]
fn spans_cover_the_value_and_no_more() {
    stands("a: 1 # c\n", "a", "1");
    stands("a: 'it''s' \n", "a", "'it''s'");
    stands("a: {b: [1]} \nc: 1\n", "a", "{b: [1]}");
    stands("a:\n  b: 1\n  c: [2]\n\nd: 1\n", "a", "b: 1\n  c: [2]");
    stands("a:\n  - 1\n  - x y\n", "a", "- 1\n  - x y");
    stands("a: |\n  x\n  y\n\nb: 1\n", "a", "x\n  y");
    stands("a: é ü # ö\nb: ß\n", "b", "ß");
    stands("a: &x {b: 1}\n", "a", "{b: 1}");
    stands("a: &x text\n", "a", "text");
    stands("a:\nb: 1\n", "a", "");
    stands("{a: , b: 1}\n", "a", "");
}

#[test]
fn parts_of_a_text_lead_back_to_the_file() {
    #[track_caller]
    fn part(text: &str, wanted: &str, expected: &str) {
        let (nodes, _, _) = read_all(text);
        let node = nodes[0].as_ref().unwrap().get("a").unwrap();
        let source = &node.text().unwrap().source;
        let span = node.part(source.find(wanted).unwrap(), wanted.len());
        let found = &text[span.start as usize..span.end as usize];
        assert_eq!(found, expected);
    }
    part("a: x $.foo y\n", "$.foo", "$.foo");
    part("a: \"x\\t$.foo\\u0041 y\"\n", "$.fooA", "$.foo\\u0041");
    part("a: |\n  one\n  $.foo\n", "$.foo", "$.foo");
    part("a: >-\n  one\n  $.foo ${SECRET} x\n", "x", "x");
    part("a: >-\n  one\n  $.foo ${SECRET} x\n", "$.foo", "$.foo");
    part("a: 'it''s {{x}}'\n", "{{x}}", "{{x}}");
    part("a: é ü $.ß\n", "$.ß", "$.ß");
    part("a: one\n  two $.x\n", "$.x", "$.x");
}
