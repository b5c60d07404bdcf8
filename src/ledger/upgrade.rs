//! A ledger of an earlier format is brought up to date when it is opened: in one transaction, so that a cut leaves it as it was.

use redb::{ReadableDatabase, TableHandle};

use super::commit::Books;
use super::error::Trouble;
use super::file::Opened;
use super::store::begin;
use super::tables;

/// The tables of format 1, all but those that stay as they are. The types of most are not known any more, and need not be.
const TABLES_OF_1: [&str; 10] = [
    "assets",
    "intents",
    "meta",
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
        if TABLES_OF_1.contains(&table.name()) {
            txn.delete_table(table)?;
        }
    }
    tables::create_all(&txn)?;
    let told = before.open_table(tables::META_OF_1)?;
    for name in ["next_id", "created", "probed"] {
        if let Some(number) = told.get(name)? {
            tables::set_number(&mut txn.open_table(tables::META)?, name, number.value())?;
        }
    }
    for (from, to) in tables::ROWS_OF_1
        .into_iter()
        .zip([tables::ASSETS, tables::INTENTS])
    {
        let mut to = txn.open_table(to)?;
        for row in before.open_table(from)?.range::<u64>(..)? {
            let (id, row) = row?;
            to.insert(tables::id_key(id.value()).as_slice(), row.value())?;
        }
    }
    let mut books = Books::open(&txn)?;
    books.derive_all(&before)?;
    books.close(jiff::Timestamp::UNIX_EPOCH)?;
    txn.commit()?;
    log::info!("the ledger is up to date");
    Ok(())
}
