//! What is left out under load: optional calls, and the calls of their fallbacks.

use super::support::{Asked, ask, route};

const PAGE: &str = "
route: GET /
calls:
  a: { get: / }
  b: { get: /, optional: true }
  c: { get: /, optional: true, fallback: [ { call: f }, { value: [ 7 ] } ] }
  d: { get: /, optional: true, when: $.a.body.go == true }
  e: { get: /, for_each: p in $.a.body.list, max_items: 9, optional: true }
  f: { get: / }
response:
  body: { a: $.a.status, b: $.b.source, c: $.c.body, d: $.d.source, e: '$.e[*].source', errors: $.errors }
";

#[tokio::test(start_paused = true)]
async fn optional_calls_are_left_out_and_required_ones_are_not() {
    let brownout = Asked {
        brownout: true,
        ..Asked::default()
    };
    let script = "a 10 200 {\"list\":[1,2]}";
    let seen = ask(&route(PAGE), script, brownout).await;
    assert_eq!(seen.trace, "0 +a, 10 -a");
    let failed = |call: &str, rest: &str| {
        let figures = "\"code\":\"overloaded\",\"attempts\":0,\"elapsed_ms\":0";
        format!("{{\"call\":\"{call}\",{figures}{rest}}}")
    };
    let errors = [
        failed("b", ""),
        failed("c", ",\"fallback\":\"value\""),
        failed("e", ",\"item\":0"),
        failed("e", ",\"item\":1"),
    ];
    assert_eq!(
        seen.answer(),
        format!(
            "200 {{\"a\":200,\"b\":\"failed\",\"c\":[7],\"d\":\"skipped\",\
             \"e\":[\"failed\",\"failed\"],\"errors\":[{}]}}",
            errors.join(",")
        )
    );
    assert_eq!(seen.calls, "a=live b=failed c=fallback d=skipped e=failed");
    assert_eq!(seen.header("cache-control"), "no-store");
    assert_eq!(
        seen.header("x-anabranch-degraded"),
        "b=overloaded, c=fallback, e=overloaded"
    );
}
