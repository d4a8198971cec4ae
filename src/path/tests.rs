//! Tests of queries and conditions: what is refused and where, what is bound, what is found.

use proptest::prelude::*;
use serde_json::Value as Tree;

use super::*;
use crate::json::{Body, Limits};

const LIMITS: Limits = Limits {
    depth: 64,
    nodes: 100_000,
};

/// Binds the first `consumed` steps of each prefix, in the order in which they come.
#[derive(Default)]
struct Binder {
    consumed: usize,
    seen: Vec<Seen>,
}

/// Prefix, what is read beyond, text and offset.
type Seen = (Vec<Step>, Vec<Vec<Step>>, String, usize);

impl Bind for Binder {
    fn bind(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error> {
        let number = self.seen.len() as u32;
        self.seen.push((
            rooted.prefix.clone(),
            rooted.beyond.clone(),
            rooted.text.to_owned(),
            rooted.offset,
        ));
        assert_eq!(rooted.length, rooted.text.len());
        Ok(Bound {
            root: Root(number),
            consumed: self.consumed,
        })
    }
}

/// A document whose parts at the bound prefixes are the roots.
struct Document {
    body: Body,
    slots: Vec<Slot>,
}

impl Scope for Document {
    fn value<'a>(&'a self, root: Root, _: Option<&'a Frame<'a>>) -> Option<Value<'a>> {
        self.body.slot(self.slots[root.0 as usize])
    }
}

fn document(binder: &Binder, text: &str) -> Document {
    let mut demand = Demand::default();
    let slots = binder.seen.iter().map(|(prefix, beyond, ..)| {
        demand_of(
            &mut demand,
            &prefix[..binder.consumed.min(prefix.len())],
            beyond,
        )
    });
    let slots = slots.collect();
    let bytes = text.to_owned().into();
    let body = Body::check(bytes, &demand, LIMITS).unwrap();
    Document { body, slots }
}

fn nodes_at(query: &str, text: &str, consumed: usize) -> Vec<String> {
    let mut binder = Binder {
        consumed,
        ..Binder::default()
    };
    let mut query = Query::parse(query).unwrap();
    query.bind(&mut binder).unwrap();
    let document = document(&binder, text);
    let env = Env {
        scope: &document,
        frame: None,
    };
    let mut out = Vec::new();
    query.nodes(&env, &mut out);
    let first = query.first(&env).map(Value::bytes);
    assert_eq!(first, out.first().map(|value| value.bytes()));
    out.iter().map(|value| format!("{value:?}")).collect()
}

fn check_nodes(query: &str, text: &str, expected: &[&str]) {
    for consumed in 0..4 {
        let found = nodes_at(query, text, consumed);
        assert_eq!(found, expected, "{query} with {consumed} bound");
    }
}

#[test]
fn nodes_are_found_however_much_is_bound() {
    let text = r#"{"a":{"body":{"items":[{"sku":"x","n":1.10},{"sku":"y","n":1e400}],"x-y":true}},
        "b":{"body":{"items":[7],"is":null}},"p":{"id":"y","v":{"k":[1,2.0]}},"w":[{"k":[1.0,2]}]}"#;
    let rows: [(&str, &[&str]); 24] = [
        ("$.a.body.items[0].n", &["1.10"]),
        ("$.a.body.items[-1].sku", &["\"y\""]),
        ("$.a.body.items[5].sku", &[]),
        ("$.c.body", &[]),
        ("$['a','b'].body.items[*].sku", &["\"x\"", "\"y\""]),
        ("$['b','a'].body['is','x-y']", &["null", "true"]),
        ("$['b','c','b'].body.items[*]", &["7", "7"]),
        ("$.a.body.x-y", &["true"]),
        ("$.a.body['x-y']", &["true"]),
        ("$.a..sku", &["\"x\"", "\"y\""]),
        ("$..x-y", &["true"]),
        ("$.a.body.items[?@.sku == $.p.id].n", &["1e400"]),
        ("$.a.body.items[?@.n == 10e399].sku", &["\"y\""]),
        ("$.a.body.items[?@.n==1.1].sku", &["\"x\""]),
        ("$.a.body.items[?@.n > 1e399].sku", &["\"y\""]),
        (
            "$.a.body.items[?@.n < 123456789012345678901234567890].sku",
            &["\"x\""],
        ),
        ("$.w[?@ == $.p.v]", &[r#"{"k":[1.0,2]}"#]),
        ("$.w[?count(@.k[*]) == 2].k[::-1]", &["2", "1.0"]),
        (
            "$.a.body.items[?match(@.sku, '[x-z]')].sku",
            &["\"x\"", "\"y\""],
        ),
        ("$.a.body.items[?search(@.sku, $.p.id)].sku", &["\"y\""]),
        (
            "$.a.body.items[?length(@) == 2 && !(@.sku == 'x')].sku",
            &["\"y\""],
        ),
        (
            "$.a.body.items[?value($.b.body.items[*]) == 7].sku",
            &["\"x\"", "\"y\""],
        ),
        (
            "$.a.body.items[?$['a','b'].body.is]\n.sku",
            &["\"x\"", "\"y\""],
        ),
        ("$ .a [ 'body' ] .items [ ? @.sku=='x' ] .n", &["1.10"]),
    ];
    for (query, expected) in rows {
        check_nodes(query, text, expected);
    }
}

fn check_refused(query: &str, offset: usize, length: usize, message: &str) {
    let error = Query::parse(query).unwrap_err();
    let found = (error.offset, error.length, error.message.as_str());
    assert_eq!(found, (offset, length, message), "{query}");
}

#[test]
fn a_query_is_refused_where_it_goes_wrong() {
    let rows = [
        ("", 0, 0, "the query is empty"),
        ("a.b", 0, 1, "a query begins with `$`"),
        (" $.a", 0, 2, "a query begins with `$`"),
        ("@.a", 0, 1, "a query begins with `$`"),
        ("$.a ", 3, 1, "white space stands behind the query"),
        (
            "$.",
            2,
            0,
            "the text ends where a name is expected behind `.`",
        ),
        (
            "$.a.",
            4,
            0,
            "the text ends where a name is expected behind `.`",
        ),
        ("$.a. b", 4, 1, "a name is expected behind `.`"),
        ("$.1a", 2, 1, "a name is expected behind `.`"),
        ("$.a.[0]", 4, 1, "a name is expected behind `.`, not `[`"),
        ("$.a.b USD", 6, 3, "unexpected `USD` behind the path"),
        ("$.a.b == 1", 6, 2, "unexpected `==` behind the path"),
        ("$.a $.b", 4, 1, "unexpected `$` behind the path"),
        ("$a", 1, 1, "unexpected `a` behind the path"),
        ("$.a*", 3, 1, "unexpected `*` behind the path"),
        ("$.a[", 4, 0, "the query ends where a `]` is expected"),
        ("$.a[?(@.b", 9, 0, "the query ends where a `)` is expected"),
        ("$.a]", 3, 1, "nothing is open that `]` could close"),
        ("$.a[?(@.b]", 9, 1, "`)` is expected, not `]`"),
        ("$.a[]", 4, 1, "a selector is expected, not `]`"),
        ("$.a[0 1]", 6, 1, "`,` or `]` is expected, not `1`"),
        ("$.a[1 2]", 6, 1, "`,` or `]` is expected, not `2`"),
        (
            "$.a[?@.b == 1 2]",
            14,
            1,
            "an operator is expected, not `2`",
        ),
        ("$.a['b'.c]", 7, 1, "`,` or `]` is expected, not `.`"),
        ("$.a[b]", 4, 1, "`b` has no meaning here"),
        ("$.a['b]", 4, 1, "the `'` that opens here is not closed"),
        ("$['\\x']", 3, 2, "there is no such escape"),
        ("$['\\ud800']", 3, 2, "there is no such escape"),
        ("$['a\u{1}']", 4, 1, "a control character stands in quotes"),
        ("$[01]", 2, 2, "this is no number"),
        ("$[1.0]", 2, 3, "an index is a whole number"),
        ("$[-0]", 2, 2, "an index is a whole number"),
        (
            "$[9007199254740992]",
            2,
            16,
            "an index is at most 9007199254740991",
        ),
        ("$.a[?@.b = 1]", 9, 1, "`=` has no meaning here"),
        ("$.a[?@.b == 1 and @.c]", 14, 3, "`and` has no meaning here"),
        (
            "$.a[?@.b == ]",
            12,
            1,
            "a path, a literal or a function is expected, not `]`",
        ),
        ("$.a[?@.b == x]", 12, 1, "`x` has no meaning here"),
        (
            "$.a[?@[*] == 1]",
            10,
            2,
            "what stands beside `==` is not one value",
        ),
        ("$.a[?1]", 5, 1, "a literal alone is no condition"),
        ("$.a[?@.b 1]", 9, 1, "an operator is expected, not `1`"),
        (
            "$.a[?lower(@.b) == 'x']",
            5,
            5,
            "there is no function `lower`",
        ),
        (
            "$.a[?length (@.b) == 1]",
            5,
            6,
            "`length` has no meaning here",
        ),
        (
            "$.a[?present(@.b)]",
            5,
            7,
            "`present()` stands in conditions, not in filters",
        ),
        (
            "$.a[?length(@.b)]",
            5,
            6,
            "`length()` is no condition by itself",
        ),
        (
            "$.a[?length(@.*) > 1]",
            5,
            6,
            "`length()` takes one value, this path may give many",
        ),
        (
            "$.a[?length(@.b, 1) > 1]",
            15,
            1,
            "`length()` takes one argument",
        ),
        ("$.a[?match(@.b)]", 14, 1, "`match()` takes two arguments"),
        (
            "$.a[?match(@.b, 'x') == true]",
            5,
            5,
            "`match()` gives no value",
        ),
        ("$.a[?count(1) == 1]", 5, 5, "`count()` takes a path"),
        (
            "$.a[?true == match(@.b, 'x')]",
            13,
            5,
            "`match()` gives no value",
        ),
        ("$.é[?@.b = 1]", 10, 1, "`=` has no meaning here"),
    ];
    for (query, offset, length, message) in rows {
        check_refused(query, offset, length, message);
    }
}

#[test]
fn what_is_too_large_is_refused_quickly() {
    let long = format!("$.{}", "a".repeat(5000));
    let nested = format!("$[?{}@.a{}]", "(".repeat(400), ")".repeat(400));
    let calls = format!("$[?{}1 > 1]", "length(".repeat(500));
    let shut = format!("$[?{}@.a!{}]", "length(".repeat(4), ")".repeat(4));
    let many = format!("${}", "[*]".repeat(40));
    let filters = format!("$[{}@.a 1{}]", "?@[".repeat(15), "]".repeat(15));
    // The grammar tries each call again and again before it gives this one up.
    let (open, shut_again) = ("count(@[?".repeat(4), "]) > 1".repeat(4));
    let tried = format!("$[?{open}{}!@.b == 1{shut_again}]", "@.a && ".repeat(400));
    for query in [long, nested, calls, shut, many, filters, tried] {
        assert!(Query::parse(&query).is_err(), "{query}");
    }
    let names = format!("${}", ".a".repeat(2000));
    assert!(Query::parse(&names).unwrap().is_singular());
}

#[test]
fn a_pattern_that_cannot_match_is_a_warning() {
    let query = Query::parse(r"$.a[?match(@.b, '\\d') || search(@.c, '[0-9]')]").unwrap();
    let [warning] = query.warnings() else {
        panic!("{:?}", query.warnings());
    };
    assert_eq!((warning.offset, warning.length), (5, 5));
    let message = "`match()` never holds: there is no such escape in its pattern";
    assert_eq!(warning.message, message);
    let condition = Condition::parse("search($.a, '(')").unwrap();
    assert_eq!(condition.warnings().len(), 1);
}

#[test]
fn singular_queries_and_first_names_are_known() {
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let rows = [
        ("$.a", true, names(&["a"])),
        ("$.a['b'][0][-1]", true, names(&["a"])),
        ("$['a']", true, names(&["a"])),
        ("$['a','b'].c", false, names(&["a", "b"])),
        ("$['a',0].c", false, None),
        ("$.a[*]", false, names(&["a"])),
        ("$.a[0,1]", false, names(&["a"])),
        ("$.a[1:2]", false, names(&["a"])),
        ("$.a..b", false, names(&["a"])),
        ("$..a", false, None),
        ("$..['a','b']", false, None),
        ("$.*", false, None),
        ("$[0]", true, None),
        ("$[?@.a]", false, None),
        ("$", true, None),
    ];
    for (text, singular, first) in rows {
        let query = Query::parse(text).unwrap();
        assert_eq!(query.is_singular(), singular, "{text}");
        assert_eq!(query.first_names(), first, "{text}");
        assert_eq!(query.text(), text);
    }
}

/// Steps written as `a 0 * ..`, for reading.
fn shown(steps: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Name(name) => name.clone(),
        Step::Index(index) => index.to_string(),
        Step::Every => "*".to_owned(),
        Step::Deep => "..".to_owned(),
    };
    steps.iter().map(step).collect::<Vec<_>>().join(" ")
}

fn check_rooted(seen: &Binder, expected: &[(&str, &[&str], &str, usize)]) {
    let found = seen.seen.iter().map(|(prefix, beyond, text, offset)| {
        let beyond: Vec<_> = beyond.iter().map(|steps| shown(steps)).collect();
        (shown(prefix), beyond, text.as_str(), *offset)
    });
    let expected = expected.iter().map(|(prefix, beyond, text, offset)| {
        let beyond: Vec<_> = beyond.iter().map(|steps| (*steps).to_owned()).collect();
        ((*prefix).to_owned(), beyond, *text, *offset)
    });
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

fn check_bind(text: &str, expected: &[(&str, &[&str], &str, usize)]) {
    let mut binder = Binder::default();
    Query::parse(text).unwrap().bind(&mut binder).unwrap();
    check_rooted(&binder, expected);
}

#[test]
fn a_binder_sees_where_queries_begin_and_what_they_read() {
    check_bind("$.a.b[0].c", &[("a b 0 c", &[], "$.a.b[0].c", 0)]);
    check_bind("$.a[-1].c", &[("a", &["* c"], "$.a[-1].c", 0)]);
    check_bind(
        "$['a','b'].c.d[*].e",
        &[
            ("a c d", &["* e"], "$['a','b'].c.d[*].e", 0),
            ("b c d", &["* e"], "$['a','b'].c.d[*].e", 0),
        ],
    );
    check_bind("$.a..x[0]", &[("a", &[".."], "$.a..x[0]", 0)]);
    check_bind(
        "$.a['x','y',1:2].z",
        &[("a", &["x z", "y z", "* z"], "$.a['x','y',1:2].z", 0)],
    );
    check_bind("$[0].a", &[("0 a", &[], "$[0].a", 0)]);
    check_bind("$.*.a", &[("", &["* a"], "$.*.a", 0)]);
    check_bind("$", &[("", &[], "$", 0)]);
    let join = "$.é.l[?@.x.y == $.p.id && @.z[*] || length( $ .q [0] ) > 1].t";
    check_bind(
        join,
        &[
            ("é l", &["* t", "* x y ..", "* z *"], join, 0),
            ("p id", &[".."], "$.p.id", 17),
            ("q 0", &["*"], "$ .q [0]", 45),
        ],
    );
    check_bind(
        "$.a[?@.x == 'l'].b[?$.c[?@.d].e]",
        &[
            (
                "a",
                &["* b *", "* x"],
                "$.a[?@.x == 'l'].b[?$.c[?@.d].e]",
                0,
            ),
            ("c", &["* e", "* d"], "$.c[?@.d].e", 20),
        ],
    );
}

fn condition(text: &str) -> (Condition, Binder) {
    let mut binder = Binder {
        consumed: 1,
        ..Binder::default()
    };
    let mut condition = Condition::parse(text).unwrap();
    condition.bind(&mut binder).unwrap();
    (condition, binder)
}

fn check_condition(text: &str, expected: bool) {
    const TEXT: &str = r#"{"a":{"n":3,"z":null,"f":false,"t":"Été","l":[{"k":1},{"k":2}],"x-y":1},
        "b":{"n":3.0,"big":1152921504606846976}}"#;
    let (condition, binder) = condition(text);
    let document = document(&binder, TEXT);
    let env = Env {
        scope: &document,
        frame: None,
    };
    assert_eq!(condition.holds(&env), expected, "{text}");
    assert_eq!(condition.text(), text);
}

#[test]
fn conditions_hold_as_rfc_9535_says() {
    let rows = [
        ("$.a.n == 3", true),
        ("$.a.n == $.b.n", true),
        ("$.a.n != 3", false),
        ("$.a.n >= 3 && $.a.n < 4", true),
        ("$.a.n > 3 || $.a.n<4", true),
        (" ! ( $.a.n > 3 ) ", true),
        ("$.a.z", true),
        ("$.a.f", true),
        ("$.a.none", false),
        ("!$.a.none", true),
        ("present($.a.z)", false),
        ("present($.a.f)", true),
        ("present($.a.none)", false),
        ("!present($.a.none) && (present($.a.n) || $.a.none)", true),
        ("present($.a.l[?@.k == 2])", true),
        ("present( $.a.x-y )", true),
        ("$.a.x-y == 1", true),
        ("$.a.x-y>0", true),
        ("$.a.none == null", false),
        ("$.a.z == null", true),
        ("$.a.none != null", true),
        ("$.a.none == $.none.none", true),
        ("$.a.none <= $.none.none", true),
        ("$.a.n < 'x'", false),
        ("$.b.big == 1152921504606846976", true),
        ("$.b.big == 1152921504606846977", false),
        ("$.b.big < 1152921504606846977", true),
        ("$.b.big < 1e400", true),
        ("$.a.t == 'Été'", true),
        ("$.a.t == \"\\u00c9t\\u00e9\"", true),
        ("length($.a.t) == 3", true),
        ("length($.a.l) == 2 && length($.a) == 6", true),
        ("length($.a.n) == 3", false),
        ("count($.a.l[*].k) == 2", true),
        ("value($.a.l[?@.k > 1].k) == 2", true),
        ("value($.a.l[*].k) == 2", false),
        ("match($.a.t, '.t.')", true),
        ("match($.a.t, 't')", false),
        ("search($.a.t, 't')", true),
        ("search($.a.t, '[')", false),
        ("search($.a.t, $.a.t)", true),
        ("match($.a.n, '3')", false),
        ("'present($.a.none)' == 'present($.a.none)'", true),
    ];
    for (text, expected) in rows {
        check_condition(text, expected);
    }
}

#[test]
fn a_condition_is_refused_where_it_goes_wrong() {
    let rows = [
        ("  ", 0, "the condition is empty"),
        ("@.a == 1", 0, "`@` has no meaning in a condition"),
        ("$.a == 1, $.b", 8, "unexpected `,` in a condition"),
        ("?$.a", 0, "unexpected `?` in a condition"),
        ("$.a == 1]", 8, "nothing is open that `]` could close"),
        ("($.a == 1", 9, "the condition ends where a `)` is expected"),
        ("$.a ==", 6, "the condition ends too early"),
        ("$.a &&", 6, "the condition ends too early"),
        ("'x'", 0, "a literal alone is no condition"),
        ("$.a & $.b", 4, "`&` has no meaning here"),
        (
            "$.a == $.b == $.c",
            11,
            "what stands beside `==` is not one value",
        ),
        ("$.a or $.b", 4, "`or` has no meaning here"),
        ("present($.a) == true", 0, "`present()` gives no value"),
        ("present(1)", 0, "`present()` takes a path"),
        ("present($.a, $.b)", 11, "`present()` takes one argument"),
        (
            "present()",
            8,
            "a path, a literal or a function is expected, not `)`",
        ),
        ("exists($.a)", 0, "there is no function `exists`"),
        ("$.a.b + 1 == 2", 6, "`+` has no meaning here"),
        ("a == 1", 0, "`a` has no meaning here"),
        (
            "$.x[?present(@.a)]",
            5,
            "`present()` stands in conditions, not in filters",
        ),
        ("{{x}}", 0, "`{` has no meaning here"),
    ];
    for (text, offset, message) in rows {
        let error = Condition::parse(text).unwrap_err();
        let found = (error.offset, error.message.as_str());
        assert_eq!(found, (offset, message), "{text}");
    }
}

#[test]
fn queries_of_a_condition_are_bound_in_the_order_of_the_text() {
    let (_, binder) = condition("present($.a.b) && ($.c.d == $.e.f || $.g.h[?@.i == 1])");
    let expected: [(&str, &[&str], &str, usize); 4] = [
        ("a b", &[], "$.a.b", 8),
        ("c d", &[".."], "$.c.d", 19),
        ("e f", &[".."], "$.e.f", 28),
        ("g h", &["*", "* i"], "$.g.h[?@.i == 1]", 37),
    ];
    check_rooted(&binder, &expected);
}

#[test]
fn bare_tests_are_found() {
    let (condition, _) =
        condition("$.a.b && (!$.c['d'] || present($.e)) && $.f[*] && $.g == 1 && $.h[?@.i]");
    let expected = [(0, "$.a.b".to_owned()), (11, "$.c['d']".to_owned())];
    assert_eq!(condition.bare_tests(), expected);
}

#[test]
fn loop_variables_are_found_innermost_first() {
    struct Outside;
    impl Scope for Outside {
        fn value<'a>(&'a self, root: Root, frame: Option<&'a Frame<'a>>) -> Option<Value<'a>> {
            let depth = std::iter::successors(frame, |frame| frame.outer).count();
            (root == Root(9) && depth == 2).then_some(Value::NULL)
        }
    }
    struct To(Root);
    impl Bind for To {
        fn bind(&mut self, _: &Rooted<'_>) -> Result<Bound, Error> {
            Ok(Bound {
                root: self.0,
                consumed: 1,
            })
        }
    }
    let outer = Frame {
        variable: Root(1),
        index: 0,
        value: Value::trusted(br#"{"x":1}"#),
        outer: None,
    };
    let inner = Frame {
        variable: Root(2),
        index: 3,
        value: Value::trusted(br#"{"x":2}"#),
        outer: Some(&outer),
    };
    let env = Env {
        scope: &Outside,
        frame: Some(&inner),
    };
    let find = |root, text| {
        let mut query = Query::parse(text).unwrap();
        assert!(query.first(&env).is_none(), "nothing is bound yet");
        query.bind(&mut To(root)).unwrap();
        assert_eq!(query.root(), root);
        query.first(&env).map(|value| format!("{value:?}"))
    };
    assert_eq!(find(Root(1), "$.p.x").as_deref(), Some("1"));
    assert_eq!(find(Root(2), "$.q.x").as_deref(), Some("2"));
    assert_eq!(find(Root(9), "$.c").as_deref(), Some("null"));
    assert_eq!(find(Root(3), "$.c"), None);
}

#[test]
fn a_binder_may_refuse() {
    struct Never;
    impl Bind for Never {
        fn bind(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error> {
            Err(Error {
                offset: rooted.offset,
                length: rooted.length,
                message: "no".to_owned(),
                help: None,
            })
        }
    }
    let error = Query::parse("$.a").unwrap().bind(&mut Never).unwrap_err();
    assert_eq!((error.offset, error.length), (0, 3));
}

/// How many nodes a query has in arrays within each other around a 1.
fn count_in_arrays(query: &str, depth: usize) -> usize {
    struct Whole(Body);
    impl Scope for Whole {
        fn value<'a>(&'a self, _: Root, _: Option<&'a Frame<'a>>) -> Option<Value<'a>> {
            Some(self.0.whole())
        }
    }
    let text = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let limits = Limits {
        depth: 5000,
        nodes: 10_000,
    };
    let body = Body::check(text.into(), &Demand::default(), limits).unwrap();
    let mut query = Query::parse(query).unwrap();
    query.bind(&mut Binder::default()).unwrap();
    let whole = Whole(body);
    let env = Env {
        scope: &whole,
        frame: None,
    };
    let mut out = Vec::new();
    query.nodes(&env, &mut out);
    out.len()
}

#[test]
fn a_body_of_the_largest_depth_costs_no_stack() {
    assert_eq!(count_in_arrays("$..[?@ == 1]", 5000), 1);
}

#[test]
fn the_deepest_query_costs_little_stack() {
    let level = format!("@{}", "[*]".repeat(30));
    let mut query = format!("{level}[?@ == 1]");
    for _ in 0..14 {
        query = format!("{level}[?{query}]");
    }
    let query = query.replacen('@', "$", 1);
    assert_eq!(count_in_arrays(&query, 15 * 31), 1);
}

fn check_pattern(pattern: &str, matches: &[&str], others: &[&str]) {
    let regex = whole_pattern(pattern).unwrap();
    for text in matches {
        assert!(regex.is_match(text), "{pattern} on {text}");
    }
    for text in others {
        assert!(!regex.is_match(text), "{pattern} on {text}");
    }
}

#[test]
fn patterns_are_i_regexps() {
    check_pattern("[a-c]+", &["a", "cab"], &["", "abd", "a\n"]);
    check_pattern("a|b", &["a", "b"], &["ab", "ac"]);
    check_pattern("(ab){2,3}", &["abab", "ababab"], &["ab", "abababab"]);
    check_pattern("a{2}b{1,}", &["aab", "aabb"], &["ab", "aa"]);
    check_pattern(r"\p{Lu}\P{Lu}", &["Éa"], &["éa", "ÉÉ"]);
    check_pattern(r"[^\p{L}\-]", &["+", "1"], &["a", "-"]);
    check_pattern(r"[-a]", &["-", "a"], &["b"]);
    check_pattern(r"[a-]", &["-", "a"], &["b"]);
    check_pattern(r"[&&~~.^$|#]", &["&", "~", ".", "^", "$", "|", "#"], &["a"]);
    check_pattern(r"a\.b\\\[\t", &["a.b\\[\t"], &["axb\\[\t"]);
    check_pattern(".", &["x", "\u{2028}", "😀"], &["\n", "\r", "", "xx"]);
    check_pattern("^a$", &["a"], &["^a$"]);
    check_pattern("", &[""], &["a"]);
    check_pattern("(|a)", &["", "a"], &["b"]);
    check_pattern("a#b c", &["a#b c"], &["a"]);
    let wrong = [
        "[",
        "(",
        ")",
        "]",
        "}",
        "{1}",
        "*",
        "a**",
        "a*?",
        "a{",
        "a{x}",
        "a{,2}",
        "a{2",
        "(?:a)",
        "(?i)a",
        "\\d",
        "\\w",
        "\\",
        "\\p{Foo}",
        "\\p{L",
        "\\pL",
        "[]",
        "[[a]]",
        "[b-a]",
        "a{3,2}",
        "[a-\\d]",
        "[a--b]",
        "(a){999999}",
        "|*",
        "[a",
        "[^]",
    ];
    for pattern in wrong {
        assert!(whole_pattern(pattern).is_err(), "{pattern}");
    }
    let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
    assert!(whole_pattern(&deep).is_err());
    assert!(whole_pattern("((((a{1,100}){1,100}){1,100}){1,100})").is_err());
}

// === against a naive evaluator over serde_json's tree ===

#[derive(Clone, Debug)]
enum Part {
    Name(String),
    Index(i64),
    Every,
    Slice(Option<i64>, Option<i64>, i64),
    Descend(Option<String>),
    Has(String, Option<i64>),
}

fn part() -> impl Strategy<Value = Part> {
    let name = || "[abé]";
    prop_oneof![
        name().prop_map(Part::Name),
        (-3i64..4).prop_map(Part::Index),
        Just(Part::Every),
        (
            prop::option::of(-3i64..4),
            prop::option::of(-3i64..4),
            -3i64..4
        )
            .prop_map(|(start, end, step)| Part::Slice(start, end, step)),
        prop::option::of(name()).prop_map(Part::Descend),
        (name(), prop::option::of(0i64..3)).prop_map(|(name, value)| Part::Has(name, value)),
    ]
}

fn written(part: &Part) -> String {
    let bound = |bound: &Option<i64>| bound.map_or(String::new(), |bound| bound.to_string());
    match part {
        Part::Name(name) => format!(".{name}"),
        Part::Index(index) => format!("[{index}]"),
        Part::Every => "[*]".to_owned(),
        Part::Slice(start, end, step) => format!("[{}:{}:{step}]", bound(start), bound(end)),
        Part::Descend(Some(name)) => format!("..{name}"),
        Part::Descend(None) => "..*".to_owned(),
        Part::Has(name, Some(value)) => format!("[?@.{name} >= {value}]"),
        Part::Has(name, None) => format!("[?@.{name}]"),
    }
}

fn children(tree: &Tree) -> Vec<&Tree> {
    match tree {
        Tree::Array(elements) => elements.iter().collect(),
        Tree::Object(members) => members.values().collect(),
        _ => Vec::new(),
    }
}

fn naive<'t>(part: &Part, tree: &'t Tree, out: &mut Vec<&'t Tree>) {
    match (part, tree) {
        (Part::Name(name), tree) => out.extend(tree.get(name)),
        (Part::Index(index), Tree::Array(elements)) => {
            let index = if *index < 0 {
                *index + elements.len() as i64
            } else {
                *index
            };
            out.extend(
                usize::try_from(index)
                    .ok()
                    .and_then(|index| elements.get(index)),
            );
        }
        (Part::Every, tree) => out.extend(children(tree)),
        (Part::Slice(start, end, step), Tree::Array(elements)) => {
            let length = elements.len() as i64;
            let (first, last) = if *step > 0 {
                (0, length)
            } else {
                (length - 1, -length - 1)
            };
            let normal = |bound: i64| if bound < 0 { bound + length } else { bound };
            let mut at = normal(start.unwrap_or(first));
            let end = normal(end.unwrap_or(last));
            if *step > 0 {
                at = at.max(0);
            } else {
                at = at.min(length - 1);
            }
            while *step != 0 && if *step > 0 { at < end } else { at > end } {
                out.extend(usize::try_from(at).ok().and_then(|at| elements.get(at)));
                at += step;
            }
        }
        (Part::Descend(name), tree) => {
            let here = name.clone().map_or(Part::Every, Part::Name);
            naive(&here, tree, out);
            for child in children(tree) {
                naive(part, child, out);
            }
        }
        (Part::Has(name, value), tree) => {
            let good = |member: &Tree| match value {
                Some(value) => member.as_i64().is_some_and(|member| member >= *value),
                None => true,
            };
            let has = |child: &&Tree| child.get(name).is_some_and(good);
            out.extend(children(tree).into_iter().filter(has));
        }
        _ => {}
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        (0i64..4).prop_map(Tree::from),
        "[a-c\"\\\\]{0,3}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::from),
            prop::collection::vec(("[abé]", inner), 0..4)
                .prop_map(|members| Tree::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(21), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nodes_are_those_of_a_naive_evaluator(tree in tree(), parts in prop::collection::vec(part(), 0..4), consumed in 0usize..3) {
        let query: String = std::iter::once("$".to_owned()).chain(parts.iter().map(written)).collect();
        let mut expected = vec![&tree];
        for part in &parts {
            let from = std::mem::take(&mut expected);
            from.into_iter().for_each(|tree| naive(part, tree, &mut expected));
        }
        let found = nodes_at(&query, &tree.to_string(), consumed);
        let found: Vec<Tree> = found.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{}", query);
    }

    #[test]
    fn no_text_panics(text in "[$@.\\[\\]()?*,:!&|=<>'\"\\\\a1é 0-]{0,24}") {
        for text in [text.clone(), format!("$[?{text}]"), format!("$.a{text}")] {
            if let Err(error) = Query::parse(&text) {
                prop_assert!(text.get(error.offset..error.offset + error.length).is_some(), "{text}: {error:?}");
            }
            if let Err(error) = Condition::parse(&text) {
                prop_assert!(text.get(error.offset..error.offset + error.length).is_some(), "{text}: {error:?}");
            }
            let _ = whole_pattern(&text);
        }
    }
}
