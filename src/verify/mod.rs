//! Are the originals still what was filed? Each is read again and held against its row; files without a row are named.
//!
//! ```text
//! rows (from the ledger, or from the appliance that has it open)
//!   └─▶ check: is it there, has it the size, has it the SHA-256, can it be read ─▶ Finding
//! folders of Originals
//!   └─▶ strangers: files that no row names ─▶ Finding
//! ```
//!
//! Nothing is changed here. The bytes are read from the disk and not from the kernel's memory of them, and are dropped from
//! that memory again: a small board has better use for it. [`background`] does the same by itself, a little at a time.
//!
//! An original is called missing or unreadable only while Storage itself is there ([`stands`]): a disk that was unplugged
//! has lost nothing.

pub mod asking;
pub mod background;
mod pace;
mod record;
pub mod row;
mod strangers;
mod verified;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::asset::Original;
use crate::config::Config;
use crate::disk::space::Reserve;
use crate::disk::storage::{Mark, Place};
use crate::disk::{self, DiskError, Source};

pub use pace::Pace;
pub use strangers::{Folders, folders, strangers};

/// The folder of the originals, relative to Storage.
pub const ORIGINALS: &str = "Originals";

/// Bytes after which the kernel is told to forget what was read of a file: a video may be larger than a board's memory.
const FORGET_EVERY: u64 = 8 << 20;

/// A file that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where it is, or was, relative to Storage.
    pub path: PathBuf,
    /// What is the matter.
    pub what: What,
}

/// What may be the matter with a file in Originals.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The ledger has it, and it is not there.
    Missing,
    /// It has another size than when it was filed.
    Size {
        /// Bytes now.
        found: u64,
        /// Bytes when it was filed.
        filed: u64,
    },
    /// It has the size it had, and other bytes.
    Content,
    /// The disk does not give it out: why.
    Unreadable(String),
    /// No row of the ledger names it.
    Unknown,
    /// No row names it, and its name is one of our temporary ones.
    Temporary,
    /// Another program's: a NAS, a desktop or Syncthing left it there.
    Litter,
}

impl What {
    /// The name that programs look for.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Size { .. } | Self::Content => "changed",
            Self::Unreadable(_) => "unreadable",
            Self::Unknown => "unknown",
            Self::Temporary => "temporary",
            Self::Litter => "litter",
        }
    }

    /// Whether a good copy would put it right.
    pub fn wants_repair(&self) -> bool {
        matches!(self, Self::Missing | Self::Size { .. } | Self::Content)
    }

    /// Whether it is a file without a row.
    pub fn is_stranger(&self) -> bool {
        matches!(self, Self::Unknown | Self::Temporary | Self::Litter)
    }

    /// What the owner can do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Missing => {
                "if you have a backup, `photo-factory verify --repair --from BACKUP` takes it from there; a photo that the phone still has may also be sent again, it then gets its old place"
            }
            Self::Size { .. } | Self::Content => {
                "if you have a backup, `photo-factory verify --repair --from BACKUP` puts the good copy in its place and keeps this one in Storage/Damaged; if several changed by themselves, the disk or the memory is failing: copy everything to another disk"
            }
            Self::Unreadable(_) => {
                "what is there may still be whole: check the disk's cable and the right to read it, then verify again; if other files fail too, copy everything to another disk now"
            }
            Self::Unknown => {
                "if it is a photo, stop Photo Factory and let `photo-factory rebuild` take it into the ledger; if not, move it elsewhere"
            }
            Self::Temporary => {
                "an interrupted run left it; with Photo Factory stopped it may be deleted"
            }
            Self::Litter => "it does no harm; the program that left it knows whether it may go",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "it is missing"),
            Self::Size { found, filed } => {
                write!(f, "it has {found} bytes and had {filed} when it was filed")
            }
            Self::Content => write!(f, "it has other bytes than when it was filed"),
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Self::Unknown => write!(f, "the ledger does not know it"),
            Self::Temporary => write!(f, "a temporary file of Photo Factory"),
            Self::Litter => write!(f, "it belongs to another program, and is no photo"),
        }
    }
}

/// What reading one original again came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Checked {
    /// It is there, with the bytes that were filed.
    Sound,
    /// It is not.
    Found(What),
    /// `halt` was set before its end was reached.
    Halted,
}

/// Reads an original and holds it against its row. `pace` is told of the bytes as they are read, and may take its time.
pub fn check(
    storage: &Source,
    original: &Original,
    halt: &AtomicBool,
    pace: &mut dyn FnMut(u64),
) -> Checked {
    let file = match storage.open_file(&original.final_path) {
        Ok(Some((file, seen))) if seen.size == original.size => file,
        Ok(Some((_, seen))) => {
            return Checked::Found(What::Size {
                found: seen.size,
                filed: original.size,
            });
        }
        Ok(None) => return Checked::Found(What::Missing),
        Err(error) => return Checked::Found(What::Unreadable(error.source.to_string())),
    };
    // What the kernel remembers of it says nothing about the disk.
    disk::forget_pages(&file);
    let mut since_forgotten = 0;
    let read = disk::hash_at_pace(&file, original.size, halt, &mut |bytes| {
        since_forgotten += bytes;
        if since_forgotten > FORGET_EVERY {
            since_forgotten = 0;
            disk::forget_pages(&file);
        }
        pace(bytes);
    });
    disk::forget_pages(&file);
    match read {
        Ok(hash) if hash == original.file_hash => Checked::Sound,
        Ok(_) => Checked::Found(What::Content),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Checked::Halted,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Checked::Found(What::Content),
        Err(error) => Checked::Found(What::Unreadable(error.to_string())),
    }
}

/// Whether Storage is still the folder that was opened, with the marker that Data remembers and with Originals in it. Where
/// it is not, no file is missing.
pub fn stands(storage: &Source, config: &Config) -> Result<(), DiskError> {
    let place = Place {
        storage: config.storage.clone(),
        data: config.data.clone(),
        has_photos: true,
        reserve: Reserve {
            millionths: config.reserve.millionths,
            most: config.reserve.most,
        },
    };
    let is_another = match place.remembered()? {
        Mark::Is(_) => place.marked()? != place.remembered()?,
        Mark::Missing | Mark::Damaged => false,
    };
    if is_another || storage.reopen_if_replaced()? {
        return Err(DiskError::io("go on in", storage.path())(io::Error::other(
            "it is not the disk that Photo Factory files into",
        )));
    }
    storage.list(Path::new(ORIGINALS)).map(drop)
}
