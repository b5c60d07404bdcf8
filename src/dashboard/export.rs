//! The ledger's rows as JSON lines or CSV, written as they are read: 500 at a time, whatever the ledger's size.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::Value;

use crate::asset::{Asset, AssetId};
use crate::ledger::{Ledger, LedgerError};
use crate::verify::row;

/// Rows read at a time. No transaction is held while they are written: the reader may be slow.
const ROWS: usize = 500;

/// Rows that [`originals_from`] gives at a time: of each, less is kept than of an export's.
const ORIGINALS: usize = 4000;

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// One JSON object per line.
    JsonLines,
    /// RFC 4180, with a header.
    Csv,
}

impl Format {
    /// The route that gives it.
    pub fn route(self) -> &'static str {
        match self {
            Self::JsonLines => "/export",
            Self::Csv => "/export.csv",
        }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/jsonl; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// Why an export ended early.
#[derive(Debug)]
pub enum ExportError {
    /// The ledger could not be read.
    Reading(LedgerError),
    /// The rows could not be written: the reader went away, or its disk is full.
    Writing(io::Error),
    /// The ledger was closed while rows were written.
    Closed,
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading(error) => write!(
                f,
                "the export is not complete, the ledger could not be read: {error}"
            ),
            Self::Writing(error) => write!(f, "writing the export: {error}"),
            Self::Closed => write!(
                f,
                "the export ended early because Photo Factory is stopping; run it again"
            ),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Reading(error) => Some(error),
            Self::Writing(error) => Some(error),
            Self::Closed => None,
        }
    }
}

/// Writes every row, in the order of ids.
pub fn write_rows(
    ledger: &Ledger,
    format: Format,
    sink: &mut dyn Write,
) -> Result<(), ExportError> {
    write_pages(&mut |from| read_page(ledger, from), format, sink)
}

/// The next rows, for [`write_pages`]. While the ledger is down: those of the journal, and after the last the error.
pub fn read_page(ledger: &Ledger, from: AssetId) -> Result<Vec<Asset>, ExportError> {
    ledger.page(from, ROWS).or_else(|error| {
        let rows = ledger.journaled(from, ROWS);
        if rows.is_empty() {
            return Err(ExportError::Reading(error));
        }
        Ok(rows)
    })
}

/// What `verify` needs of the next rows from that id on, one line each; nothing where there are no more.
pub fn originals_from(ledger: &Ledger, from: AssetId) -> Result<String, LedgerError> {
    let rows = ledger.page(from, ORIGINALS)?;
    Ok(rows.iter().map(|row| row::to_line(&row.into())).collect())
}

/// The same of the rows that stand at these paths, are on their way there, or wait in the journal.
pub fn originals_at(ledger: &Ledger, paths: &[PathBuf]) -> Result<String, LedgerError> {
    // In the order in which a file goes from one to the next, or it might be missed in between.
    let mut found = ledger.intents()?;
    found.extend(ledger.journaled(AssetId(0), usize::MAX));
    for path in paths {
        found.extend(ledger.by_final_path(path)?);
    }
    let at_paths = found.iter().filter(|row| paths.contains(&row.final_path));
    Ok(at_paths.map(|row| row::to_line(&row.into())).collect())
}

/// Writes the rows that `page` hands out (those with this id and above, ascending; none: the end).
pub fn write_pages(
    page: &mut dyn FnMut(AssetId) -> Result<Vec<Asset>, ExportError>,
    format: Format,
    sink: &mut dyn Write,
) -> Result<(), ExportError> {
    let mut from = AssetId(0);
    let mut needs_header = format == Format::Csv;
    loop {
        let rows = page(from)?;
        let mut text = String::new();
        if needs_header {
            text.push_str(&csv_header());
            needs_header = false;
        }
        for row in &rows {
            match format {
                Format::JsonLines => {
                    text.push_str(&row.to_json().to_string());
                    text.push('\n');
                }
                Format::Csv => text.push_str(&csv_line(
                    row.fields().iter().map(|(_, value)| csv_text(value)),
                )),
            }
        }
        sink.write_all(text.as_bytes())
            .map_err(ExportError::Writing)?;
        match rows.last() {
            Some(last) => from = AssetId(last.id.0 + 1),
            None => return sink.flush().map_err(ExportError::Writing),
        }
    }
}

/// The header: the names of [`Asset::fields`].
fn csv_header() -> String {
    csv_line(Asset::FIELD_NAMES.iter().map(|&name| name.to_owned()))
}

fn csv_line(fields: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = fields.map(|field| csv_quoted(&field)).collect();
    format!("{}\r\n", quoted.join(","))
}

fn csv_quoted(field: &str) -> String {
    let needs_quotes =
        field.contains([',', '"', '\r', '\n']) || field.starts_with(' ') || field.ends_with(' ');
    if needs_quotes {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// One field: null is empty, errors are joined by `; `, a place reads `name, admin1, country_code`.
fn csv_text(value: &Value) -> String {
    let joined = |parts: &mut dyn Iterator<Item = &Value>, between| {
        let parts: Vec<String> = parts.map(csv_text).collect();
        parts.join(between)
    };
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(errors) => joined(&mut errors.iter(), "; "),
        Value::Object(place) => joined(&mut place.values(), ", "),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
