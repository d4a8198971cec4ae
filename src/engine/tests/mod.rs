//! Runs of plans made from YAML against scripted calls, on virtual time: every figure is exact.

mod answers;
mod any;
mod batch;
mod brownout;
mod deadline;
mod detached;
mod failures;
mod inputs;
mod lists;
mod order;
mod passing;
mod support;
