//! Who is signed in: a few browsers, each by a random id in a cookie. In memory only, so a restart signs everybody out.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::password::{made_token, sum};

/// Browsers signed in at a time; a further one signs out the one that was away longest.
const SIGNED_IN: usize = 64;

/// A browser that was away so long is signed out: 30 days.
const IDLE: Duration = Duration::from_secs(30 * 86_400);

/// What is kept of an id: an id itself is known to its browser alone.
pub type Session = [u8; 32];

/// The sessions, in the order of their last use.
#[derive(Debug, Default)]
pub struct Sessions {
    used: VecDeque<(Session, Instant)>,
}

impl Sessions {
    /// Begins one; gives its id. It is always a new one: an id that a client brings is never taken on.
    pub fn begin(&mut self, now: Instant) -> io::Result<String> {
        let id = made_token()?;
        self.drop_idle(now);
        if self.used.len() >= SIGNED_IN {
            self.used.pop_front();
        }
        self.used.push_back((sum(&id), now));
        Ok(id)
    }

    /// The session with this id, which is used now.
    pub fn used(&mut self, id: &str, now: Instant) -> Option<Session> {
        self.drop_idle(now);
        let session = sum(id);
        let at = self.used.iter().position(|(known, _)| *known == session)?;
        self.used.remove(at);
        self.used.push_back((session, now));
        Some(session)
    }

    /// Ends the one with this id.
    pub fn end(&mut self, id: &str) {
        let session = sum(id);
        self.used.retain(|(known, _)| *known != session);
    }

    /// Ends all.
    pub fn end_all(&mut self) {
        self.used.clear();
    }

    fn drop_idle(&mut self, now: Instant) {
        self.used
            .retain(|(_, last)| now.saturating_duration_since(*last) < IDLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_while_it_is_used_and_30_days_longer() {
        let (mut sessions, mut now) = (Sessions::default(), Instant::now());
        let id = sessions.begin(now).unwrap();
        let day = Duration::from_secs(86_400);
        for _ in 0..3 {
            now += day * 29;
            assert!(sessions.used(&id, now).is_some());
        }
        now += day * 30;
        assert_eq!(sessions.used(&id, now), None);
    }

    #[test]
    fn a_session_that_was_ended_is_unknown_and_the_others_go_on() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (one, other) = (sessions.begin(now).unwrap(), sessions.begin(now).unwrap());
        assert_ne!(one, other);
        sessions.end(&one);
        assert_eq!(sessions.used(&one, now), None);
        assert!(sessions.used(&other, now).is_some());
        sessions.end_all();
        assert_eq!(sessions.used(&other, now), None);
        assert_eq!(sessions.used("", now), None);
    }

    #[test]
    fn there_are_64_at_most_and_the_one_that_was_away_longest_goes() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let ids: Vec<_> = (0..SIGNED_IN)
            .map(|_| sessions.begin(now).unwrap())
            .collect();
        assert!(sessions.used(&ids[0], now).is_some());
        sessions.begin(now).unwrap();
        assert!(sessions.used(&ids[0], now).is_some());
        assert_eq!(sessions.used(&ids[1], now), None);
        assert_eq!(sessions.used.len(), SIGNED_IN);
    }
}
