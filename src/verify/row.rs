//! Rows on their way from the running appliance to a command: one JSON object per line, paths exact to the byte.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::asset::{AssetId, FileHash, Original};

/// A row as one line.
pub fn to_line(original: &Original) -> String {
    let mut line = json!({
        "id": original.id.0,
        "path": path_text(&original.final_path),
        "size": original.size,
        "hash": original.file_hash.to_string(),
        "filed": original.ingested_at.as_millisecond(),
    })
    .to_string();
    line.push('\n');
    line
}

/// The row in a line that [`to_line`] made; `None`: it is something else.
pub fn from_line(line: &str) -> Option<Original> {
    original_of(&serde_json::from_str(line).ok()?)
}

fn original_of(row: &Value) -> Option<Original> {
    Some(Original {
        id: AssetId(row.get("id")?.as_u64()?),
        final_path: path_of(row.get("path")?.as_str()?)?,
        size: row.get("size")?.as_u64()?,
        file_hash: hash_of(row.get("hash")?.as_str()?)?,
        ingested_at: Timestamp::from_millisecond(row.get("filed")?.as_i64()?).ok()?,
    })
}

/// A path as text that fits into JSON and into a request's target: every byte but letters, digits and `-_./` as `%XX`.
pub fn path_text(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-_./".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
    }
    text
}

/// The path that [`path_text`] wrote.
pub fn path_of(text: &str) -> Option<PathBuf> {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            path.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        path.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    Some(PathBuf::from(OsStr::from_bytes(&path)))
}

fn hash_of(hex: &str) -> Option<FileHash> {
    let mut hash = [0; 32];
    if hex.len() != 2 * hash.len() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(FileHash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was_sent_whatever_its_name() {
        let original = Original {
            id: AssetId(7),
            final_path: PathBuf::from(OsStr::from_bytes(
                b"Originals/2024/a\xFF%41\n\"?\xC3\xA4.jpg",
            )),
            size: 12,
            file_hash: FileHash([0xAB; 32]),
            ingested_at: Timestamp::from_millisecond(-5).unwrap(),
        };
        let line = to_line(&original);
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(from_line(&line), Some(original));
        assert_eq!(path_of("a%4"), None);
        assert_eq!(from_line("{}"), None);
    }
}
