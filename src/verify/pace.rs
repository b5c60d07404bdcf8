//! How fast may be read: a bucket of bytes that fills at a steady rate. Pure: the time is handed in.

use std::time::{Duration, Instant};

/// Shorter waits are gathered: a thread that wakes for each piece wakes a small board a hundred times a second.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// A limit of bytes per second.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    bytes_per_second: f64,
    /// Until when the bytes that were read are paid for; what was not used before is not saved up.
    paid_until: Option<Instant>,
}

impl Pace {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        bytes_per_second: f64::INFINITY,
        paid_until: None,
    };

    /// A limit of so many millions of bytes a second.
    pub fn megabytes_per_second(limit: f64) -> Self {
        Self {
            bytes_per_second: limit * 1e6,
            paid_until: None,
        }
    }

    /// Notes bytes that were read, and says how long to wait before more are.
    pub fn after(&mut self, bytes: u64, now: Instant) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "pieces of a file")]
        let seconds = bytes as f64 / self.bytes_per_second;
        let price = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
        let paid_until = self.paid_until.map_or(now, |paid| paid.max(now)) + price;
        self.paid_until = Some(paid_until);
        let wait = paid_until.saturating_duration_since(now);
        if wait < SHORTEST_WAIT {
            Duration::ZERO
        } else {
            wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_in_a_second_is_the_limit_and_idle_time_is_not_saved_up() {
        let mut pace = Pace::megabytes_per_second(1.0);
        let start = Instant::now();
        let mut now = start + Duration::from_secs(100);
        let mut read = 0_u64;
        while now < start + Duration::from_secs(110) {
            read += 64_000;
            now += pace.after(64_000, now).max(Duration::from_micros(1));
        }
        assert!((9_900_000..=10_200_000).contains(&read), "{read} bytes");
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut pace = Pace::UNLIMITED;
        assert_eq!(pace.after(u64::MAX, Instant::now()), Duration::ZERO);
    }
}
