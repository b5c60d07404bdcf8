//! What the files themselves say: dates, places, cameras, sizes, damage.
//!
//! ```text
//! still ──▶ worker (Exiv2, a process of its own) ─┐
//!   └─────▶ still (size, damage; tags if needed) ─┤─▶ rules ─▶ Metadata
//! video ──▶ quicktime · matroska · riff · … ──────┘
//! ```
//!
//! Nothing here changes a file, moves a shared cursor, or holds more than a few MiB of it. Videos and `PostScript` never reach
//! Exiv2, which crashes on some; stills do only when their content proves what they are.

mod asf;
mod bmff;
mod container;
mod jpeg;
mod matroska;
mod quicktime;
mod riff;
mod rules;
pub(in crate::librarian) mod source;
pub(in crate::librarian) mod stamp;
mod still;
pub mod tags;
mod takeout;
mod tiff;
mod transport;
mod video;
mod worker;
mod x3f;
mod xmp;

use std::ffi::OsStr;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Duration;

use jiff::tz::TimeZone;

use self::source::{LONGEST, Source};
use self::tags::Tags;
use self::worker::{Answer, Worker};
use super::kind::{self, HEAD, SidecarKind};
use crate::asset::{CapturedFrom, Kind, Metadata};

pub use self::rules::interpret;
pub use self::worker::WorkerState;

/// Reads metadata; shared by all who need it. One worker process serves all, one file at a time.
pub struct Reader {
    worker: Mutex<Worker>,
    zone: TimeZone,
}

impl Reader {
    /// `zone` is where instants without a wall clock of their own are put.
    pub fn new(worker: Option<PathBuf>, zone: TimeZone) -> Self {
        Self {
            worker: Mutex::new(Worker::new(worker)),
            zone,
        }
    }

    /// What a photo or video says. Never fails: what cannot be read is told in `errors` and `warnings`.
    ///
    /// Reads at positions of its own, so that the same descriptor may be hashed meanwhile.
    pub fn read(&self, file: &File, size: u64, kind: Kind, name: &OsStr) -> Metadata {
        let source = Source::new(file, size);
        let mut metadata = match kind {
            Kind::Sidecar => Metadata::default(),
            Kind::Video => guarded(|| container::read(&source, &self.zone)),
            _ => self.still(&source, file, name),
        };
        note_failure(&source, &mut metadata);
        metadata
    }

    /// What a sidecar says of its photo.
    pub fn read_sidecar(
        &self,
        file: &File,
        size: u64,
        kind: SidecarKind,
        _name: &OsStr,
    ) -> Metadata {
        let source = Source::new(file, size);
        let mut metadata = guarded(|| match kind {
            SidecarKind::Xmp => {
                let mut tags = Tags::default();
                xmp::read(&source.read(0, LONGEST), &mut tags);
                rules::interpret(&tags, &self.zone)
            }
            SidecarKind::Takeout => takeout::read(&source.read(0, LONGEST), &self.zone),
            // A list of edits: nothing in it says when or where.
            SidecarKind::Aae => Metadata::default(),
        });
        note_failure(&source, &mut metadata);
        metadata
    }

    /// Ends the worker if nothing was asked of it for so long; for the daemon's housekeeping.
    pub fn rest(&self, idle: Duration) {
        // One that is locked is not idle.
        match self.worker.try_lock() {
            Ok(mut worker) => worker.rest(idle),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().rest(idle),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// How the worker is.
    pub fn worker_state(&self) -> WorkerState {
        match self.worker.try_lock() {
            Ok(worker) => worker.state(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().state(),
            Err(TryLockError::WouldBlock) => WorkerState::Running,
        }
    }

    /// The worker's process id, while one is up: for the page's memory figures.
    pub fn worker_pid(&self) -> Option<u32> {
        self.worker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pid()
    }

    fn still(&self, source: &Source, file: &File, name: &OsStr) -> Metadata {
        let head = source.read(0, HEAD);
        let kind = match kind::by_content(&head, &kind::extension(name)) {
            Some(Kind::Video) => return guarded(|| container::read(source, &self.zone)),
            Some(kind) => kind,
            None => {
                return Metadata {
                    errors: vec![
                        "the picture is damaged: its content is of no known format".to_owned(),
                    ],
                    ..Metadata::default()
                };
            }
        };
        let mut tags = Tags::default();
        let mut warnings = Vec::new();
        let look =
            |want_tags: bool| guarded_tags(|tags| still::read(source, kind, want_tags, tags));
        let (own, errors) = look(false);
        tags.fill_from(&own);
        if !is_ours_alone(kind, &head) {
            let answer = self
                .worker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .ask(file, source.size());
            match answer {
                Answer::Tags(found) => tags.fill_from(&found),
                Answer::Refused => {}
                Answer::GaveUp(why) => {
                    warnings.push(format!("the metadata worker gave this file up: {why}"));
                }
                Answer::Absent(why) => warnings.push(format!("read without Exiv2: {why}")),
            }
        }
        let mut metadata = guarded(|| rules::interpret(&tags, &self.zone));
        // The second opinion, where Exiv2 refused, was absent, or found no date worth the name.
        if !metadata
            .dates
            .iter()
            .any(|date| date.from < CapturedFrom::FileName)
        {
            let (own, _) = look(true);
            tags.fill_from(&own);
            metadata = guarded(|| rules::interpret(&tags, &self.zone));
        }
        metadata.errors.extend(errors);
        metadata.warnings.extend(warnings);
        metadata
    }
}

/// Formats Exiv2 knows nothing of.
fn is_ours_alone(kind: Kind, head: &[u8]) -> bool {
    matches!(kind, Kind::Bmp | Kind::Gif) || head.starts_with(b"FOVb")
}

/// A panic in a reader costs one file's metadata.
fn guarded(read: impl FnOnce() -> Metadata) -> Metadata {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Metadata {
        warnings: vec!["the metadata could not be read: the reader failed on this file".to_owned()],
        ..Metadata::default()
    })
}

fn guarded_tags(read: impl FnOnce(&mut Tags) -> Vec<String>) -> (Tags, Vec<String>) {
    let mut tags = Tags::default();
    let errors = catch_unwind(AssertUnwindSafe(|| read(&mut tags))).unwrap_or_default();
    (tags, errors)
}

fn note_failure(source: &Source, metadata: &mut Metadata) {
    if let Some(why) = source.failure() {
        metadata
            .errors
            .push(format!("the file could not be read to its end: {why}"));
    }
}
