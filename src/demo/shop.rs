//! What the shop knows: products, persons, carts, and the writes it has taken.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::demo::message::{Amount, Answer, Request};

pub(super) const CURRENCY: &str = "EUR";

pub(super) struct Product {
    pub sku: &'static str,
    pub name: &'static str,
    pub category: &'static str,
    pub price: Amount,
    pub stock: u32,
    pub warehouse: &'static str,
    pub flags: &'static [&'static str],
}

#[rustfmt::skip]
pub(super) const PRODUCTS: [Product; 12] = [
    Product { sku: "41", name: "Enamel mug", category: "kitchen", price: Amount(990), stock: 120, warehouse: "ber-1", flags: &["bestseller"] },
    Product { sku: "42", name: "Pour-over dripper", category: "kitchen", price: Amount(1210), stock: 17, warehouse: "ber-1", flags: &["new", "gift"] },
    Product { sku: "43", name: "Moka pot, three cups", category: "kitchen", price: Amount(2450), stock: 4, warehouse: "ber-1", flags: &["last pieces"] },
    Product { sku: "44", name: "Hand grinder", category: "kitchen", price: Amount(4900), stock: 0, warehouse: "ham-2", flags: &[] },
    Product { sku: "45", name: "Kettle with a goose's neck", category: "kitchen", price: Amount(6400), stock: 9, warehouse: "ham-2", flags: &[] },
    Product { sku: "46", name: "Paper filters, 100", category: "kitchen", price: Amount(450), stock: 800, warehouse: "ber-1", flags: &[] },
    Product { sku: "47", name: "Serving tray, ash", category: "kitchen", price: Amount(3200), stock: 23, warehouse: "ham-2", flags: &["gift"] },
    Product { sku: "48", name: "Linen towel", category: "kitchen", price: Amount(1400), stock: 61, warehouse: "ber-1", flags: &[] },
    Product { sku: "51", name: "Watering can, 5 l", category: "garden", price: Amount(2800), stock: 14, warehouse: "ham-2", flags: &[] },
    Product { sku: "52", name: "Pruning shears", category: "garden", price: Amount(3650), stock: 31, warehouse: "ham-2", flags: &["bestseller"] },
    Product { sku: "53", name: "Seed box, herbs", category: "garden", price: Amount(1250), stock: 0, warehouse: "ber-1", flags: &["new"] },
    Product { sku: "54", name: "Twine, 200 m", category: "garden", price: Amount(580), stock: 240, warehouse: "ber-1", flags: &[] },
];

pub(super) fn product(sku: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.sku == sku)
}

pub(super) struct Person {
    pub token: &'static str,
    pub id: &'static str,
    pub first_name: &'static str,
    pub segment: &'static str,
    pub postcode: Option<&'static str>,
}

#[rustfmt::skip]
pub(super) const PERSONS: [Person; 3] = [
    Person { token: "ada", id: "u-1815", first_name: "Ada", segment: "gold", postcode: Some("10115") },
    Person { token: "grace", id: "u-1906", first_name: "Grace", segment: "standard", postcode: Some("20095") },
    Person { token: "linus", id: "u-1969", first_name: "Linus", segment: "standard", postcode: None },
];

pub(super) struct Cart {
    pub id: &'static str,
    /// SKU and quantity.
    pub lines: &'static [(&'static str, u32)],
}

pub(super) const CARTS: [Cart; 2] = [
    Cart {
        id: "c-1",
        lines: &[("42", 1), ("46", 2)],
    },
    // More grinders than anybody has, so that a reservation conflicts.
    Cart {
        id: "c-2",
        lines: &[("41", 1), ("44", 1)],
    },
];

/// How many writes are remembered by their idempotency key.
const REMEMBERED: usize = 1000;

/// The shop's only state: the numbers it gives out and the answers it has given to writes.
///
/// Stock is not used up: a demo that sells out would soon have nothing to show.
pub(super) struct Shop {
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    last_number: u64,
    /// By service and key; `order` has the same entries, oldest first.
    answers: HashMap<(&'static str, String), Answer>,
    order: VecDeque<(&'static str, String)>,
}

impl Shop {
    pub fn new() -> Shop {
        Shop {
            ledger: Mutex::default(),
        }
    }

    /// Performs a write once for each `idempotency-key`: the same key gets the same answer.
    /// `make` is given the number of the write.
    pub fn once(
        &self,
        service: &'static str,
        request: &Request,
        make: impl FnOnce(u64) -> Answer,
    ) -> Answer {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let key = request.header("idempotency-key");
        let key = key.map(|key| (service, key.to_owned()));
        if let Some(known) = key.as_ref().and_then(|key| ledger.answers.get(key)) {
            return known.clone();
        }
        ledger.last_number += 1;
        let answer = make(ledger.last_number);
        if let Some(key) = key {
            ledger.remember(key, answer.clone());
        }
        answer
    }
}

impl Ledger {
    fn remember(&mut self, key: (&'static str, String), answer: Answer) {
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.answers.insert(key, answer);
    }
}
