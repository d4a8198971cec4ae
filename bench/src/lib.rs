//! What the programs of the benchmark share. `bench` (the driver) starts `services`, a peer and `load`,
//! each as a process of its own, so that what a peer costs is read off its process and nothing else.
//! Start reading at `workload`, which says what is asked and what has to come back.

pub mod aggregator;
pub mod alarm;
pub mod body;
pub mod load;
pub mod wire;
pub mod workload;
