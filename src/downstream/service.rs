//! A service's state at run time: what a reload keeps for every service that did not change.

use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use tokio::time::Instant;

use crate::downstream::dial::Dial;
use crate::downstream::guards::Guards;
use crate::downstream::pool::Pool;
use crate::downstream::tasks::Tasks;
use crate::downstream::tls::{self, Secure};
use crate::plan::settings::{self, Endpoint};

/// A service, the connections to its endpoints, and what guards it.
pub struct Service<D: Dial> {
    pub settings: settings::Service,
    /// In the order of its endpoints; never empty.
    pub pools: Vec<Arc<Pool<D>>>,
    pub guards: Guards,
}

impl<D: Dial> Service<D> {
    pub fn new(
        settings: &settings::Service,
        dial: &Arc<D>,
        tasks: &Tasks,
        workers: usize,
    ) -> Result<Service<D>, String> {
        let config = OnceLock::new();
        let pools = settings
            .endpoints
            .iter()
            .map(|endpoint| {
                let secure = secure(settings, endpoint, &config)?;
                let (dial, tasks) = (dial.clone(), tasks.clone());
                Ok(Pool::new(settings, endpoint, secure, dial, tasks, workers))
            })
            .collect::<Result<Vec<_>, String>>()
            .map_err(|message| format!("service `{}`: {message}", settings.name))?;
        Ok(Service {
            settings: settings.clone(),
            pools,
            guards: Guards::new(settings, Instant::now()),
        })
    }

    /// The service of the next generation, if it is at the same place: it keeps the connections, and
    /// of its guards those whose settings did not change.
    pub fn succeed(&self, settings: &settings::Service) -> Option<Service<D>> {
        let is_same_place = self.settings.is_same_place(settings);
        is_same_place.then(|| Service {
            settings: settings.clone(),
            pools: self.pools.clone(),
            guards: self
                .guards
                .succeed(&self.settings, settings, Instant::now()),
        })
    }

    /// Keeps no connection from now on.
    pub fn retire(&self) {
        for pool in &self.pools {
            pool.retire();
        }
    }
}

/// What an `https` endpoint is connected with; the endpoints of a service share one `config`.
fn secure(
    settings: &settings::Service,
    endpoint: &Endpoint,
    config: &OnceLock<Arc<ClientConfig>>,
) -> Result<Option<Secure>, String> {
    if !endpoint.https {
        return Ok(None);
    }
    let config = match config.get() {
        Some(config) => config.clone(),
        None => {
            let made = Arc::new(tls::client_config(&settings.tls, settings.http)?);
            config.get_or_init(|| made).clone()
        }
    };
    Secure::new(config, &settings.tls, &endpoint.host).map(Some)
}
