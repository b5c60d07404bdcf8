//! What systemd is told, where it started us (`sd_notify`): ready, what is done now, stopping; and its watchdog, which is fed by
//! progress. Without systemd nothing is told to anybody.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use smol::Timer;

use super::beats;
use crate::blocking::unblock;
use crate::dashboard::client::{self, Answer, AskError};
use crate::librarian::Line;

/// Without a watchdog, `systemctl status` is told what is done this often.
const TOLD_EVERY: Duration = Duration::from_secs(300);

/// The page answers, and photos can be taken.
pub(super) fn ready(url: &str) {
    let status = format!("the page is at {url}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The appliance comes to its end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Feeds the watchdog while there is progress: tasks take their turns (this one did), the page answers, and the photo line moves
/// what it has. A restart brings back no disk: while one does not answer, the page that says so must live.
pub(super) async fn report(line: Arc<Line>) {
    let watchdog = sd_notify::watchdog_enabled();
    // Three tries in the time: one that falls into a moment of heavy work is no death.
    let every = watchdog.map_or(TOLD_EVERY, |within| within / 3);
    let mut told = String::new();
    loop {
        Timer::after(every).await;
        let data = line.config.data.clone();
        let asked = unblock(move || client::ask(&data, beats::HEALTH, &mut io::sink())).await;
        let stuck = beats::stuck(&line, Instant::now());
        match hindrance(&asked, stuck) {
            Some(why) => log::error!("{why}: systemd's watchdog is not told that all is well"),
            None if watchdog.is_some() => tell(&[NotifyState::Watchdog]),
            None => {}
        }
        let status = beats::in_words(&line);
        if status != told {
            tell(&[NotifyState::Status(&status)]);
            told = status;
        }
    }
}

/// Why a restart would do good, if it would.
fn hindrance(asked: &Result<Answer, AskError>, stuck: Option<String>) -> Option<String> {
    match asked {
        Err(AskError::Asking(error))
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            Some("the page does not answer".to_owned())
        }
        // It answers, or says why not, or the socket in Data is gone while browsers still get their pages.
        _ => stuck,
    }
}

/// systemd may be away for a moment (it is being updated): what is not heard is told again soon.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("telling systemd: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_silent_or_a_line_that_is_stuck_keep_the_watchdog_hungry_and_nothing_else_does()
     {
        let silent = || Err(AskError::Asking(io::ErrorKind::WouldBlock.into()));
        let no_descriptor = || Err(AskError::Asking(io::Error::from_raw_os_error(24)));
        assert_eq!(hindrance(&Ok(Answer::Done), None), None);
        assert_eq!(hindrance(&Ok(Answer::NotRunning), None), None);
        assert_eq!(hindrance(&no_descriptor(), None), None);
        assert!(hindrance(&silent(), None).is_some());
        let stuck = Some("nothing was filed for 11 minutes".to_owned());
        assert_eq!(hindrance(&Ok(Answer::Done), stuck.clone()), stuck);
    }
}
