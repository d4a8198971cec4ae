//! Who asks, and what they have earned.

use serde::{Deserialize, Serialize};

use crate::demo::message::{Amount, Answer, Request};
use crate::demo::shop::{PERSONS, Shop};

#[derive(Serialize)]
struct Profile {
    id: &'static str,
    first_name: &'static str,
    segment: &'static str,
    postcode: Option<&'static str>,
}

/// `GET /v1/me`: the person whose token is in `authorization`; a stranger gets 401.
pub(super) fn profile(_: &Shop, request: &Request) -> Answer {
    if !request.is("GET", &["v1", "me"]) {
        return Answer::not_found();
    }
    let token = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    match PERSONS.iter().find(|person| token == Some(person.token)) {
        Some(person) => Answer::ok(&Profile {
            id: person.id,
            first_name: person.first_name,
            segment: person.segment,
            postcode: person.postcode,
        }),
        None => Answer::refuse(401, "no such token"),
    }
}

#[derive(Deserialize)]
struct Purchase {
    order: String,
    amount: Amount,
}

/// `POST /points`: one point for each whole euro.
pub(super) fn loyalty(shop: &Shop, request: &Request) -> Answer {
    if !request.is("POST", &["points"]) {
        return Answer::not_found();
    }
    match request.json::<Purchase>() {
        Ok(purchase) => shop.once("loyalty", request, |_| {
            let points = purchase.amount.0 / 100;
            Answer::created(&serde_json::json!({ "order": purchase.order, "points": points }))
        }),
        Err(refusal) => refusal,
    }
}
