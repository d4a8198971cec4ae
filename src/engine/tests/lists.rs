//! `for_each`: rounds, order, floors, fallbacks of elements, and what is read of the results.

use super::support::{Asked, ask, route, run_of};

/// `a` gives the list; `b` is asked for each element, with these keys.
fn page(keys: &str, body: &str) -> String {
    format!(
        "
route: GET /
timeout: 10s
calls:
  a: {{ get: / }}
  b: {{ for_each: p in $.a.body.list, get: \"/{{{{p.id}}}}\", {keys} }}
response: {{ body: {body} }}
"
    )
}

#[tokio::test(start_paused = true)]
async fn elements_run_in_rounds_and_stay_in_order() {
    let text = page("max_items: 5, concurrency: 2", "{ n: '$.b[*].body' }");
    let seen = run_of(
        &text,
        "a 10 200 {\"list\":[{\"id\":1},{\"id\":2},{\"id\":3},{\"id\":4},{\"id\":5}]}
         b 30 200 1
         b 10 200 2
         b 10 200 3
         b 20 200 4
         b 5 200 5
         b 0 500",
    )
    .await;
    assert_eq!(seen.answer(), "200 {\"n\":[1,2,3,4,5]}");
    assert_eq!(
        seen.trace,
        "0 +a, 10 -a, 10 +b, 10 +b, 20 -b, 20 +b, 30 -b, 30 +b, 40 -b, 40 +b, 45 -b, 50 -b"
    );
    assert_eq!(seen.sent[5], "GET /5 ");
}

#[tokio::test(start_paused = true)]
async fn a_list_is_absent_too_long_or_none() {
    let keys = "max_items: 2, optional: true";
    let rows = [
        ("{}", "[]", ""),
        ("{\"list\":null}", "[]", ""),
        ("{\"list\":[]}", "[]", ""),
        (
            "{\"list\":[{\"id\":1},{\"id\":2},{\"id\":3}]}",
            "null",
            "b=too_large",
        ),
        ("{\"list\":{\"id\":1}}", "null", "b=missing_value"),
        ("{\"list\":\"x\"}", "null", "b=missing_value"),
    ];
    for (list, expected, degraded) in rows {
        let seen = run_of(&page(keys, "{ b: $.b }"), &format!("a 1 200 {list}")).await;
        assert_eq!(seen.answer(), format!("200 {{\"b\":{expected}}}"), "{list}");
        assert_eq!(seen.header("x-anabranch-degraded"), degraded, "{list}");
    }
    let seen = run_of(&page("max_items: 2", "$.b"), "a 1 200 {\"list\":7}").await;
    assert_eq!(seen.status, 502);
    assert!(
        seen.body.contains("\"errors\":[{\"call\":\"b\",\"code\":\"missing_value\",\"attempts\":0,\"elapsed_ms\":0}]"),
        "{}",
        seen.body
    );
}

const THREE: &str = "a 10 200 {\"list\":[{\"id\":1},{\"id\":2},{\"id\":3}]}";

#[tokio::test(start_paused = true)]
async fn a_failed_element_above_the_floor_is_null_with_an_entry() {
    let rows = [
        (
            "min_ok: 60%",
            "200 {\"b\":[1,null,3],\"e\":[{\"call\":\"b\",\"code\":\"service_5xx\",\
             \"status\":500,\"attempts\":1,\"elapsed_ms\":20,\"item\":1}]}",
            "b=service_5xx",
        ),
        (
            "optional: true",
            "200 {\"b\":[1,null,3],\"e\":[{\"call\":\"b\",\"code\":\"service_5xx\",\
             \"status\":500,\"attempts\":1,\"elapsed_ms\":20,\"item\":1}]}",
            "b=service_5xx",
        ),
        (
            "fallback: [ { value: { was: $.p.id } } ]",
            "200 {\"b\":[1,{\"was\":2},3],\"e\":[{\"call\":\"b\",\"code\":\"service_5xx\",\
             \"status\":500,\"attempts\":1,\"elapsed_ms\":20,\"fallback\":\"value\",\"item\":1}]}",
            "b=fallback",
        ),
    ];
    for (keys, expected, degraded) in rows {
        let keys = format!("max_items: 3, {keys}");
        let text = page(&keys, "{ b: '$.b[*].body', e: $.errors }");
        let script = format!("{THREE}\nb 10 200 1\nb 20 500\nb 30 200 3\nb 0 500");
        let seen = run_of(&text, &script).await;
        assert_eq!(seen.answer(), expected, "{keys}");
        assert_eq!(seen.header("x-anabranch-degraded"), degraded, "{keys}");
    }
}

#[tokio::test(start_paused = true)]
async fn below_the_floor_the_call_fails_at_once() {
    let rows = [
        (
            "max_items: 3",
            "0 +a, 10 -a, 10 +b, 10 +b, 10 +b, 30 -b, 30 xb, 30 xb",
            "reset",
        ),
        (
            "max_items: 3, min_ok: 50%",
            "0 +a, 10 -a, 10 +b, 10 +b, 10 +b, 30 -b, 40 -b, 40 xb",
            "service_5xx",
        ),
    ];
    for (keys, trace, code) in rows {
        let script = format!("{THREE}\nb 30 500\nb 20 !reset\nb 90 200 3\nb 0 500");
        let seen = run_of(&page(keys, "$.b"), &script).await;
        assert_eq!(seen.status, 502, "{keys}");
        assert_eq!(seen.trace, trace, "{keys}");
        assert!(
            seen.body
                .contains(&format!("\"code\":\"{code}\",\"errors\"")),
            "{}",
            seen.body
        );
        assert_eq!(seen.calls, "a=live b=failed");
    }
}

#[tokio::test(start_paused = true)]
async fn an_element_has_its_fallback_call_and_its_condition() {
    let seen = run_of(
        "
route: GET /
calls:
  a: { get: / }
  b:
    for_each: p in $.a.body.list
    max_items: 3
    concurrency: 1
    when: $.p.id != 2
    get: /{{p.id}}
    fallback: [ { call: f } ]
  f: { get: /f }
response:
  body:
    $for: p in $.a.body.list ?? []
    $each: { id: $.p.id, body: $.each.b.body, source: $.each.b.source }
",
        &format!("{THREE}\nb 10 500\nb 5 200 3\nb 0 500\nf 7 200 0"),
    )
    .await;
    assert_eq!(
        seen.answer(),
        "200 [{\"id\":1,\"body\":0,\"source\":\"fallback\"},\
         {\"id\":2,\"body\":null,\"source\":\"skipped\"},\
         {\"id\":3,\"body\":3,\"source\":\"live\"}]"
    );
    assert_eq!(
        seen.trace,
        "0 +a, 10 -a, 10 +b, 20 -b, 20 +f, 27 -f, 27 +b, 32 -b"
    );
    assert_eq!(seen.header("x-anabranch-degraded"), "b=fallback");
}

#[tokio::test(start_paused = true)]
async fn another_list_over_the_same_path_reads_this_elements_result() {
    let seen = run_of(
        "
route: GET /
calls:
  a: { get: / }
  b: { for_each: p in $.a.body.list, max_items: 3, get: \"/{{p.id}}\" }
  c: { for_each: q in $.a.body.list, max_items: 3, get: /c, query: { b: $.each.b.body, q: $.q.id } }
response: { body: '$.c[*].body' }
",
        &format!("{THREE}\nb 30 200 10\nb 20 200 20\nb 10 200 30\nb 0 500\nc 1 200 0"),
    )
    .await;
    assert_eq!(seen.answer(), "200 [0,0,0]");
    assert_eq!(
        seen.sent[4..],
        ["GET /c?b=10&q=1 ", "GET /c?b=20&q=2 ", "GET /c?b=30&q=3 "]
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_elements_that_all_fail_at_once_are_no_deep_stack() {
    let list = vec!["{}"; 10_000].join(",");
    let keys = "max_items: 10000, optional: true, concurrency: 1";
    let script = format!("a 1 200 {{\"list\":[{list}]}}");
    let seen = run_of(&page(keys, "{ $count: '$.errors[*]' }"), &script).await;
    assert_eq!(seen.answer(), "200 10000");
    assert_eq!(seen.header("x-anabranch-degraded"), "b=missing_value");
    assert_eq!(seen.took, 1);
}

#[tokio::test(start_paused = true)]
async fn an_element_of_the_clients_list_is_the_clients_fault() {
    let text = "
route: POST /
calls:
  b: { for_each: p in $.request.body.list, max_items: 3, get: \"/{{p.id}}\" }
response: { body: $.b }
";
    let body = "{\"list\":[{}]}";
    let asked = Asked {
        body,
        ..Asked::default()
    };
    let seen = ask(&route(text), "", asked).await;
    assert_eq!(seen.status, 400, "{}", seen.body);
    assert!(
        seen.body.contains("\"detail\":\"b: `p.id`: it is absent\""),
        "{}",
        seen.body
    );
}
