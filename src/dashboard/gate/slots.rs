//! Who is connected, and who has to go when there is no room: no sockets, no time.
//!
//! Nobody is refused. A connection that has sent its whole request is soon done; one that has not may never be. So those that
//! still owe it go first, the oldest first; and nobody's connections push out those of another network that has fewer.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Connections at a time in all.
const SLOTS: usize = 64;

/// Connections at a time from one network.
const SLOTS_OF_ONE: usize = 24;

/// Who counts as one: an address; with IPv6 the first 64 bits, for a single device may have all addresses below them
/// (RFC 4291, 2.5.1).
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The places of those who are connected, in the order in which they came. `T` is what ends the connection when dropped.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Place<T>>,
}

#[derive(Debug)]
struct Place<T> {
    network: IpAddr,
    owes_request: Arc<AtomicBool>,
    connection: T,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// A place for a connection from there. It takes that of the one returned where there is no room. `owes_request` is set
    /// to false by the connection itself.
    pub fn take(
        &mut self,
        address: IpAddr,
        owes_request: Arc<AtomicBool>,
        connection: T,
    ) -> Option<T> {
        let network = network(address);
        let gone = if self.count(network) >= SLOTS_OF_ONE {
            self.give_up(network)
        } else if self.places.len() >= SLOTS {
            self.shed()
        } else {
            None
        };
        self.places.push(Place {
            network,
            owes_request,
            connection,
        });
        gone
    }

    /// Gives up a connection of the network with most of them.
    pub fn shed(&mut self) -> Option<T> {
        let networks = self.places.iter().map(|place| place.network);
        let largest = networks.max_by_key(|&network| self.count(network))?;
        self.give_up(largest)
    }

    /// Forgets those that have ended.
    pub fn clear(&mut self, has_ended: impl Fn(&T) -> bool) {
        self.places.retain(|place| !has_ended(&place.connection));
    }

    fn count(&self, network: IpAddr) -> usize {
        let is_theirs = |place: &&Place<T>| place.network == network;
        self.places.iter().filter(is_theirs).count()
    }

    fn give_up(&mut self, network: IpAddr) -> Option<T> {
        let is_theirs = |place: &Place<T>| place.network == network;
        let idle =
            |place: &Place<T>| is_theirs(place) && place.owes_request.load(Ordering::Relaxed);
        let at = self.places.iter().position(idle);
        let at = at.or_else(|| self.places.iter().position(is_theirs))?;
        Some(self.places.remove(at).connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a place for connection `number`; the flag says whether its request has come.
    fn take(slots: &mut Slots<usize>, from: &str, number: usize, has_asked: bool) -> Option<usize> {
        let owes_request = Arc::new(AtomicBool::new(!has_asked));
        slots.take(from.parse().unwrap(), owes_request, number)
    }

    #[test]
    fn at_its_limit_an_addresss_oldest_that_owes_its_request_goes_and_else_its_oldest() {
        let mut slots = Slots::default();
        assert_eq!(take(&mut slots, "10.0.0.9", 1000, false), None);
        for number in 0..SLOTS_OF_ONE {
            assert_eq!(take(&mut slots, "10.0.0.1", number, number != 5), None);
        }
        assert_eq!(take(&mut slots, "10.0.0.1", 100, true), Some(5));
        assert_eq!(take(&mut slots, "10.0.0.1", 101, true), Some(0));
        assert_eq!(take(&mut slots, "10.0.0.1", 102, true), Some(1));
    }

    #[test]
    fn at_the_whole_limit_the_network_with_most_connections_gives_one_up() {
        let mut slots = Slots::default();
        assert_eq!(take(&mut slots, "10.0.0.2", 1000, false), None);
        for number in 0..SLOTS - 1 {
            let from = if number < 20 {
                "10.0.0.1".to_owned()
            } else {
                format!("10.0.1.{number}")
            };
            assert_eq!(take(&mut slots, &from, number, true), None);
        }
        assert_eq!(take(&mut slots, "10.0.0.3", 2000, false), Some(0));
        assert_eq!(slots.places.len(), SLOTS);
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_count_as_one_and_mapped_ones_as_ipv4() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1:2:3:4"), network("2001:db8::9"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }

    #[test]
    fn those_that_have_ended_hold_no_place() {
        let mut slots = Slots::default();
        for number in 0..SLOTS_OF_ONE {
            take(&mut slots, "10.0.0.1", number, false);
        }
        slots.clear(|&number| number < 4);
        assert_eq!(take(&mut slots, "10.0.0.1", 100, false), None);
        assert_eq!(slots.shed(), Some(4));
        slots.clear(|_| true);
        assert_eq!(slots.shed(), None);
    }
}
