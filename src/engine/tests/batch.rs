//! `batch`: what is asked of the cache and of the service for each key, what is kept, and that rows are
//! joined as a plain search would.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use proptest::{collection, option};

use super::support::{Asked, ask_of, route};
use crate::engine::batch;
use crate::engine::code::Code;
use crate::engine::fetch::{
    Answer, CacheFate, CacheNote, CallError, Exchange, Fetch, Fetched, Found, Opened, Row,
    StreamedRequest,
};
use crate::json::Body;

/// Answers `/prices?ids=a,b` with the rows of these keys, and the rest with its list.
#[derive(Default)]
struct Shop {
    list: String,
    /// The rows as they are sent.
    rows: Vec<String>,
    is_down: bool,
    /// What the cache has, by target: the row, and whether it is due.
    fresh: HashMap<String, (String, bool)>,
    /// What it gives in place of a failure.
    old: HashMap<String, String>,
    cache_takes: Duration,
    told: Mutex<Vec<String>>,
}

impl Shop {
    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().join("; ")
    }
}

fn answer(json: &str, exchange: &Exchange) -> Box<Answer> {
    let demand = &exchange.call().raw_demand;
    let bytes = Bytes::from(json.to_owned());
    let body = Body::check(bytes, demand, exchange.route.json_limits);
    Box::new(Answer {
        status: 200,
        headers: HeaderMap::new(),
        body: Some(body.unwrap()),
        held: None,
        lasting: None,
    })
}

impl Fetch for Shop {
    async fn fetch(&self, exchange: Arc<Exchange>) -> Fetched {
        exchange.made.count();
        self.tell(exchange.target.clone());
        let result = match exchange.target.as_str() {
            "/list" => Ok(answer(&self.list, &exchange)),
            _ if self.is_down => Err(CallError::new(Code::Reset)),
            _ => Ok(answer(&format!("[{}]", self.rows.join(",")), &exchange)),
        };
        Fetched {
            result,
            attempts: 1,
            note: None,
        }
    }

    async fn open(&self, _: Arc<Exchange>, _: StreamedRequest) -> Opened {
        unreachable!("nothing is passed")
    }

    fn stale_if_error(&self, exchange: &Exchange, code: Code) -> Option<Box<Answer>> {
        self.tell(format!("{} after {}", exchange.target, code.name()));
        let row = self.old.get(&exchange.target)?;
        Some(answer(row, exchange))
    }

    async fn look_up(&self, exchanges: Vec<Exchange>) -> Vec<Option<Found>> {
        let targets = exchanges.iter().map(|exchange| exchange.target.as_str());
        self.tell(format!("has {}", Vec::from_iter(targets).join(" ")));
        tokio::time::sleep(self.cache_takes).await;
        let found = exchanges.iter().map(|exchange| {
            let (row, is_due) = self.fresh.get(&exchange.target)?;
            Some(Found {
                answer: answer(row, exchange),
                note: CacheNote {
                    fate: CacheFate::Hit,
                    ttl: Some(7),
                },
                is_due: *is_due,
            })
        });
        found.collect()
    }

    fn keep_rows(&self, _: &Answer, rows: Vec<Row>) {
        let kept = rows.iter().map(|row| {
            let body = String::from_utf8_lossy(&row.body);
            format!("{}={body}", row.exchange.target)
        });
        self.tell(format!("keep {}", Vec::from_iter(kept).join(" ")));
    }

    fn renew_rows(&self, exchange: Exchange, rows: Vec<(String, Exchange)>) {
        let rows = rows
            .iter()
            .map(|(key, one)| format!("{key}:{}", one.target));
        self.tell(format!(
            "renew {} {}",
            exchange.target,
            Vec::from_iter(rows).join(" ")
        ));
    }
}

/// `prices` is asked for each of the list, with these keys beside.
fn page(keys: &str) -> String {
    format!(
        "
route: GET /
timeout: 1s
calls:
  a: {{ get: /list }}
  b:
    for_each: p in $.a.body
    max_items: 1000
    batch: {{ key: $.p, size: 2, rows: $.reply.body, match: $.row.id }}
    get: /
    query: {{ ids: \"{{{{join keys ','}}}}\" }}
    {keys}
response:
  body:
    all: {{ $for: p in $.a.body, $each: [ $.each.b.body.n, $.each.b.source ] }}
    errors: '$.errors[*].code'
"
    )
}

fn kept<const N: usize>(rows: [(&str, &str); N]) -> HashMap<String, String> {
    let rows = rows.map(|(key, row)| (format!("/?ids={key}"), row.to_owned()));
    HashMap::from(rows)
}

fn rows(rows: &[&str]) -> Vec<String> {
    rows.iter().map(|row| row.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_the_cache_has_is_not_asked_for_and_what_is_due_is_renewed() {
    let fresh = [("a", false), ("c", true), ("e", true), ("f", true)];
    let shop = Shop {
        list: r#"["a","b","c","a","d","e","f",null]"#.into(),
        rows: rows(&[
            r#"{"id":"d","n":4}"#,
            r#"{"id":"b","n":2}"#,
            r#"{"id":"x"}"#,
        ]),
        fresh: HashMap::from(fresh.map(|(key, is_due)| {
            let row = format!("{{\"id\":\"{key}\",\"n\":\"{key}\"}}");
            (format!("/?ids={key}"), (row, is_due))
        })),
        cache_takes: Duration::from_millis(3),
        ..Shop::default()
    };
    let keys = "cache: { ttl: 1m }\n    optional: true";
    let (seen, shop) = ask_of(&route(&page(keys)), shop, Asked::default()).await;
    assert_eq!(
        seen.answer(),
        "200 {\"all\":[[\"a\",\"cache\"],[2,\"live\"],[\"c\",\"cache\"],[\"a\",\"cache\"],[4,\"live\"],\
         [\"e\",\"cache\"],[\"f\",\"cache\"],[null,\"failed\"]],\"errors\":[\"missing_row\"]}"
    );
    assert_eq!(seen.took, 3);
    assert_eq!(
        shop.told(),
        "/list; has /?ids=a /?ids=b /?ids=c /?ids=d /?ids=e /?ids=f; \
         renew /?ids=c%2Ce c:/?ids=c e:/?ids=e; renew /?ids=f f:/?ids=f; \
         /?ids=b%2Cd; keep /?ids=b={\"id\":\"b\",\"n\":2} /?ids=d={\"id\":\"d\",\"n\":4}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_the_row_before_take() {
    let shop = Shop {
        list: r#"["a"]"#.into(),
        rows: rows(&[r#"{ "id": "a", "n": 4 }"#]),
        ..Shop::default()
    };
    let keys = "take: { n: $.row.id }\n    fallback: [ { stale: 1m } ]";
    let (seen, shop) = ask_of(&route(&page(keys)), shop, Asked::default()).await;
    assert_eq!(
        seen.answer(),
        "200 {\"all\":[[\"a\",\"live\"]],\"errors\":[]}"
    );
    assert_eq!(
        shop.told(),
        "/list; /?ids=a; keep /?ids=a={ \"id\": \"a\", \"n\": 4 }"
    );
}

#[tokio::test(start_paused = true)]
async fn the_cache_stands_in_before_the_chain_does() {
    let shop = Shop {
        list: r#"["a","b"]"#.into(),
        is_down: true,
        old: kept([("b", r#"{"id":"b","n":2}"#)]),
        ..Shop::default()
    };
    let keys = "cache: { ttl: 1m, stale_if_error: 1h }\n    fallback: [ { value: { n: 0 } } ]";
    let (seen, shop) = ask_of(&route(&page(keys)), shop, Asked::default()).await;
    assert_eq!(
        seen.answer(),
        "200 {\"all\":[[0,\"fallback\"],[2,\"stale\"]],\"errors\":[\"reset\",\"reset\"]}"
    );
    assert_eq!(seen.header("x-anabranch-degraded"), "b=stale");
    assert_eq!(
        shop.told(),
        "/list; has /?ids=a /?ids=b; /?ids=a%2Cb; /?ids=a after reset; /?ids=b after reset"
    );
}

#[tokio::test(start_paused = true)]
async fn the_cache_stands_in_for_a_call_without_a_loop_too() {
    let text = "
route: GET /
calls:
  a: { get: /list }
  b: { get: /b, cache: { ttl: 1m }, fallback: [ { value: 0 } ] }
  c: { get: /c, fallback: [ { value: 0 } ] }
response: { body: { a: $.a.body, b: $.b.body, c: $.c.body, e: $.errors, d: $.degraded } }
";
    let shop = Shop {
        list: "1".into(),
        is_down: true,
        old: HashMap::from([("/b".to_owned(), "7".to_owned())]),
        ..Shop::default()
    };
    let (seen, shop) = ask_of(&route(text), shop, Asked::default()).await;
    assert_eq!(
        seen.answer(),
        "200 {\"a\":1,\"b\":7,\"c\":0,\
         \"e\":[{\"call\":\"b\",\"code\":\"reset\",\"attempts\":1,\"elapsed_ms\":0,\"fallback\":\"stale\"},\
         {\"call\":\"c\",\"code\":\"reset\",\"attempts\":1,\"elapsed_ms\":0,\"fallback\":\"value\"}],\
         \"d\":\"b=stale, c=fallback\"}"
    );
    assert_eq!(shop.told(), "/list; /b; /b after reset; /c");
}

/// It ends with the call's clock, and what it might have had is asked for.
#[tokio::test(start_paused = true)]
async fn a_cache_that_is_late_has_nothing() {
    let shop = Shop {
        list: r#"["a"]"#.into(),
        rows: rows(&[r#"{"id":"a","n":4}"#]),
        cache_takes: Duration::from_secs(60),
        ..Shop::default()
    };
    let keys = "cache: { ttl: 1m }\n    timeout: 50ms";
    let (seen, _) = ask_of(&route(&page(keys)), shop, Asked::default()).await;
    assert_eq!(seen.answer(), "200 {\"all\":[[4,\"live\"]],\"errors\":[]}");
    assert_eq!(seen.took, 50);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_late_for_the_route_leaves_no_time_to_ask() {
    let shop = Shop {
        list: r#"["a","b","c"]"#.into(),
        cache_takes: Duration::from_secs(60),
        ..Shop::default()
    };
    let keys = "cache: { ttl: 1m }\n    optional: true";
    let (seen, shop) = ask_of(&route(&page(keys)), shop, Asked::default()).await;
    let code = "\"deadline_exhausted\"";
    assert_eq!(
        seen.answer(),
        format!(
            "200 {{\"all\":[[null,\"failed\"],[null,\"failed\"],[null,\"failed\"]],\
             \"errors\":[{code},{code},{code}]}}"
        )
    );
    assert_eq!(seen.took, 980);
    assert!(!shop.told().contains("/?ids=a%2Cb"), "{}", shop.told());
}

#[tokio::test(start_paused = true)]
async fn a_brownout_leaves_out_every_element() {
    let shop = Shop {
        list: r#"["a","b"]"#.into(),
        ..Shop::default()
    };
    let asked = Asked {
        brownout: true,
        ..Asked::default()
    };
    let (seen, shop) = ask_of(&route(&page("optional: true")), shop, asked).await;
    assert_eq!(
        seen.answer(),
        "200 {\"all\":[[null,\"failed\"],[null,\"failed\"]],\"errors\":[\"overloaded\",\"overloaded\"]}"
    );
    assert_eq!(shop.told(), "/list");
}

/// Two requests of one attempt each, whatever the number of their elements.
#[tokio::test(start_paused = true)]
async fn attempts_are_those_of_the_requests() {
    for is_down in [false, true] {
        let shop = Shop {
            list: r#"["a","b","a","c"]"#.into(),
            is_down,
            ..Shop::default()
        };
        let (seen, _) = ask_of(&route(&page("optional: true")), shop, Asked::default()).await;
        assert_eq!(seen.attempts, [1, 2], "{is_down}");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_elements_without_a_row_are_no_deep_stack() {
    let numbers: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    let text = page("optional: true").replace("max_items: 1000", "max_items: 10000");
    let text = text.replace("size: 2", "size: 5000");
    let shop = Shop {
        list: format!("[{}]", numbers.join(",")),
        ..Shop::default()
    };
    let (seen, _) = ask_of(&route(&text), shop, Asked::default()).await;
    assert_eq!(seen.header("x-anabranch-degraded"), "b=missing_row");
    assert_eq!(seen.attempts, [1, 2]);
}

#[test]
fn rows_belong_to_the_texts_of_their_keys() {
    let text = page("take: $.row.n").replace("$.reply.body,", "\"$.reply.body.rows ?? []\",");
    let route = route(&text);
    let exchange = super::support::exchange_of(&route, 1);
    let check = |body: &str, expected: &[(&str, &str)]| {
        let rows = batch::rows(&exchange, &answer(body, &exchange));
        let rows: Vec<(&str, &[u8])> = rows.iter().map(|(key, row)| (&**key, &**row)).collect();
        let expected: Vec<(&str, &[u8])> = expected
            .iter()
            .map(|(key, row)| (*key, row.as_bytes()))
            .collect();
        assert_eq!(rows, expected, "{body}");
    };
    check(
        r#"{"rows": [ {"id": "a", "n": 1.0}, {"id":12} , {"id":12,"n":2}, {"id":null}, {}, 7, null, {"id":true}] }"#,
        &[
            ("a", r#"{"id": "a", "n": 1.0}"#),
            ("12", r#"{"id":12}"#),
            ("true", r#"{"id":true}"#),
        ],
    );
    // A key that is no scalar is none.
    check(
        r#"{"rows":[{"id":{}},{"id":[]},{"id":""}]}"#,
        &[("", r#"{"id":""}"#)],
    );
    check(r#"{"rows":{"id":1}}"#, &[]);
    check(r#"{"rows":null}"#, &[]);
    check("[]", &[]);
}

/// A key as it may come: absent, text or number.
fn key() -> impl Strategy<Value = Option<String>> {
    let text = prop_oneof![
        Just("\"a\""),
        Just("\"b\""),
        Just("\"7\""),
        Just("7"),
        Just("7.0"),
        Just("\"é ,&\""),
        Just("\"\""),
        Just("true"),
    ];
    option::weighted(0.9, text.prop_map(str::to_owned))
}

fn text_of(key: &str) -> &str {
    key.trim_matches('"')
}

proptest! {
    /// Each element has the first row whose key has the text of its own.
    #[test]
    fn rows_are_joined_as_a_search_would(
        list in collection::vec(key(), 0..12),
        answered in collection::vec(key(), 0..12),
        size in 1usize..5,
    ) {
        let json = |key: &Option<String>| key.clone().unwrap_or_else(|| "null".into());
        let numbered = answered.iter().enumerate();
        let rows: Vec<String> = numbered
            .map(|(number, key)| format!("{{\"id\":{},\"n\":{number}}}", json(key)))
            .collect();
        let naive: Vec<String> = list
            .iter()
            .map(|wanted| {
                let place = wanted.as_ref().and_then(|wanted| {
                    let is_its = |key: &Option<String>| {
                        key.as_ref().is_some_and(|key| text_of(key) == text_of(wanted))
                    };
                    answered.iter().position(is_its)
                });
                match place {
                    Some(number) => format!("[{number},\"live\"]"),
                    None => "[null,\"failed\"]".to_owned(),
                }
            })
            .collect();
        let text = page("min_ok: 0%").replace("size: 2", &format!("size: {size}"));
        let text = text.replace("errors: '$.errors[*].code'", "{}");
        let text = text.replace("    {}\n", "");
        let shop = Shop {
            list: format!("[{}]", Vec::from_iter(list.iter().map(json)).join(",")),
            rows,
            ..Shop::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (seen, _) = runtime.block_on(ask_of(&route(&text), shop, Asked::default()));
        assert_eq!(seen.answer(), format!("200 {{\"all\":[{}]}}", naive.join(",")));
    }
}
