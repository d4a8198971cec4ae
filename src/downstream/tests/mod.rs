//! The ladder against services that misbehave: the scenarios of `resilience.md` §6 as far as they
//! hold at this level, and a row for each line of its failure table.

mod arrivals;
mod caching;
mod guards;
mod http2;
mod kept;
mod passing;
mod retries;
mod scenarios;
mod secure;
mod sharing;
mod support;
mod workers;
