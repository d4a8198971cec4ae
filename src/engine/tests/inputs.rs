//! `input`, and the request in the context document.

use super::support::{Asked, ask, route, route_with};

#[tokio::test(start_paused = true)]
async fn the_request_is_read_as_the_context_document_says() {
    let rows = [
        ("$.request.method", "\"GET\""),
        ("$.request.host", "\"shop.example\""),
        ("$.request.path", "{\"id\":\"a/b\"}"),
        ("$.request.query", "{\"q\":\"1\",\"r\":\"x\"}"),
        (
            "$.request.query_list",
            "{\"q\":[\"1\",\"2\"],\"r\":[\"x\"]}",
        ),
        ("$.request.query_list.q", "[\"1\",\"2\"]"),
        ("$.request.headers.x-many", "\"1, 2\""),
        ("$.request.headers.set-cookie", "[\"a=1\"]"),
        ("$.request.headers.absent", "null"),
        ("$.request.cookies", "{\"s\":\"x\",\"t\":\"q\"}"),
        ("$.request.cookies.t", "\"q\""),
        ("$.request.client.ip", "\"192.0.2.7\""),
        ("$.request.client", "{\"ip\":\"192.0.2.7\"}"),
        ("$.request.id", "\"req-1\""),
        ("$.request.body.n", "1.10"),
        ("$.request.body", "{ \"n\": 1.10 }"),
        ("$.request.body.missing ?? $.request.query.r", "\"x\""),
        ("$.errors", "[]"),
        ("$.degraded", "null"),
    ];
    for (path, expected) in rows {
        let text = format!("route: GET /{{id}}\nresponse: {{ body: {{ v: {path} }} }}\n");
        let asked = Asked {
            brownout: false,
            parameters: &["a/b"],
            query: &[("q", "1"), ("q", "2"), ("r", "x")],
            headers: &[
                ("x-many", "1"),
                ("x-many", "2"),
                ("set-cookie", "a=1"),
                ("cookie", "s=x; t=\"q\"; s=y"),
            ],
            body: "{ \"n\": 1.10 }",
        };
        let seen = ask(&route(&text), "", asked).await;
        assert_eq!(seen.answer(), format!("200 {{\"v\":{expected}}}"), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_read_whole() {
    let rows = [
        (
            "a 1 200 [1.10]",
            "{\"body\":[1.10],\"status\":200,\"headers\":{\"x-service\":\"a\"},\"source\":\"live\",\"error\":null}",
        ),
        (
            "a 1 500",
            "{\"body\":null,\"status\":null,\"headers\":null,\"source\":\"failed\",\"error\":{\"code\":\"service_5xx\",\"status\":500}}",
        ),
    ];
    for (script, expected) in rows {
        let text =
            "route: GET /\ncalls:\n  a: { get: /, optional: true }\nresponse: { body: $.a }\n";
        let seen = ask(&route(text), script, Asked::default()).await;
        assert_eq!(seen.answer(), format!("200 {expected}"));
    }
}

const TYPED: &str = "
route: GET /{id}
input:
  path: { id: { type: integer, min: 1 } }
  query:
    n: { type: number, default: 1.50, max: 9 }
    tag: { type: array, max: 2 }
    on: { type: boolean }
    word: { min: 2, max: 3, pattern: '[a-z]+', enum: [ ab, xyz ] }
  headers: { x-need: { required: true } }
  cookies: { s: { type: integer } }
response: { body: { p: $.request.path.id, q: $.request.query, s: $.request.cookies.s } }
";

#[tokio::test(start_paused = true)]
async fn typed_values_keep_their_type_and_digits() {
    let asked = Asked {
        brownout: false,
        parameters: &["7"],
        query: &[
            ("tag", "a"),
            ("on", "true"),
            ("tag", "b"),
            ("word", "ab"),
            ("more", "5"),
        ],
        headers: &[("x-need", "y"), ("cookie", "s=3")],
        body: "",
    };
    let seen = ask(&route(TYPED), "", asked).await;
    let expected = "200 {\"p\":7,\"q\":{\"tag\":[\"a\",\"b\"],\"on\":true,\"word\":\"ab\",\"more\":\"5\",\"n\":1.50},\"s\":3}";
    assert_eq!(seen.answer(), expected);
}

#[tokio::test(start_paused = true)]
async fn all_violations_are_told_at_once() {
    let asked = Asked {
        brownout: false,
        parameters: &["05"],
        query: &[
            ("n", "10"),
            ("tag", "a"),
            ("tag", "b"),
            ("tag", "c"),
            ("on", "yes"),
            ("word", "abcd"),
        ],
        headers: &[("cookie", "s=x")],
        body: "",
    };
    let seen = ask(&route(TYPED), "", asked).await;
    assert_eq!(seen.status, 400);
    let problem: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(problem["code"], "invalid_input");
    let at: Vec<String> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{}.{}",
                one["in"].as_str().unwrap(),
                one["name"].as_str().unwrap()
            )
        })
        .collect();
    let expected = [
        "path.id",
        "query.n",
        "query.tag",
        "query.on",
        "query.word",
        "headers.x-need",
        "cookies.s",
    ];
    assert_eq!(at, expected, "{}", seen.body);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_json_by_type_by_syntax_and_by_schema() {
    let schema =
        "{\"type\":\"object\",\"required\":[\"n\"],\"properties\":{\"n\":{\"type\":\"integer\"}}}";
    let text = "route: POST /\ninput: { body: { required: true, schema: s.json } }\nresponse: { body: $.request.body.n }\n";
    let optional = text.replace("required: true, ", "");
    let json: &[(&str, &str)] = &[("content-type", "application/json; charset=utf-8")];
    let csv: &[(&str, &str)] = &[("content-type", "text/csv")];
    let rows = [
        (text, json, "{\"n\":1}", "200 1"),
        (text, &[], "{\"n\":1}", "200 1"),
        (text, json, "", "400 invalid_input"),
        (text, json, "{}", "400 invalid_input"),
        (text, json, "{\"n\":\"x\"}", "400 invalid_input"),
        (text, json, "{\"n\":1,\"n\":2}", "400 invalid_input"),
        (text, json, "{\"n\":1", "400 invalid_input"),
        (text, csv, "{\"n\":1}", "415 unsupported_media_type"),
        (optional.as_str(), json, "", "200 null"),
        (optional.as_str(), json, "{}", "400 invalid_input"),
    ];
    for (text, headers, body, expected) in rows {
        let asked = Asked {
            headers,
            body,
            ..Asked::default()
        };
        let seen = ask(&route_with(text, &[("s.json", schema)]), "", asked).await;
        let shown = match seen.status {
            200 => seen.answer(),
            status => {
                let problem: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
                format!("{status} {}", problem["code"].as_str().unwrap())
            }
        };
        assert_eq!(shown, expected, "{body}");
    }
}
