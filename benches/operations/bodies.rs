//! What the services of the benches answer: the shapes and sizes of `bench/CONTRACT.md`, the same bytes
//! in every process.

use std::fmt::Write;

use bytes::Bytes;

/// How the answers of the routes begin.
pub const SIX_ANSWER: &str = r#"{"id":"42","price":{"id":"#;
pub const CHAIN_ANSWER: &str = r#"{"order":"o-42","quantity":3,"customer":"Ada"#;
pub const BUILT_ANSWER: &str =
    r#"{"id":"42","greeting":"Hello Ada","segment":"standard","names":["#;

/// The body that answers the call of this name.
pub fn of(call: &str) -> Bytes {
    let mut words = Words(0x9E37_79B9_7F4A_7C15);
    let text = match call {
        "pricing" | "small" => pricing(&mut words),
        "inventory" => inventory(&mut words),
        "profile" => profile(&mut words),
        "recommendations" | "middle" => recommendations(&mut words),
        "shipping" => shipping(&mut words),
        "promotions" => promotions(&mut words),
        "order" => order(&mut words),
        "customer" => customer(&mut words),
        "product" => product(&mut words),
        "quote" | "asked" | "told" => quote(&mut words),
        "large" | "moved" => catalogue(&mut words),
        _ => panic!("nothing answers `{call}`"),
    };
    Bytes::from(text)
}

// === by service ===

fn pricing(words: &mut Words) -> String {
    let discounts = list(2, |at| {
        let text = words.sentence(24);
        format!(
            r#"{{"code":"d-{at}","percent":{},"text":"{text}"}}"#,
            at + 5
        )
    });
    let terms = words.sentence(100);
    format!(
        r#"{{"id":"42","amount":10.35,"currency":"EUR","list_price":11.50,"discounts":{discounts},"tax":{{"rate":0.19,"included":true}},"valid_until":"2026-12-31T23:59:59Z","terms":"{terms}"}}"#
    )
}

fn inventory(words: &mut Words) -> String {
    let (directions, note) = (words.sentence(160), words.sentence(180));
    format!(
        r#"{{"id":"42","available":17,"reserved":3,"warehouse":{{"id":"w-7","city":"Köln","zone":"B","directions":"{directions}"}},"incoming":[{{"quantity":40,"date":"2026-12-01"}},{{"quantity":25,"date":"2026-12-15"}}],"backorder":false,"note":"{note}"}}"#
    )
}

fn profile(words: &mut Words) -> String {
    let interests = list(12, |_| format!(r#""{}""#, words.sentence(18)));
    let about = words.sentence(560);
    format!(
        r#"{{"id":"p-1815","first_name":"Ada","last_name":"Lovelace","segment":"gold","email":"ada@example.com","address":{{"street":"12 St James's Square","postcode":"SW1Y 4JH","city":"London","country":"GB"}},"interests":{interests},"newsletter":true,"points":1843,"about":"{about}"}}"#
    )
}

fn recommendations(words: &mut Words) -> String {
    let items = list(20, |at| item(words, at, 180));
    format!(r#"{{"items":{items},"model":"m-2026-11","generated_at":"2026-11-25T16:00:00Z"}}"#)
}

fn shipping(words: &mut Words) -> String {
    let options = list(4, |at| {
        let text = words.sentence(90);
        format!(
            r#"{{"carrier":"carrier-{at}","price":{at}.90,"currency":"EUR","days":{},"text":"{text}"}}"#,
            at + 1
        )
    });
    format!(r#"{{"options":{options},"cutoff":"15:00","zone":null}}"#)
}

fn promotions(words: &mut Words) -> String {
    let all = list(12, |at| {
        let text = words.sentence(70);
        format!(
            r#"{{"label":"offer-{at}","percent":{},"active":true,"text":"{text}"}}"#,
            at + 3
        )
    });
    format!(r#"{{"best":{{"label":"10 % off what is new","percent":10}},"all":{all}}}"#)
}

fn order(words: &mut Words) -> String {
    let note = words.sentence(480);
    format!(
        r#"{{"id":"o-42","customer_id":"c-1815","product_id":"p-42","quantity":3,"placed":"2026-11-25T16:00:00Z","states":["new","paid","packed"],"note":"{note}"}}"#
    )
}

fn customer(words: &mut Words) -> String {
    let about = words.sentence(740);
    format!(
        r#"{{"id":"c-1815","name":"Ada Lovelace","tier":"gold","since":1833,"address":{{"city":"London","postcode":"SW1Y 4JH"}},"about":"{about}"}}"#
    )
}

fn product(words: &mut Words) -> String {
    let facts = list(10, |at| {
        format!(r#"{{"name":"fact-{at}","value":"{}"}}"#, words.sentence(40))
    });
    let text = words.sentence(600);
    format!(
        r#"{{"sku":"p-42","title":"Moka pot, three cups","facts":{facts},"weight":0.42,"text":"{text}"}}"#
    )
}

fn quote(words: &mut Words) -> String {
    let lines = list(3, |at| {
        let text = words.sentence(80);
        format!(r#"{{"line":{at},"amount":{at}.25,"text":"{text}"}}"#)
    });
    format!(r#"{{"total":31.05,"currency":"EUR","lines":{lines},"tier":"gold"}}"#)
}

/// What is asked for stands behind the long list.
fn catalogue(words: &mut Words) -> String {
    let items = list(500, |at| item(words, at, 210));
    format!(r#"{{"items":{items},"summary":{{"total":500,"mean":4.25}}}}"#)
}

fn item(words: &mut Words, at: usize, length: usize) -> String {
    let (name, text) = (words.sentence(24), words.sentence(length));
    format!(
        r#"{{"sku":"s-{at}","name":"{name}","price":{{"amount":{}.95,"currency":"EUR"}},"rating":4.{},"stock":{},"tags":["new","small"],"text":"{text}"}}"#,
        at % 90 + 5,
        at % 10,
        at.is_multiple_of(3)
    )
}

// === made of ===

fn list(count: usize, mut element: impl FnMut(usize) -> String) -> String {
    let mut out = String::from("[");
    for at in 0..count {
        let comma = if at > 0 { "," } else { "" };
        write!(out, "{comma}{}", element(at)).expect("a text takes all that is written to it");
    }
    out + "]"
}

/// Words by a fixed sequence of Marsaglia's xorshift.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// About as many bytes as asked for. One word in thirty-two is not ASCII, one holds an escape.
    fn sentence(&mut self, length: usize) -> String {
        const WORDS: [&str; 8] = [
            "kettle", "of", "steel", "with", "a", "wooden", "handle", "for",
        ];
        let mut out = String::new();
        while out.len() < length {
            let chance = self.next();
            out.push_str(match chance % 32 {
                30 => "café",
                31 => r#"\"best\""#,
                at => WORDS[at as usize % WORDS.len()],
            });
            out.push(' ');
        }
        out.truncate(out.trim_end().len());
        out
    }
}
