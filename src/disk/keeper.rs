//! Keeps Storage open while it is used, notices when its path leads elsewhere or it fails, and lets it go when at rest.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;

use super::space::{Reserve, Space};
use super::storage::{ORIGINALS, Opened, Place, StorageId};
use super::watch::{QUESTION, Standing, Unusable, Watch};
use super::{DiskError, Snapshot};

/// How often Storage is asked whether it is there and what room it has.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// The same while it can't be used.
const ASK_FOR_RETURN: Duration = Duration::from_secs(5);

/// Unused for so long, it is let go, so that its owner can unmount it.
const REST: Duration = Duration::from_secs(5);

/// Storage's folder, open.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) folder: OwnedFd,
    seen: Snapshot,
    originals: OwnedFd,
    originals_seen: Snapshot,
    /// Folders that were seen and whose entry in their parent is durable.
    known: Mutex<HashSet<PathBuf>>,
}

#[derive(Debug)]
pub(super) struct Keeper {
    place: Place,
    watch: Arc<Watch>,
    /// Open while it is used and is where it was opened.
    root: Mutex<Option<Arc<Root>>>,
    id: Mutex<Option<StorageId>>,
    /// It failed: it must take a small file before it is trusted again.
    failing: AtomicBool,
    /// One trial at a time. Held over I/O, by those who do I/O only.
    trial: Mutex<()>,
    asker: OnceLock<Thread>,
}

impl Root {
    fn new(opened: Opened) -> Self {
        Self {
            folder: opened.root,
            seen: opened.seen,
            originals: opened.originals,
            originals_seen: opened.originals_seen,
            known: Mutex::default(),
        }
    }

    /// A fresh look at the room on its disk.
    pub(super) fn space(&self, reserve: Reserve) -> rustix::io::Result<Space> {
        let stat = rustix::fs::fstatvfs(&self.originals)?;
        Ok(Space::of(&stat, reserve, self.originals_seen.device))
    }

    pub(super) fn is_known(&self, folder: &Path) -> bool {
        lock(&self.known).contains(folder)
    }

    pub(super) fn note_known(&self, folder: PathBuf) {
        lock(&self.known).insert(folder);
    }
}

impl Keeper {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            watch: Arc::new(Watch::new()),
            root: Mutex::default(),
            id: Mutex::default(),
            failing: AtomicBool::new(false),
            trial: Mutex::default(),
            asker: OnceLock::new(),
        }
    }

    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Asks Storage whether it is there and what room it has; at the first use it is made.
    pub(super) fn look(&self) -> Result<Space, Unusable> {
        self.ask(false).map(|(_, space)| space)
    }

    /// Storage, open, and where it was when it was opened; else it is looked for anew.
    pub(super) fn root(&self) -> Result<Arc<Root>, DiskError> {
        let held = lock(&self.root).clone();
        if let Some(root) = held
            && self.leads_to(&root)
        {
            return Ok(root);
        }
        self.ask(true)
            .map(|(root, _)| root)
            .map_err(|unusable| DiskError::unusable(&self.place.storage, unusable))
    }

    fn leads_to(&self, root: &Root) -> bool {
        let is_at = |path: &Path, flags, seen: &Snapshot| {
            rustix::fs::statx(CWD, path, flags, StatxFlags::BASIC_STATS)
                .is_ok_and(|stat| Snapshot::of(&stat).same_inode(seen))
        };
        let originals = self.place.storage.join(ORIGINALS);
        is_at(&self.place.storage, AtFlags::empty(), &root.seen)
            && is_at(&originals, AtFlags::SYMLINK_NOFOLLOW, &root.originals_seen)
    }

    /// `keep`: it is about to be used, and stays open.
    fn ask(&self, keep: bool) -> Result<(Arc<Root>, Space), Unusable> {
        let _asking = self.watch.begin(QUESTION);
        let known = *lock(&self.id);
        let failing = self.failing.load(Ordering::Acquire);
        let path = self.place.storage.display();
        let (opened, id) = match self.place.open(known, failing) {
            Ok(found) => found,
            Err(unusable) => {
                drop(lock(&self.root).take());
                if self.watch.answered(Err(unusable.clone())) {
                    log::warn!("{unusable}");
                    self.wake_asker();
                }
                return Err(unusable);
            }
        };
        *lock(&self.id) = Some(id);
        if failing {
            self.failing.store(false, Ordering::Release);
        }
        let space = opened.space;
        let root = {
            let mut held = lock(&self.root);
            match &*held {
                Some(root)
                    if root.seen.same_inode(&opened.seen)
                        && root.originals_seen.same_inode(&opened.originals_seen) =>
                {
                    Arc::clone(root)
                }
                before => {
                    let is_open = before.is_some();
                    let root = Arc::new(Root::new(opened));
                    *held = (keep || is_open).then(|| Arc::clone(&root));
                    root
                }
            }
        };
        if self.watch.answered(Ok(space)) {
            log::info!("Storage {path} is there");
        }
        Ok((root, space))
    }

    /// What a failure on Storage means: that it can't be used, where it can't; else what it said.
    pub(super) fn judge(&self, error: DiskError) -> DiskError {
        let Some(errno) = error.source.raw_os_error().map(Errno::from_raw_os_error) else {
            return error;
        };
        match errno {
            Errno::EXIST => error,
            Errno::NOSPC | Errno::DQUOT => {
                let space = self.look().ok();
                let lacks = space.and_then(|space| space.lacks(0, 1));
                let said = lacks.unwrap_or_else(|| {
                    format!(
                        "The disk of Storage is full ({errno}). Photos wait in the inbox. Make room on {}, and work goes on by itself.",
                        self.place.storage.display()
                    )
                });
                self.watch.note_refused(space, &said);
                DiskError::unusable(&self.place.storage, Unusable::Full(said))
            }
            _ if error.is_shortage() => error,
            _ => {
                let _turn = lock(&self.trial);
                if let Standing::Unusable(unusable) = self.watch.standing(Instant::now()) {
                    return DiskError::unusable(&self.place.storage, unusable);
                }
                self.failing.store(true, Ordering::Release);
                match self.ask(true) {
                    Ok(_) => error,
                    Err(unusable) => {
                        log::warn!("{error}");
                        DiskError::unusable(&self.place.storage, unusable)
                    }
                }
            }
        }
    }

    /// Lets Storage go, when nothing is done on it: its owner may want to unmount it.
    pub(super) fn let_go(&self) {
        if self.watch.rested_for(REST) {
            drop(lock(&self.root).take());
        }
    }

    /// One regular question; says when the next is due.
    pub(super) fn ask_regularly(&self) -> Duration {
        self.asker.get_or_init(std::thread::current);
        self.let_go();
        let turn = lock(&self.trial);
        let answer = self.look();
        drop(turn);
        if answer.is_ok() {
            ASK_EVERY
        } else {
            ASK_FOR_RETURN
        }
    }

    fn wake_asker(&self) {
        if let Some(asker) = self.asker.get() {
            asker.unpark();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
