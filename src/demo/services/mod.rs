//! The twelve services: one row each, and a plain function that answers.

mod people;
mod prices;
mod shelf;
mod stock;
mod till;

use std::ops::RangeInclusive;

use crate::demo::message::{Answer, Request};
use crate::demo::shop::Shop;

pub(super) struct Service {
    pub name: &'static str,
    pub port: u16,
    /// How long an answer takes, in milliseconds.
    pub latency: RangeInclusive<u64>,
    pub answer: fn(&Shop, &Request) -> Answer,
}

#[rustfmt::skip]
pub(super) const ALL: [Service; 12] = [
    Service { name: "profile", port: 9001, latency: 5..=20, answer: people::profile },
    Service { name: "inventory", port: 9002, latency: 8..=30, answer: stock::inventory },
    Service { name: "pricing", port: 9003, latency: 10..=35, answer: prices::pricing },
    Service { name: "promotions", port: 9004, latency: 8..=25, answer: prices::promotions },
    Service { name: "shipping", port: 9005, latency: 15..=50, answer: stock::shipping },
    Service { name: "recommendations", port: 9006, latency: 20..=60, answer: shelf::recommendations },
    Service { name: "catalog", port: 9007, latency: 10..=40, answer: shelf::catalog },
    Service { name: "cart", port: 9008, latency: 5..=20, answer: till::cart },
    Service { name: "payments", port: 9009, latency: 30..=60, answer: till::payments },
    Service { name: "payments-backup", port: 9010, latency: 30..=60, answer: till::payments_backup },
    Service { name: "orders", port: 9011, latency: 15..=45, answer: till::orders },
    Service { name: "loyalty", port: 9012, latency: 10..=30, answer: people::loyalty },
];

#[cfg(test)]
mod tests;
