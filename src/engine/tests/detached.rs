//! Calls that are sent after a successful answer.

use super::support::run_of;

#[tokio::test(start_paused = true)]
async fn a_detached_call_is_left_for_after_a_success() {
    let text = "
route: GET /
calls:
  a: { get: / }
  b: { get: /, optional: true }
  d: { post: /, json: { a: $.a.body, late: $.degraded }, detached: true }
  e: { post: /, json: { b: $.b.body }, detached: true }
  f: { post: /, when: $.a.body == 2, text: x, detached: true }
response: { body: $.a.body }
";
    let rows = [
        ("a 10 200 1\nb 5 200 2", "200 1", vec!["d", "e"]),
        ("a 10 200 2\nb 5 200 2", "200 2", vec!["d", "e", "f"]),
        ("a 10 200 1\nb 5 500", "200 1", vec!["d"]),
        ("a 10 500\nb 5 200 2", "502", vec![]),
    ];
    for (script, answer, detached) in rows {
        let seen = run_of(text, script).await;
        assert!(seen.answer().starts_with(answer), "{script}: {}", seen.body);
        assert_eq!(seen.detached, detached, "{script}");
        assert_eq!(seen.took, 10, "{script}");
        assert!(!seen.body.contains("\"call\":\"d\""), "{}", seen.body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_call_reads_what_was_passed() {
    let text = "
route: GET /
calls:
  b: { get: / }
  d: { post: /, json: { b: $.b.status }, detached: true }
  e: { post: /, when: $.b.status == 200, text: x, detached: true }
response: { pass: b }
";
    let rows: [(&str, &[&str]); 3] = [
        ("b 5 200 1", &["d", "e"]),
        ("b 5 201 1", &["d"]),
        ("b 5 !reset", &[]),
    ];
    for (script, detached) in rows {
        assert_eq!(run_of(text, script).await.detached, detached, "{script}");
    }
}
