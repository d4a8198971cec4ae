use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::ALL;
use crate::demo::message::{Answer, Request};
use crate::demo::shop::Shop;

/// Asks a service, given as `METHOD /path`, and returns its status and body.
fn ask(shop: &Shop, service: &str, line: &str, header: &str, body: &str) -> (u16, String) {
    let (method, target) = line.split_once(' ').unwrap();
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header.split_once(": ") {
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let request = Request::new(
        Method::from_bytes(method.as_bytes()).unwrap(),
        &target.parse().unwrap(),
        headers,
        Bytes::copy_from_slice(body.as_bytes()),
    );
    let service = ALL.iter().find(|row| row.name == service).unwrap();
    let Answer { status, body, .. } = (service.answer)(shop, &request);
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn questions_are_answered_to_the_letter() {
    let shop = Shop::new();
    let check = |service: &str, line: &str, header: &str, status: u16, expected: &str| {
        let (got, body) = ask(&shop, service, line, header, "");
        assert_eq!((got, body.as_str()), (status, expected), "{service} {line}");
    };
    check(
        "profile",
        "GET /v1/me",
        "authorization: Bearer ada",
        200,
        r#"{"id":"u-1815","first_name":"Ada","segment":"gold","postcode":"10115"}"#,
    );
    check(
        "profile",
        "GET /v1/me",
        "",
        401,
        r#"{"error":"no such token"}"#,
    );
    check(
        "inventory",
        "GET /stock/42",
        "",
        200,
        r#"{"sku":"42","qty":17,"warehouse":"ber-1"}"#,
    );
    check(
        "pricing",
        "GET /prices/42?segment=standard",
        "",
        200,
        r#"{"sku":"42","amount":12.10,"currency":"EUR"}"#,
    );
    check(
        "pricing",
        "GET /prices/42?segment=gold",
        "",
        200,
        r#"{"sku":"42","amount":11.50,"currency":"EUR"}"#,
    );
    check(
        "pricing",
        "GET /prices?ids=41%2C42%2Cnone",
        "",
        200,
        r#"{"prices":[{"sku":"41","amount":9.90,"currency":"EUR"},{"sku":"42","amount":12.10,"currency":"EUR"}]}"#,
    );
    check(
        "pricing",
        "GET /prices/none",
        "",
        404,
        r#"{"error":"no such product"}"#,
    );
    check(
        "shipping",
        "GET /quotes?from=ber-1&to=10115",
        "",
        200,
        r#"{"from":"ber-1","to":"10115","options":[{"carrier":"post","price":4.90,"currency":"EUR","days":2},{"carrier":"courier","price":8.90,"currency":"EUR","days":1}]}"#,
    );
    check(
        "recommendations",
        "GET /similar/51?user=u-1&limit=1",
        "",
        200,
        r#"{"user":"u-1","items":[{"sku":"52","title":"Pruning shears"}]}"#,
    );
    check(
        "catalog",
        "GET /categories/garden/products?page=2&size=3",
        "",
        200,
        r#"{"page":2,"total":4,"items":[{"sku":"54","name":"Twine, 200 m","flags":[]}]}"#,
    );
    check(
        "catalog",
        "GET /categories/garden/products?page=18446744073709551615&size=18446744073709551615",
        "",
        200,
        r#"{"page":18446744073709551615,"total":4,"items":[]}"#,
    );
    check(
        "cart",
        "GET /carts/c-1",
        "",
        200,
        r#"{"id":"c-1","currency":"EUR","lines":[{"sku":"42","qty":1,"price":12.10},{"sku":"46","qty":2,"price":4.50}],"total":21.10}"#,
    );
}

#[test]
fn writes_answer_what_they_were_given() {
    let check = |service: &str, line: &str, body: &str, status: u16, expected: &str| {
        let (got, answer) = ask(&Shop::new(), service, line, "", body);
        assert_eq!(
            (got, answer.as_str()),
            (status, expected),
            "{service} {line}"
        );
    };
    check(
        "promotions",
        "POST /evaluate",
        r#"{"sku":"42","amount":12.10,"segment":"gold"}"#,
        200,
        r#"{"offers":[{"id":"welcome","title":"10 % off what is new","percent":10},{"id":"gold","title":"3 % for our best customers","percent":3}],"best":{"offer":"welcome","amount":10.89}}"#,
    );
    check(
        "promotions",
        "POST /evaluate",
        r#"{"sku":"41","amount":9.90,"segment":"standard"}"#,
        200,
        r#"{"offers":[]}"#,
    );
    check(
        "inventory",
        "POST /reservations",
        r#"{"lines":[{"sku":"42","qty":17}]}"#,
        201,
        r#"{"id":"r-1","lines":1}"#,
    );
    check(
        "inventory",
        "POST /reservations",
        r#"{"lines":[{"sku":"41","qty":1},{"sku":"42","qty":18}]}"#,
        409,
        r#"{"error":"too few of 42"}"#,
    );
    check(
        "payments",
        "POST /charges",
        r#"{"amount":21.10,"currency":"EUR","token":"tok_visa"}"#,
        201,
        r#"{"id":"ch-1","amount":21.10,"currency":"EUR"}"#,
    );
    check(
        "payments",
        "POST /charges",
        r#"{"amount":21.10,"currency":"EUR","token":"tok_declined"}"#,
        402,
        r#"{"error":"the card was declined"}"#,
    );
    check(
        "payments-backup",
        "POST /v2/payments",
        r#"{"total":21.10,"card":"tok_visa"}"#,
        201,
        r#"{"payment_id":"bk-1","total":21.10}"#,
    );
    check(
        "orders",
        "POST /orders",
        r#"{"cart":"c-1","reservation":"r-1","payment":"ch-1"}"#,
        201,
        r#"{"id":"o-1","cart":"c-1","reservation":"r-1","payment":"ch-1"}"#,
    );
    check(
        "loyalty",
        "POST /points",
        r#"{"order":"o-1","amount":21.10}"#,
        201,
        r#"{"order":"o-1","points":21}"#,
    );
}

#[test]
fn the_same_key_is_the_same_charge() {
    let shop = Shop::new();
    let charge = |service: &str, line: &str, key: &str| {
        let body = r#"{"amount":1.00,"currency":"EUR","token":"t","total":1.00,"card":"t"}"#;
        let header = format!("idempotency-key: {key}");
        ask(&shop, service, line, &header, body).1
    };
    let first = charge("payments", "POST /charges", "k-1");
    assert_eq!(charge("payments", "POST /charges", "k-1"), first);
    assert_ne!(charge("payments", "POST /charges", "k-2"), first);
    let backup = charge("payments-backup", "POST /v2/payments", "k-1");
    assert!(backup.contains("bk-3"), "{backup}");
}

#[test]
fn no_request_panics_a_service() {
    let shop = Shop::new();
    let lines = [
        "GET /",
        "GET /prices",
        "GET /prices/",
        "GET /quotes",
        "POST /reservations",
        "POST /charges",
        "POST /v2/payments",
        "POST /points",
        "DELETE /orders",
        "GET /categories/x/products?page=-1&size=x",
        "GET /%ff%/%2",
    ];
    let bodies = [
        "",
        "{",
        "[]",
        r#"{"lines":[{"sku":"x","qty":-1}]}"#,
        "\u{0}",
    ];
    for service in &ALL {
        for line in lines {
            for body in bodies {
                let (status, _) = ask(&shop, service.name, line, "authorization: x", body);
                assert!((200..500).contains(&status), "{} {line}", service.name);
            }
        }
    }
}
