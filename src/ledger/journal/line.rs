//! One line of the journal: a JSON object that ends in a checksum of all before it.

use serde::{Deserialize, Serialize};

use super::super::record::{decode_asset, encode_asset};
use crate::asset::{Asset, AssetId, crc32};

/// The format of the journals written now.
pub(in super::super) const FORMAT: u64 = 1;

/// What comes before and after the eight digits of the checksum.
const SUM: &str = ",\"sum\":\"";
const END: &str = "\"}";

/// What a line says.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Line {
    /// The first line of each journal.
    Begin { format: u64 },
    /// The id and the final path are claimed.
    Intend(Asset),
    /// The journal's own intent stands in Originals.
    Finish(AssetId),
    /// This file stands in Originals: an intent of the ledger's, or a file that was found there.
    File(Asset),
    /// The journal's own intent is taken back.
    Withdraw(AssetId),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "line")]
enum Stored {
    Begin { format: u64 },
    Intend(Row),
    Finish { id: u64 },
    File(Row),
    Withdraw { id: u64 },
}

/// The record is what counts; path and hash are there for people.
#[derive(Serialize, Deserialize)]
struct Row {
    id: u64,
    final_path: String,
    file_hash: String,
    record: String,
}

impl Row {
    fn of(asset: &Asset) -> Self {
        Self {
            id: asset.id.0,
            final_path: asset.final_path.to_string_lossy().into_owned(),
            file_hash: asset.file_hash.to_string(),
            record: hex(&encode_asset(asset)),
        }
    }

    fn asset(&self) -> Option<Asset> {
        decode_asset(self.id, &bytes(&self.record)?).ok()
    }
}

impl Line {
    /// The stored form, with its line feed.
    pub(super) fn encode(&self) -> Vec<u8> {
        let stored = match self {
            Self::Begin { format } => Stored::Begin { format: *format },
            Self::Intend(asset) => Stored::Intend(Row::of(asset)),
            Self::Finish(id) => Stored::Finish { id: id.0 },
            Self::File(asset) => Stored::File(Row::of(asset)),
            Self::Withdraw(id) => Stored::Withdraw { id: id.0 },
        };
        // Plain data has no way to fail; were it otherwise, the empty line fails its own check.
        let mut line = serde_json::to_vec(&stored).unwrap_or_default();
        line.pop();
        let sum = crc32([line.as_slice()]);
        line.extend_from_slice(format!("{SUM}{sum:08x}{END}\n").as_bytes());
        line
    }

    /// What a line (without its line feed) says; `None`: it is no whole line of a journal.
    pub(super) fn decode(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(END.as_bytes())?;
        let (line, sum) = line.split_last_chunk::<8>()?;
        let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
        let line = line.strip_suffix(SUM.as_bytes())?;
        if crc32([line]) != sum {
            return None;
        }
        let mut object = line.to_vec();
        object.push(b'}');
        Some(match serde_json::from_slice(&object).ok()? {
            Stored::Begin { format } => Self::Begin { format },
            Stored::Intend(row) => Self::Intend(row.asset()?),
            Stored::Finish { id } => Self::Finish(AssetId(id)),
            Stored::File(row) => Self::File(row.asset()?),
            Stored::Withdraw { id } => Self::Withdraw(AssetId(id)),
        })
    }
}

/// Reads a line and stores it again, for the tests that make up lines; `None` where it is refused.
#[doc(hidden)]
pub fn restored_line(line: &[u8]) -> Option<Vec<u8>> {
    Line::decode(line).map(|line| line.encode())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            // Writing to a text has no way to fail.
            write!(hex, "{byte:02x}").unwrap_or_default();
            hex
        })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let pairs = hex.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}
