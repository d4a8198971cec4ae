//! The bodies of the services. A body depends on its path alone, in a fixed way, so that the driver knows
//! what every peer has to answer; it holds what bodies hold in the wild: words that are not ASCII,
//! escapes, numbers with and without a fraction, objects within objects. No list in it is empty: Lua
//! knows no difference between an empty list and an empty object.

use std::fmt::Write;

/// The port, counted from the first, on which a path is answered; `None` is every port.
fn home(segment: &str) -> Option<u16> {
    Some(match segment {
        "prices" | "orders" | "document" | "catalogue" => 0,
        "stock" | "customers" | "history" => 1,
        "profiles" | "products" | "reviews" => 2,
        "recommendations" | "quotes" => 3,
        "shipping" => 4,
        "promotions" => 5,
        _ => return None,
    })
}

/// The body of a request target on service `number`, or `None` where it is not at home.
pub fn of(number: u16, target: &str) -> Option<String> {
    let path = target.split('?').next()?;
    let mut segments = path.strip_prefix('/')?.split('/');
    let (segment, id) = (segments.next()?, segments.next()?);
    if segment == "bytes" {
        let size = id.parse().ok().filter(|size| *size <= MAX_BYTES)?;
        return Some(sized(&mut Chance::of(target), segments.next()?, size));
    }
    if home(segment)? != number || segments.next().is_some() {
        return None;
    }
    let chance = &mut Chance::of(target);
    Some(match segment {
        "prices" => price(chance, id),
        "stock" => stock(chance, id),
        "profiles" => profile(chance, id),
        "recommendations" => recommendations(chance, id),
        "shipping" => shipping(chance, id),
        "promotions" => promotions(chance, id),
        "orders" => order(chance, id),
        "customers" => customer(chance, id),
        "products" => product(chance, id),
        "quotes" => quote(chance, id),
        "document" => document(chance, id),
        _ => sized(chance, id, 200_000),
    })
}

/// The largest `/bytes/{n}/{id}`.
const MAX_BYTES: usize = 8 << 20;

fn price(chance: &mut Chance, id: &str) -> String {
    format!(
        r#"{{"id":"{id}","amount":{},"currency":"EUR","list_price":{},"tax":{{"rate":0.19,"included":true}},"discounts":[{{"code":"SPRING","percent":{}}},{{"code":"MEMBER","percent":{}}}],"valid_until":"2031-05-17T22:00:00Z","terms":"{}"}}"#,
        chance.money(),
        chance.money(),
        chance.below(30),
        chance.below(30),
        chance.text(150),
    )
}

fn stock(chance: &mut Chance, id: &str) -> String {
    format!(
        r#"{{"id":"{id}","available":{},"reserved":{},"warehouse":{{"id":"w-{}","city":"Zürich","zone":"{}","dock":{}}},"restock":[{{"on":"2031-06-01","quantity":{}}},{{"on":"2031-06-15","quantity":{}}}],"note":"{}"}}"#,
        chance.below(500),
        chance.below(20),
        chance.below(100),
        chance.text(20),
        chance.below(12),
        chance.below(900),
        chance.below(900),
        chance.text(330),
    )
}

fn profile(chance: &mut Chance, id: &str) -> String {
    format!(
        r#"{{"id":"{id}","first_name":"{}","last_name":"{}","segment":"standard","address":{{"street":"{}","number":{},"city":"Malmö","postcode":"{:05}","country":"SE"}},"newsletter":false,"score":{},"interests":["{}","{}","{}"],"about":"{}"}}"#,
        chance.text(8),
        chance.text(12),
        chance.text(24),
        chance.below(200),
        chance.below(100_000),
        chance.money(),
        chance.text(14),
        chance.text(14),
        chance.text(14),
        chance.text(800),
    )
}

fn recommendations(chance: &mut Chance, id: &str) -> String {
    let mut body = format!(
        r#"{{"id":"{id}","model":"co-view-{}","items":["#,
        chance.below(50)
    );
    for number in 0..20 {
        let comma = if number == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"sku":"s-{}","name":"{}","price":{{"amount":{},"currency":"EUR"}},"rating":{},"in_stock":{},"image":"https://images.example.com/{}.webp","reason":"{}"}}"#,
            chance.below(1_000_000),
            chance.text(40),
            chance.money(),
            chance.money(),
            chance.below(2) == 0,
            chance.below(1_000_000),
            chance.text(170),
        )
        .expect("a string takes all");
    }
    body.push_str(r#"],"generated_at":"2031-05-17T08:15:00Z"}"#);
    body
}

fn shipping(chance: &mut Chance, id: &str) -> String {
    let mut body = format!(r#"{{"id":"{id}","options":["#);
    for (number, carrier) in ["post", "courier", "pick-up", "bike"].iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"carrier":"{carrier}","price":{},"days":{},"tracked":{},"text":"{}"}}"#,
            chance.money(),
            chance.below(9),
            chance.below(2) == 0,
            chance.text(100),
        )
        .expect("a string takes all");
    }
    body.push_str(r#"],"cutoff":"16:30"}"#);
    body
}

fn promotions(chance: &mut Chance, id: &str) -> String {
    let mut body = format!(
        r#"{{"id":"{id}","best":{{"label":"{}","percent":{}}},"all":["#,
        chance.text(30),
        chance.below(60)
    );
    for number in 0..12 {
        let comma = if number == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"label":"{}","percent":{},"until":"2031-07-01","rule":"{}"}}"#,
            chance.text(30),
            chance.below(60),
            chance.text(60),
        )
        .expect("a string takes all");
    }
    body.push_str("]}");
    body
}

fn order(chance: &mut Chance, id: &str) -> String {
    format!(
        r#"{{"id":"{id}","customer_id":"c-{}","product_id":"p-{}","quantity":{},"placed_at":"2031-05-16T10:00:00Z","payment":{{"method":"card","last":"{:04}"}},"channel":"web","note":"{}"}}"#,
        chance.below(20),
        chance.below(20),
        1 + chance.below(9),
        chance.below(10_000),
        chance.text(520),
    )
}

fn customer(chance: &mut Chance, id: &str) -> String {
    let tier = ["basic", "silver", "gold"][chance.below(3) as usize];
    format!(
        r#"{{"id":"{id}","name":"{}","tier":"{tier}","since":"2019-11-30","address":{{"city":"Brno","postcode":"{:05}"}},"limits":{{"credit":{},"orders":{}}},"note":"{}"}}"#,
        chance.text(24),
        chance.below(100_000),
        chance.money(),
        chance.below(100),
        chance.text(780),
    )
}

fn product(chance: &mut Chance, id: &str) -> String {
    format!(
        r#"{{"sku":"{id}","title":"{}","weight":{},"size":{{"width":{},"height":{},"depth":{}}},"colours":["red","grün","blue"],"text":"{}"}}"#,
        chance.text(48),
        chance.money(),
        chance.below(200),
        chance.below(200),
        chance.below(200),
        chance.text(1280),
    )
}

fn quote(chance: &mut Chance, id: &str) -> String {
    format!(
        r#"{{"product":"{id}","total":{},"currency":"EUR","lines":[{{"kind":"net","amount":{}}},{{"kind":"tax","amount":{}}}],"text":"{}"}}"#,
        chance.money(),
        chance.money(),
        chance.money(),
        chance.text(350),
    )
}

fn document(chance: &mut Chance, id: &str) -> String {
    format!(
        r#"{{"id":"{id}","title":"{}","revision":{},"text":"{}"}}"#,
        chance.text(40),
        chance.below(1000),
        chance.text(1900),
    )
}

/// Items of about 400 bytes until the body has its size, and behind them a field that is worth having.
fn sized(chance: &mut Chance, id: &str, size: usize) -> String {
    const ITEM: usize = 400;
    const FRAME: usize = 60;
    let mut body = String::with_capacity(size + 2 * ITEM);
    write!(body, r#"{{"id":"{id}","items":["#).expect("a string takes all");
    let mut comma = "";
    while body.len() + ITEM + FRAME < size {
        write!(
            body,
            r#"{comma}{{"sku":"s-{}","title":"{}","price":{{"amount":{},"currency":"EUR"}},"quantity":{},"rating":{},"maker":{{"name":"{}","address":{{"city":"Łódź","postcode":"{:05}"}}}},"tags":["{}","{}"],"active":{},"text":"{}"}}"#,
            chance.below(1_000_000),
            chance.text(40),
            chance.money(),
            chance.below(50),
            chance.money(),
            chance.text(20),
            chance.below(100_000),
            chance.text(8),
            chance.text(8),
            chance.below(2) == 0,
            chance.text(110),
        )
        .expect("a string takes all");
        comma = ",";
    }
    let left = size.saturating_sub(body.len() + FRAME);
    let text = chance.text(left);
    write!(
        body,
        r#"{comma}"{text}"],"summary":{{"total":{}}}}}"#,
        chance.below(100_000)
    )
    .expect("a string takes all");
    body
}

/// Numbers that look like chance and are the same for the same path (splitmix64).
struct Chance(u64);

impl Chance {
    fn of(target: &str) -> Self {
        Chance(hash(target))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn money(&mut self) -> String {
        format!("{}.{:02}", self.below(1000), self.below(100))
    }

    /// About `size` bytes of words, as they stand inside the quotes of JSON.
    fn text(&mut self, size: usize) -> String {
        const WORDS: [&str; 24] = [
            "river",
            "of",
            "light",
            "a",
            "stone",
            "café",
            "under",
            "wool",
            "and",
            "paper",
            "seven",
            "in",
            "copper",
            "field",
            "the",
            r#"\"quick\""#,
            "harbour",
            "on",
            "linen",
            "für",
            "glass",
            "by",
            "north",
            "plum",
        ];
        let mut text = String::with_capacity(size + 12);
        while text.len() < size {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(WORDS[self.below(WORDS.len() as u64) as usize]);
        }
        text
    }
}

/// FNV-1a, mixed once: the low bits of FNV alone follow the last letter.
pub fn hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(hash)
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_body_is_json_of_about_the_size_of_the_contract() {
        for (number, target, size) in [
            (0, "/prices/7", 400),
            (1, "/stock/7", 600),
            (2, "/profiles/7", 1200),
            (3, "/recommendations/7", 8000),
            (4, "/shipping/7", 800),
            (5, "/promotions/7", 2000),
            (0, "/orders/7", 700),
            (1, "/customers/c-7", 1000),
            (2, "/products/p-7", 1500),
            (3, "/quotes/p-7?tier=gold", 500),
            (0, "/document/7", 2000),
            (0, "/catalogue/7", 200_000),
            (1, "/history/7", 200_000),
            (2, "/reviews/7", 200_000),
            (6, "/bytes/1000/7", 1000),
            (6, "/bytes/4000000/7", 4_000_000),
        ] {
            let body = of(number, target).expect(target);
            serde_json::from_str::<Value>(&body).expect(target);
            let off = body.len().abs_diff(size);
            assert!(off * 100 <= size * 15, "{target} has {} bytes", body.len());
        }
    }

    #[test]
    fn a_body_depends_on_its_path_and_is_at_home_on_one_port() {
        assert_eq!(of(0, "/prices/7"), of(0, "/prices/7"));
        assert_ne!(of(0, "/prices/7"), of(0, "/prices/8"));
        assert_ne!(
            of(3, "/quotes/p-7?tier=gold"),
            of(3, "/quotes/p-7?tier=basic")
        );
        for (number, target) in [
            (1, "/prices/7"),
            (0, "/prices"),
            (0, "/prices/7/8"),
            (0, "/"),
            (0, "/bytes/9999999/1"),
        ] {
            assert_eq!(of(number, target), None, "{target}");
        }
    }
}
