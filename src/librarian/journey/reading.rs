//! The files of a shot, held and read: what they are, their hash, their metadata, and what is decided about them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;

use super::{Fate, Line, Read, Reader, Report, leave, refuse};
use crate::asset::LeftBecause;
use crate::disk::{self, DiskError, Held, Hold, Snapshot, Source};
use crate::ledger::LedgerError;
use crate::librarian::decide::{Decision, ReadFile, decide};
use crate::librarian::kind::{self, Told};
use crate::librarian::shot::sidecar_by_name;

/// What reading the files of one shot gave.
pub(super) struct LookedAt {
    pub(super) read: Vec<Read>,
    /// About `read`, by index.
    pub(super) decisions: Result<Vec<Decision>, LedgerError>,
    pub(super) others: Vec<NotRead>,
}

/// A file that goes no further.
pub(super) struct NotRead {
    file: ReadFile,
    outcome: Result<Looked, DiskError>,
}

impl NotRead {
    pub(super) async fn told(self, line: &Arc<Line>) -> Report {
        let (path, size) = (self.file.path.clone(), self.file.size);
        let fate = match self.outcome {
            Ok(Looked::NotMedia(file, reason)) => {
                leave(line, &file, LeftBecause::NotMedia, with_way_out(reason)).await
            }
            Ok(Looked::Unsettled(reason)) => Fate::Unsettled(reason.to_owned()),
            Ok(Looked::Gone | Looked::Read(..)) => Fate::Gone,
            Err(error) => refuse(line, &self.file, &error).await,
        };
        Report {
            path,
            size,
            fate,
            uncleared: None,
        }
    }
}

/// Reads every file of a shot and decides about them. Blocks.
pub(super) fn read_and_decide(line: &Line, files: Vec<(PathBuf, Snapshot)>) -> LookedAt {
    let mut read = Vec::new();
    let mut others = Vec::new();
    for (path, state) in files {
        match read_file(&line.source, &line.reader, &path, Some(&state), &line.halt) {
            Ok(Looked::Read(held, file)) => read.push(Read {
                held: Some(held),
                file,
                uncleared: None,
            }),
            outcome => others.push(NotRead {
                file: ReadFile::unread(&path),
                outcome,
            }),
        }
    }
    let is_sidecar =
        |file: &ReadFile| sidecar_by_name(file.path.file_name().unwrap_or_default()).is_some();
    let photo_moves = |other: &NotRead| {
        matches!(other.outcome, Ok(Looked::Unsettled(_))) && !is_sidecar(&other.file)
    };
    if others.iter().any(photo_moves) {
        // Or it would go to an earlier photo of that name.
        let waits = read.extract_if(.., |one| is_sidecar(&one.file));
        others.extend(waits.map(|one| NotRead {
            file: one.file,
            outcome: Ok(Looked::Unsettled("its photo is not at rest yet")),
        }));
    }
    let files: Vec<ReadFile> = read.iter().map(|one| one.file.clone()).collect();
    let now = (line.now)();
    let decisions = match decide(&files, Some(&line.ledger), now, &line.config.zone) {
        // It is filed all the same, by what the files themselves say.
        Err(error) if error.is_outage() => decide(&files, None, now, &line.config.zone),
        decisions => decisions,
    };
    LookedAt {
        read,
        decisions,
        others,
    }
}

/// What the owner may do about a file that is no photo, where the reason doesn't say it.
fn with_way_out(reason: String) -> String {
    if reason.contains(';') {
        return reason;
    }
    reason + "; move it out of the inbox, or name it in [inbox] ignore"
}

/// What a look at one file gave.
pub enum Looked {
    /// It was read.
    Read(Held, ReadFile),
    /// It is no photo, video or sidecar: why.
    NotMedia(ReadFile, String),
    /// It is not at rest: why.
    Unsettled(&'static str),
    /// It is gone, or no regular file.
    Gone,
}

/// Holds a file and reads it: what it is, its SHA-256 in one sequential pass, its metadata. `settled` is the state in which
/// it was seen at rest, where it was watched. Blocks.
pub fn read_file(
    source: &Source,
    reader: &Reader,
    path: &Path,
    settled: Option<&Snapshot>,
    halt: &AtomicBool,
) -> Result<Looked, DiskError> {
    let held = match source.hold(path)? {
        Hold::Held(held) => held,
        Hold::BeingWritten => {
            return Ok(Looked::Unsettled("another program has it open for writing"));
        }
        Hold::Gone | Hold::NotAFile => return Ok(Looked::Gone),
    };
    if settled.is_some_and(|settled| settled != held.seen()) {
        return Ok(Looked::Unsettled("it changed since it was at rest"));
    }
    let name = path.file_name().unwrap_or_default();
    let size = held.seen().size;
    let mut file = ReadFile::unread(path);
    file.size = size;
    file.mtime = Timestamp::from_nanosecond(held.seen().mtime_ns.into()).unwrap_or_default();
    let start = disk::head::<{ kind::HEAD }>(held.file()).map_err(DiskError::io("read", path))?;
    file.told = kind::tell(&start, name);
    file.metadata = match &file.told {
        Told::NotMedia(reason) => {
            let reason = reason.clone();
            return Ok(Looked::NotMedia(file, reason));
        }
        Told::Media(kind) => reader.read(held.file(), size, *kind, name),
        Told::Sidecar(kind) => reader.read_sidecar(held.file(), size, *kind, name),
    };
    file.file_hash = match disk::hash(held.file(), size, halt) {
        Ok(hash) => hash,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            return Ok(Looked::Unsettled("the program is stopping"));
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Looked::Unsettled("it became shorter while it was read"));
        }
        Err(error) => return Err(DiskError::io("read", path)(error)),
    };
    if !held.is_undisturbed() {
        return Ok(Looked::Unsettled("it changed while it was read"));
    }
    Ok(Looked::Read(held, file))
}
