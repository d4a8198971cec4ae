//! The answer: its status and headers, and whose fault a value is that is missing or bad.

use super::support::{Asked, ask, route, run_of};

fn page(response: &str) -> String {
    format!("route: GET /p/{{id}}\ncalls:\n  a: {{ get: / }}\nresponse: {response}\n")
}

const BODY: &str =
    "{\"s\":201,\"big\":1e400,\"list\":[\"x\",12.10,null,true],\"o\":{},\"text\":\"t\"}";

async fn answered(response: &str) -> super::support::Seen {
    let asked = Asked {
        parameters: &["42"],
        query: &[("q", "a\nb")],
        ..Asked::default()
    };
    ask(&route(&page(response)), &format!("a 1 200 {BODY}"), asked).await
}

#[tokio::test(start_paused = true)]
async fn headers_repeat_are_left_out_or_fail() {
    let rows = [
        ("x: $.a.body.list", "200 x | 12.10 | true"),
        ("x: $.a.body.missing", "200 "),
        ("x: $.a.body.big", "200 1e400"),
        (
            "x: [ a, $.a.body.text, $.a.body.missing, 'n {{a.body.missing}}', 'y {{a.body.s}}' ]",
            "200 a | t | y 201",
        ),
        ("x: 'v {{a.body.text}}'", "200 v t"),
        ("x: 'v {{a.body.missing}}'", "200 "),
        ("x: 'v {{a.body.o}}'", "502 missing_value"),
        ("x: $.a.body.o", "502 missing_value"),
        ("x: $.request.query.q", "400 bad_value"),
        ("x: '{{request.query.q}}'", "400 bad_value"),
    ];
    for (headers, expected) in rows {
        let seen = answered(&format!("{{ headers: {{ {headers} }}, body: 1 }}")).await;
        let shown = match seen.status {
            200 => format!("200 {}", seen.header("x")),
            status => {
                let code = seen.body.split("\"code\":\"").nth(1).unwrap();
                format!("{status} {}", code.split('"').next().unwrap())
            }
        };
        assert_eq!(shown, expected, "{headers}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_fails_names_its_call_and_path() {
    let rows = [
        (
            "{ body: { \"k!\": $.a.body.missing } }",
            Some("a"),
            "`$.a.body.missing`: it is absent, and `k!` needs it",
        ),
        (
            "{ body: { \"k!\": \"x {{a.body.missing}}\" } }",
            Some("a"),
            "`a.body.missing`: it is absent, and `k!` needs it",
        ),
        (
            "{ body: { \"k!\": $.request.query.none } }",
            None,
            "`$.request.query.none`: it is absent, and `k!` needs it",
        ),
        (
            "{ body: { $merge: [ $.a.body.text ] } }",
            Some("a"),
            "`$.a.body.text`: it is no object, and `$merge` needs objects",
        ),
        (
            "{ body: { $for: x in $.a.body.o, $each: 1 } }",
            Some("a"),
            "`$.a.body.o`: it is no list",
        ),
        (
            "{ status: $.a.body.text }",
            Some("a"),
            "`$.a.body.text`: it is no status from 200 to 599",
        ),
    ];
    for (response, call, detail) in rows {
        let seen = answered(response).await;
        assert_eq!(seen.status, 502, "{response}: {}", seen.body);
        let problem: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        let expected = match call {
            Some(call) => format!("{call}: {detail}"),
            None => detail.to_owned(),
        };
        assert_eq!(problem["detail"], expected, "{response}");
        assert_eq!(problem["call"].as_str(), call, "{response}");
        assert_eq!(problem["code"], "missing_value", "{response}");
        assert_eq!(problem["errors"], serde_json::json!([]), "{response}");
    }
}

#[tokio::test(start_paused = true)]
async fn statuses_and_bodies_are_as_written() {
    let rows = [
        ("{ status: 202 }", "202 ", ""),
        (
            "{ status: $.a.body.s, body: { x: '$.a.body.list[1]' } }",
            "201 {\"x\":12.10}",
            "application/json",
        ),
        ("{ body: $.a.body.missing }", "200 null", "application/json"),
        (
            "{ text: \"<{{a.body.text}}>\" }",
            "200 <t>",
            "text/plain; charset=utf-8",
        ),
        (
            "{ text: x, headers: { content-type: text/html } }",
            "200 x",
            "text/html",
        ),
        (
            "{ body: { id: $.request.path.id, a: $.a.status, h: $.a.headers.x-service } }",
            "200 {\"id\":\"42\",\"a\":200,\"h\":\"a\"}",
            "application/json",
        ),
    ];
    for (response, expected, content_type) in rows {
        let seen = answered(response).await;
        assert_eq!(seen.answer(), expected, "{response}");
        assert_eq!(seen.header("content-type"), content_type, "{response}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_call_lacks_is_the_clients_fault_or_a_services() {
    let rows = [
        ("get: '/{{request.query.none}}'", 400, "missing_value"),
        ("get: '/{{request.query.q}}'", 400, "bad_value"),
        ("get: '/{{a.body.missing}}'", 502, "missing_value"),
        ("get: '/{{a.body.o}}'", 502, "missing_value"),
        (
            "get: /, headers: { x: $.request.query.q }",
            400,
            "bad_value",
        ),
        (
            "get: /, headers: { x: '{{request.query.none}}' }",
            400,
            "missing_value",
        ),
        (
            "get: /, query: { x: '{{a.body.missing}}' }",
            502,
            "missing_value",
        ),
        ("get: /, query: { x: $.a.body.o }", 502, "missing_value"),
        (
            "post: /, form: { x: '{{a.body.missing}}' }",
            502,
            "missing_value",
        ),
        (
            "post: /, text: '{{request.query.none}}'",
            400,
            "missing_value",
        ),
        (
            "post: /, idempotency_key: $.request.query.none",
            400,
            "missing_value",
        ),
        (
            "post: /, json: { \"k!\": $.request.query.none }",
            400,
            "missing_value",
        ),
        (
            "post: /, json: { \"k!\": $.a.body.missing }",
            502,
            "missing_value",
        ),
    ];
    for (keys, status, code) in rows {
        let text = format!(
            "route: GET /\ncalls:\n  a: {{ get: / }}\n  b: {{ {keys} , depends_on: [a] }}\nresponse: {{ body: $.b.body }}\n"
        );
        let asked = Asked {
            query: &[("q", "a\nb")],
            ..Asked::default()
        };
        let seen = ask(&route(&text), "a 1 200 {\"o\":{}}", asked).await;
        let entry = format!(
            "\"code\":\"{code}\",\"errors\":[{{\"call\":\"b\",\"code\":\"{code}\",\"attempts\":0,\"elapsed_ms\":0}}]}}"
        );
        assert_eq!(seen.status, status, "{keys}: {}", seen.body);
        assert!(seen.body.ends_with(&entry), "{keys}: {}", seen.body);
        assert_eq!(seen.sent.len(), 1, "{keys}");
    }
}

#[tokio::test(start_paused = true)]
async fn entries_of_a_call_are_left_out_repeated_and_win() {
    let rows = [
        (
            "get: /x, query: { a: $.a.body.list, b: $.a.body.missing, c: [ 1, $.a.body.text ] }",
            "GET /x?a=x&a=12.10&a=true&c=1&c=t ",
        ),
        (
            "get: /x, query: { a: 'b c&d=e', é: 1 }",
            "GET /x?a=b%20c%26d%3De&%C3%A9=1 ",
        ),
        (
            "get: /x, forward_query: [ p, q ], query: { p: 2 }",
            "GET /x?q=3&p=2 ",
        ),
        (
            "get: /x, forward_query: '*', query: { q: $.a.body.missing }",
            "GET /x?p=1 ",
        ),
        (
            "get: /x, forward_headers: [ x-a, x-b ], headers: { x-b: $.a.body.missing }",
            "GET /x  x-a=1",
        ),
        (
            "get: /x, forward_headers: [ x-a ], headers: { x-a: $.a.body.list }",
            "GET /x  x-a=12.10 x-a=true x-a=x",
        ),
        (
            "post: /x, form: { a: $.a.body.list, b: 'c d' }",
            "POST /x a=x&a=12.10&a=true&b=c+d content-type=application/x-www-form-urlencoded",
        ),
        (
            "post: /x, text: 'n {{a.body.big}}'",
            "POST /x n 1e400 content-type=text/plain; charset=utf-8",
        ),
        (
            "post: /x, json: { big: $.a.body.big, \"m?\": $.a.body.missing, n: $.a.body.missing }, forward_headers: [ content-type ]",
            "POST /x {\"big\":1e400,\"n\":null} content-type=application/json",
        ),
        (
            "post: /x, idempotency_key: 'k-{{a.body.s}}'",
            "POST /x  idempotency-key=k-201",
        ),
    ];
    for (keys, expected) in rows {
        let text = format!(
            "route: GET /\ncalls:\n  a: {{ get: / }}\n  b: {{ {keys}, depends_on: [a] }}\nresponse: {{ body: 1 }}\n"
        );
        let asked = Asked {
            query: &[("p", "1"), ("q", "3")],
            headers: &[("x-a", "1"), ("x-b", "2"), ("content-type", "text/csv")],
            ..Asked::default()
        };
        let script = format!("a 1 200 {BODY}\nb 1 200 1");
        let seen = ask(&route(&text), &script, asked).await;
        assert_eq!(seen.sent[1], expected, "{keys}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_without_calls_answers_at_once() {
    let seen = run_of("route: GET /\nresponse: { body: { a: 12.10 } }\n", "").await;
    assert_eq!(seen.answer(), "200 {\"a\":12.10}");
    assert_eq!(seen.took, 0);
}
