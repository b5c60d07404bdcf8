//! Finding shots that have come to rest. Events are hints that a folder wants a look; looking through everything every
//! few minutes is the truth.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{CreateKind, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::{Timer, unblock};

use super::settle::{Divided, PATIENCE, Rest, Seen, passed_over};
use super::{Line, shot};
use crate::asset::LeftBecause;
use crate::config::{Clear, Poll};
use crate::disk::{self, DiskError, EntryIs, Snapshot, TEMPORARY_PREFIX};

/// How often the inbox is looked through where no events come: network file systems, or no watches left.
const POLL: Duration = Duration::from_secs(10);

/// Events of one folder within this time are one look.
const GATHER: Duration = Duration::from_millis(200);

/// A new folder may have been filled before its watch stood: it is looked at again after these times.
const NEW_FOLDER_LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// A shot that has come to rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// The folder, relative to the source.
    pub folder: PathBuf,
    /// The files in it, and the state in which they are at rest.
    pub files: Vec<(OsString, Snapshot)>,
}

/// Folders that want a look, and from when on. Shared with the watcher's thread and with journeys that were put off.
#[derive(Debug)]
pub struct Wanted {
    looks: Mutex<Looks>,
    everything: AtomicBool,
    wake: Sender<()>,
    woken: Receiver<()>,
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
    fn due(&self, now: Instant) -> (Vec<PathBuf>, Vec<PathBuf>, Option<Instant>) {
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

/// The inbox's watch over one line's source.
pub struct Inbox {
    line: Arc<Line>,
    wanted: Arc<Wanted>,
    /// What was seen of files that have not come to rest, by folder.
    restless: HashMap<PathBuf, HashMap<OsString, Seen>>,
    /// Folders in which names put aside by an interrupted clearing were given back.
    restored: bool,
    /// Only the shot with this name is taken.
    only: Option<OsString>,
}

/// The part of a source that one pass takes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// This folder and all below it, relative to the source.
    pub folder: PathBuf,
    /// Only this file of the folder, with what belongs to its shot.
    pub only: Option<OsString>,
}

/// What one look at a folder found.
struct Listing {
    files: Vec<(OsString, Snapshot, Option<LeftBecause>)>,
    folders: Vec<PathBuf>,
}

impl Inbox {
    /// A watch over the line's source.
    pub fn new(line: Arc<Line>) -> Self {
        let wanted = Arc::clone(&line.wanted);
        Self {
            line,
            wanted,
            restless: HashMap::new(),
            restored: false,
            only: None,
        }
    }

    /// Sends every shot that comes to rest, for ever; the owner drops the future to stop it.
    pub async fn watch(mut self, ready: Sender<Ready>) {
        let mut watcher = self.start_watcher();
        let mut next_rescan = Instant::now();
        loop {
            let now = Instant::now();
            let everything = self.wanted.everything.swap(false, Ordering::AcqRel);
            let (folders, trees, next_look) = self.wanted.due(now);
            if everything || now >= next_rescan {
                if self.is_replaced() {
                    watcher = self.start_watcher();
                }
                self.look_through(Path::new(""), true, &ready).await;
                self.forget_what_is_gone().await;
                let rescan = self.line.config.rescan;
                let rescan = if watcher.is_some() {
                    rescan
                } else {
                    rescan.min(POLL)
                };
                next_rescan = Instant::now() + rescan;
                continue;
            }
            for tree in &trees {
                self.look_through(tree, false, &ready).await;
            }
            for folder in &folders {
                self.look(folder, false, &ready).await;
            }
            if folders.is_empty() && trees.is_empty() {
                let until = next_look.map_or(next_rescan, |look| look.min(next_rescan));
                let woken = async { self.wanted.woken.recv().await.unwrap_or_default() };
                let timed = async {
                    Timer::at(until).await;
                };
                woken.or(timed).await;
            }
        }
    }

    /// One pass over everything, until nothing is left that could be taken, or what is left does not come to rest.
    /// Returns the files that did not.
    pub async fn pass(mut self, scope: Scope, ready: Sender<Ready>) -> Vec<PathBuf> {
        self.only = scope.only;
        let wait = PATIENCE.min(self.line.config.settle * 5 + Duration::from_secs(2));
        let mut patience = Instant::now() + wait;
        loop {
            let before = self.line.progress.settled();
            let sent = self.look_through(&scope.folder, true, &ready).await;
            self.line.wait_until_idle().await;
            if sent == 0 && self.restless.values().all(HashMap::is_empty) {
                break;
            }
            let now = Instant::now();
            if self.line.progress.settled() > before {
                patience = now + wait;
            } else if now > patience {
                break;
            } else {
                Timer::after(Duration::from_millis(20).max(self.line.config.settle / 4)).await;
            }
        }
        let below = |(folder, files): (&PathBuf, &HashMap<OsString, Seen>)| {
            files
                .keys()
                .map(|name| folder.join(name))
                .collect::<Vec<_>>()
        };
        self.restless.iter().flat_map(below).collect()
    }

    /// Looks at `top` and every folder below it. Returns how many shots were sent.
    async fn look_through(&mut self, top: &Path, fully: bool, ready: &Sender<Ready>) -> usize {
        let mut sent = 0;
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            let (more, below) = self.look(&folder, fully, ready).await;
            sent += more;
            if self.only.is_none() {
                folders.extend(below);
            }
        }
        self.restored |= fully && top == Path::new("");
        sent
    }

    /// Looks at one folder: sends what has come to rest, and asks for another look at the rest. `fully`: what was left
    /// behind for a reason that may have passed is tried again.
    async fn look(
        &mut self,
        folder: &Path,
        fully: bool,
        ready: &Sender<Ready>,
    ) -> (usize, Vec<PathBuf>) {
        let listing = {
            let (line, folder, restore) =
                (Arc::clone(&self.line), folder.to_owned(), !self.restored);
            unblock(move || list(&line, &folder, restore)).await
        };
        let Listing { files, folders } = match listing {
            Ok(listing) => listing,
            Err(error) => {
                self.restless.remove(folder);
                if !error.is_gone() {
                    log::warn!("{error}");
                }
                return (0, Vec::new());
            }
        };
        let seen_before = self.restless.remove(folder).unwrap_or_default();
        let mut restless = HashMap::new();
        let states: HashMap<OsString, (Snapshot, Option<LeftBecause>)> = files
            .into_iter()
            .map(|(name, state, left)| (name, (state, left)))
            .collect();
        let mut unsent = states.len() as u64;
        let mut sent = 0;
        for mut names in shot::group(states.keys().cloned().collect()) {
            unsent -= names.len() as u64;
            if self.is_out_of_scope(&names) {
                continue;
            }
            if self.line.is_any_under_way(folder, &names) {
                // What came to it meanwhile is looked at when it is done.
                self.wanted
                    .look_at(folder, Instant::now() + self.line.config.settle.max(GATHER));
                continue;
            }
            names.retain(|name| self.may_be_taken(folder, name, &states));
            let is_left =
                |name: &OsString| states.get(name).is_some_and(|(_, left)| left.is_some());
            if names.is_empty() || (!fully && names.iter().all(is_left)) {
                continue;
            }
            let looks = names.into_iter().filter_map(|name| {
                let (state, _) = *states.get(&name)?;
                Some((name, state))
            });
            let rest = Rest {
                now: Instant::now(),
                wall: (self.line.now)(),
                settle: self.line.config.settle,
            };
            let Divided {
                resting: files,
                moving,
            } = rest.divide(looks, &seen_before);
            if let Some(next) = moving
                .iter()
                .map(|(_, seen)| seen.rests_at(rest.settle))
                .max()
            {
                self.wanted.look_at(folder, next.max(rest.now + GATHER));
                restless.extend(moving);
            }
            if files.is_empty() {
                continue;
            }
            let backlog = unsent + restless.len() as u64;
            self.line.progress.backlog.store(backlog, Ordering::Relaxed);
            let shot = Ready {
                folder: folder.to_owned(),
                files,
            };
            self.line.mark(&shot);
            sent += 1;
            if ready.send(shot).await.is_err() {
                break;
            }
        }
        if !restless.is_empty() {
            self.restless.insert(folder.to_owned(), restless);
        }
        let backlog = self.restless.values().map(HashMap::len).sum::<usize>();
        self.line
            .progress
            .backlog
            .store(backlog as u64, Ordering::Relaxed);
        (sent, folders)
    }

    fn is_out_of_scope(&self, names: &[OsString]) -> bool {
        self.only.as_ref().is_some_and(|only| !names.contains(only))
    }

    /// Whether a file is not left or done for good.
    fn may_be_taken(
        &self,
        folder: &Path,
        name: &OsStr,
        states: &HashMap<OsString, (Snapshot, Option<LeftBecause>)>,
    ) -> bool {
        let left = states.get(name).and_then(|(_, left)| *left);
        let is_settled = match left {
            Some(LeftBecause::NotMedia) => true,
            // Kept on purpose, while that is the owner's wish.
            Some(LeftBecause::Kept(_)) => self.line.clear != Clear::Always,
            _ => false,
        };
        !is_settled && !self.line.is_done(&folder.join(name))
    }

    /// Files that were left in the inbox and are not there any more need no row.
    async fn forget_what_is_gone(&self) {
        let line = Arc::clone(&self.line);
        let gone = unblock(move || {
            let left = line.ledger.all_left(usize::MAX).unwrap_or_default();
            let is_gone = |path: &Path| {
                let folder = path.parent().unwrap_or(Path::new(""));
                match line
                    .source
                    .look(folder, &[path.file_name().unwrap_or_default()])
                {
                    Ok(states) => states.first().is_none_or(Option::is_none),
                    Err(error) => error.is_gone(),
                }
            };
            left.into_iter()
                .map(|left| left.inbox_path)
                .filter(|path| is_gone(path))
                .collect::<Vec<_>>()
        })
        .await;
        if gone.is_empty() {
            return;
        }
        let changes = gone
            .into_iter()
            .map(crate::ledger::Change::Forget)
            .collect();
        if let Err(error) = self.line.desk.ask_all(changes).await {
            log::warn!("{error}");
        }
    }

    /// Whether another folder stands where the inbox was (made anew, or a disk mounted over it): it is then taken instead.
    fn is_replaced(&self) -> bool {
        self.line
            .source
            .reopen_if_replaced()
            .unwrap_or_else(|error| {
                log::warn!("{error}");
                false
            })
    }

    /// Starts watching, or says why the inbox is polled instead.
    fn start_watcher(&self) -> Option<RecommendedWatcher> {
        let inbox = self.line.source.path();
        let poll = match self.line.config.poll {
            Poll::Set(poll) => poll,
            Poll::Auto => disk::is_network(inbox),
        };
        if poll {
            log::info!("{} is polled every {} s", inbox.display(), POLL.as_secs());
            return None;
        }
        let hint = Hint {
            inbox: inbox.to_owned(),
            wanted: Arc::clone(&self.wanted),
            ignore: self.line.config.ignore.clone(),
        };
        // A link in the inbox may lead anywhere, back to our own log too (P8).
        let settings = notify::Config::default().with_follow_symlinks(false);
        let started = RecommendedWatcher::new(move |event| hint.take(event), settings).and_then(
            |mut watcher| {
                watcher
                    .watch(inbox, RecursiveMode::Recursive)
                    .map(|()| watcher)
            },
        );
        match started {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                log::warn!(
                    "{} can't be watched ({error}), so it is polled every {} s; where watches ran out, raise fs.inotify.max_user_watches",
                    inbox.display(),
                    POLL.as_secs()
                );
                None
            }
        }
    }
}

/// Lists a folder: its files with state and with what the ledger says of them, and its folders. Blocks.
fn list(line: &Line, folder: &Path, restore: bool) -> Result<Listing, DiskError> {
    let mut entries = line.source.list(folder)?;
    let aside = |name: &OsStr| {
        name.as_encoded_bytes()
            .starts_with(TEMPORARY_PREFIX.as_bytes())
    };
    if restore && line.is_inbox && entries.iter().any(|entry| aside(&entry.name)) {
        for entry in entries
            .iter()
            .filter(|entry| entry.is == EntryIs::File && aside(&entry.name))
        {
            line.source.restore_aside(&folder.join(&entry.name))?;
        }
        entries = line.source.list(folder)?;
    }
    entries.retain(|entry| passed_over(&entry.name, &line.config.ignore).is_none());
    let folders = entries
        .iter()
        .filter(|entry| entry.is == EntryIs::Folder)
        .map(|entry| folder.join(&entry.name))
        .collect();
    let names: Vec<&OsStr> = entries
        .iter()
        .filter(|entry| entry.is == EntryIs::File)
        .map(|entry| entry.name.as_os_str())
        .collect();
    let states = line.source.look(folder, &names)?;
    let mut files = Vec::new();
    for (name, state) in names.into_iter().zip(states) {
        let Some(state) = state else { continue };
        let path = folder.join(name);
        let left = if line.is_inbox {
            line.ledger.left(&path).unwrap_or_default()
        } else {
            None
        };
        let left = left
            .filter(|left| left.size == state.size && left.mtime_ns == state.mtime_ns)
            .map(|left| left.why);
        files.push((name.to_owned(), state, left));
    }
    Ok(Listing { files, folders })
}

/// Turns the watcher's events into wishes for a look; it only notes them, so the kernel's queue is emptied at once.
struct Hint {
    inbox: PathBuf,
    wanted: Arc<Wanted>,
    ignore: Vec<String>,
}

impl Hint {
    fn take(&self, event: notify::Result<notify::Event>) {
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
