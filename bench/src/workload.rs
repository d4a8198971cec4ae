//! The workloads: what is asked of a peer, and what it has to answer, made from the bodies of the services.

use serde_json::{Value, json};

use crate::body;

/// W1 to W5 of the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Workload {
    /// Six calls in parallel, two moved whole, fields of the others.
    W1,
    /// A chain of three stages.
    W2,
    /// One call, passed as it is.
    W3,
    /// Three bodies of 200 KB, one moved whole.
    W4,
    /// W1 with services that take their time.
    W5,
}

impl Workload {
    pub const ALL: [Workload; 5] = [Self::W1, Self::W2, Self::W3, Self::W4, Self::W5];

    /// The path, with `{id}` for the load to fill in.
    pub fn path(self) -> &'static str {
        match self {
            Workload::W1 => "/w1/{id}",
            Workload::W2 => "/w2/{id}",
            Workload::W3 => "/w3/{id}",
            Workload::W4 => "/w4/{id}",
            Workload::W5 => "/w5/{id}",
        }
    }

    /// What a peer answers for `id`.
    pub fn answer(self, id: &str) -> Value {
        match self {
            Workload::W1 | Workload::W5 => page(id),
            Workload::W2 => chain(id),
            Workload::W3 => ask(0, &format!("/document/{id}")),
            Workload::W4 => large(id),
        }
    }
}

fn ask(number: u16, target: &str) -> Value {
    let body = body::of(number, target).expect("the path is one of the services'");
    serde_json::from_str(&body).expect("a body is JSON")
}

fn page(id: &str) -> Value {
    let inventory = ask(1, &format!("/stock/{id}"));
    let profile = ask(2, &format!("/profiles/{id}"));
    json!({
        "id": id,
        "price": ask(0, &format!("/prices/{id}")),
        "shipping": ask(4, &format!("/shipping/{id}")),
        "available": inventory["available"],
        "warehouse": inventory["warehouse"]["id"],
        "name": profile["first_name"],
        "postcode": profile["address"]["postcode"],
        "recommended": ask(3, &format!("/recommendations/{id}"))["items"],
        "promotion": ask(5, &format!("/promotions/{id}"))["best"]["label"],
    })
}

fn chain(id: &str) -> Value {
    let order = ask(0, &format!("/orders/{id}"));
    let product_id = order["product_id"]
        .as_str()
        .expect("an order has a product");
    let customer_id = order["customer_id"]
        .as_str()
        .expect("an order has a customer");
    let customer = ask(1, &format!("/customers/{customer_id}"));
    let tier = customer["tier"].as_str().expect("a customer has a tier");
    json!({
        "order": order["id"],
        "quantity": order["quantity"],
        "customer": customer["name"],
        "product": ask(2, &format!("/products/{product_id}")),
        "quote": ask(3, &format!("/quotes/{product_id}?tier={tier}")),
    })
}

fn large(id: &str) -> Value {
    json!({
        "catalogue": ask(0, &format!("/catalogue/{id}")),
        "orders": ask(1, &format!("/history/{id}"))["summary"]["total"],
        "rating": ask(2, &format!("/reviews/{id}"))["summary"]["total"],
    })
}
