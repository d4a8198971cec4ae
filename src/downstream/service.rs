//! A service's state at run time: what a reload keeps for every service that did not change.

use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;

use crate::downstream::dial::Dial;
use crate::downstream::pool::Pool;
use crate::downstream::tls::{self, Secure};
use crate::plan::settings::{self, Endpoint};

/// A service and the connections to its endpoints.
pub struct Service<D: Dial> {
    pub settings: settings::Service,
    /// In the order of its endpoints; never empty.
    pub pools: Vec<Arc<Pool<D>>>,
}

impl<D: Dial> Service<D> {
    pub fn new(settings: &settings::Service, dial: &Arc<D>) -> Result<Service<D>, String> {
        let config = OnceLock::new();
        let pools = settings
            .endpoints
            .iter()
            .map(|endpoint| {
                let secure = secure(settings, endpoint, &config)?;
                Ok(Pool::new(settings, endpoint, secure, dial.clone()))
            })
            .collect::<Result<Vec<_>, String>>()
            .map_err(|message| format!("service `{}`: {message}", settings.name))?;
        Ok(Service {
            settings: settings.clone(),
            pools,
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
