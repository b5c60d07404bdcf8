//! Finding shots that have come to rest. Events are hints that a folder wants a look; looking through everything every
//! few minutes is the truth.

pub(crate) mod presence;
mod wanted;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smol::Timer;
use smol::channel::Sender;
use smol::future::FutureExt;

use super::settle::{Divided, PATIENCE, Rest, Seen, WallClock, passed_over};
use super::{Fate, Line, Report, shot};
use crate::asset::LeftBecause;
use crate::blocking::unblock;
use crate::config::Poll;
use crate::disk::{self, Cleared, Compared, DiskError, Entry, EntryIs, Hold, Snapshot};

pub use wanted::Wanted;

use presence::Presence;
use wanted::GATHER;

/// How often the inbox is looked through where no events come: network file systems, or no watches left.
const POLL: Duration = Duration::from_secs(10);

/// A shot that has come to rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// The folder, relative to the source.
    pub folder: PathBuf,
    /// The files in it, and the state in which they are at rest.
    pub files: Vec<(OsString, Snapshot)>,
}

/// The inbox's watch over one line's source.
pub struct Inbox {
    line: Arc<Line>,
    wanted: Arc<Wanted>,
    /// What was seen of files that have not come to rest, by folder.
    restless: HashMap<PathBuf, HashMap<OsString, Seen>>,
    /// Files that are at rest and can't be taken now, by folder, and why not.
    held_back: HashMap<PathBuf, Vec<(OsString, String)>>,
    /// Only the shot with this name is taken.
    only: Option<OsString>,
    clock: WallClock,
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
    /// Its files' times are ours to compare with our clock, not another machine's.
    has_our_times: bool,
}

impl Inbox {
    /// A watch over the line's source.
    pub fn new(line: Arc<Line>) -> Self {
        let wanted = Arc::clone(&line.wanted);
        let clock = WallClock::new(Instant::now(), (line.now)());
        Self {
            line,
            wanted,
            restless: HashMap::new(),
            held_back: HashMap::new(),
            only: None,
            clock,
        }
    }

    /// Sends every shot that comes to rest, for ever; the owner drops the future to stop it.
    pub async fn watch(mut self, ready: Sender<Ready>) {
        let mut watcher = None;
        let mut is_started = false;
        let mut next_rescan = Instant::now();
        loop {
            let now = Instant::now();
            let mut everything = self.wanted.everything.swap(false, Ordering::AcqRel);
            everything |= self.line.has_rested(now);
            let (folders, trees, next_look) = self.wanted.due(now);
            if everything || now >= next_rescan {
                let presence = self.presence().await;
                if presence == Presence::Away {
                    (watcher, is_started) = (None, false);
                    self.forget_all_seen();
                    next_rescan = Instant::now() + self.line.config.rescan.min(POLL);
                    continue;
                }
                if presence == Presence::Anew || !is_started {
                    watcher = self.start_watcher();
                    is_started = true;
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
                let ends = [next_look, *self.line.rest_end()];
                let until = ends.into_iter().flatten().fold(next_rescan, Instant::min);
                let woken = async { self.wanted.woken.recv().await.unwrap_or_default() };
                let timed = async {
                    Timer::at(until).await;
                };
                woken.or(timed).await;
            }
        }
    }

    /// One pass over everything, until nothing is left that could be taken, or what is left does not come to rest.
    /// Returns the files that did not, and those that could not be taken.
    pub async fn pass(mut self, scope: Scope, ready: Sender<Ready>) -> Vec<Report> {
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
        let mut reports = Vec::new();
        let mut report = |folder: &Path, name: &OsString, fate: Fate| {
            reports.push(Report {
                path: folder.join(name),
                size: 0,
                fate,
                uncleared: None,
            });
        };
        for (folder, files) in &self.restless {
            for name in files.keys() {
                let fate = Fate::Unsettled("it is still being written".to_owned());
                report(folder, name, fate);
            }
        }
        for (folder, files) in &self.held_back {
            for (name, reason) in files {
                report(folder, name, Fate::PutOff(reason.clone()));
            }
        }
        reports
    }

    /// Looks at `top` and every folder below it. Returns how many shots were sent.
    async fn look_through(&mut self, top: &Path, fully: bool, ready: &Sender<Ready>) -> usize {
        let mut sent = 0;
        if fully {
            self.line.vault.watch().forget_held_back();
            self.held_back.clear();
        }
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            let (more, below) = self.look(&folder, fully, ready).await;
            sent += more;
            if self.only.is_none() {
                folders.extend(below);
            }
        }
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
            let (line, folder) = (Arc::clone(&self.line), folder.to_owned());
            unblock(move || list(&line, &folder, fully)).await
        };
        let Listing {
            files,
            folders,
            has_our_times,
        } = match listing {
            Ok(listing) => listing,
            Err(error) => {
                self.restless.remove(folder);
                if !error.is_gone() {
                    log::warn!("{error}");
                }
                return (0, Vec::new());
            }
        };
        self.held_back.remove(folder);
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
            let rest = self.rest(has_our_times);
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
                for (name, seen) in &moving {
                    let before = seen_before.get(name);
                    if before.is_some_and(|before| before.state != seen.state) {
                        let (path, size) = (folder.join(name), seen.state.size);
                        let reason = "it has kept changing";
                        self.line.note_restless(&path, size, reason).await;
                    }
                }
                restless.extend(moving);
            }
            if files.is_empty() {
                continue;
            }
            let states = files.iter().map(|(name, state)| (folder.join(name), state));
            if let Err(reason) = self.line.may_begin(states) {
                // Looked at again when that is over: whoever ends it asks for a look at everything.
                let held_back = self.held_back.entry(folder.to_owned()).or_default();
                held_back.extend(files.into_iter().map(|(name, _)| (name, reason.clone())));
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
        self.count_backlog();
        (sent, folders)
    }

    fn count_backlog(&self) {
        let restless = self.restless.values().map(HashMap::len).sum::<usize>();
        let backlog = restless + self.held_back.values().map(Vec::len).sum::<usize>();
        self.line
            .progress
            .backlog
            .store(backlog as u64, Ordering::Relaxed);
    }

    fn rest(&mut self, has_our_times: bool) -> Rest {
        let (now, settle) = (Instant::now(), self.line.config.settle);
        let wall = self.clock.trusted(now, (self.line.now)(), settle);
        Rest {
            now,
            wall: wall.filter(|_| has_our_times),
            settle,
        }
    }

    fn forget_all_seen(&mut self) {
        self.restless.clear();
        self.held_back.clear();
        self.line.progress.backlog.store(0, Ordering::Relaxed);
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
            Some(LeftBecause::Kept(_)) => !self.line.clears(),
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
}

/// Lists a folder: its files with state and with what the ledger says of them, and its folders. Blocks.
fn list(line: &Line, folder: &Path, restore: bool) -> Result<Listing, DiskError> {
    let mut entries = line.source.list(folder)?;
    let is_aside = |entry: &Entry| {
        entry.is == EntryIs::File
            && disk::name_before_aside(&entry.name)
                .is_some_and(|name| !line.is_being_cleared(folder, name))
    };
    if restore && line.is_inbox && entries.iter().any(is_aside) {
        for entry in entries.iter().filter(|entry| is_aside(entry)) {
            // One that can't be put right is no reason to leave the photos beside it.
            if let Err(error) = put_right(line, &folder.join(&entry.name)) {
                line.tell_of_aside(folder.join(&entry.name), &error);
            }
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
    let states: HashMap<PathBuf, Snapshot> = names
        .into_iter()
        .zip(states)
        .filter_map(|(name, state)| Some((folder.join(name), state?)))
        .collect();
    let uncleared = line.uncleared.among(&line.source, folder, &states);
    let mut files = Vec::new();
    for (path, state) in states {
        if uncleared.contains(&path) {
            continue;
        }
        let left = if line.is_inbox {
            line.ledger.left(&path).unwrap_or_default()
        } else {
            None
        };
        let left = left
            .filter(|left| left.size == state.size && left.mtime_ns == state.mtime_ns)
            .map(|left| left.why);
        let name = path.file_name().unwrap_or_default().to_owned();
        files.push((name, state, left));
    }
    // One that is polled because its owner says so is taken for another machine's too.
    let has_our_times = line.config.poll != Poll::Set(true) && !line.source.is_on_network(folder);
    Ok(Listing {
        files,
        folders,
        has_our_times,
    })
}

/// Ends the clearing of a file that was put aside when it was interrupted; one that is not kept gets its name back. On vfat
/// a name that is given back is at a power cut's mercy for a moment, so what is kept goes without. Blocks.
fn put_right(line: &Line, aside: &Path) -> Result<(), DiskError> {
    let hold = line.source.hold(aside)?;
    if matches!(hold, Hold::Gone) {
        return Ok(());
    }
    if let Hold::Held(mut held) = hold {
        let size = held.seen().size;
        let kept_as = disk::hash(held.file(), size, &line.halt)
            .ok()
            .filter(|_| size > 0)
            .and_then(|hash| line.ledger.by_hash(&hash).ok().flatten());
        if let Some(asset) = kept_as
            && let Compared::Kept(mut kept) = line.vault.compare(&held, &asset)?
            && line.source.clear(&mut held, &mut kept, &line.vault)? == Cleared::Cleared
        {
            return Ok(());
        }
    }
    line.source.restore_aside(aside).map(drop)
}
