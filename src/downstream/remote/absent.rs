//! The shared store of a build without the feature `redis`: there can be none. `config` has refused
//! the key by then.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Away, Change, Name};
use crate::plan::settings;

/// There is none.
#[derive(Clone)]
pub struct Remote(Infallible);

impl Remote {
    pub fn new(_: &settings::Redis) -> Result<Remote, String> {
        Err("this build has no Redis".to_owned())
    }

    pub fn address(&self) -> String {
        match self.0 {}
    }

    pub async fn get(&self, _: &[Name], _: Instant) -> Result<Vec<Option<Bytes>>, Away> {
        match self.0 {}
    }

    pub fn put(&self, _: Name, _: Bytes, _: Duration) {
        match self.0 {}
    }

    pub fn remove(&self, _: Name) {
        match self.0 {}
    }

    pub fn dropped(&self) -> u64 {
        match self.0 {}
    }

    pub async fn purge(&self, _: &str, _: Option<&str>) -> Result<u64, String> {
        match self.0 {}
    }

    pub fn on_purge(&self, _: impl Fn(&str, Option<&str>) + Send + Sync + 'static) {
        match self.0 {}
    }

    pub fn on_change(&self, _: impl Fn(Change) + Send + Sync + 'static) {
        match self.0 {}
    }
}
