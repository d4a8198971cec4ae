//! The route's timeout holds for everything, to the millisecond.

use super::support::run_of;

fn page(timeout: &str, calls: &str) -> String {
    format!(
        "route: GET /\ntimeout: {timeout}\ncalls:\n{calls}\nresponse: {{ body: {{ a: $.a.body, e: $.errors }} }}\n"
    )
}

#[tokio::test(start_paused = true)]
async fn twenty_milliseconds_before_its_timeout_all_calls_end() {
    let rows = [
        // A call that keeps its deadline, and one that forgets it.
        (
            "a 900 200 1",
            "optional: true",
            "200 {\"a\":null,\"e\":[{\"call\":\"a\",\"code\":\"timeout\",\"attempts\":1,\"elapsed_ms\":280}]}",
        ),
        (
            "a stuck",
            "optional: true",
            "200 {\"a\":null,\"e\":[{\"call\":\"a\",\"code\":\"timeout\",\"attempts\":1,\"elapsed_ms\":280}]}",
        ),
        (
            "a stuck",
            "fallback: [ { call: f }, { value: 7 } ]",
            "200 {\"a\":7,\"e\":[{\"call\":\"a\",\"code\":\"timeout\",\"attempts\":1,\"elapsed_ms\":280,\
             \"fallback\":\"value\"},{\"call\":\"f\",\"code\":\"deadline_exhausted\",\"attempts\":0,\
             \"elapsed_ms\":0}]}",
        ),
        (
            "a 80 500\nf stuck",
            "fallback: [ { call: f }, { value: 7 } ]",
            "200 {\"a\":7,\"e\":[{\"call\":\"a\",\"code\":\"service_5xx\",\"status\":500,\"attempts\":1,\
             \"elapsed_ms\":80,\"fallback\":\"value\"},{\"call\":\"f\",\"code\":\"timeout\",\
             \"attempts\":1,\"elapsed_ms\":200}]}",
        ),
    ];
    for (script, keys, expected) in rows {
        let fallback = if keys.contains("call: f") {
            "\n  f: { get: / }"
        } else {
            ""
        };
        let calls = format!("  a: {{ get: /, {keys} }}{fallback}");
        let seen = run_of(&page("300ms", &calls), script).await;
        assert_eq!(seen.answer(), expected, "{script}");
        assert_eq!(seen.took, 280, "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_ends_with_the_time_is_told_whichever_decides() {
    for script in [
        "a stuck\nb stuck\nc stuck",
        "a 900 200\nb 900 200\nc 900 200",
        "a stuck\nb 900 200\nc stuck",
    ] {
        let calls = "  a: { get: /, optional: true }\n  b: { get: / }\n  c: { get: / }\n  d: { get: /, depends_on: [a] }";
        let seen = run_of(&page("300ms", calls), script).await;
        assert_eq!(seen.took, 280, "{script}");
        assert_eq!(seen.status, 504, "{script}");
        let call = |name: &str| {
            format!(
                "{{\"call\":\"{name}\",\"code\":\"timeout\",\"attempts\":1,\"elapsed_ms\":280}}"
            )
        };
        let errors = format!(
            "\"call\":\"b\",\"code\":\"timeout\",\"errors\":[{},{},{},\
             {{\"call\":\"d\",\"code\":\"dependency_failed\",\"attempts\":0,\"elapsed_ms\":0}}]}}",
            call("a"),
            call("b"),
            call("c")
        );
        assert!(seen.body.ends_with(&errors), "{script}: {}", seen.body);
        assert_eq!(
            seen.calls, "a=failed b=failed c=failed d=failed",
            "{script}"
        );
    }
}

/// Scenario 20 of `resilience.md`, and its neighbours.
#[tokio::test(start_paused = true)]
async fn a_call_is_not_started_without_ten_milliseconds() {
    let rows = [
        ("a 290 200 1\nb 5 200 2", "200 {\"a\":1,\"e\":[]}", 295),
        ("a 291 200 1", "504 deadline_exhausted", 291),
        ("a 295 200 1", "504 deadline_exhausted", 295),
    ];
    for (script, expected, took) in rows {
        let calls = "  a: { get: / }\n  b: { get: /, query: { a: $.a.body } }";
        let seen = run_of(&page("320ms", calls), script).await;
        match expected.split_once(' ') {
            Some(("504", code)) => {
                assert_eq!(seen.status, 504, "{script}");
                let entry = format!(
                    "\"errors\":[{{\"call\":\"b\",\"code\":\"{code}\",\"attempts\":0,\"elapsed_ms\":0}}]}}"
                );
                assert!(seen.body.ends_with(&entry), "{}", seen.body);
            }
            _ => assert_eq!(seen.answer(), expected, "{script}"),
        }
        assert_eq!(seen.took, took, "{script}");
        let is_sent = seen.trace.contains("+b");
        assert_eq!(is_sent, expected.starts_with("200"), "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_has_its_own_clock() {
    let calls = "  a: { get: /, timeout: 120ms, optional: true }\n  b: { get: /, query: { a: $.a.body.x } }";
    let seen = run_of(&page("900ms", calls), "a 500 200\nb 10 200 1").await;
    assert_eq!(seen.trace, "0 +a, 120 -a, 120 +b, 130 -b");
    assert_eq!(seen.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_runs_out_of_time_answers_with_what_there_is() {
    let calls = "  a: { for_each: p in $.c.body, max_items: 4, concurrency: 2, optional: true, get: / }\n  c: { get: / }";
    let text = page("300ms", calls).replace("$.a.body", "'$.a[*].body'");
    let seen = run_of(&text, "c 10 200 [1,2,3,4]\na 20 200 1\na stuck").await;
    assert_eq!(
        seen.answer(),
        "200 {\"a\":[1,null,null,null],\"e\":[\
         {\"call\":\"a\",\"code\":\"timeout\",\"attempts\":1,\"elapsed_ms\":270,\"item\":1},\
         {\"call\":\"a\",\"code\":\"timeout\",\"attempts\":1,\"elapsed_ms\":250,\"item\":2},\
         {\"call\":\"a\",\"code\":\"deadline_exhausted\",\"attempts\":0,\"elapsed_ms\":0,\"item\":3}]}"
    );
    assert_eq!(seen.took, 280);
}
