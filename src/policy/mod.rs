//! The arithmetic of resilience: pure rules and state machines, with time and chance passed in.
//!
//! Nothing here has a task, a lock or a clock, so each rule is a table of figures in its tests, and
//! each machine is held against a naive model. It refuses to know HTTP clients, routes and codes:
//! `downstream::ladder` asks these questions in the order of the layers. Read [`retry`] first, then
//! [`breaker`].

pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod bucket;
pub mod budget;
pub mod bulkhead;
pub mod deadline;
pub mod hedge;
pub mod memory;
pub mod retry;
pub mod retry_after;
pub mod shed;
pub mod window;
