//! Who typed a wrong password, and how long that network waits before the next try. No clock of its own.
//!
//! Three tries are free; then each wrong one doubles the wait, from one second to a quarter of an hour. Networks are counted
//! apart: nobody can lock the owner out from another address.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::dashboard::gate::slots::network;

/// Wrong tries that cost no wait.
const FREE: u32 = 3;

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(900);

/// Networks remembered; past that, the one whose last wrong try is the oldest goes.
const REMEMBERED: usize = 1024;

/// The wrong tries of every network.
#[derive(Debug, Default)]
pub struct Tries {
    wrong: Vec<Wrong>,
}

#[derive(Debug)]
struct Wrong {
    network: IpAddr,
    count: u32,
    last: Instant,
}

impl Tries {
    /// How long this address has to wait; `None`: it may try.
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let wrong = self.of(network(address))?;
        let left = pause(wrong.count).saturating_sub(now.saturating_duration_since(wrong.last));
        Some(left).filter(|left| !left.is_zero())
    }

    /// Counts a wrong try; gives how many there were, and how long to wait.
    pub fn note_wrong(&mut self, address: IpAddr, now: Instant) -> (u32, Duration) {
        let network = network(address);
        let count = self.of(network).map_or(0, |wrong| wrong.count);
        let count = count.saturating_add(1);
        self.wrong.retain(|wrong| wrong.network != network);
        if self.wrong.len() >= REMEMBERED {
            self.wrong.remove(0);
        }
        // The order is that of the last wrong try.
        self.wrong.push(Wrong {
            network,
            count,
            last: now,
        });
        (count, pause(count))
    }

    /// Forgets this address's wrong tries: it typed the right one.
    pub fn clear(&mut self, address: IpAddr) {
        let network = network(address);
        self.wrong.retain(|wrong| wrong.network != network);
    }

    fn of(&self, network: IpAddr) -> Option<&Wrong> {
        self.wrong.iter().find(|wrong| wrong.network == network)
    }
}

/// After so many wrong tries.
fn pause(count: u32) -> Duration {
    match count.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(more) => LONGEST.min(Duration::from_secs(1 << more.min(10))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn after_three_wrong_tries_each_further_one_doubles_the_wait() {
        let (mut tries, mut now) = (Tries::default(), Instant::now());
        let stranger = address("192.168.1.66");
        let mut waits = Vec::new();
        for _ in 0..15 {
            assert_eq!(tries.wait(stranger, now), None);
            let (_, wait) = tries.note_wrong(stranger, now);
            let left = tries.wait(stranger, now);
            assert_eq!(left.unwrap_or_default(), wait);
            waits.push(wait.as_secs());
            now += wait;
        }
        let expected = [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900];
        assert_eq!(waits, expected);
    }

    #[test]
    fn one_address_never_makes_another_wait_and_the_right_password_clears() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for _ in 0..9 {
            tries.note_wrong(address("2001:db8::66"), now);
        }
        assert!(tries.wait(address("2001:db8::67"), now).is_some());
        assert_eq!(tries.wait(address("2001:db8:0:1::66"), now), None);
        assert_eq!(tries.wait(address("192.168.1.2"), now), None);
        tries.clear(address("2001:db8::1"));
        assert_eq!(tries.wait(address("2001:db8::66"), now), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_least_recent_goes() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        let owner = address("192.168.1.2");
        let stubborn = address("192.168.1.66");
        for _ in 0..9 {
            tries.note_wrong(owner, now);
            tries.note_wrong(stubborn, now);
        }
        for number in 0..5000_u16 {
            let [high, low] = number.to_be_bytes();
            let many = IpAddr::from([10, 0, high, low]);
            tries.note_wrong(many, now);
            tries.note_wrong(stubborn, now);
        }
        assert_eq!(tries.wrong.len(), REMEMBERED);
        assert_eq!(tries.wait(owner, now), None);
        assert!(tries.wait(stubborn, now).is_some());
    }
}
