//! The JSONPath Compliance Test Suite, through the code that evaluates the paths of routes.
//!
//! The suite is not part of this repository. `ANABRANCH_CTS` says where its `cts.json` is; with
//! `ANABRANCH_REQUIRE_CTS=1` the test fails when it is not there.

use std::io::Write;
use std::path::PathBuf;

use anabranch::json::{self, Body, Demand, Limits};
use anabranch::path::{Bind, Bound, Env, Error, Frame, Query, Root, Rooted, Scope};
use serde_json::Value;

/// The document of a case, as the root of every query.
struct Document(Body);

impl Scope for Document {
    fn value<'a>(&'a self, _: Root, _: Option<&'a Frame<'a>>) -> Option<json::Value<'a>> {
        Some(self.0.whole())
    }
}

/// Binds all queries to the whole document.
struct Whole;

impl Bind for Whole {
    fn bind(&mut self, _: &Rooted<'_>) -> Result<Bound, Error> {
        Ok(Bound {
            root: Root(0),
            consumed: 0,
        })
    }
}

fn suite() -> Option<Vec<Value>> {
    let beside =
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/jsonpath-cts/cts.json");
    let file = std::env::var_os("ANABRANCH_CTS").map_or_else(beside, PathBuf::from);
    let Ok(text) = std::fs::read(&file) else {
        let required = std::env::var_os("ANABRANCH_REQUIRE_CTS").is_some_and(|value| value == "1");
        assert!(!required, "{} is not there", file.display());
        // Written past the harness, which would keep it from who reads a passing run.
        let note = format!(
            "not run: the JSONPath compliance suite ({} is not there)\n",
            file.display()
        );
        std::io::stderr()
            .write_all(note.as_bytes())
            .expect("stderr is open");
        return None;
    };
    let suite: Value = serde_json::from_slice(&text).expect("the suite is JSON");
    Some(suite["tests"].as_array().expect("it has tests").clone())
}

fn nodes(query: &str, document: &Value) -> Result<Vec<Value>, Error> {
    let mut query = Query::parse(query)?;
    query.bind(&mut Whole)?;
    let bytes = serde_json::to_vec(document).expect("a document is JSON");
    let limits = Limits {
        depth: 512,
        nodes: 1_000_000,
    };
    let body = Body::check(bytes.into(), &Demand::default(), limits).expect("a document is JSON");
    let document = Document(body);
    let env = Env {
        scope: &document,
        frame: None,
    };
    let mut out = Vec::new();
    query.nodes(&env, &mut out);
    let first = query.first(&env).map(json::Value::bytes);
    assert_eq!(first, out.first().map(|value| value.bytes()));
    let parsed = |value: &json::Value<'_>| serde_json::from_slice(value.bytes()).expect("JSON");
    Ok(out.iter().map(parsed).collect())
}

/// What is wrong with the outcome of one case.
fn fault(case: &Value) -> Option<String> {
    let query = case["selector"].as_str().expect("a case has a selector");
    if case["invalid_selector"] == true {
        return match Query::parse(query) {
            Ok(_) => Some("is accepted".to_owned()),
            Err(_) => None,
        };
    }
    let found = match nodes(query, &case["document"]) {
        Ok(found) => Value::Array(found),
        Err(error) => return Some(format!("is refused: {error:?}")),
    };
    let good = match case["results"].as_array() {
        Some(results) => results.contains(&found),
        None => case["result"] == found,
    };
    (!good).then(|| format!("gives {found}"))
}

#[test]
fn the_compliance_suite_passes() {
    let Some(cases) = suite() else {
        return;
    };
    let faults: Vec<_> = (cases.iter())
        .filter_map(|case| {
            Some(format!(
                "{} ({}) {}",
                case["name"],
                case["selector"],
                fault(case)?
            ))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(cases.len() >= 703, "only {} cases", cases.len());
}
