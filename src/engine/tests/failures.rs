//! What becomes of calls that fail: cancellation, optional calls, fallbacks, `errors` to the letter.

use super::support::run_of;

const PROBLEM: &str = "{\"type\":\"urn:anabranch:";

#[tokio::test(start_paused = true)]
async fn a_required_failure_cancels_the_rest_at_once() {
    let seen = run_of(
        "
route: GET /
calls:
  a: { get: / }
  b: { get: / }
  c: { get: /, query: { b: $.b.body.x } }
response: { body: { a: $.a.body } }
",
        "a 50 !connect_refused\n b 300 200",
    )
    .await;
    assert_eq!(
        seen.answer(),
        format!(
            "502 {PROBLEM}connect_refused\",\"title\":\"A service refused the connection\",\
             \"status\":502,\"detail\":\"a: A service refused the connection\",\
             \"instance\":\"req-1\",\"call\":\"a\",\"code\":\"connect_refused\",\"errors\":[\
             {{\"call\":\"a\",\"code\":\"connect_refused\",\"attempts\":0,\"elapsed_ms\":50}},\
             {{\"call\":\"c\",\"code\":\"dependency_failed\",\"attempts\":0,\"elapsed_ms\":0}}]}}"
        )
    );
    assert_eq!(seen.took, 50);
    assert_eq!(seen.trace, "0 +a, 0 +b, 50 -a, 50 xb");
    assert_eq!(seen.calls, "a=failed b=cancelled c=failed");
    assert_eq!(seen.header("content-type"), "application/problem+json");
    assert_eq!(seen.header("cache-control"), "no-store");
    assert_eq!(
        seen.header("proxy-status"),
        "anabranch; error=connection_refused; details=\"a: connect_refused\", \
         anabranch; details=\"c: dependency_failed\""
    );
}

/// One call `a` with these keys, and `f`, which may be its fallback.
async fn check(keys: &str, script: &str, expected: &str, degraded: &str) {
    let mut text = format!(
        "
route: GET /
calls:
  a: {{ get: /, {keys} }}
  f: {{ get: /, KEYS }}
response:
  body:
    body: $.a.body
    source: $.a.source
    error: $.a.error
    errors: $.errors
    degraded: $.degraded
"
    );
    text = match keys.contains("call: f") {
        true => text.replace(", KEYS", ""),
        false => text.replace("KEYS", "optional: true"),
    };
    let script = format!("{script}\nf 1 200 0");
    let seen = run_of(&text, &script).await;
    assert_eq!(seen.answer(), expected, "{keys}");
    assert_eq!(seen.header("x-anabranch-degraded"), degraded, "{keys}");
    let no_store = if degraded.is_empty() { "" } else { "no-store" };
    assert_eq!(seen.header("cache-control"), no_store, "{keys}");
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_is_told() {
    check(
        "optional: true",
        "a 30 500",
        "200 {\"body\":null,\"source\":\"failed\",\
         \"error\":{\"code\":\"service_5xx\",\"status\":500},\"errors\":[\
         {\"call\":\"a\",\"code\":\"service_5xx\",\"status\":500,\"attempts\":1,\"elapsed_ms\":30}],\
         \"degraded\":\"a=service_5xx\"}",
        "a=service_5xx",
    )
    .await;
    check(
        "fallback: [ { value: { n: 12.10 } } ]",
        "a 30 !reset",
        "200 {\"body\":{\"n\":12.10},\"source\":\"fallback\",\
         \"error\":{\"code\":\"reset\",\"status\":null},\"errors\":[{\"call\":\"a\",\
         \"code\":\"reset\",\"attempts\":1,\"elapsed_ms\":30,\"fallback\":\"value\"}],\
         \"degraded\":\"a=fallback\"}",
        "a=fallback",
    )
    .await;
    check(
        "fallback: [ { call: f, only: not_sent }, { value: null } ]",
        "a 30 !reset",
        "200 {\"body\":null,\"source\":\"fallback\",\
         \"error\":{\"code\":\"reset\",\"status\":null},\"errors\":[{\"call\":\"a\",\
         \"code\":\"reset\",\"attempts\":1,\"elapsed_ms\":30,\"fallback\":\"value\"}],\
         \"degraded\":\"a=fallback\"}",
        "a=fallback",
    )
    .await;
    check(
        "fallback: [ { call: f, only: not_sent } ]",
        "a 30 !dns_failure\n f 7 200 {\"from\":\"f\"}\n f 0 500",
        "200 {\"body\":{\"from\":\"f\"},\"source\":\"fallback\",\
         \"error\":{\"code\":\"dns_failure\",\"status\":null},\"errors\":[{\"call\":\"a\",\
         \"code\":\"dns_failure\",\"attempts\":0,\"elapsed_ms\":30,\"fallback\":\"call\"}],\
         \"degraded\":\"a=fallback\"}",
        "a=fallback",
    )
    .await;
    check(
        "optional: true, fallback: [ { call: f } ]",
        "a 30 404\n f 7 503\n f 0 500",
        "200 {\"body\":null,\"source\":\"failed\",\
         \"error\":{\"code\":\"service_4xx\",\"status\":404},\"errors\":[\
         {\"call\":\"a\",\"code\":\"service_4xx\",\"status\":404,\"attempts\":1,\"elapsed_ms\":30},\
         {\"call\":\"f\",\"code\":\"service_unavailable\",\"status\":503,\"attempts\":1,\
         \"elapsed_ms\":7}],\"degraded\":\"a=service_4xx\"}",
        "a=service_4xx",
    )
    .await;
    check(
        "take: { \"n!\": $.reply.body.n }, optional: true",
        "a 30 200 {\"m\":1}",
        "200 {\"body\":null,\"source\":\"failed\",\
         \"error\":{\"code\":\"missing_value\",\"status\":null},\"errors\":[{\"call\":\"a\",\
         \"code\":\"missing_value\",\"attempts\":1,\"elapsed_ms\":30}],\
         \"degraded\":\"a=missing_value\"}",
        "a=missing_value",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fallback_call_waits_for_its_own_needs() {
    let seen = run_of(
        "
route: GET /
calls:
  a: { get: /, fallback: [ { call: e }, { call: f }, { value: 0 } ] }
  b: { get: /, optional: true }
  c: { get: / }
  e: { get: /, query: { b: $.b.body.x } }
  f: { get: /, query: { c: $.c.body.x }, take: $.reply.body.y }
response: { body: { a: $.a.body, errors: $.errors } }
",
        "a 10 500\n b 30 !timeout\n c 80 200 {\"x\":3}\n e 5 500\n f 20 200 {\"y\":9}",
    )
    .await;
    assert_eq!(
        seen.trace,
        "0 +a, 0 +b, 0 +c, 10 -a, 30 -b, 30 +e, 35 -e, 80 -c, 80 +f, 100 -f"
    );
    assert_eq!(
        seen.answer(),
        "200 {\"a\":9,\"errors\":[{\"call\":\"a\",\"code\":\"service_5xx\",\"status\":500,\
         \"attempts\":1,\"elapsed_ms\":10,\"fallback\":\"call\"},{\"call\":\"b\",\
         \"code\":\"timeout\",\"attempts\":1,\"elapsed_ms\":30},{\"call\":\"e\",\
         \"code\":\"service_5xx\",\"status\":500,\"attempts\":1,\"elapsed_ms\":5}]}"
    );
    assert_eq!(seen.sent[4], "GET /?c=3 ");
    assert_eq!(seen.calls, "a=fallback b=failed c=live e=failed f=live");
}

#[tokio::test(start_paused = true)]
async fn statuses_for_the_client() {
    let rows = [
        ("", "a 1 404", 502, "service_4xx", ""),
        ("pass_status: [404]", "a 1 404", 404, "service_4xx", ""),
        (
            "pass_status: [404], fallback: [ { value: 1 } ]",
            "a 1 404",
            404,
            "service_4xx",
            "",
        ),
        (
            "pass_status: [429]",
            "a 1 429 retry-after=3",
            429,
            "service_limited",
            "3",
        ),
        ("", "a 1 429 retry-after=3", 503, "service_limited", "3"),
        ("", "a 1 503 retry-after=2", 503, "service_unavailable", "2"),
        ("", "a 1 504", 504, "service_unavailable", ""),
        ("", "a 1 500", 502, "service_5xx", ""),
        ("", "a 1 302", 502, "unexpected_status", ""),
        (
            "success_when: $.reply.body.ok == true",
            "a 1 200 {}",
            502,
            "unexpected_status",
            "",
        ),
        ("", "a 1 !timeout", 504, "timeout", ""),
    ];
    for (keys, script, status, code, retry_after) in rows {
        let comma = if keys.is_empty() { "" } else { ", " };
        let text = format!(
            "route: GET /\ncalls:\n  a: {{ get: /{comma}{keys} }}\nresponse: {{ body: $.a.body }}\n"
        );
        let seen = run_of(&text, script).await;
        assert_eq!(seen.status, status, "{keys} {script}");
        assert!(
            seen.body
                .contains(&format!("\"code\":\"{code}\",\"errors\"")),
            "{}",
            seen.body
        );
        assert_eq!(seen.header("retry-after"), retry_after, "{keys} {script}");
    }
}
