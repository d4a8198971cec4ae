//! What texts and trees come out as, over one small document.

mod properties;
mod scalars;
mod trees;

use super::json::{Json, Member};
use super::*;
use crate::json::{Step, Value};
use crate::path::{self, Bound, Condition, Rooted, Scope};

const DOCUMENT: &str = r#"{
    "request": {
        "path": {"id": "a b", "rest": "x/y z"},
        "query": {"page": 2, "empty": "", "evil": "../../x", "dots": ".."},
        "headers": {"x-user": "Ada", "cut": "a\r\nb", "accept-language": "de"}
    },
    "a": {"body": {
        "name": "Ünï",
        "price": 12.10, "big": 1e400, "zero": 0.0, "minus": -0, "yes": true, "no": false,
        "nothing": null,
        "list": [{"sku": "p1", "qty": 1, "tags": ["x", "y"]}, {"sku": "p2", "qty": null, "tags": []}],
        "words": ["x", 1, true, 1.50],
        "holed": ["x", null],
        "none": [],
        "object": {"k": 1, "42": "answer", "odd name": "odd"},
        "quote": "say \"hi\"\n<b>"
    }},
    "b": {"body": {"k": 2, "m": [1]}}
}"#;

const NAMES: [&str; 6] = ["request", "a", "b", "p", "q", "rest"];
const P: Root = Root(3);
const Q: Root = Root(4);
const REST: Root = Root(5);

/// The document's members are the roots, and one root is bound deeper, as a plan does.
struct Document;

impl Scope for Document {
    fn value<'a>(&'a self, root: Root, _: Option<&'a path::Frame<'a>>) -> Option<Value<'a>> {
        let whole = Value::trusted(DOCUMENT.as_bytes());
        match root {
            REST => whole.get("request")?.get("path")?.get("rest"),
            root => whole.get(NAMES[root.0 as usize]),
        }
    }
}

/// The prefix, what is read beyond it, the offset and the text of a query.
type Seen = (Vec<Step>, Vec<Vec<Step>>, usize, String);

#[derive(Default)]
struct Binder {
    seen: Vec<Seen>,
}

impl Bind for Binder {
    fn bind(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error> {
        self.seen.push((
            rooted.prefix.clone(),
            rooted.beyond.clone(),
            rooted.offset,
            rooted.text.to_owned(),
        ));
        let name = |place: usize| match rooted.prefix.get(place) {
            Some(Step::Name(name)) => name.as_str(),
            _ => "",
        };
        if (name(0), name(1), name(2)) == ("request", "path", "rest") {
            return Ok(Bound {
                root: REST,
                consumed: 3,
            });
        }
        match NAMES.iter().position(|known| *known == name(0)) {
            Some(place) => Ok(Bound {
                root: Root(place as u32),
                consumed: 1,
            }),
            None => Err(tags::error(rooted.offset, rooted.length, "unknown", "")),
        }
    }
}

fn env() -> Env<'static> {
    Env {
        scope: &Document,
        frame: None,
    }
}

fn bound(source: &str, place: Place) -> Text {
    let mut text = Text::parse(source, &[], place).unwrap_or_else(|fault| {
        panic!("{source}: {fault:?}");
    });
    text.bind(&mut Binder::default()).expect(source);
    text.mark_rest(|root| root == REST);
    text
}

/// What a text comes out as, or the kind of its failure and the path it names.
fn rendered(source: &str, place: Place) -> Result<String, String> {
    let mut out = "before|".to_owned();
    let result = bound(source, place).render(&env(), &mut out);
    match result {
        Ok(()) => Ok(out.strip_prefix("before|").expect("kept").to_owned()),
        Err(failure) => {
            assert_eq!(out, "before|", "{source}");
            Err(format!("{:?} {}", failure.kind, failure.path))
        }
    }
}

fn check(rows: &[(&str, &str)], place: Place) {
    for (source, expected) in rows {
        assert_eq!(
            rendered(source, place).as_deref(),
            Ok(*expected),
            "{source}"
        );
    }
}

fn check_failures(rows: &[(&str, &str)], place: Place) {
    for (source, expected) in rows {
        assert_eq!(
            rendered(source, place),
            Err(expected.to_string()),
            "{source}"
        );
    }
}

#[test]
fn holes_are_written_as_they_came() {
    check(
        &[
            ("", ""),
            ("plain", "plain"),
            ("Hello {{a.body.name}}!", "Hello Ünï!"),
            ("{{a.body.price}} {{a.body.big}}", "12.10 1e400"),
            ("{{a.body.yes}}{{a.body.no}}", "truefalse"),
            ("{{ a.body.price }}", "12.10"),
            ("{{request.headers.x-user}}", "Ada"),
            ("{{a.body.list.0.sku}},{{a.body.list.[1].sku}}", "p1,p2"),
            (
                "{{a.body.object.42}} {{a.body.object.[42]}}",
                "answer answer",
            ),
            ("{{a.body.object.[odd name]}}", "odd"),
            ("{{a.body.quote}}", "say \"hi\"\n<b>"),
            (r"\{{a.b}} {{b.body.k}}", "{{a.b}} 2"),
            (r"\\{{b.body.k}}", r"\2"),
            ("x{{! a comment }}y{{!-- }} --}}z", "xyz"),
            ("a {{b.body.k}} c {{b.body.k}}  ", "a 2 c 2  "),
            ("{ {{b.body.k}} }", "{ 2 }"),
            ("{{request.query.empty}}|", "|"),
        ],
        Place::Plain,
    );
}

#[test]
fn an_absent_value_is_never_an_empty_string() {
    check_failures(
        &[
            ("x{{a.body.missing}}", "Missing a.body.missing"),
            ("x{{a.body.nothing}}", "Missing a.body.nothing"),
            ("{{a.body.list.2.sku}}", "Missing a.body.list.2.sku"),
            ("{{a.body.name.deeper}}", "Missing a.body.name.deeper"),
            ("{{lower a.body.missing}}", "Missing a.body.missing"),
            ("{{join a.body.missing \",\"}}", "Missing a.body.missing"),
            ("{{len a.body.nothing}}", "Missing a.body.nothing"),
            (
                "{{default a.body.missing a.body.nothing}}",
                "Missing a.body.missing",
            ),
            (
                "{{#each a.body.list as |x|}}{{x.qty}}{{/each}}",
                "Missing x.qty",
            ),
            ("{{a.body.object}}", "Missing a.body.object"),
            ("{{a.body.list}}", "Missing a.body.list"),
            ("{{lower a.body.list}}", "Missing a.body.list"),
            ("{{join a.body.name \",\"}}", "Missing a.body.name"),
            ("{{join a.body.list \",\"}}", "Missing a.body.list"),
            ("{{join a.body.holed \",\"}}", "Missing a.body.holed"),
            ("{{len a.body.price}}", "Missing a.body.price"),
            (
                "{{#each a.body.object as |x|}}{{/each}}",
                "Missing a.body.object",
            ),
        ],
        Place::Plain,
    );
}

#[test]
fn helpers_give_text() {
    check(
        &[
            ("{{default a.body.missing \"x\"}}", "x"),
            (r"{{default a.body.nothing 'it\'s'}}", "it's"),
            ("{{default a.body.price \"x\"}}", "12.10"),
            ("{{default a.body.missing 1.50}}", "1.50"),
            ("{{default a.body.missing a.body.name}}", "Ünï"),
            ("{{default (lower a.body.missing) \"x\"}}", "x"),
            ("{{default (join a.body.missing \",\") \"none\"}}", "none"),
            ("{{default (default a.body.missing b.body.q) \"x\"}}", "x"),
            ("{{default request.query.empty \"x\"}}", ""),
            ("{{join a.body.words \",\"}}", "x,1,true,1.50"),
            ("{{join a.body.words ', '}}", "x, 1, true, 1.50"),
            ("{{join a.body.none \",\"}}", ""),
            ("{{json a.body.object.k}}", "1"),
            ("{{json a.body.words}}", r#"["x", 1, true, 1.50]"#),
            ("{{json a.body.missing}}", "null"),
            ("{{json a.body.name}}", "\"Ünï\""),
            ("{{lower a.body.name}} {{upper a.body.name}}", "ünï ÜNÏ"),
            ("{{lower a.body.price}}", "12.10"),
            ("{{trim \"  x \"}}", "x"),
            ("{{base64 request.headers.x-user}}", "QWRh"),
            (
                "{{len a.body.name}} {{len a.body.words}} {{len a.body.object}}",
                "3 4 3",
            ),
            ("{{upper (default a.body.missing \"x\")}}", "X"),
        ],
        Place::Plain,
    );
}

#[test]
fn conditions_hold_as_in_handlebars() {
    let rows = [
        ("a.body.name", true),
        ("a.body.missing", false),
        ("a.body.nothing", false),
        ("a.body.no", false),
        ("a.body.yes", true),
        ("a.body.zero", false),
        ("a.body.minus", false),
        ("a.body.price", true),
        ("request.query.empty", false),
        ("a.body.none", false),
        ("a.body.words", true),
        ("a.body.object", true),
        ("(eq a.body.price 12.1)", true),
        ("(eq a.body.name \"Ünï\")", true),
        ("(eq a.body.missing a.body.nothing)", true),
        ("(eq a.body.missing 1)", false),
        ("(ne a.body.price 12.1)", false),
        ("(gt a.body.price 12)", true),
        ("(gt a.body.big 1)", true),
        ("(gte request.query.page 2)", true),
        ("(lt request.query.page 2)", false),
        ("(lte request.query.page 2)", true),
        ("(gt a.body.name 1)", false),
        ("(lt a.body.missing 1)", false),
        ("(and a.body.yes (not a.body.no))", true),
        ("(and a.body.yes a.body.missing true)", false),
        ("(or a.body.missing a.body.none a.body.yes)", true),
        ("(or a.body.missing false)", false),
        ("(not a.body.missing)", true),
        ("(eq (lower a.body.missing) \"x\")", false),
        ("(eq (lower request.headers.x-user) \"ada\")", true),
        ("(gt (len a.body.list) 1)", true),
        ("(gt (len a.body.missing) 1)", false),
    ];
    for (test, holds) in rows {
        let source = format!("{{{{#if {test}}}}}yes{{{{else}}}}no{{{{/if}}}}");
        let turned = format!("{{{{#unless {test}}}}}no{{{{else}}}}yes{{{{/unless}}}}");
        let expected = if holds { "yes" } else { "no" };
        assert_eq!(
            rendered(&source, Place::Plain).as_deref(),
            Ok(expected),
            "{test}"
        );
        assert_eq!(
            rendered(&turned, Place::Plain).as_deref(),
            Ok(expected),
            "{test}"
        );
    }
}

#[test]
fn blocks_choose_and_repeat() {
    check(
        &[
            ("{{#if a.body.no}}x{{/if}}", ""),
            (
                "{{#if a.body.no}}1{{else if a.body.missing}}2{{else if a.body.yes}}3{{else}}4{{/if}}",
                "3",
            ),
            (
                "{{#if a.body.no}}1{{else if a.body.missing}}2{{else unless a.body.yes}}3{{else}}4{{/if}}!",
                "4!",
            ),
            (
                "{{#if a.body.yes}}{{#if a.body.no}}1{{else}}2{{/if}}{{else}}3{{/if}}",
                "2",
            ),
            (
                "{{#each a.body.list as |x|}}{{@index}}:{{x.sku}}{{#unless @last}}, {{/unless}}{{/each}}",
                "0:p1, 1:p2",
            ),
            (
                "{{#each a.body.words as |w|}}{{#if @first}}<{{/if}}{{this}}{{w}}{{/each}}",
                "<xx11truetrue1.501.50",
            ),
            ("{{#each a.body.list as |x|}}{{this.sku}}{{/each}}", "p1p2"),
            ("{{#each a.body.none as |x|}}x{{else}}none{{/each}}", "none"),
            ("{{#each a.body.missing as |x|}}x{{/each}}|", "|"),
            (
                "{{#each a.body.missing as |x|}}x{{else}}none{{/each}}",
                "none",
            ),
            (
                "{{#each a.body.list as |x|}}{{#each x.tags as |t|}}{{x.sku}}{{t}}{{@root.b.body.k}}{{@index}} {{/each}}{{/each}}",
                "p1x20 p1y21 ",
            ),
            (
                "{{#each a.body.list as |x|}}{{#if (eq x.sku \"p2\")}}{{default x.qty \"-\"}}{{/if}}{{/each}}",
                "-",
            ),
            (
                "{{#each a.body.list as |x|}}{{x.sku}}{{#if x.qty}}={{x.qty}}{{else if (eq x.sku 'p2')}}?{{/if}};{{/each}}",
                "p1=1;p2?;",
            ),
            // Block tags alone on their lines leave no lines behind, as in Handlebars.
            (
                "start\n{{#each a.body.list as |x|}}\n- {{x.sku}}\n{{/each}}\nend",
                "start\n- p1\n- p2\nend",
            ),
            (
                "a\n{{#if a.body.yes}}\n  b\n{{else}}\n  c\n{{/if}}\nd\n",
                "a\n  b\nd\n",
            ),
        ],
        Place::Plain,
    );
}

#[test]
fn a_text_that_is_no_text_is_refused_at_its_place() {
    let rows = [
        ("{{a b}}", 2, "unknown helper `a`"),
        ("x {{lookup a b}}", 4, "unknown helper `lookup`"),
        ("{{eq a 1}}", 2, "`eq` outside a condition"),
        ("{{default a}}", 2, "`default` takes two arguments"),
        ("{{join a \",\" 1}}", 2, "`join` takes two arguments"),
        ("{{lower}}", 2, "`lower` without its arguments"),
        ("{{(lower a)}}", 0, "parentheses around the whole hole"),
        ("{{lower (a)}}", 0, "parentheses around a name"),
        ("{{default a [1]}}", 0, "a list or an object in a hole"),
        ("{{a..b}}", 2, "`../` and `./`"),
        ("{{a.}}", 0, "this tag cannot be read"),
        ("{{2nd.x}}", 2, "`2nd.x` is no name"),
        ("{{this}}", 2, "`this` outside `#each`"),
        ("{{@index}}", 2, "`@index` outside `#each`"),
        ("{{@root.a.b}}", 2, "`@root.a.b` outside `#each`"),
        ("{{#each a}}{{/each}}", 0, "`#each` without a variable"),
        (
            "{{#each a as |x i|}}{{/each}}",
            0,
            "`#each` has one variable",
        ),
        ("{{#each a b as |x|}}{{/each}}", 0, "`#each` takes one list"),
        (
            "{{#each 1 as |x|}}{{/each}}",
            0,
            "`#each` over what is no list",
        ),
        (
            "{{#each a as |request|}}{{/each}}",
            0,
            "the variable `request`",
        ),
        (
            "{{#each a as |x|}}{{#each x.l as |x|}}{{/each}}{{/each}}",
            18,
            "the variable `x`",
        ),
        (
            "{{#each a as |x|}}{{request.id}}{{/each}}",
            20,
            "`request.id` inside `#each`",
        ),
        (
            "{{#each a as |x|}}{{@key}}{{/each}}",
            20,
            "unknown name `@key`",
        ),
        ("{{#each a as |x|}}{{@root}}{{/each}}", 20, "`@root` alone"),
        ("{{#if a b}}{{/if}}", 0, "a condition is one value"),
        ("{{#if a as |x|}}{{/if}}", 0, "`as |…|` belongs to `#each`"),
        ("{{#if}}{{/if}}", 0, "a condition is one value"),
        ("line\n  {{lower 1 2}}", 9, "`lower` takes one argument"),
    ];
    for (source, offset, message) in rows {
        let fault = Text::parse(source, &[], Place::Plain).expect_err(source);
        assert!(
            fault.message.starts_with(message),
            "{source}: {}",
            fault.message
        );
        assert_eq!(fault.offset, offset, "{source}: {}", fault.message);
        assert!(fault.offset + fault.length <= source.len(), "{source}");
    }
}

#[test]
fn names_are_bound_at_their_place_with_what_loops_read() {
    let name = |name: &str| Step::Name(name.to_owned());
    let mut binder = Binder::default();
    let source = "é {{a.body.x}} {{default a.body.x b.body.l.0.y}} \
                  {{#each a.body.list as |x|}}{{x.sku}}{{#each x.tags as |t|}}{{t.n}}{{/each}}{{@root.b.z}}{{/each}}";
    let mut text = Text::parse(source, &[], Place::Plain).unwrap();
    text.bind(&mut binder).unwrap();
    let seen = &binder.seen;
    assert_eq!(seen.len(), 5);
    for (_, _, offset, written) in seen {
        assert!(source[*offset..].starts_with(written.as_str()), "{written}");
    }
    assert!(seen[1].2 > seen[0].2);
    assert_eq!(seen[0].0, [name("a"), name("body"), name("x")]);
    assert_eq!(seen[2].0, [name("b"), name("body"), name("l")]);
    assert_eq!(
        seen[2].1,
        [vec![Step::Index(0), name("y")], vec![name("0"), name("y")]]
    );
    assert_eq!(
        seen[3].1,
        [
            vec![Step::Every, name("sku")],
            vec![Step::Every, name("tags")],
            vec![Step::Every, name("tags"), Step::Every, name("n")],
        ]
    );
    assert_eq!(seen[4].3, "@root.b.z");
    assert_eq!(seen[4].0, [name("b"), name("z")]);
}

#[test]
fn fills_are_never_looked_into() {
    let fills = ["{{a.body.name}}".to_owned(), "$.a \"q\"".to_owned()];
    let source = "x\u{FDD0}y {{default a.body.missing \"<\u{FDD1}>\"}} {{b.body.k}}";
    let mut text = Text::parse(source, &fills, Place::Plain).unwrap();
    text.bind(&mut Binder::default()).unwrap();
    let mut out = String::new();
    text.render(&env(), &mut out).unwrap();
    assert_eq!(out, "x{{a.body.name}}y <$.a \"q\"> 2");
    let constant = Text::parse("\u{FDD0}", &fills, Place::Plain).unwrap();
    assert_eq!(constant.constant(), Some("{{a.body.name}}"));
}

#[test]
fn a_value_in_a_path_is_one_segment() {
    check(
        &[
            ("/v1/{{request.path.id}}", "/v1/a%20b"),
            (
                "/v1/{{request.path.id}}/x-{{request.query.page}}.json",
                "/v1/a%20b/x-2.json",
            ),
            ("/v1/{{request.query.evil}}", "/v1/..%2F..%2Fx"),
            ("/files/{{request.path.rest}}", "/files/x/y%20z"),
            ("/files/{{lower request.path.rest}}", "/files/x%2Fy%20z"),
            ("/{{join a.body.words \",\"}}", "/x%2C1%2Ctrue%2C1.50"),
            ("/{{a.body.name}}/é/", "/%C3%9Cn%C3%AF/%C3%A9/"),
            ("/v{{#if a.body.yes}}2/x{{else}}1{{/if}}", "/v2/x"),
            ("/plain", "/plain"),
            ("/{{default a.body.missing \"a/b\"}}", "/a%2Fb"),
        ],
        Place::Path,
    );
    check_failures(
        &[
            ("/v1/{{request.query.dots}}", "Bad request.query.dots"),
            ("/v1/{{request.query.empty}}", "Bad request.query.empty"),
            ("/v1/{{request.headers.cut}}", "Bad request.headers.cut"),
            ("/v1/{{a.body.missing}}", "Missing a.body.missing"),
            ("/v1/{{a.body.list}}", "Missing a.body.list"),
            // Two harmless parts that make a dot segment, or an empty one.
            (
                "/v1/{{#if a.body.yes}}.{{/if}}{{#if a.body.yes}}.{{/if}}",
                "Bad /v1/",
            ),
            ("/v1/{{#if a.body.no}}x{{/if}}/y", "Bad /v1/"),
        ],
        Place::Path,
    );
}

#[test]
fn a_header_has_no_line_breaks() {
    check(
        &[("Bearer {{request.headers.x-user}}", "Bearer Ada")],
        Place::Header,
    );
    check_failures(
        &[("{{request.headers.cut}}", "Bad request.headers.cut")],
        Place::Header,
    );
    let fills = ["a\nb".to_owned()];
    for (source, offset) in [("ab\ncd", 2), ("x \u{FDD0}", 2)] {
        let fault = Text::parse(source, &fills, Place::Header).expect_err(source);
        assert_eq!(fault.offset, offset);
    }
}

#[test]
fn what_is_rendered_is_bounded() {
    let inner = "x".repeat(60_000);
    let nested = format!(
        "{}{inner}{}",
        "{{#each a.body.words as |v1|}}{{#each @root.a.body.words as |v2|}}{{#each @root.a.body.words as |v3|}}",
        "{{/each}}".repeat(3)
    );
    assert_eq!(
        rendered(&nested, Place::Plain),
        Err("Bad the text".to_owned())
    );
    let depth = 10;
    let empty = (0..depth)
        .map(|level| format!("{{{{#each @root.a.body.words as |v{level}|}}}}"))
        .collect::<String>()
        .replacen("@root.", "", 1)
        + &"{{/each}}".repeat(depth);
    assert_eq!(
        rendered(&empty, Place::Plain),
        Err("Bad @root.a.body.words".to_owned())
    );
}

/// Runs on a test's thread, whose stack is as small as a worker's.
#[test]
fn the_deepest_text_there_may_be_fits_the_stack() {
    let open = format!("{{{{#if a.body.no}}}}{}", "{{else if b.none}}".repeat(31));
    let deep = format!(
        "{}{}{}",
        format!("{open}{{{{else}}}}").repeat(16),
        "{{b.body.k}}",
        "{{/if}}".repeat(16)
    );
    assert_eq!(rendered(&deep, Place::Plain).as_deref(), Ok("2"));
    let nested = format!(
        "{{{{#if {}a.body.yes{}}}}}x{{{{/if}}}}",
        "(not ".repeat(16),
        ")".repeat(16)
    );
    assert_eq!(rendered(&nested, Place::Plain).as_deref(), Ok("x"));
}
