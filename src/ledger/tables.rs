//! The tables, their keys, and how a row is found through the look-up table.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use sha2::{Digest, Sha256};

use super::error::Trouble;
use super::record::decode_asset;
use crate::asset::{Asset, AssetId, FileHash, Kind, shot_key};

/// The format of the ledgers written now; see FORMAT.md.
pub const FORMAT: u64 = 2;

/// All tables but the two of pairs of numbers have one type: each further pair of types is 30 KB of program.
pub(super) type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) const ASSETS: Bytes = TableDefinition::new("rows");
pub(super) const INTENTS: Bytes = TableDefinition::new("promises");
pub(super) const LOOKUP: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("lookup");
/// (moment of capture, id): see [`super::facets::moment`].
pub(super) const BY_TIME: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("by_time");
/// One queue for each stage, in the order of `Stage::ALL`: ids are appended at the end, so that pages fill up. The values are empty.
pub(super) const WAITING: [Bytes; 4] = [
    TableDefinition::new("waiting_geocode"),
    TableDefinition::new("waiting_thumbnail"),
    TableDefinition::new("waiting_face_scan"),
    TableDefinition::new("waiting_backup"),
];
pub(super) const LEFT: Bytes = TableDefinition::new("left");
/// Milliseconds since 1970 counted down, in eight bytes, and the inbox path: the newest first. The values are empty.
pub(super) const PROBLEMS: Bytes = TableDefinition::new("unsolved");
pub(super) const TOTALS: Bytes = TableDefinition::new("sums");
pub(super) const META: Bytes = TableDefinition::new("about");
/// Where ledgers of format 1 said so.
pub(super) const META_OF_1: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Their rows.
pub(super) const ROWS_OF_1: [TableDefinition<'_, u64, &[u8]>; 2] = [
    TableDefinition::new("assets"),
    TableDefinition::new("intents"),
];

/// Such a table, open for writing.
pub(super) type ByteTable<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

/// Makes all tables in an empty database.
pub(super) fn create_all(txn: &WriteTransaction) -> Result<(), Trouble> {
    txn.open_table(ASSETS)?;
    txn.open_table(INTENTS)?;
    txn.open_table(LOOKUP)?;
    txn.open_table(LEFT)?;
    create_derived(txn)?;
    let mut meta = txn.open_table(META)?;
    set_number(&mut meta, "format", FORMAT)?;
    set_number(&mut meta, "next_id", 1)?;
    Ok(())
}

/// Makes the tables that follow from the others.
pub(super) fn create_derived(txn: &WriteTransaction) -> Result<(), Trouble> {
    txn.open_table(BY_TIME)?;
    for todo in WAITING {
        txn.open_table(todo)?;
    }
    txn.open_table(PROBLEMS)?;
    txn.open_table(TOTALS)?;
    Ok(())
}

/// The key of an id: as it sorts.
pub(super) fn id_key(id: u64) -> [u8; 8] {
    id.to_be_bytes()
}

/// The number in a key or a value of eight bytes.
pub(super) fn number_in(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// A number by its name; 0 where there is none.
pub(super) fn number(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    name: &str,
) -> Result<u64, Trouble> {
    Ok(table
        .get(name.as_bytes())?
        .map_or(0, |number| number_in(number.value())))
}

pub(super) fn set_number(
    table: &mut ByteTable<'_>,
    name: &str,
    number: u64,
) -> Result<(), Trouble> {
    table.insert(name.as_bytes(), number.to_be_bytes().as_slice())?;
    Ok(())
}

/// The format of a ledger, which must be known here.
pub(super) fn format_of(txn: &ReadTransaction) -> Result<u64, Trouble> {
    let format = match txn.open_table(META) {
        Ok(meta) => number(&meta, "format")?,
        Err(redb::TableError::Storage(error)) => return Err(error.into()),
        Err(_) => match txn.open_table(META_OF_1) {
            Ok(meta) => meta.get("format")?.map_or(0, |format| format.value()),
            Err(redb::TableError::Storage(error)) => return Err(error.into()),
            Err(_) => return Err(Trouble::Foreign),
        },
    };
    match format {
        0 => Err(Trouble::Foreign),
        1..=FORMAT => Ok(format),
        _ => Err(Trouble::Newer {
            format,
            known: FORMAT,
        }),
    }
}

/// Checks that this is a ledger of the present format, with all its tables.
pub(super) fn check_all(txn: &ReadTransaction) -> Result<(), Trouble> {
    if format_of(txn)? != FORMAT {
        return Err(Trouble::Foreign);
    }
    txn.open_table(ASSETS)?;
    txn.open_table(INTENTS)?;
    txn.open_table(LOOKUP)?;
    txn.open_table(BY_TIME)?;
    for todo in WAITING {
        txn.open_table(todo)?;
    }
    txn.open_table(LEFT)?;
    txn.open_table(PROBLEMS)?;
    txn.open_table(TOTALS)?;
    Ok(())
}

/// What rows are looked up by. The look-up table holds only a digest, so every hit is held against the row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// The content of anything but a sidecar.
    Content(FileHash),
    /// The content of a sidecar, with the photo it belongs to: equal sidecars of two photos are two files.
    Sidecar(Option<AssetId>, FileHash),
    /// `asset::shot_key` of the inbox path.
    Shot(Vec<u8>),
    /// The final path in lower case: Storage may be a disk that takes no heed of case.
    FinalPath(Vec<u8>),
    /// Apple's `ContentIdentifier`.
    ContentId(String),
    /// The row it is paired with.
    PairedWith(AssetId),
}

impl Key {
    /// The key by which the same content is found again.
    pub(super) fn identity(kind: Kind, paired_with: Option<AssetId>, hash: FileHash) -> Self {
        if kind == Kind::Sidecar {
            Self::Sidecar(paired_with, hash)
        } else {
            Self::Content(hash)
        }
    }

    /// The key of a final path.
    pub(super) fn final_path(path: &Path) -> Self {
        Self::FinalPath(folded(path.as_os_str()))
    }

    /// Every key by which an asset is found.
    pub(super) fn all_of(asset: &Asset) -> Vec<Self> {
        let mut keys = vec![
            Self::identity(asset.kind, asset.paired_with, asset.file_hash),
            Self::Shot(shot_key(&asset.inbox_path)),
            Self::final_path(&asset.final_path),
        ];
        keys.extend(asset.content_id.clone().map(Self::ContentId));
        keys.extend(asset.paired_with.map(Self::PairedWith));
        keys
    }

    /// The first eight bytes of SHA-256 over a tag and the key.
    pub(super) fn digest(&self) -> u64 {
        let sum = Sha256::new();
        let sum = match self {
            Self::Content(hash) => sum.chain_update([1]).chain_update(hash.0),
            Self::Sidecar(leader, hash) => sum
                .chain_update([2])
                .chain_update(leader.map_or(0, |id| id.0).to_be_bytes())
                .chain_update(hash.0),
            Self::Shot(key) => sum.chain_update([3]).chain_update(key),
            Self::FinalPath(key) => sum.chain_update([4]).chain_update(key),
            Self::ContentId(key) => sum.chain_update([5]).chain_update(key),
            Self::PairedWith(id) => sum.chain_update([6]).chain_update(id.0.to_be_bytes()),
        };
        let sum: [u8; 32] = sum.finalize().into();
        sum.first_chunk()
            .map_or(0, |first| u64::from_be_bytes(*first))
    }

    pub(super) fn fits(&self, asset: &Asset) -> bool {
        match self {
            Self::Content(hash) => asset.kind != Kind::Sidecar && asset.file_hash == *hash,
            Self::Sidecar(leader, hash) => {
                asset.kind == Kind::Sidecar
                    && asset.paired_with == *leader
                    && asset.file_hash == *hash
            }
            Self::Shot(key) => shot_key(&asset.inbox_path) == *key,
            Self::FinalPath(_) => Self::final_path(&asset.final_path) == *self,
            Self::ContentId(key) => asset.content_id.as_ref() == Some(key),
            Self::PairedWith(id) => asset.paired_with == Some(*id),
        }
    }
}

/// A name in lower case; of one that is no UTF-8, only the ASCII letters.
pub(super) fn folded(name: &OsStr) -> Vec<u8> {
    name.to_str().map_or_else(
        || name.as_bytes().to_ascii_lowercase(),
        |name| name.to_lowercase().into_bytes(),
    )
}

/// The row of an id, from `assets` or `intents`.
pub(super) fn row(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    id: u64,
) -> Result<Option<Asset>, Trouble> {
    table
        .get(id_key(id).as_slice())?
        .map(|bytes| decode_asset(id, bytes.value()))
        .transpose()
}

/// The rows of `table` with that key, by id. The look-up table leads to assets and intents alike; the ids that are not
/// in `table` are passed over.
pub(super) fn find(
    lookup: &impl ReadableTable<(u64, u64), ()>,
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &Key,
) -> Result<Vec<Asset>, Trouble> {
    let digest = key.digest();
    let mut found = Vec::new();
    for entry in lookup.range((digest, 0)..=(digest, u64::MAX))? {
        let (_, id) = entry?.0.value();
        found.extend(row(table, id)?.filter(|asset| key.fits(asset)));
    }
    Ok(found)
}

/// A day as it sorts: 20240131.
pub(super) fn day_number(day: Date) -> u32 {
    let number =
        i32::from(day.year()) * 10_000 + i32::from(day.month()) * 100 + i32::from(day.day());
    u32::try_from(number).unwrap_or_default()
}

/// The day of such a number.
pub(super) fn day_of_number(number: u32) -> Option<Date> {
    let year = i16::try_from(number / 10_000).ok()?;
    let month = i8::try_from(number / 100 % 100).ok()?;
    let day = i8::try_from(number % 100).ok()?;
    Date::new(year, month, day).ok()
}

/// The key in [`PROBLEMS`] of a file that was left at that time.
pub(super) fn problem_key(since: Timestamp, inbox_path: &Path) -> Vec<u8> {
    let up = since.as_millisecond().cast_unsigned() ^ (1 << 63);
    [&(!up).to_be_bytes(), inbox_path.as_os_str().as_bytes()].concat()
}

/// The inbox path in such a key.
pub(super) fn path_in_problem(key: &[u8]) -> &[u8] {
    key.get(8..).unwrap_or_default()
}
