//! Plans and services by chance: what must hold of every run (`resilience.md` §6).

use super::support::{Asked, ask, route};

const SEED: u64 = 20;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn pick<'t>(random: &mut fastrand::Rng, choices: &[&'t str]) -> &'t str {
    choices[random.usize(..choices.len())]
}

/// A call that may wait for those before it.
fn call(random: &mut fastrand::Rng, place: usize, has_fallback_call: &mut bool) -> String {
    let name = NAMES[place];
    let mut keys = vec!["get: /".to_owned()];
    let before = &NAMES[..place];
    if !before.is_empty() && random.bool() {
        let need = before[random.usize(..before.len())];
        keys.push(match random.u8(..4) {
            0 => format!("depends_on: [{need}]"),
            1 => format!("query: {{ x: '{{{{{need}.status}}}}' }}"),
            2 => format!("when: present($.{need}.status)"),
            _ => format!("headers: {{ x: $.{need}.source }}"),
        });
    }
    if random.u8(..3) == 0 {
        keys.push("timeout: 90ms".to_owned());
    }
    let chain = pick(
        random,
        &[
            "",
            "",
            "fallback: [ { value: 1 } ]",
            "fallback: [ { call: f } ]",
            "fallback: [ { call: f, only: not_sent }, { value: 2 } ]",
        ],
    );
    *has_fallback_call |= chain.contains("call: f");
    keys.extend((!chain.is_empty()).then(|| chain.to_owned()));
    if random.bool() {
        keys.push("optional: true".to_owned());
    }
    format!("  {name}: {{ {} }}\n", keys.join(", "))
}

fn plan(random: &mut fastrand::Rng) -> String {
    let mut has_fallback_call = false;
    let calls: Vec<String> = (0..NAMES.len())
        .map(|place| call(random, place, &mut has_fallback_call))
        .collect();
    let mut text = format!("route: GET /\ntimeout: 300ms\ncalls:\n{}", calls.concat());
    if has_fallback_call {
        let needs = pick(random, &["", ", timeout: 50ms"]);
        text.push_str(&format!("  f: {{ get: /{needs} }}\n"));
    }
    // One of the calls runs over a list.
    let looped = NAMES[random.usize(..NAMES.len())];
    let keys = pick(random, &["", ", min_ok: 50%", ", concurrency: 1"]);
    let each =
        format!("  {looped}: {{ for_each: p in $.request.query_list.p, max_items: 4{keys}, ");
    let reads = format!(".{looped}.");
    match text.contains(&reads) || text.contains(&format!("{{{looped}.")) {
        true => text,
        false => text.replace(&format!("  {looped}: {{ "), &each),
    }
}

fn script(random: &mut fastrand::Rng) -> String {
    let mut lines = String::new();
    for name in NAMES.iter().chain(&["f"]) {
        for _ in 0..random.u8(1..4) {
            let delay = random.u16(..400);
            let ends = pick(
                random,
                &["200 1", "200 1", "404", "503", "!reset", "!connect_refused"],
            );
            match random.u8(..12) {
                0 => lines.push_str(&format!("{name} stuck\n")),
                _ => lines.push_str(&format!("{name} {delay} {ends}\n")),
            }
        }
    }
    lines
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_there_is_one_answer_in_time() {
    println!("seed {SEED}");
    let mut random = fastrand::Rng::with_seed(SEED);
    for _ in 0..300 {
        let text = format!(
            "{}response: {{ body: {{ e: $.errors }} }}\n",
            plan(&mut random)
        );
        let script = script(&mut random);
        let route = route(&text);
        let asked = Asked {
            query: &[("p", "1"), ("p", "2"), ("p", "3")],
            ..Default::default()
        };
        let seen = ask(&route, &script, asked).await;
        let context = format!("{text}\n{script}\n{}\n{}", seen.trace, seen.answer());
        // I1: the 20 ms are kept for stitching.
        assert!(seen.took <= 280, "{context}");
        let body: serde_json::Value = serde_json::from_str(&seen.body).expect(&context);
        let errors = body[if seen.status == 200 { "e" } else { "errors" }].clone();
        let entries: Vec<&str> = errors
            .as_array()
            .expect(&context)
            .iter()
            .map(|entry| entry["call"].as_str().unwrap())
            .collect();
        // I8: what is partial is not stored.
        let is_partial = seen.status != 200 || !seen.header("x-anabranch-degraded").is_empty();
        assert_eq!(
            is_partial,
            seen.header("cache-control") == "no-store",
            "{context}"
        );
        assert_eq!(is_partial, !entries.is_empty(), "{context}");
        // I9: who failed has an entry, and who has an entry failed.
        for part in seen.calls.split(' ') {
            let (name, outcome) = part.split_once('=').unwrap();
            let has_entry = entries.contains(&name);
            match outcome {
                "failed" | "fallback" => assert!(has_entry, "{name}: {context}"),
                "live" | "skipped" => assert!(!has_entry, "{name}: {context}"),
                // Elements may have failed before the rest was cut.
                _ => assert_ne!(seen.status, 200, "{name}: {context}"),
            }
        }
        // I10: nothing is left behind.
        let count = |sign: &str| seen.trace.matches(sign).count();
        assert_eq!(count(" +"), count(" -") + count(" x"), "{context}");
    }
}
