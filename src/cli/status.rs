//! `status`: what the page says, in text or JSON. Asks the running appliance, else opens the files.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::dashboard::client::{self, Answer, AskError};
use crate::dashboard::overview::{Activity, Overview};
use crate::dashboard::text::text;
use crate::ledger::{Ledger, LedgerError};
use crate::monitor;

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

/// Writes the status of the factory with this data folder. Nothing is made and nothing changed where nothing runs.
pub fn status(
    data: &Path,
    json: bool,
    now: Timestamp,
    zone: TimeZone,
    out: &mut dyn Write,
) -> Result<(), StatusError> {
    let route = if json {
        "/api/v1/status"
    } else {
        "/status.txt"
    };
    let mut answer = Vec::new();
    if client::ask(data, route, &mut answer).map_err(StatusError::Asking)? == Answer::NotRunning {
        let ledger = Ledger::open_existing(data).map_err(StatusError::Opening)?;
        let overview = Overview::gather(
            ledger.as_ref(),
            monitor::rows_on_disk(data),
            Activity::not_running(),
            now,
            zone,
        );
        answer = if json {
            format!("{:#}\n", overview.json()).into_bytes()
        } else {
            text(&overview).into_bytes()
        };
    }
    match out.write_all(&answer).and_then(|()| out.flush()) {
        // The reader has seen enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(StatusError::Writing),
    }
}
