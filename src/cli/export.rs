//! `export`: the ledger as JSON lines or CSV. Asks the running appliance, else opens the ledger.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::dashboard::client::{self, Answer, AskError};
use crate::dashboard::export::{ExportError, Format, write_rows};
use crate::ledger::{Ledger, LedgerError};

/// Why there is no export, or only a part.
#[derive(Debug)]
pub enum ExportFailure {
    /// The running appliance did not answer to the end.
    Asking(AskError),
    /// The ledger could not be opened.
    Opening(LedgerError),
    /// There is no ledger.
    NoLedger(PathBuf),
    /// A row could not be read or written.
    Rows(ExportError),
}

impl fmt::Display for ExportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking(error) => error.fmt(f),
            Self::Opening(error) => error.fmt(f),
            Self::NoLedger(data) => write!(
                f,
                "there is no ledger in {}: nothing has been filed yet, or --root names another folder",
                data.display()
            ),
            Self::Rows(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ExportFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Asking(error) => Some(error),
            Self::Opening(error) => Some(error),
            Self::NoLedger(_) => None,
            Self::Rows(error) => Some(error),
        }
    }
}

/// Writes every row of the ledger in this data folder. A reader that has seen enough (`| head`) is a quiet end.
pub fn export(data: &Path, csv: bool, out: &mut dyn Write) -> Result<(), ExportFailure> {
    let format = if csv { Format::Csv } else { Format::JsonLines };
    match rows(data, format, &mut BufWriter::new(out)) {
        Err(
            ExportFailure::Asking(AskError::Writing(error))
            | ExportFailure::Rows(ExportError::Writing(error)),
        ) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn rows(data: &Path, format: Format, out: &mut dyn Write) -> Result<(), ExportFailure> {
    if asked(data, format, out)? == Answer::NotRunning {
        match Ledger::open_existing(data) {
            // Whoever has it open may be an appliance that was starting: by now it answers.
            Err(LedgerError::InUse { .. }) if asked(data, format, out)? == Answer::Done => {}
            opened => {
                let ledger = opened.map_err(ExportFailure::Opening)?;
                let ledger = ledger.ok_or_else(|| ExportFailure::NoLedger(data.to_owned()))?;
                write_rows(&ledger, format, out).map_err(ExportFailure::Rows)?;
                if let Some(notice) = ledger.journal_notice() {
                    eprintln!("photo-factory: this is not all: {notice}");
                }
                return Ok(());
            }
        }
    }
    out.flush()
        .map_err(|error| ExportFailure::Asking(AskError::Writing(error)))
}

fn asked(data: &Path, format: Format, out: &mut dyn Write) -> Result<Answer, ExportFailure> {
    client::ask(data, format.route(), out).map_err(ExportFailure::Asking)
}
