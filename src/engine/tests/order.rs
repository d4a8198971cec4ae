//! When calls start: the moment their last need is settled, and not before.

use super::support::run_of;

/// Issue 2, 3: a diamond of 100/300/50/20 ms takes exactly 420 ms.
#[tokio::test(start_paused = true)]
async fn a_diamond_takes_its_longest_path() {
    let seen = run_of(
        "
route: GET /
calls:
  a: { get: / }
  b: { get: /, query: { x: $.a.body.x } }
  c: { get: \"/{{a.body.x}}\" }
  d: { post: /, json: { b: $.b.body.x, c: $.c.body.x } }
response: { body: { d: $.d.body } }
",
        "a 100 200 {\"x\":1.10}\n b 300 200 {\"x\":2}\n c 50 200 {\"x\":3}\n d 20 200 [ 1 ]",
    )
    .await;
    assert_eq!(seen.answer(), "200 {\"d\":[ 1 ]}");
    assert_eq!(seen.took, 420);
    assert_eq!(
        seen.trace,
        "0 +a, 100 -a, 100 +b, 100 +c, 150 -c, 400 -b, 400 +d, 420 -d"
    );
    assert_eq!(seen.sent[1], "GET /?x=1.10 ");
    assert_eq!(seen.sent[2], "GET /1.10 ");
    assert_eq!(
        seen.sent[3],
        "POST / {\"b\":2,\"c\":3} content-type=application/json"
    );
    assert_eq!(seen.calls, "a=live b=live c=live d=live");
}

#[tokio::test(start_paused = true)]
async fn depends_on_waits_for_a_call_that_failed_too() {
    let seen = run_of(
        "
route: GET /
calls:
  a: { get: /, optional: true }
  b: { get: /, depends_on: [a] }
response: { body: { a: $.a.body, b: $.b.body, source: $.a.source } }
",
        "a 30 !reset\n b 20 200 1",
    )
    .await;
    assert_eq!(
        seen.answer(),
        "200 {\"a\":null,\"b\":1,\"source\":\"failed\"}"
    );
    assert_eq!(seen.trace, "0 +a, 30 -a, 30 +b, 50 -b");
}

#[tokio::test(start_paused = true)]
async fn when_skips_without_failing() {
    let seen = run_of(
        "
route: GET /
calls:
  a: { get: / }
  b: { get: /, when: $.a.body.go == true }
  c: { get: /, when: $.a.body.go == false, query: { b: $.b.body.x } }
response: { body: { b: $.b.source, body: $.b.body, headers: $.b.headers, c: $.c.body } }
",
        "a 10 200 {\"go\":false}\n c 5 200 7",
    )
    .await;
    let expected = "200 {\"b\":\"skipped\",\"body\":null,\"headers\":null,\"c\":7}";
    assert_eq!(seen.answer(), expected);
    assert_eq!(seen.header("x-anabranch-degraded"), "");
    assert_eq!(seen.calls, "a=live b=skipped c=live");
    assert_eq!(seen.took, 15);
}
