//! Anabranch: one client request branches out to many services and rejoins as one answer.
//!
//! The modules stand in one total order: a module imports only modules above it in this list.
//! `tests/layers.rs` reads `src/` and fails on an upward import.

// base: what is wrong with a text, and where
pub mod diagnostic;

// tools: pure, no clock, no socket, no file
pub mod json;
pub mod path;
pub mod pem;
pub mod policy;
pub mod template;

// source: the YAML as typed
pub mod config;

// compiled: the immutable program, and the one door to it
pub mod check;
pub mod plan;

// runtime: runs one plan against a `Fetch`
pub mod engine;

// input and output
pub mod downstream;
pub mod telemetry;

// surface
pub mod admin;
pub mod reload;
pub mod server;

// root: builds everything, then starts it; the verbs
pub mod app;
pub mod cli;
