//! Values that are refused, and what is said of them.

use super::*;

#[test]
fn values_are_refused_at_their_place() {
    in_call("timeout: 200", &["R0111 6:14"]);
    in_call("timeout: 0s", &["R0111 6:14"]);
    in_call("timeout: -5ms", &["R0111 6:14"]);
    in_call("timeout: [1s]", &["R0110 6:14"]);
    in_call("timeout:", &["R0110 6:5"]);
    in_call("timeout: 99999999999999999999999h", &["R0111 6:14"]);
    in_call("timeout: \"200ms\"", &[]);
    in_call("retry: { attempts: two }", &["R0111 6:24"]);
    in_call("retry: { attempts: 0 }", &["R0111 6:24"]);
    in_call("retry: { attempts: 2.0 }", &["R0111 6:24"]);
    in_call("retry: { attempts: -1 }", &["R0111 6:24"]);
    in_call(
        "retry: { attempts: 12345678901234567890123 }",
        &["R0111 6:24"],
    );
    in_call("retry: { attempts: \"2\" }", &["R0110 6:24"]);
    in_call(
        "retry: { only: [connect, rest, 503, 200] }",
        &["R0111 6:30", "R0111 6:41"],
    );
    in_call("retry: { only: connect }", &["R0110 6:20"]);
    in_call("retry: { backoff: 250ms..25ms }", &["R0111 6:23"]);
    in_call("retry: true", &["R0110 6:12"]);
    in_call("retry: off", &["R0110 6:12"]);
    in_call("hedge: { after: p95 }", &[]);
    in_call("hedge: { after: 90ms }", &[]);
    in_call("hedge: { after: \"p99.9\" }", &[]);
    in_call("hedge: false", &[]);
    in_call("hedge: 90ms", &["R0110 6:12"]);
    in_call("hedge: { after: 90 }", &["R0111 6:21"]);
    in_call("hedge: { after: p100 }", &["R0111 6:21"]);
    in_call("fallback: [ { stale: 60 } ]", &["R0111 6:26"]);
    in_call("fallback: [ { stale: 60s, only: not_sent } ]", &[]);
    in_call("fallback: [ { stale: 60s, value: 1 } ]", &["R0112 6:31"]);
    in_call("optional: yes", &["R0111 6:15"]);
    in_call("optional: \"true\"", &["R0110 6:15"]);
    in_call("decode: jsn", &["R0111 6:13"]);
    in_call("max_body: 1MB", &["R0111 6:15"]);
    in_call("pass_status: 404", &["R0110 6:18"]);
    in_call(
        "pass_status: [404, 200, 4xx]",
        &["R0111 6:24", "R0111 6:29"],
    );
    in_call(
        "min_ok: 0.5\n    for_each: p in $.x\n    max_items: 1",
        &["R0111 6:13"],
    );
    in_call("max_items: 0\n    for_each: p in $.x", &["R0111 6:16"]);
    in_call("when: true", &["R0110 6:11"]);
    in_call("depends_on: b", &["R0110 6:17"]);
    in_call("query: [a]", &["R0110 6:12"]);
    in_call("query: { a: { b: 1 } }", &[]); // for the compiler to refuse
    in_call("headers: { a: [x, [y]] }", &["R0110 6:23"]);
    in_call("text: { a: 1 }", &["R0110 6:11"]);
    in_call("fallback: { value: 1 }", &["R0110 6:15"]);
    in_call("fallback: [ { call: b, only: always } ]", &["R0111 6:34"]);
    in_call("forward_query: all", &["R0111 6:20"]);
    in_call("forward_headers: accept", &["R0110 6:22"]);
    check("route: 5\nresponse: {}\n", &["R0110 1:8"]);
    check("route: GET /\nhost: a/b\nresponse: {}\n", &["R0111 2:7"]);
    check("route: GET /\ncalls: [a]\nresponse: {}\n", &["R0110 2:8"]);
    check("route: GET /\nresponse: { status: 99 }\n", &["R0111 2:21"]);
    check(
        "route: GET /\nresponse: { status: true }\n",
        &["R0111 2:21"],
    );
    check(
        "route: GET /\nresponse: {}\ninput: { query: { a: { type: int, min: x, enum: 1 } } }\n",
        &["R0111 3:30", "R0110 3:40", "R0110 3:49"],
    );
    check("server: { listen: localhost:80 }\n", &["R0111 1:19"]);
    check("server: { trusted: [10.0.0.0/8, x] }\n", &["R0111 1:33"]);
    check("server: { json: { depth: 0 } }\n", &["R0111 1:26"]);
    check(
        "route: GET /\npriority: urgent\nresponse: {}\n",
        &["R0111 2:11"],
    );
    for fine in ["off", "false", "1"] {
        let text = format!("server: {{ limits: {{ per_address: {fine} }} }}\n");
        check(&text, &[]);
    }
    for wrong in ["0", "true", "none", "1.5"] {
        let text = format!("server: {{ limits: {{ per_address: {wrong} }} }}\n");
        check(&text, &["R0111 1:34"]);
    }
    for fine in ["25%", "0.5%", "512MiB", "100%"] {
        check(&format!("server: {{ shed: {{ memory: {fine} }} }}\n"), &[]);
    }
    for wrong in ["0%", "25", "101%", "512MB", "much"] {
        let text = format!("server: {{ shed: {{ memory: {wrong} }} }}\n");
        check(&text, &["R0111 1:27"]);
    }
    for fine in [
        "breaker: false",
        "bulkhead: false",
        "breaker: {}",
        "bulkhead: { queue: 0 }",
        "budget: { ratio: 0%, per_second: 0 }",
    ] {
        let text = format!("services: {{ a: {{ url: http://a, {fine} }} }}\n");
        check(&text, &[]);
    }
    let in_service = |keys: &str, expected: &[&str]| {
        check(
            &format!("services:\n  a:\n    url: http://a\n    {keys}\n"),
            expected,
        );
    };
    in_service("breaker: true", &["R0110 4:14"]);
    in_service(
        "breaker: { consecutive: 0, min_requests: 0 }",
        &["R0111 4:29", "R0111 4:46"],
    );
    in_service("breaker: { open: 1s }", &["R0111 4:22"]);
    in_service(
        "bulkhead: { max: 0, max_wait: 0ms }",
        &["R0111 4:22", "R0111 4:35"],
    );
    in_service("budget: false", &["R0110 4:13"]);
    in_service("budget: { ratio: 101% }", &["R0111 4:22"]);
    check("services: { a: { url: a:80 } }\n", &["R0111 1:23"]);
    check("services: { a: { urls: [] } }\n", &["R0111 1:24"]);
    check("services: { a: http://a }\n", &["R0110 1:16"]);
    check(
        "services: { a: { url: http://a, http: 3 } }\n",
        &["R0111 1:39"],
    );
}

#[test]
fn headlines_and_help_say_what_to_write() {
    says(
        &call("timeout: 200"),
        "`200` is not a duration",
        "write `200ms`",
    );
    says(
        &call("decode: jsn"),
        "`jsn` is not a way to decode",
        "did you mean `json`?",
    );
    says(
        &call("retry: { attempts: \"2\" }"),
        "`\"2\"` is text, not a whole number",
        "write `2` without quotes",
    );
    says(
        &call("service: 1"),
        "`1` is a number, not text",
        "quote it: `\"1\"`",
    );
    says(
        &call("pass_status: 404"),
        "`pass_status` is a list, not a number",
        "write `[404]`",
    );
    says(
        &call("timeout:"),
        "`timeout` has no value",
        "write a duration, or leave the key out",
    );
    says(
        &call("optional: yes"),
        "`yes` is not a boolean",
        "write `true`",
    );
}

#[test]
fn many_faults_are_found_at_once() {
    let mut text = "route: GET /\nresponse: {}\ncalls:\n".to_owned();
    let mut expected = Vec::new();
    for index in 0..10 {
        text.push_str(&format!(
            "  c{index}: {{ get: /, timeout: 5, retry: {{ attempts: x }}, nope: 1 }}\n"
        ));
        let line = index + 4;
        expected.push(format!("R0111 {line}:26"));
        expected.push(format!("R0111 {line}:48"));
        expected.push(format!("R0107 {line}:53"));
    }
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&text, &expected);
}

#[test]
fn columns_count_characters_and_lines_count_either_ending() {
    check(
        "route: GET /\r\nresponse: {}\r\ncalls:\r\n  a: { get: /, x: 1 }\r\n",
        &["R0107 4:16"],
    );
    check(
        "route: GET /\nresponse: {}\ncalls:\n  a: { get: \"/äöü😀\", x: 1 }\n",
        &["R0107 4:22"],
    );
}
