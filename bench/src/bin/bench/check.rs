//! Before a peer is measured, its answers are compared with what they have to be, as JSON values: a peer
//! that leaves something out is not quick, it is wrong.

use std::collections::BTreeMap;

use anabranch_bench::wire;
use anabranch_bench::workload::Workload;
use serde_json::Value;

use crate::Error;
use crate::peer::Place;

const IDS: [&str; 4] = ["0", "1", "7", "15"];

/// The workloads that each peer does.
pub fn compare(
    place: &Place,
    peers: &[String],
    workloads: &[Workload],
) -> Result<BTreeMap<String, Vec<Workload>>, Error> {
    let mut done = BTreeMap::new();
    for peer in peers {
        let _process = place.start(peer, &place.routes())?;
        let mut does = Vec::new();
        for &workload in workloads {
            if answers(place.port, workload)
                .map_err(|error| format!("{peer}, {workload:?}: {error}"))?
            {
                does.push(workload);
            }
        }
        eprintln!("{peer}: the answers are right in {does:?}");
        done.insert(peer.clone(), does);
    }
    Ok(done)
}

/// Whether the peer on `port` does the workload (404 says that it does not); an error if it does it wrong.
fn answers(port: u16, workload: Workload) -> Result<bool, Error> {
    for id in IDS {
        let path = workload.path().replace("{id}", id);
        let (head, body) = wire::get(port, &path)?;
        if head.status == 404 && id == IDS[0] {
            return Ok(false);
        }
        if head.status != 200 || head.degraded || !head.json {
            return Err(format!(
                "{path} is answered by {head:?}: {}",
                String::from_utf8_lossy(&body)
            )
            .into());
        }
        let answer: Value = serde_json::from_slice(&body)?;
        if let Some(difference) = difference(&workload.answer(id), &answer, String::new()) {
            return Err(format!("{path} is answered wrongly at {difference}").into());
        }
    }
    Ok(true)
}

/// The first place where `found` is not what was `expected`.
fn difference(expected: &Value, found: &Value, at: String) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            if let Some(surplus) = found.keys().find(|key| !expected.contains_key(*key)) {
                return Some(format!("{at}/{surplus}: nothing is expected"));
            }
            expected.iter().find_map(|(key, value)| {
                difference(
                    value,
                    found.get(key).unwrap_or(&Value::Null),
                    format!("{at}/{key}"),
                )
            })
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            let pairs = expected.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(index, (expected, found))| {
                difference(expected, found, format!("{at}/{index}"))
            })
        }
        // 12.00 and 12 are the same number of JSON: nobody keeps the digits but who keeps the bytes.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ => (expected != found)
            .then(|| format!("{at}: expected {}, found {}", short(expected), short(found))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_place() {
        for (expected, found, at) in [
            (
                json!({ "a": 1, "b": [1.50] }),
                json!({ "b": [1.5], "a": 1 }),
                None,
            ),
            (
                json!({ "a": { "b": 1 } }),
                json!({ "a": {} }),
                Some("/a/b: expected 1, found null"),
            ),
            (
                json!({ "a": 1 }),
                json!({ "a": 1, "c": 2 }),
                Some("/c: nothing is expected"),
            ),
            (
                json!([1, 2]),
                json!([1]),
                Some(": expected [1,2], found [1]"),
            ),
            (
                json!([{ "x": "1" }]),
                json!([{ "x": 1 }]),
                Some("/0/x: expected \"1\", found 1"),
            ),
        ] {
            assert_eq!(difference(&expected, &found, String::new()).as_deref(), at);
        }
    }
}
