//! One service of the demo as it runs: its port, its switch, its count of requests.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use http::Response;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::demo::message::{Answer, Request};
use crate::demo::serve::{self, Body, Listening};
use crate::demo::services::Service;
use crate::demo::shop::Shop;

/// From it and a request's number comes its latency: every start shows the same times.
const SEED: u64 = 0x00AB_ACC1;

/// What `slow` adds.
const SLOWNESS: Duration = Duration::from_secs(2);

/// How a service behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    Up,
    /// Its port is closed.
    Down,
    /// Everything takes two seconds more.
    Slow,
    /// A 500, an answer cut short, something that is not JSON, in turns.
    Broken,
}

impl Switch {
    pub const ALL: [Switch; 4] = [Switch::Up, Switch::Down, Switch::Slow, Switch::Broken];

    pub fn name(self) -> &'static str {
        match self {
            Switch::Up => "up",
            Switch::Down => "down",
            Switch::Slow => "slow",
            Switch::Broken => "broken",
        }
    }

    pub fn named(name: &str) -> Option<Switch> {
        Switch::ALL.into_iter().find(|switch| switch.name() == name)
    }
}

pub(super) struct Instance {
    port: u16,
    behaviour: Arc<Behaviour>,
    /// `None` while the service is down.
    listening: Mutex<Option<Listening>>,
}

/// What the connections need; apart from [`Instance`], so that they do not keep their own port open.
struct Behaviour {
    service: &'static Service,
    shop: Arc<Shop>,
    hits: AtomicU64,
    /// The place in [`Switch::ALL`].
    switch: AtomicU8,
}

impl Instance {
    pub fn start(
        service: &'static Service,
        shop: Arc<Shop>,
        listener: TcpListener,
        port: u16,
    ) -> Instance {
        let behaviour = Arc::new(Behaviour {
            service,
            shop,
            hits: AtomicU64::new(0),
            switch: AtomicU8::new(Switch::Up as u8),
        });
        let listening = behaviour.clone().listen(listener);
        Instance {
            port,
            behaviour,
            listening: Mutex::new(Some(listening)),
        }
    }

    pub fn service(&self) -> &'static Service {
        self.behaviour.service
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn hits(&self) -> u64 {
        self.behaviour.hits.load(Ordering::Relaxed)
    }

    pub fn switch(&self) -> Switch {
        self.behaviour.switch()
    }

    /// Switches the service; when this returns, its port is as the switch says.
    pub async fn turn(&self, switch: Switch) -> io::Result<()> {
        let mut listening = self.listening.lock().await;
        if switch == Switch::Down {
            if let Some(open) = listening.take() {
                open.close().await;
            }
        } else if listening.is_none() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
            *listening = Some(self.behaviour.clone().listen(listener));
        }
        let stored = &self.behaviour.switch;
        stored.store(switch as u8, Ordering::Relaxed);
        Ok(())
    }
}

impl Behaviour {
    fn listen(self: Arc<Self>, listener: TcpListener) -> Listening {
        Listening::start(listener, move |request| {
            let behaviour = self.clone();
            async move { behaviour.answer(request).await }
        })
    }

    fn switch(&self) -> Switch {
        Switch::ALL[usize::from(self.switch.load(Ordering::Relaxed))]
    }

    async fn answer(&self, request: Request) -> Response<Body> {
        let number = self.hits.fetch_add(1, Ordering::Relaxed);
        let switch = self.switch();
        let extra = match switch {
            Switch::Slow => SLOWNESS,
            Switch::Up | Switch::Down | Switch::Broken => Duration::ZERO,
        };
        tokio::time::sleep(latency(self.service, number) + extra).await;
        match switch {
            Switch::Broken => broken(number),
            Switch::Up | Switch::Down | Switch::Slow => {
                serve::respond((self.service.answer)(&self.shop, &request))
            }
        }
    }
}

fn broken(number: u64) -> Response<Body> {
    match number % 3 {
        0 => serve::respond(Answer::refuse(500, "broken on purpose")),
        1 => serve::cut_short(),
        _ => serve::not_json(),
    }
}

/// How long the answer to a service's request of this number takes.
fn latency(service: &Service, number: u64) -> Duration {
    let seed = SEED ^ (u64::from(service.port) << 32) ^ number;
    let milliseconds = fastrand::Rng::with_seed(seed).u64(service.latency.clone());
    Duration::from_millis(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::services::ALL;

    #[test]
    fn latency_is_within_its_range_and_the_same_every_time() {
        for service in &ALL {
            let times: Vec<Duration> = (0..200).map(|number| latency(service, number)).collect();
            let again: Vec<Duration> = (0..200).map(|number| latency(service, number)).collect();
            assert_eq!(times, again);
            let range = Duration::from_millis(*service.latency.start())
                ..=Duration::from_millis(*service.latency.end());
            assert!(
                times.iter().all(|time| range.contains(time)),
                "{}",
                service.name
            );
            assert!(
                times.iter().any(|time| *time != times[0]),
                "{}",
                service.name
            );
        }
    }

    #[test]
    fn every_switch_is_found_by_its_name() {
        for (place, switch) in Switch::ALL.into_iter().enumerate() {
            assert_eq!(switch as usize, place);
            assert_eq!(Switch::named(switch.name()), Some(switch));
        }
        assert_eq!(Switch::named("off"), None);
    }
}
