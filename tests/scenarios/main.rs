//! The scenarios of `resilience.md` §6, by number: the whole proxy over faulty services, on virtual
//! time where time is the matter, over loopback sockets where sockets are. Read [`stage`] first, then
//! [`world`] and [`invariants`]: every scenario ends by checking all twelve.
#![allow(dead_code, reason = "what the scenarios may use is a set")]

mod client;
mod figures;
mod fixture;
mod invariants;
mod limits;
mod stage;
mod world;

#[path = "../support/faulty/mod.rs"]
mod faulty;
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod caching;
mod connections;
mod door;
mod simulation;
mod streams;
mod time;
