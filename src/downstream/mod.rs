//! The real [`Fetch`]: calls over sockets, with everything `resilience.md` puts around one.
//!
//! Read [`ladder`] first, it is the order of the layers; then [`pool`] and [`connection`] for what lies
//! below it, [`decode`] and [`pass`] for what becomes of an answer. Nothing here knows the YAML, the
//! client's connection or how a reply is put together.

pub mod connection;
pub mod decode;
pub mod dial;
pub mod fault;
pub mod headers;
pub mod inbound;
pub mod ladder;
pub mod meter;
pub mod names;
pub mod observe;
pub mod pass;
pub mod pool;
pub mod send;
pub mod service;
pub mod tasks;
pub mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::downstream::dial::{Dial, Tcp};
use crate::downstream::ladder::{HeadOnly, Whole, climb};
use crate::downstream::observe::Observe;
use crate::downstream::service::Service;
use crate::downstream::tasks::Tasks;
use crate::engine::fetch::{Exchange, Fetch, Fetched, Opened, StreamedRequest};
use crate::plan::{ServiceId, Table};

/// The services of one generation.
pub struct Client<D: Dial = Tcp> {
    /// By [`ServiceId`].
    services: Vec<Arc<Service<D>>>,
    dial: Arc<D>,
    tasks: Tasks,
    observe: Arc<dyn Observe>,
    /// How long a passed body may stand still.
    stall: Duration,
}

impl Client<Tcp> {
    /// The first one of a process.
    pub fn over_tcp(
        table: &Table,
        tasks: Tasks,
        observe: Arc<dyn Observe>,
    ) -> Result<Client, String> {
        Client::new(table, Arc::new(Tcp::new()), tasks, observe)
    }
}

impl<D: Dial> Client<D> {
    /// Fails where a service's certificates or keys cannot be used.
    pub fn new(
        table: &Table,
        dial: Arc<D>,
        tasks: Tasks,
        observe: Arc<dyn Observe>,
    ) -> Result<Client<D>, String> {
        Client::build(table, &[], dial, tasks, observe)
    }

    /// The client of the next generation: services that did not change keep their connections, those
    /// that are gone keep none from now on. `observe` is told of services by the ids of `table`.
    pub fn succeed(&self, table: &Table, observe: Arc<dyn Observe>) -> Result<Client<D>, String> {
        let (dial, tasks) = (self.dial.clone(), self.tasks.clone());
        let next = Client::build(table, &self.services, dial, tasks, observe)?;
        for service in &self.services {
            if !next.services.iter().any(|kept| Arc::ptr_eq(kept, service)) {
                service.retire();
            }
        }
        Ok(next)
    }

    fn build(
        table: &Table,
        previous: &[Arc<Service<D>>],
        dial: Arc<D>,
        tasks: Tasks,
        observe: Arc<dyn Observe>,
    ) -> Result<Client<D>, String> {
        let services = table
            .services
            .iter()
            .map(|settings| {
                let mut previous = previous.iter();
                match previous.find(|service| service.settings == *settings) {
                    Some(service) => Ok(service.clone()),
                    None => Service::new(settings, &dial).map(Arc::new),
                }
            })
            .collect::<Result<_, String>>()?;
        Ok(Client {
            services,
            dial,
            tasks,
            observe,
            stall: table.server.timeouts.write_stall,
        })
    }

    fn service(&self, id: ServiceId) -> &Service<D> {
        &self.services[id.0]
    }
}

impl<D: Dial> Fetch for Client<D> {
    async fn fetch(&self, exchange: Exchange) -> Fetched {
        let tasks = self.tasks.clone();
        let climbed = climb(self, exchange, None, Whole { tasks }).await;
        Fetched {
            result: climbed.result,
            attempts: climbed.attempts,
        }
    }

    async fn open(&self, exchange: Exchange, body: StreamedRequest) -> Opened {
        let stream = match body {
            StreamedRequest::Buffered => None,
            StreamedRequest::Stream(stream) => Some(stream),
        };
        let climbed = climb(self, exchange, stream, HeadOnly { stall: self.stall }).await;
        Opened {
            result: climbed.result,
            attempts: climbed.attempts,
        }
    }
}
