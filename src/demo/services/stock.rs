//! What is on the shelf, and what it takes to bring it.

use serde::{Deserialize, Serialize};

use crate::demo::message::{Amount, Answer, Request};
use crate::demo::shop::{self, CURRENCY, Shop};

#[derive(Serialize)]
struct Stock {
    sku: &'static str,
    qty: u32,
    warehouse: &'static str,
}

#[derive(Deserialize)]
struct Wanted {
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    sku: String,
    qty: u32,
}

/// `GET /stock/{sku}` and `POST /reservations`, which is 409 where the shelf has too little.
pub(super) fn inventory(shop: &Shop, request: &Request) -> Answer {
    let (method, path) = request.shape();
    match (method, path.as_slice()) {
        ("GET", ["stock", sku]) => stock(sku),
        ("POST", ["reservations"]) => match request.json::<Wanted>() {
            Ok(wanted) => shop.once("inventory", request, |number| reserve(&wanted, number)),
            Err(refusal) => refusal,
        },
        _ => Answer::not_found(),
    }
}

fn stock(sku: &str) -> Answer {
    match shop::product(sku) {
        Some(product) => Answer::ok(&Stock {
            sku: product.sku,
            qty: product.stock,
            warehouse: product.warehouse,
        }),
        None => Answer::refuse(404, "no such product"),
    }
}

fn reserve(wanted: &Wanted, number: u64) -> Answer {
    let enough = |line: &Line| shop::product(&line.sku).is_some_and(|p| p.stock >= line.qty);
    match wanted.lines.iter().find(|line| !enough(line)) {
        Some(line) => Answer::refuse(409, &format!("too few of {}", line.sku)),
        None => Answer::created(&serde_json::json!({
            "id": format!("r-{number}"),
            "lines": wanted.lines.len(),
        })),
    }
}

#[derive(Serialize)]
struct Quotes {
    from: String,
    to: String,
    options: [Delivery; 2],
}

#[derive(Serialize)]
struct Delivery {
    carrier: &'static str,
    price: Amount,
    currency: &'static str,
    days: u32,
}

/// `GET /quotes?from=&to=`: what delivery from a warehouse to a postcode costs.
pub(super) fn shipping(_: &Shop, request: &Request) -> Answer {
    if !request.is("GET", &["quotes"]) {
        return Answer::not_found();
    }
    let (Some(from), Some(to)) = (request.query("from"), request.query("to")) else {
        return Answer::refuse(400, "from and to are needed");
    };
    // The warehouse of the same town delivers on the next day.
    let near = (from == "ber-1" && to.starts_with('1')) || (from == "ham-2" && to.starts_with('2'));
    let days = if near { 1 } else { 2 };
    let option = |carrier, cents, days| Delivery {
        carrier,
        price: Amount(cents),
        currency: CURRENCY,
        days,
    };
    Answer::ok(&Quotes {
        from: from.to_owned(),
        to: to.to_owned(),
        options: [option("post", 490, days + 1), option("courier", 890, days)],
    })
}
