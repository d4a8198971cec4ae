//! From the cart to the order: everything that moves money.

use serde::{Deserialize, Serialize};

use crate::demo::message::{Amount, Answer, Request};
use crate::demo::shop::{self, CARTS, CURRENCY, Shop};

#[derive(Serialize)]
struct Cart {
    id: &'static str,
    currency: &'static str,
    lines: Vec<CartLine>,
    total: Amount,
}

#[derive(Serialize)]
struct CartLine {
    sku: &'static str,
    qty: u32,
    price: Amount,
}

/// `GET /carts/{id}`.
pub(super) fn cart(_: &Shop, request: &Request) -> Answer {
    let (method, path) = request.shape();
    let ("GET", ["carts", id]) = (method, path.as_slice()) else {
        return Answer::not_found();
    };
    let Some(cart) = CARTS.iter().find(|cart| cart.id == *id) else {
        return Answer::refuse(404, "no such cart");
    };
    let lines: Vec<CartLine> = cart
        .lines
        .iter()
        .filter_map(|(sku, qty)| shop::product(sku).map(|product| (product, *qty)))
        .map(|(product, qty)| CartLine {
            sku: product.sku,
            qty,
            price: product.price,
        })
        .collect();
    let total = lines.iter().map(|line| line.price.0 * u64::from(line.qty));
    Answer::ok(&Cart {
        id: cart.id,
        currency: CURRENCY,
        total: Amount(total.sum()),
        lines,
    })
}

/// The token of a card that is always declined.
const DECLINED: &str = "tok_declined";

#[derive(Deserialize)]
struct ChargeRequest {
    amount: Amount,
    currency: String,
    token: String,
}

#[derive(Serialize)]
struct Charge {
    id: String,
    amount: Amount,
    currency: String,
}

/// `POST /charges`: 402 for a card that is declined; the same key is the same charge.
pub(super) fn payments(shop: &Shop, request: &Request) -> Answer {
    if !request.is("POST", &["charges"]) {
        return Answer::not_found();
    }
    let wanted = match request.json::<ChargeRequest>() {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal,
    };
    if wanted.token == DECLINED {
        return Answer::refuse(402, "the card was declined");
    }
    shop.once("payments", request, |number| {
        Answer::created(&Charge {
            id: format!("ch-{number}"),
            amount: wanted.amount,
            currency: wanted.currency,
        })
    })
}

#[derive(Deserialize)]
struct BackupRequest {
    total: Amount,
    card: String,
}

#[derive(Serialize)]
struct Payment {
    payment_id: String,
    total: Amount,
}

/// `POST /v2/payments`: another provider with other names for the same things.
pub(super) fn payments_backup(shop: &Shop, request: &Request) -> Answer {
    if !request.is("POST", &["v2", "payments"]) {
        return Answer::not_found();
    }
    let wanted = match request.json::<BackupRequest>() {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal,
    };
    if wanted.card == DECLINED {
        return Answer::refuse(402, "the card was declined");
    }
    shop.once("payments-backup", request, |number| {
        Answer::created(&Payment {
            payment_id: format!("bk-{number}"),
            total: wanted.total,
        })
    })
}

#[derive(Deserialize)]
struct OrderRequest {
    cart: String,
    reservation: String,
    payment: String,
}

#[derive(Serialize)]
struct Order {
    id: String,
    cart: String,
    reservation: String,
    payment: String,
}

/// `POST /orders`.
pub(super) fn orders(shop: &Shop, request: &Request) -> Answer {
    if !request.is("POST", &["orders"]) {
        return Answer::not_found();
    }
    match request.json::<OrderRequest>() {
        Ok(wanted) => shop.once("orders", request, |number| {
            Answer::created(&Order {
                id: format!("o-{number}"),
                cart: wanted.cart,
                reservation: wanted.reservation,
                payment: wanted.payment,
            })
        }),
        Err(refusal) => refusal,
    }
}
