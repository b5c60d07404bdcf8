//! The ledger made anew from Originals, where it is lost; and what it does not know taken in, where it is not.
//!
//! ```text
//! Originals, folder by folder ─▶ shots, as ingest groups them ─▶ read (hash + metadata) ─▶ decide ─▶ adopt in the ledger
//! ```
//!
//! No file is moved or changed. A ledger that is lost is rebuilt beside it, under a temporary name, and then put in its
//! place; the old file is kept. What an interrupted rebuild had read is not read again, and a second run adds nothing.

mod names;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::asset::{Asset, CaptureTime, CapturedFrom, is_litter, lossy, shot_key};
use crate::config::Config;
use crate::disk::{self, DiskError, EntryIs, Source, TEMPORARY_PREFIX, in_order_of_names};
use crate::factory::{self, OpenError};
use crate::ledger::{Adoption, Change, Condition, Draft, Ledger, LedgerError, Outcome, Verdict};
use crate::librarian::Reader;
use crate::librarian::decide::{Decision, ReadFile, decide};
use crate::librarian::journey::{Looked, read_file};
use crate::librarian::kind;
use crate::librarian::settle::passed_over;
use crate::verify;

/// Rows that are committed together, about.
const ROWS_AT_ONCE: usize = 256;

/// What is told as it happens.
#[derive(Debug)]
pub enum Told<'a> {
    /// So much is to be read, in bytes.
    Begun(u64),
    /// So much was read, in bytes.
    Read(u64),
    /// A file is in the ledger now.
    Added(&'a Asset),
    /// It has the bytes of another original, which is in the ledger: it stays where it is, without a row.
    SameAs(&'a Path, &'a Path),
    /// It stays where it is, without a row: why.
    Left(&'a Path, &'a str),
}

/// What it came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// What was found of the ledger.
    pub was: Condition,
    /// Where the old ledger is kept.
    pub kept: Option<PathBuf>,
    /// Files that were in the ledger already.
    pub known: u64,
    /// Files that were added.
    pub added: u64,
    /// Files with the bytes of another.
    pub same: u64,
    /// Files that stay without a row for another reason.
    pub left: u64,
    /// Files of other programs, which are passed over.
    pub litter: u64,
}

/// Why it could not be done.
#[derive(Debug)]
pub enum RebuildError {
    /// Another process works on this root, or a folder can't be used.
    Open(OpenError),
    /// Originals can't be read.
    Storage(DiskError),
    /// The ledger can't be used, in a way that a new one would not help.
    Ledger(LedgerError),
}

impl fmt::Display for RebuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(OpenError::Locked(root)) => write!(
                f,
                "Photo Factory is running on {}: the ledger is made anew only while nothing else uses it; stop it, run this again, and start it",
                root.display()
            ),
            Self::Open(error) => error.fmt(f),
            Self::Storage(error) => write!(
                f,
                "Originals cannot be read, and nothing was changed: {error}; is the disk connected and mounted?"
            ),
            Self::Ledger(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RebuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) => Some(error),
            Self::Storage(error) => Some(error),
            Self::Ledger(error) => Some(error),
        }
    }
}

impl From<OpenError> for RebuildError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<DiskError> for RebuildError {
    fn from(error: DiskError) -> Self {
        Self::Storage(error)
    }
}

impl From<LedgerError> for RebuildError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// Makes the ledger anew, or adds to it what it does not know.
pub fn rebuild(
    config: &Config,
    now: fn() -> Timestamp,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<Rebuilt, RebuildError> {
    let storage = Source::open(&config.storage)?;
    verify::stands(&storage, config)?;
    disk::make_folder(&config.data)?;
    let _lock = factory::lock(config)?;
    let was = Ledger::condition(&config.data)?;
    let ledger = match was {
        Condition::Whole => Ledger::open(&config.data)?,
        Condition::Missing | Condition::Lost(_) => Ledger::rebuilding(&config.data, now())?,
    };
    // First, or a file would get a row that is then taken back.
    finish_interrupted(config, &ledger, now)?;
    let mut work = Work {
        config,
        storage,
        ledger,
        reader: Reader::new(config.worker.clone(), config.zone.clone()),
        now,
        tell,
        waiting: Vec::new(),
        never: AtomicBool::new(false),
        rebuilt: Rebuilt {
            was,
            kept: None,
            known: 0,
            added: 0,
            same: 0,
            left: 0,
            litter: 0,
        },
    };
    let folders = verify::folders(&work.storage)?;
    let mut bytes = 0;
    for folder in &folders.readable {
        bytes += work.bytes_in(folder)?;
    }
    (work.tell)(Told::Begun(bytes));
    for finding in &folders.unreadable {
        (work.tell)(Told::Left(&finding.path, &finding.what.to_string()));
        work.rebuilt.left += 1;
    }
    for folder in &folders.readable {
        work.take_folder(folder)?;
    }
    work.commit()?;
    verify::stands(&work.storage, config)?;
    let Work {
        ledger,
        mut rebuilt,
        ..
    } = work;
    rebuilt.kept = match rebuilt.was {
        Condition::Whole => {
            drop(ledger);
            Ledger::keep_leftover(&config.data, now())?
        }
        Condition::Missing | Condition::Lost(_) => {
            let kept = ledger.put_in_place(&config.data, now())?;
            // The journal's rows are in it already, and what was under way when the old one was lost is in the journal.
            finish_interrupted(config, &Ledger::open(&config.data)?, now)?;
            kept
        }
    };
    Ok(rebuilt)
}

/// Placements that an earlier run began, in the ledger's own words or the journal's.
fn finish_interrupted(
    config: &Config,
    ledger: &Ledger,
    now: fn() -> Timestamp,
) -> Result<(), RebuildError> {
    let vault = factory::vault(config, true, Arc::default());
    if let Ok(inbox) = Source::open(&config.inbox) {
        factory::recover(ledger, &vault, &inbox, now)?;
    }
    Ok(())
}

struct Work<'a> {
    config: &'a Config,
    storage: Source,
    ledger: Ledger,
    reader: Reader,
    now: fn() -> Timestamp,
    tell: &'a mut dyn FnMut(Told<'_>),
    waiting: Vec<Adoption>,
    never: AtomicBool,
    rebuilt: Rebuilt,
}

/// One file of a shot.
struct Member {
    /// Where it stands, relative to Storage.
    path: PathBuf,
    file: ReadFile,
}

impl Work<'_> {
    fn files(&self, folder: &Path) -> Result<(Vec<OsString>, Vec<OsString>), DiskError> {
        let mut entries = in_order_of_names(self.storage.list(folder)?);
        entries.retain(|entry| entry.is != EntryIs::Folder);
        let (files, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| {
            entry.is == EntryIs::File && passed_over(&entry.name, &[]).is_none()
        });
        let names = |entries: Vec<disk::Entry>| {
            let names = entries.into_iter().map(|entry| entry.name);
            names.collect::<Vec<_>>()
        };
        Ok((names(files), names(others)))
    }

    /// The bytes of those that are to be read.
    fn bytes_in(&self, folder: &Path) -> Result<u64, RebuildError> {
        let (mut names, _) = self.files(folder)?;
        let mut failed = None;
        names.retain(|name| {
            self.row_of(&folder.join(name))
                .map_err(|error| failed = Some(error))
                .is_ok_and(|row| row.is_none())
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        let names: Vec<_> = names.iter().map(OsString::as_os_str).collect();
        let states = self.storage.look(folder, &names)?;
        Ok(states.iter().flatten().map(|state| state.size).sum())
    }

    fn row_of(&self, path: &Path) -> Result<Option<Asset>, LedgerError> {
        let row = self.ledger.by_final_path(path)?;
        Ok(row.filter(|row| row.final_path == path))
    }

    fn take_folder(&mut self, folder: &Path) -> Result<(), RebuildError> {
        let (names, others) = self.files(folder)?;
        for name in others {
            let is_ours = lossy(&name).starts_with(TEMPORARY_PREFIX);
            if is_litter(&name) && !is_ours {
                self.rebuilt.litter += 1;
                continue;
            }
            let why = if is_ours {
                "a temporary file that an interrupted run left; it may be deleted while nothing runs"
            } else {
                "no photo by its name; it is left where it is"
            };
            self.leave(&folder.join(name), why);
        }
        for shot in names::shots(names) {
            self.take_shot(folder, &shot)?;
            if self.waiting_members().count() >= ROWS_AT_ONCE {
                self.commit()?;
            }
        }
        Ok(())
    }

    fn waiting_members(&self) -> impl Iterator<Item = &Draft> {
        self.waiting.iter().flat_map(|waits| &waits.shot.members)
    }

    /// Whether one of those that wait may belong to these: the ledger must know it when they are decided on.
    fn may_belong_to_waiting(&self, members: &[Member]) -> bool {
        self.waiting_members().any(|waits| {
            members.iter().any(|member| {
                let content_id = &member.file.metadata.content_id;
                let is_half = content_id.is_some() && *content_id == waits.content_id;
                let is_kind =
                    matches!(member.file.told, kind::Told::Media(kind) if kind == waits.kind);
                let has_name = shot_key(&member.file.path) == shot_key(&waits.inbox_path);
                // A sidecar is known by more names than its own.
                let is_sidecar = matches!(member.file.told, kind::Told::Sidecar(_));
                is_half || has_name && !is_kind || is_sidecar && members.len() == 1
            })
        })
    }

    /// Reads what the ledger does not know of a shot, and decides like the librarian.
    fn take_shot(&mut self, folder: &Path, shot: &[OsString]) -> Result<(), RebuildError> {
        let mut known: Vec<Asset> = Vec::new();
        let mut unknown = Vec::new();
        for name in shot {
            match self.row_of(&folder.join(name))? {
                Some(row) => known.push(row),
                None => unknown.push(name),
            }
        }
        self.rebuilt.known += known.len() as u64;
        // The photo that the others would join: by the name it came with it is found in the ledger.
        let photo = known
            .iter()
            .find(|row| row.paired_with.is_none())
            .or(known.first());
        let before = photo.map(|row| row.inbox_path.clone());
        let mut members = Vec::new();
        for name in unknown {
            if let Some(mut member) = self.read(folder.join(name))? {
                let stem = before.as_ref().and_then(|path| path.file_stem());
                let name = names::name_before(name, shot, stem);
                let parent = before.as_ref().and_then(|path| path.parent());
                member.file.path = parent.unwrap_or(Path::new("")).join(name);
                members.push(member);
            }
        }
        if members.is_empty() {
            return Ok(());
        }
        if self.may_belong_to_waiting(&members) {
            self.commit()?;
        }
        let files: Vec<ReadFile> = members.iter().map(|member| member.file.clone()).collect();
        let decisions = decide(&files, Some(&self.ledger), (self.now)(), &self.config.zone)?;
        for decision in decisions {
            match decision {
                Decision::Stay { file, reason, .. } => {
                    if let Some(member) = members.get(file) {
                        let path = member.path.clone();
                        self.leave(&path, stays(&reason));
                    }
                }
                Decision::File { mut shot, files } => {
                    let members = files.iter().filter_map(|&file| members.get(file));
                    let paths = members.map(|member| member.path.clone()).collect();
                    for draft in &mut shot.members {
                        draft.captured = on_folder_day(draft.captured, folder);
                    }
                    self.waiting.push(Adoption {
                        shot,
                        paths,
                        ingested_at: (self.now)(),
                    });
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, path: PathBuf) -> Result<Option<Member>, RebuildError> {
        let read = read_file(&self.storage, &self.reader, &path, None, &self.never);
        match read {
            Ok(Looked::Read(_, file)) => {
                (self.tell)(Told::Read(file.size));
                return Ok(Some(Member { path, file }));
            }
            Ok(Looked::NotMedia(_, reason)) => self.leave(&path, &reason),
            Ok(Looked::Unsettled(reason)) => self.leave(&path, reason),
            Ok(Looked::Gone) => {}
            Err(error) => {
                // One file, or the whole disk?
                verify::stands(&self.storage, self.config)?;
                self.leave(&path, &error.to_string());
            }
        }
        Ok(None)
    }

    fn leave(&mut self, path: &Path, why: &str) {
        self.rebuilt.left += 1;
        (self.tell)(Told::Left(path, why));
    }

    /// Commits what waits.
    fn commit(&mut self) -> Result<(), RebuildError> {
        let adoptions = std::mem::take(&mut self.waiting);
        if adoptions.is_empty() {
            return Ok(());
        }
        // An interrupted run may have left some of it to the kernel's memory. To sync each file by itself would make the disk
        // turn for thousands of which nothing is to be written.
        let paths = adoptions.iter().flat_map(|adoption| &adoption.paths);
        let folders: HashSet<&Path> = paths.filter_map(|path| path.parent()).collect();
        self.storage.sync_file_systems(folders)?;
        let changes: Vec<Change> = adoptions.iter().cloned().map(Change::Adopt).collect();
        let ask = |changes: &[Change]| self.ledger.commit(changes, (self.now)(), &|_| false);
        match ask(&changes) {
            Ok(outcomes) => {
                for (adoption, outcome) in adoptions.iter().zip(&outcomes) {
                    self.count(adoption, outcome);
                }
            }
            Err(error) if error.is_about_one_row() => {
                for (adoption, change) in adoptions.iter().zip(changes) {
                    match self.ledger.commit(&[change], (self.now)(), &|_| false) {
                        Ok(outcomes) => {
                            for outcome in &outcomes {
                                self.count(adoption, outcome);
                            }
                        }
                        Err(error) if error.is_about_one_row() => {
                            for path in &adoption.paths {
                                self.leave(path, &error.to_string());
                            }
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn count(&mut self, adoption: &Adoption, outcome: &Outcome) {
        let Outcome::Intended(verdicts) = outcome else {
            return;
        };
        for (path, verdict) in adoption.paths.iter().zip(verdicts) {
            let Verdict::Known(row) = verdict else {
                continue;
            };
            if row.final_path == *path {
                self.rebuilt.added += 1;
                (self.tell)(Told::Added(row));
            } else {
                self.rebuilt.same += 1;
                (self.tell)(Told::SameAs(path, &row.final_path));
            }
        }
    }
}

/// The librarian's reason why something stays in an inbox, as far as it holds in Originals.
fn stays(reason: &str) -> &str {
    if reason.contains("has not come") {
        "a sidecar whose photo is not beside it; it is left where it is"
    } else {
        reason
    }
}

/// A date that is only the file's own time gives way to the folder's day, which was decided when more was known.
fn on_folder_day(captured: CaptureTime, folder: &Path) -> CaptureTime {
    let day = folder
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.parse::<Date>().ok());
    match day {
        Some(day) if captured.from == CapturedFrom::Mtime && day != captured.day() => CaptureTime {
            local: day.at(0, 0, 0, 0),
            offset_minutes: None,
            ..captured
        },
        _ => captured,
    }
}
