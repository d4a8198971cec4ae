//! Anabranch: one client request branches out to many services and rejoins as one answer.
//!
//! The modules stand in one total order: a module imports only modules above it in this list.
//! `tests/layers.rs` reads `src/` and fails on an upward import. An empty line keeps two modules from
//! being sorted by their names.

// base: what is wrong with a text, and where
pub mod diagnostic;

// tools: pure, no clock, no socket, no file
pub mod ascii;
pub mod boxed;
pub mod cache;
pub mod json;
pub mod path;
pub mod pem;
pub mod policy;
pub mod template;

// source: the YAML as typed
pub mod config;

// compiled: the immutable program
pub mod plan;

// the one door to it
pub mod check;

// time and threads: one look at the clock for each turn of a task, alarms, workers
pub mod moment;
pub mod worker;

// runtime: runs one plan against a `Fetch`
pub mod engine;

// input and output
pub mod downstream;
pub mod telemetry;

// surface: the generation in force
pub mod reload;

// the client's side
pub mod server;

// the operator's side
pub mod admin;

// the shop to try it on
pub mod demo;

// root: builds everything, then starts it
pub mod app;

// the verbs
pub mod cli;
