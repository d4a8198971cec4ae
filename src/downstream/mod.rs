//! The real [`Fetch`]: calls over sockets, with everything `resilience.md` puts around one.
//!
//! Read [`ladder`] first, it is the order of the layers; then [`guards`] for what it asks before an
//! attempt, [`attempt`], [`pool`] and [`connection`] for what lies below, [`decode`] and [`pass`] for what becomes of an answer. Nothing here knows the YAML, the
//! client's connection or how a reply is put together.

pub mod attempt;
pub mod connection;
pub mod decode;
pub mod dial;
pub mod fault;
pub mod front;
pub mod guards;
pub mod headers;
pub mod http1;
pub mod idle;
pub mod inbound;
pub mod keeping;
pub mod kept;
pub mod ladder;
pub mod meter;
pub mod names;
pub mod observe;
pub mod pass;
pub mod pool;
pub mod remote;
pub mod send;
pub mod service;
pub mod shelf;
pub mod silence;
pub mod tasks;
pub mod tls;
pub mod wire;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::flight::Flights;
use crate::downstream::dial::{Dial, Tcp};
use crate::downstream::front::passed::Gate;
use crate::downstream::front::{Landing, passed, rows};
use crate::downstream::guards::{Told, Usage};
use crate::downstream::observe::Observe;
use crate::downstream::service::Service;
use crate::downstream::shelf::Shelf;
use crate::downstream::tasks::Tasks;
use crate::engine::code::Code;
use crate::engine::fetch::{Answer, Exchange, Fetch, Fetched, Found, Opened, Row, StreamedRequest};
use crate::plan::{Call, Route, ServiceId, Table};
use crate::policy::breaker::State;
use crate::policy::hedge::{After, Times};
use crate::policy::memory::Memory;

/// What kept answers may take together, until a table says otherwise.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// Answers that are read to their end at the same time although nobody wants them.
const LEFTOVERS: usize = 1024;

/// What all generations of a process share. Clones are the same.
#[derive(Clone)]
pub struct Process {
    /// Where calls end that must not be cut.
    pub tasks: Tasks,
    /// Where answers that nobody wants are read to their end, for the sake of their connections.
    pub leftovers: Tasks,
    /// How many workers make calls.
    pub workers: usize,
    /// What the bodies of all requests may take.
    pub memory: Memory,
    /// Answers that are kept.
    pub shelf: Shelf,
    /// Requests under way that are shared.
    pub flights: Flights<Landing>,
    /// Passed answers that are under way.
    pub gates: Flights<Gate>,
    /// Passed answers that are being fetched anew in the background.
    pub renewals: Flights<()>,
}

impl Process {
    /// With one worker.
    pub fn new(tasks: Tasks, memory: Memory) -> Process {
        Process {
            tasks,
            leftovers: Tasks::new(LEFTOVERS),
            workers: 1,
            memory,
            shelf: Shelf::new(KEPT_BYTES),
            flights: Flights::default(),
            gates: Flights::default(),
            renewals: Flights::default(),
        }
    }
}

/// The services of one generation. Clones are the same.
pub struct Client<D: Dial = Tcp> {
    /// By [`ServiceId`].
    services: Arc<[Arc<Service<D>>]>,
    /// The times of calls whose hedge goes by them, by route and call.
    times: Arc<AllTimes>,
    routes: Arc<[Arc<Route>]>,
    dial: Arc<D>,
    /// Behind one pointer: each attempt holds on to it.
    process: Arc<Process>,
    observe: Arc<dyn Observe>,
    /// How long a passed body may stand still.
    stall: Duration,
}

/// By route and call.
type AllTimes = Vec<Vec<Option<Arc<Mutex<Times>>>>>;

impl<D: Dial> Clone for Client<D> {
    fn clone(&self) -> Self {
        Client {
            services: self.services.clone(),
            times: self.times.clone(),
            routes: self.routes.clone(),
            dial: self.dial.clone(),
            process: self.process.clone(),
            observe: self.observe.clone(),
            stall: self.stall,
        }
    }
}

impl Client<Tcp> {
    /// The first one of a process.
    pub fn over_tcp(
        table: &Table,
        process: Process,
        observe: Arc<dyn Observe>,
    ) -> Result<Client, String> {
        Client::new(table, Arc::new(Tcp::new()), process, observe)
    }
}

impl<D: Dial> Client<D> {
    /// Fails where a service's certificates or keys cannot be used.
    pub fn new(
        table: &Table,
        dial: Arc<D>,
        process: Process,
        observe: Arc<dyn Observe>,
    ) -> Result<Client<D>, String> {
        Client::build(table, None, dial, Arc::new(process), observe)
    }

    /// The client of the next generation: services that did not change keep their connections and
    /// their state, those that are gone keep no connection from now on. `observe` is told of services
    /// by the ids of `table`.
    pub fn succeed(&self, table: &Table, observe: Arc<dyn Observe>) -> Result<Client<D>, String> {
        let (dial, process) = (self.dial.clone(), self.process.clone());
        let next = Client::build(table, Some(self), dial, process, observe)?;
        for service in &*self.services {
            let mut kept = next.services.iter();
            if !kept.any(|kept| kept.settings.is_same_place(&service.settings)) {
                service.retire();
            }
        }
        next.tell();
        Ok(next)
    }

    fn build(
        table: &Table,
        previous: Option<&Client<D>>,
        dial: Arc<D>,
        process: Arc<Process>,
        observe: Arc<dyn Observe>,
    ) -> Result<Client<D>, String> {
        let services = table
            .services
            .iter()
            .map(|settings| {
                let mut before = previous.iter().flat_map(|client| &*client.services);
                let kept = before.find_map(|service| service.succeed(settings));
                let service = match kept {
                    Some(service) => service,
                    None => Service::new(settings, &dial, &process.leftovers, process.workers)?,
                };
                Ok(Arc::new(service))
            })
            .collect::<Result<_, String>>()?;
        Ok(Client {
            services,
            times: Arc::new(times(table, previous)),
            routes: table.routes.clone().into(),
            dial,
            process,
            observe,
            stall: table.server.timeouts.write_stall,
        })
    }

    /// What is given out at the moment, of all services together.
    pub fn usage(&self) -> Usage {
        let usages = self.services.iter().map(|service| service.guards.usage());
        usages.fold(Usage::default(), |sum, usage| Usage {
            places: sum.places + usage.places,
            waiting: sum.waiting + usage.waiting,
            attempts: sum.attempts + usage.attempts,
        })
    }

    /// How long until every service has an endpoint that may be asked.
    pub fn rest(&self) -> Duration {
        let rests = self.services.iter().map(|service| service.guards.rest());
        rests.max().unwrap_or_default()
    }

    /// The services by name, with the states of their endpoints' breakers.
    pub fn breakers(&self) -> impl Iterator<Item = (&str, Vec<State>)> {
        let services = self.services.iter();
        services.map(|service| (service.settings.name.as_str(), service.guards.states()))
    }

    /// Tells whoever observes how each service stands: what changes without an event.
    pub fn tell(&self) {
        for (place, service) in self.services.iter().enumerate() {
            service.guards.tell(&self.told(ServiceId(place)));
        }
    }

    fn told(&self, service: ServiceId) -> Told {
        Told {
            observe: self.observe.clone(),
            service,
        }
    }

    /// How many requests are under way that are shared, or made in the background.
    pub fn shared_flights(&self) -> usize {
        let Process {
            flights,
            gates,
            renewals,
            ..
        } = &*self.process;
        flights.count() + gates.count() + renewals.count()
    }

    /// Where answers are kept.
    pub fn shelf(&self) -> &Shelf {
        &self.process.shelf
    }

    /// The name of the service that an exchange asks.
    fn name_of(&self, exchange: &Exchange) -> &str {
        &self.service(exchange.call().service).settings.name
    }

    fn service(&self, id: ServiceId) -> &Service<D> {
        &self.services[id.0]
    }

    /// The times of the exchange's call, if its hedge goes by them.
    fn times(&self, exchange: &Exchange) -> Option<MutexGuard<'_, Times>> {
        let of_route = self.times.get(exchange.route.index)?;
        let times = of_route.get(exchange.call.0)?.as_ref()?;
        Some(times.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The times that calls need; those of a call that was there before go on.
fn times<D: Dial>(table: &Table, previous: Option<&Client<D>>) -> AllTimes {
    let needs_them = |call: &Call| matches!(call.hedge, Some(After::Percentile(_)));
    let before = |route: &Route, call: &Call| {
        let client = previous?;
        let known = client
            .routes
            .iter()
            .find(|known| known.name == route.name)?;
        let place = known
            .calls
            .iter()
            .position(|known| known.name == call.name)?;
        client.times[known.index][place].clone()
    };
    let of_call = |route: &Route, call: &Call| {
        needs_them(call).then(|| {
            before(route, call).unwrap_or_else(|| Arc::new(Mutex::new(Times::new(Instant::now()))))
        })
    };
    let routes = table.routes.iter();
    routes
        .map(|route| {
            route
                .calls
                .iter()
                .map(|call| of_call(route, call))
                .collect()
        })
        .collect()
}

impl<D: Dial> Fetch for Client<D> {
    fn fetch(&self, exchange: Arc<Exchange>) -> impl Future<Output = Fetched> + Send {
        front::fetch(self, exchange)
    }

    fn open(
        &self,
        exchange: Arc<Exchange>,
        body: StreamedRequest,
    ) -> impl Future<Output = Opened> + Send {
        let stream = match body {
            StreamedRequest::Buffered => None,
            StreamedRequest::Stream(stream) => Some(stream),
        };
        passed::open(self, exchange, stream)
    }

    fn last_good(&self, exchange: &Exchange, at_most: Duration) -> Option<Box<Answer>> {
        self.process.shelf.last_good(exchange, at_most)
    }

    fn stale_if_error(&self, exchange: &Exchange, code: Code) -> Option<Box<Answer>> {
        let cache = exchange.call().cache?;
        let kept = front::is_covered(code).then(|| self.process.shelf.stands_in(exchange, cache));
        kept??.answer_to(exchange)
    }

    async fn look_up(&self, exchanges: Vec<Exchange>) -> Vec<Option<Found>> {
        rows::look_up(self, exchanges).await
    }

    fn keep_rows(&self, answer: &Answer, rows: Vec<Row>) {
        rows::keep_rows(self, answer, rows);
    }

    fn renew_rows(&self, exchange: Exchange, rows: Vec<(String, Exchange)>) {
        rows::renew_rows(self, exchange, rows);
    }
}
