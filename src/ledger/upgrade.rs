//! A ledger of an earlier format is brought up to date when it is opened: in one transaction, so that a cut leaves it as it was.

use redb::{ReadableDatabase, TableHandle};

use super::commit::Books;
use super::error::Trouble;
use super::file::Opened;
use super::store::begin;
use super::tables;

/// The tables of format 1 that followed from others. Their types are not known any more, and need not be: they are only removed.
const DERIVED_IN_1: [&str; 7] = [
    "by_day",
    "todo_geocode",
    "todo_thumbnail",
    "todo_face_scan",
    "todo_backup",
    "problems",
    "totals",
];

/// Whether a ledger is of an earlier format. Errors: it is of a later one, or none.
pub(super) fn is_due(database: &Opened) -> Result<bool, Trouble> {
    Ok(tables::format_of(&database.begin_read()?)? < tables::FORMAT)
}

/// Brings a ledger up to date, where it is of an earlier format: all that follows from its rows is made anew.
pub(super) fn up_to_date(database: &Opened) -> Result<(), Trouble> {
    if !is_due(database)? {
        return Ok(());
    }
    let Opened::Writing(writing) = database else {
        return Err(Trouble::Older);
    };
    log::info!(
        "the ledger is brought up to date: its tables are made anew from its rows, which takes a minute for each million on a fast machine"
    );
    let before = writing.begin_read()?;
    let txn = begin(database)?;
    for table in txn.list_tables()? {
        if DERIVED_IN_1.contains(&table.name()) {
            txn.delete_table(table)?;
        }
    }
    tables::create_derived(&txn)?;
    let mut books = Books::open(&txn)?;
    books.derive_all(&before)?;
    books.close(jiff::Timestamp::UNIX_EPOCH)?;
    txn.open_table(tables::META)?
        .insert("format", tables::FORMAT)?;
    txn.commit()?;
    log::info!("the ledger is up to date");
    Ok(())
}
