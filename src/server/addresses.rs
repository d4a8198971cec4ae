//! How many connections each client address has open.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections by address. There are never more addresses than connections.
#[derive(Debug, Default)]
pub struct Addresses {
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    /// Counts one more connection of `peer`, unless it has `most` already.
    pub fn take(self: &Arc<Addresses>, peer: IpAddr, most: Option<usize>) -> Option<Place> {
        let address = one_client(peer);
        let mut open = self.lock();
        let before = open.get(&address).copied().unwrap_or(0);
        if most.is_some_and(|most| before >= most) {
            return None;
        }
        open.insert(address, before + 1);
        Some(Place {
            addresses: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection, until it is dropped.
#[derive(Debug)]
pub struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.addresses.lock();
        let Some(count) = open.get_mut(&self.address) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            open.remove(&self.address);
        }
    }
}

/// Of IPv6 a /64: that much the smallest customer has.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_no_more() {
        let addresses = Arc::new(Addresses::default());
        let take = |peer: &str| addresses.take(peer.parse().unwrap(), Some(2));
        let first = take("1.2.3.4");
        let mapped = take("::ffff:1.2.3.4");
        assert!(first.is_some() && mapped.is_some());
        assert!(take("1.2.3.4").is_none());
        let other = take("1.2.3.5");
        assert!(other.is_some());
        drop(first);
        let again = take("1.2.3.4");
        assert!(again.is_some());
        let any = addresses.take("1.2.3.4".parse().unwrap(), None);
        assert!(any.is_some());
        drop((mapped, other, again, any));
        assert!(addresses.lock().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let addresses = Arc::new(Addresses::default());
        let take = |peer: &str| addresses.take(peer.parse().unwrap(), Some(1));
        let first = take("2001:db8:0:1::1");
        assert!(first.is_some());
        assert!(take("2001:db8:0:1:ffff::2").is_none());
        assert!(take("2001:db8:0:2::1").is_some());
    }
}
