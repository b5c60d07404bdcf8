//! Folders that want a look, and the events that say so.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::EventKind;
use notify::event::{CreateKind, ModifyKind, RenameMode};
use smol::channel::{Receiver, Sender};

use crate::librarian::settle::passed_over;

/// Events of one folder within this time are one look.
pub(super) const GATHER: Duration = Duration::from_millis(200);

/// A new folder may have been filled before its watch stood: it is looked at again after these times.
const NEW_FOLDER_LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Folders that want a look, and from when on. Shared with the watcher's thread and with journeys that were put off.
#[derive(Debug)]
pub struct Wanted {
    looks: Mutex<Looks>,
    pub(super) everything: AtomicBool,
    wake: Sender<()>,
    pub(super) woken: Receiver<()>,
}

#[derive(Debug, Default)]
struct Looks {
    /// One folder, and the earliest time that was asked for: that look asks again for what it finds moving.
    folders: HashMap<PathBuf, Instant>,
    /// A folder with all below it, each time that was asked for.
    trees: Vec<(PathBuf, Instant)>,
}

impl Default for Wanted {
    fn default() -> Self {
        let (wake, woken) = smol::channel::bounded(1);
        Self {
            looks: Mutex::default(),
            everything: AtomicBool::new(false),
            wake,
            woken,
        }
    }
}

impl Wanted {
    /// Asks for a look at `folder` at the time `at`.
    pub fn look_at(&self, folder: &Path, at: Instant) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = looks.folders.entry(folder.to_owned()).or_insert(at);
        *earliest = at.min(*earliest);
        drop(looks);
        self.wake();
    }

    /// Asks for looks at a new folder and all below it, now and once its watch surely stands.
    fn look_at_new(&self, folder: &Path, now: Instant) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.trees.retain(|(known, _)| known != folder);
        looks.trees.extend(
            NEW_FOLDER_LOOKS
                .iter()
                .map(|&wait| (folder.to_owned(), now + wait)),
        );
        drop(looks);
        self.wake();
    }

    /// Asks for a look at everything, now.
    pub fn look_at_everything(&self) {
        self.everything.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // Full: it is being woken already.
        self.wake.try_send(()).unwrap_or_default();
    }

    /// Takes out the folders and the trees that are due, and says when the next is.
    pub(super) fn due(&self, now: Instant) -> (Vec<PathBuf>, Vec<PathBuf>, Option<Instant>) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let folders = looks
            .folders
            .extract_if(|_, at| *at <= now)
            .map(|(folder, _)| folder)
            .collect();
        let trees = looks
            .trees
            .extract_if(.., |(_, at)| *at <= now)
            .map(|(folder, _)| folder)
            .collect();
        let next = looks
            .folders
            .values()
            .chain(looks.trees.iter().map(|(_, at)| at))
            .min()
            .copied();
        (folders, trees, next)
    }
}

/// Turns the watcher's events into wishes for a look; it only notes them, so the kernel's queue is emptied at once.
pub(super) struct Hint {
    pub(super) inbox: PathBuf,
    pub(super) wanted: Arc<Wanted>,
    pub(super) ignore: Vec<String>,
}

impl Hint {
    pub(super) fn take(&self, event: notify::Result<notify::Event>) {
        let now = Instant::now();
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                log::warn!(
                    "watching {}: {error}; everything is looked through instead",
                    self.inbox.display()
                );
                return self.wanted.look_at_everything();
            }
        };
        if event.need_rescan() {
            return self.wanted.look_at_everything();
        }
        // The inbox itself was moved, removed, or may be read no more, or again.
        let changes_folder = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
        );
        if changes_folder && event.paths.contains(&self.inbox) {
            return self.wanted.look_at_everything();
        }
        let may_be_folder = match event.kind {
            // Our own reading, and names that went away, need no look.
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => return,
            EventKind::Access(kind) if !is_closed_after_writing(kind) => return,
            EventKind::Access(_)
            | EventKind::Create(CreateKind::File)
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => false,
            _ => true,
        };
        for path in &event.paths {
            let Ok(relative) = path.strip_prefix(&self.inbox) else {
                continue;
            };
            let Some(name) = relative.file_name() else {
                continue;
            };
            if passed_over(name, &self.ignore).is_some() {
                continue;
            }
            if may_be_folder
                && path
                    .symlink_metadata()
                    .is_ok_and(|metadata| metadata.is_dir())
            {
                self.wanted.look_at_new(relative, now);
            } else {
                self.wanted
                    .look_at(relative.parent().unwrap_or(Path::new("")), now + GATHER);
            }
        }
    }
}

fn is_closed_after_writing(kind: notify::event::AccessKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    kind == AccessKind::Close(AccessMode::Write)
}
