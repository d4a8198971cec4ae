//! The arithmetic of resilience: pure rules and state machines, with time and chance passed in.
//!
//! Nothing here has a task, a lock or a clock, so each rule is a table of figures in its tests. It
//! refuses to know HTTP clients, routes and codes: `downstream::ladder` asks these questions in the
//! order of the layers. Read [`retry`] first.

pub mod backoff;
pub mod deadline;
pub mod retry;
pub mod retry_after;
