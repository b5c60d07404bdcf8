//! What a page asks for is done here, and told as a sentence for the owner.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::asset::shown;
use crate::dashboard::site::Action;
use crate::librarian::Line;
use crate::verify::asking::{Asked, Asking};

/// How long a pause is.
const PAUSE: Duration = Duration::from_secs(3600);

/// Does it. Waits for the ledger, and for no other disk.
pub(super) fn act(action: Action, line: &Line, verification: &Asking) -> String {
    match action {
        Action::Retry(path) => retry(path, line),
        Action::VerifyNow => match line.ledger.degraded() {
            Some(degraded) => format!(
                "There is nothing to hold the originals against at present. {}",
                degraded.sentence()
            ),
            None => match verification.ask() {
                Asked::Begins => "Every original is read again now and compared. Filing goes first, so it waits while photos come.",
                Asked::UnderWay => "Every original is being read again already. What is found is listed under Problems.",
                Asked::SwitchedOff => "The verification is switched off in the settings. `photo-factory verify`, typed on the machine that runs it, reads every original now.",
            }
            .to_owned(),
        },
        Action::Pause => {
            let until = (line.now)() + PAUSE;
            line.rest_until(Some(Instant::now() + PAUSE));
            log::info!("the owner pauses filing");
            format!(
                "Nothing new is taken until {}; what is under way comes to its end. Photos wait in the inbox, and nothing is lost. It goes on by itself, or with \u{201c}Go on\u{201d}.",
                hour(line, until)
            )
        }
        Action::Resume => {
            line.rest_until(None);
            log::info!("the owner lets filing go on");
            match line.trouble(Instant::now()) {
                Some(trouble) => format!("The pause is over, and yet nothing can be taken. {trouble}"),
                None => "Photos are taken again.".to_owned(),
            }
        }
    }
}

fn retry(path: Option<PathBuf>, line: &Line) -> String {
    if let Some(degraded) = line.ledger.degraded() {
        return format!(
            "What was left in the inbox cannot be looked up at present. {}",
            degraded.sentence()
        );
    }
    let name = path.as_deref().map(shown);
    let count = match smol::block_on(line.retry(path)) {
        Ok(count) => count,
        Err(error) => {
            return format!("It could not be done: {error}. Try it again when the ledger is back.");
        }
    };
    let now = Instant::now();
    let told = match (count, name) {
        (0, Some(name)) => {
            return format!(
                "{name} is no longer among the files that were left: it was taken, or has gone."
            );
        }
        (0, None) => return "No file that was left is in the inbox.".to_owned(),
        (_, Some(name)) => format!("{name} is taken again."),
        (1, None) => "One file is taken again.".to_owned(),
        (count, None) => format!("{count} files are taken again."),
    };
    let when = match (line.trouble(now), line.rests_until(now)) {
        (Some(trouble), _) => format!("That has to wait: {trouble}"),
        (None, Some(at)) => format!(
            "That has to wait: filing is paused until {}.",
            hour(line, at)
        ),
        (None, None) => {
            "What stays in spite of it is listed under Problems again, with the reason.".to_owned()
        }
    };
    format!("{told} {when}")
}

/// The time of day, on the owner's clock.
pub(super) fn hour(line: &Line, at: Timestamp) -> String {
    let at = at.to_zoned(line.config.zone.clone());
    at.strftime("%H:%M").to_string()
}
