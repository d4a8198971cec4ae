//! `response: { pass: NAME }`.

use super::support::run_of;

#[tokio::test(start_paused = true)]
async fn a_passed_answer_goes_through_whatever_its_status() {
    let text = "
route: GET /
calls:
  a: { get: /, optional: true }
  b: { get: /, query: { a: $.a.body } }
response:
  pass: b
  headers: { x-status: $.b.status, x-service: ours, x-errors: '{{len errors}}', x-a: $.a.body }
";
    let rows = [
        (
            "a 30 200 1\nb 20 200 whatever",
            "200 whatever",
            "1",
            "",
            "0",
        ),
        ("a 30 200 1\nb 20 503 down", "503 down", "1", "", "0"),
        (
            "a 30 500\nb 20 201 not json",
            "201 not json",
            "",
            "a=service_5xx",
            "1",
        ),
    ];
    for (script, answer, a, degraded, errors) in rows {
        let seen = run_of(text, script).await;
        assert_eq!(seen.answer(), answer, "{script}");
        assert_eq!(seen.trace, "0 +a, 30 -a, 30 +b, 50 -b", "{script}");
        assert_eq!(seen.header("x-status"), seen.status.to_string());
        assert_eq!(seen.header("x-service"), "ours");
        assert_eq!(seen.header("x-a"), a);
        assert_eq!(seen.header("x-errors"), errors);
        assert_eq!(seen.header("x-anabranch-degraded"), degraded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_passed_call_that_fails_is_a_problem() {
    let text = "route: GET /\ntimeout: 300ms\ncalls:\n  a: { get: / }\n  b: { get: / }\nresponse: { pass: b }\n";
    let rows = [
        (
            "a 30 200 1\nb 20 !connect_refused",
            502,
            "connect_refused",
            50,
            "a=live b=failed",
        ),
        (
            "a 30 200 1\nb stuck",
            504,
            "timeout",
            280,
            "a=live b=failed",
        ),
        (
            "a 275 200 1",
            504,
            "deadline_exhausted",
            275,
            "a=live b=failed",
        ),
        ("a 30 500", 502, "service_5xx", 30, "a=failed b=failed"),
    ];
    for (script, status, code, took, calls) in rows {
        let seen = run_of(text, script).await;
        assert_eq!(seen.status, status, "{script}");
        assert!(
            seen.body
                .contains(&format!("\"code\":\"{code}\",\"errors\"")),
            "{}",
            seen.body
        );
        assert_eq!(seen.took, took, "{script}");
        assert_eq!(seen.calls, calls, "{script}");
    }
}
