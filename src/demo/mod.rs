//! A shop to try the proxy on: twelve small services inside the process, and a switch for each.
//!
//! They exist so that one command shows something real: bodies worth stitching, answers that take a
//! while, services that fail when told to. They are ordinary HTTP/1.1 servers on ordinary ports and
//! know nothing of the proxy; it calls them as it would any others. What each service answers is in
//! [`services`], how one is switched in [`instance`], the switchboard in [`control`].

pub mod banner;
mod control;
mod instance;
mod message;
mod serve;
mod services;
mod shop;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::demo::instance::Instance;
use crate::demo::serve::Listening;
use crate::demo::shop::Shop;

/// The switchboard's usual port.
pub const CONTROL_PORT: u16 = 9000;

/// Where the services listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Those of `routes/services.yaml`: 9001 to 9012, and 9000 for the switchboard.
    Usual,
    /// Whatever is free.
    Free,
}

/// Why the demo could not start.
#[derive(Debug)]
pub enum Error {
    PortTaken {
        name: &'static str,
        port: u16,
    },
    Listen {
        name: &'static str,
        cause: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::PortTaken { name, port } => write!(
                formatter,
                "port {port} ({name}) is taken: stop what listens there (`ss -ltnp 'sport = :{port}'` \
                 names it), then start again"
            ),
            Error::Listen { name, cause } => {
                write!(formatter, "the demo's {name} cannot listen: {cause}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::PortTaken { .. } => None,
            Error::Listen { cause, .. } => Some(cause),
        }
    }
}

/// The running shop. Dropping it ends every service.
pub struct Demo {
    control: SocketAddr,
    instances: Arc<[Instance]>,
    /// Held, not read: its end is the switchboard's.
    _switchboard: Listening,
}

/// Starts all twelve services and the switchboard on the loopback address.
pub async fn start(ports: Ports) -> Result<Demo, Error> {
    let board = match ports {
        Ports::Usual => CONTROL_PORT,
        Ports::Free => 0,
    };
    let (listener, control) = listen("switchboard", board).await?;
    let shop = Arc::new(Shop::new());
    let mut instances = Vec::with_capacity(services::ALL.len());
    for service in &services::ALL {
        let port = match ports {
            Ports::Usual => service.port,
            Ports::Free => 0,
        };
        let (listener, address) = listen(service.name, port).await?;
        instances.push(Instance::start(
            service,
            shop.clone(),
            listener,
            address.port(),
        ));
    }
    let instances: Arc<[Instance]> = instances.into();
    let board = instances.clone();
    let switchboard = Listening::start(listener, move |request| {
        control::answer(board.clone(), request)
    });
    Ok(Demo {
        control,
        instances,
        _switchboard: switchboard,
    })
}

impl Demo {
    /// Where the switchboard listens.
    pub fn control(&self) -> SocketAddr {
        self.control
    }

    /// The `services` section that calls these services, as YAML.
    pub fn services_yaml(&self) -> String {
        let mut text = String::from("services:\n");
        for instance in self.instances.iter() {
            let name = instance.service().name;
            let port = instance.port();
            text.push_str(&format!("  {name}: {{ url: http://127.0.0.1:{port} }}\n"));
        }
        text
    }
}

async fn listen(name: &'static str, port: u16) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
        .map_err(|cause| match cause.kind() {
            io::ErrorKind::AddrInUse => Error::PortTaken { name, port },
            _ => Error::Listen { name, cause },
        })
}

#[cfg(test)]
mod tests;
