//! What things cost, and what is taken off.

use serde::{Deserialize, Serialize};

use crate::demo::message::{Amount, Answer, Request};
use crate::demo::shop::{self, CURRENCY, Product, Shop};

#[derive(Serialize)]
struct Price {
    sku: &'static str,
    amount: Amount,
    currency: &'static str,
}

#[derive(Serialize)]
struct Prices {
    prices: Vec<Price>,
}

/// `GET /prices/{sku}?segment=` and, for many at once, `GET /prices?ids=41,42`.
pub(super) fn pricing(_: &Shop, request: &Request) -> Answer {
    let segment = request.query("segment").unwrap_or("standard");
    let (method, path) = request.shape();
    match (method, path.as_slice()) {
        ("GET", ["prices", sku]) => match shop::product(sku) {
            Some(product) => Answer::ok(&price(product, segment)),
            None => Answer::refuse(404, "no such product"),
        },
        ("GET", ["prices"]) => {
            let ids = request.query("ids").unwrap_or("").split(',');
            let known = ids.filter_map(shop::product);
            Answer::ok(&Prices {
                prices: known.map(|product| price(product, segment)).collect(),
            })
        }
        _ => Answer::not_found(),
    }
}

fn price(product: &'static Product, segment: &str) -> Price {
    let amount = match segment {
        "gold" => product.price.less_percent(5),
        _ => product.price,
    };
    Price {
        sku: product.sku,
        amount,
        currency: CURRENCY,
    }
}

#[derive(Deserialize)]
struct Question {
    sku: String,
    amount: Amount,
    segment: String,
}

#[derive(Serialize)]
struct Evaluation {
    offers: Vec<Offer>,
    /// The best price that the offers come to; there is none without an offer.
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<Best>,
}

#[derive(Serialize)]
struct Offer {
    id: &'static str,
    title: &'static str,
    percent: u64,
}

#[derive(Serialize)]
struct Best {
    offer: &'static str,
    amount: Amount,
}

/// `POST /evaluate`: which offers hold for a product at a price.
pub(super) fn promotions(_: &Shop, request: &Request) -> Answer {
    if !request.is("POST", &["evaluate"]) {
        return Answer::not_found();
    }
    match request.json::<Question>() {
        Ok(question) => Answer::ok(&evaluate(&question)),
        Err(refusal) => refusal,
    }
}

fn evaluate(question: &Question) -> Evaluation {
    let flags = shop::product(&question.sku).map_or(&[][..], |product| product.flags);
    let mut offers = Vec::new();
    if flags.contains(&"new") {
        offers.push(Offer {
            id: "welcome",
            title: "10 % off what is new",
            percent: 10,
        });
    }
    if question.segment == "gold" {
        offers.push(Offer {
            id: "gold",
            title: "3 % for our best customers",
            percent: 3,
        });
    }
    let best = offers.iter().max_by_key(|offer| offer.percent);
    let best = best.map(|offer| Best {
        offer: offer.id,
        amount: question.amount.less_percent(offer.percent),
    });
    Evaluation { offers, best }
}
