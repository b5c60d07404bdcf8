//! What was written while the wall clock was doubtful, and how it is put right once the clock's error is known.

use jiff::{SignedDuration, Timestamp};

use super::rollup::Accounts;

/// The drift is the same while it differs by less than this: clocks are also slewed.
const SAME: SignedDuration = SignedDuration::from_secs(2);

/// Stretches remembered at most; of earlier ones the marks stay.
const STRETCHES: usize = 16;

/// Hours of services remembered in a stretch at most: two weeks of six.
const ACCOUNTS: usize = 2_000;

/// The doubtful stretches of this run.
#[derive(Debug, Default)]
pub(super) struct Doubts(Vec<Stretch>);

/// A stretch of doubtful time in which the wall clock did not jump.
#[derive(Debug)]
struct Stretch {
    drift: SignedDuration,
    from: Timestamp,
    to: Timestamp,
    accounts: Accounts,
}

/// Marked beats and events in `from..=to` are to be moved by `shift`, and what they came to with them.
#[derive(Clone, Debug)]
pub(super) struct Correction {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) shift: SignedDuration,
    pub(super) accounts: Accounts,
}

impl Doubts {
    /// Notes something made at a doubtful time, and what it came to.
    pub(super) fn note(&mut self, now: Timestamp, drift: SignedDuration, accounts: &Accounts) {
        let is_new = self
            .0
            .last()
            .is_none_or(|last| (last.drift - drift).abs() >= SAME);
        if is_new {
            if self.0.len() == STRETCHES {
                self.0.remove(0);
            }
            self.0.push(Stretch {
                drift,
                from: now,
                to: now,
                accounts: Accounts::default(),
            });
        }
        if let Some(last) = self.0.last_mut() {
            last.from = last.from.min(now);
            last.to = last.to.max(now);
            last.accounts.add(accounts);
            // A board whose clock nobody ever keeps must not remember for years: what is older stays where it is.
            while last.accounts.0.len() > ACCOUNTS {
                last.accounts.0.pop_first();
            }
        }
    }

    /// The clock is right now, and has moved by `drift` since the start: how to put right what was written before.
    pub(super) fn resolve(&mut self, drift: SignedDuration) -> Vec<Correction> {
        let stretches = std::mem::take(&mut self.0);
        let corrections = stretches.into_iter().map(|stretch| Correction {
            from: stretch.from,
            to: stretch.to,
            shift: drift - stretch.drift,
            accounts: stretch.accounts,
        });
        corrections.collect()
    }
}

impl Correction {
    /// A marked time, put right; `None`: it is not of this stretch.
    pub(super) fn corrected(&self, at: Timestamp) -> Option<Timestamp> {
        let is_ours = (self.from..=self.to).contains(&at);
        is_ours.then(|| at.saturating_add(self.shift).unwrap_or(at))
    }

    /// What was accounted for, at the hours where it belongs.
    pub(super) fn moved_accounts(&self) -> Accounts {
        let mut moved = Accounts::default();
        let hours = self.shift.as_secs().div_euclid(3600);
        let rest = self.shift.as_secs().rem_euclid(3600);
        // Whole hours are moved: by how much of an hour each part would go further is not known any more.
        let hours = if rest >= 1800 { hours + 1 } else { hours };
        for ((hour, service), rollup) in &self.accounts.0 {
            moved
                .0
                .entry((hour.saturating_add(hours), service.clone()))
                .or_default()
                .add(rollup);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::service::{Service, Status};
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[test]
    fn each_stretch_is_moved_by_the_error_it_was_made_with() {
        let mut doubts = Doubts::default();
        let none = Accounts::default();
        doubts.note(at(100), SignedDuration::ZERO, &none);
        doubts.note(at(160), SignedDuration::from_millis(900), &none);
        // Somebody set the clock by hand, a day ahead of the truth.
        let by_hand = SignedDuration::from_secs(1_000_000);
        doubts.note(at(1_000_200), by_hand, &none);
        let truth = SignedDuration::from_secs(913_600);
        let corrections = doubts.resolve(truth);
        assert_eq!(corrections.len(), 2);
        assert_eq!(corrections[0].corrected(at(130)), Some(at(913_730)));
        assert_eq!(corrections[0].corrected(at(161)), None);
        assert_eq!(corrections[1].corrected(at(1_000_200)), Some(at(913_800)));
        assert!(doubts.resolve(truth).is_empty(), "once is enough");
    }

    #[test]
    fn a_board_whose_clock_nobody_keeps_remembers_no_more_than_some_weeks() {
        let mut doubts = Doubts::default();
        for hour in 0..10_000 {
            let mut accounts = Accounts::default();
            let until = at(hour * 3600 + 60);
            accounts.note(
                &Service::LIBRARIAN,
                &Status::Up,
                until,
                Duration::from_secs(60),
            );
            doubts.note(until, SignedDuration::ZERO, &accounts);
        }
        let corrections = doubts.resolve(SignedDuration::from_secs(7_200));
        assert_eq!(corrections.len(), 1);
        let moved = corrections[0].moved_accounts();
        assert_eq!(moved.0.len(), ACCOUNTS);
        let last = moved.0.last_key_value().map(|((hour, _), _)| *hour);
        assert_eq!(last, Some(10_001), "two hours later than they were");
    }
}
