//! `status`: what the page says, in text or JSON. Asks the running appliance, else opens the files.

use std::fmt;
use std::io::{self, Write};

use jiff::Timestamp;

use super::Ended;
use crate::config::Config;
use crate::dashboard::client::{self, Answer, AskError};
use crate::dashboard::overview::{Activity, Overview};
use crate::dashboard::text::text;
use crate::ledger::{Ledger, LedgerError};
use crate::monitor;
use crate::verify::background::Verified;

/// Why there is no status.
#[derive(Debug)]
pub enum StatusError {
    /// The running appliance did not answer.
    Asking(AskError),
    /// The ledger could not be opened.
    Opening(LedgerError),
    /// The text could not be written.
    Writing(io::Error),
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking(error) => error.fmt(f),
            Self::Opening(error) => error.fmt(f),
            Self::Writing(error) => write!(f, "writing the status: {error}"),
        }
    }
}

impl std::error::Error for StatusError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Asking(error) => Some(error),
            Self::Opening(error) => Some(error),
            Self::Writing(error) => Some(error),
        }
    }
}

/// Whether the appliance runs and its page answers. Says nothing: for what asks again and again.
pub(super) fn check(config: &Config) -> Ended {
    match client::ask(&config.data, "/healthz", &mut io::sink()) {
        Ok(Answer::Done) => Ended::Well,
        _ => Ended::CouldNotRun,
    }
}

/// Writes the status of the factory with these settings. Nothing is made and nothing changed where nothing runs.
pub fn status(
    config: &Config,
    json: bool,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), StatusError> {
    let data = &config.data;
    let route = if json {
        "/api/v1/status"
    } else {
        "/status.txt"
    };
    let mut answer = Vec::new();
    let asked =
        |answer: &mut Vec<u8>| client::ask(data, route, answer).map_err(StatusError::Asking);
    if asked(&mut answer)? == Answer::NotRunning {
        let ledger = match Ledger::open_existing(data) {
            // Whoever has it open may be an appliance that was starting: by now it answers.
            Err(LedgerError::InUse { .. }) if asked(&mut answer)? == Answer::Done => {
                return write(&answer, out);
            }
            opened => opened.map_err(StatusError::Opening)?,
        };
        let totals = ledger.as_ref().and_then(|ledger| ledger.totals().ok());
        let activity = Activity {
            verified: Verified::on_disk(config, totals.map_or(0, |totals| totals.assets)),
            ..Activity::not_running()
        };
        let overview = Overview::gather(
            ledger.as_ref(),
            monitor::rows_on_disk(data, &monitor::Settings::of(config).roster),
            monitor::Seen::default(),
            activity,
            now,
            config.zone.clone(),
        );
        answer = if json {
            format!("{:#}\n", overview.json()).into_bytes()
        } else {
            text(&overview).into_bytes()
        };
    }
    write(&answer, out)
}

fn write(answer: &[u8], out: &mut dyn Write) -> Result<(), StatusError> {
    match out.write_all(answer).and_then(|()| out.flush()) {
        // The reader has seen enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(StatusError::Writing),
    }
}
