//! The model: which contents must exist, what stood in Originals, what lies in the inbox that is nobody's photo; and the
//! looks at the real folders that hold it to the promises.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::counts::Counts;
use crate::factory::{Factory, PATIENCE, hash, http, text, wait_until};
use crate::fixtures::Random;
use crate::fixtures::jpeg::Load;
use crate::ground::{Ground, Mounted};

/// Operations that a failure tells of.
const STORY: usize = 80;

/// What the owner completed at a name of the inbox.
#[derive(Clone, Debug)]
pub(crate) struct Laid {
    /// SHA-256 of the content.
    pub(crate) hash: String,
    /// Whether it must be filed; else it may stay where it is, whole.
    pub(crate) is_photo: bool,
}

/// A file that is still being written.
pub(crate) struct Growing {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) written: Vec<u8>,
    pub(crate) rest: Vec<u8>,
}

/// One factory and what is known of it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "faults come and go by themselves, in any combination"
)]
pub(crate) struct World {
    pub(crate) factory: Factory,
    pub(crate) ground: Ground,
    pub(crate) seed: u64,
    /// `inbox.clear = "never"`: names stay.
    pub(crate) names_stay: bool,
    pub(crate) pictures: Load,
    /// By path relative to the inbox.
    pub(crate) names: BTreeMap<PathBuf, Laid>,
    /// Contents of names that were found gone: they can only have been filed.
    pub(crate) taken: BTreeSet<String>,
    /// Contents that were completed and that the owner did not himself destroy: each must be whole somewhere.
    pub(crate) owed: BTreeMap<String, String>,
    /// Every content that was ever completed: nothing else may come to stand in Originals.
    pub(crate) completed: BTreeSet<String>,
    /// Earlier contents, to be sent again.
    pub(crate) earlier: Vec<Vec<u8>>,
    pub(crate) growing: Vec<Growing>,
    pub(crate) folders: Vec<PathBuf>,
    /// Names that may lead to a file which has another name: nothing is written through them.
    pub(crate) linked: BTreeSet<PathBuf>,
    /// What is no photo and must stay: its kind, and its content where it has one.
    pub(crate) foreign: BTreeMap<PathBuf, String>,
    /// `ingest` at work beside us.
    pub(crate) ingest: Option<Child>,
    pub(crate) is_running: bool,
    pub(crate) is_full: bool,
    pub(crate) is_ledger_away: bool,
    pub(crate) is_storage_away: bool,
    /// It is away because its disk is not there; else it is read-only.
    pub(crate) is_unplugged: bool,
    /// It was, since a pass over the inbox ended.
    pub(crate) was_storage_away: bool,
    /// The ledger was away since all was last at rest.
    pub(crate) nobody_remembered: bool,
    /// Contents that came to stand twice while the ledger was away.
    doubled: BTreeSet<String>,
    pub(crate) number: u64,
    /// What was seen to stand in Originals: hash and modification time.
    stood: BTreeMap<PathBuf, (String, i64)>,
    hashes: BTreeMap<(u64, u64, i64, i64, u64), String>,
    story: VecDeque<String>,
    begun: Instant,
    counts: Counts,
    mounts: Vec<Mounted>,
}

impl World {
    pub(crate) fn new(seed: u64, ground: Ground) -> Self {
        let (factory, mounts) = ground.factory(seed);
        let names_stay = Random(seed ^ 0x5eed).below(6) == 0;
        let clear = if names_stay { "never" } else { "always" };
        fs::write(
            factory.root().join("photo-factory.toml"),
            format!(
                "[inbox]\nsettle_seconds = 0.2\nrescan_seconds = 1\nclear = \"{clear}\"\nignore = [\"*.pdf\"]\n"
            ),
        )
        .unwrap();
        Self {
            factory,
            ground,
            seed,
            names_stay,
            pictures: Load::new(seed),
            names: BTreeMap::new(),
            taken: BTreeSet::new(),
            owed: BTreeMap::new(),
            completed: BTreeSet::new(),
            earlier: Vec::new(),
            growing: Vec::new(),
            folders: vec![PathBuf::new()],
            linked: BTreeSet::new(),
            foreign: BTreeMap::new(),
            ingest: None,
            is_running: false,
            is_full: false,
            is_ledger_away: false,
            is_storage_away: false,
            is_unplugged: false,
            was_storage_away: false,
            nobody_remembered: false,
            doubled: BTreeSet::new(),
            number: 0,
            stood: BTreeMap::new(),
            hashes: BTreeMap::new(),
            story: VecDeque::new(),
            begun: Instant::now(),
            counts: Counts::default(),
            mounts,
        }
    }

    /// Takes the factory down, with its mounts and its folder.
    pub(crate) fn leave(self) -> Counts {
        let root = self.factory.root().to_owned();
        drop(self.factory);
        drop(self.mounts);
        // A mount point goes only now.
        drop(fs::remove_dir_all(root));
        self.counts
    }

    /// Ends the programs and leaves their folder and what is mounted there, to be looked at.
    pub(crate) fn leave_as_it_is(mut self) {
        for mounted in &self.mounts {
            println!(
                "when it was looked at: umount --lazy {}",
                mounted.at().display()
            );
        }
        if let Some(mut ingest) = self.ingest.take() {
            drop(ingest.kill());
            drop(ingest.wait());
        }
        if self.is_running {
            self.factory.kill();
        }
        std::mem::forget(self);
    }

    /// Whether this was not done yet in this episode.
    pub(crate) fn lacks(&self, operation: &str) -> bool {
        !self.counts.has(operation)
    }

    /// Notes an operation, for the count and for the story.
    pub(crate) fn note(&mut self, operation: &'static str, what: impl fmt::Display) {
        self.counts.count(operation);
        if self.story.len() == STORY {
            self.story.pop_front();
        }
        let at = self.begun.elapsed().as_millis();
        self.story
            .push_back(format!("{:5} {at:7} ms {operation} {what}", self.number));
    }

    /// The last operations, and the end of the daemon's log.
    pub(crate) fn story(&self) -> String {
        let mut story = format!("in {}:\n", self.factory.root().display());
        for line in &self.story {
            writeln!(story, "{line}").unwrap();
        }
        let log = fs::read_to_string(self.factory.root().join("stderr.txt")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(30)) {
            writeln!(story, "log: {line}").unwrap();
        }
        story
    }

    /// This content is complete now: from here on it must be somewhere.
    pub(crate) fn completed(&mut self, path: &Path, content: &[u8], is_photo: bool) {
        let hash = hash(content);
        self.completed.insert(hash.clone());
        let origin = format!("{} in operation {}", path.display(), self.number);
        self.owed.insert(hash.clone(), origin);
        self.names.insert(path.to_owned(), Laid { hash, is_photo });
        if is_photo && content.len() < 30_000 && self.earlier.len() < 200 {
            self.earlier.push(content.to_owned());
        }
    }

    /// The name was found gone though the owner did not remove it: its content has been filed.
    pub(crate) fn found_taken(&mut self, path: &Path) {
        if let Some(laid) = self.names.remove(path) {
            assert!(
                !self.names_stay,
                "{} is gone, and names were to stay",
                path.display()
            );
            self.taken.insert(laid.hash);
        }
    }

    /// The owner destroyed this content, which he found at `path`. Only he may: what was there must be what he last put.
    pub(crate) fn destroyed(&mut self, path: &Path, found: &[u8]) {
        let found = hash(found);
        let laid = self.names.remove(path);
        assert!(
            laid.as_ref().is_some_and(|laid| laid.hash == found),
            "{} holds {found} and not what was last put there: {laid:?}",
            path.display()
        );
        let is_elsewhere =
            self.taken.contains(&found) || self.names.values().any(|laid| laid.hash == found);
        if !is_elsewhere {
            self.owed.remove(&found);
        }
    }

    fn hash_of(&mut self, path: &Path) -> Option<String> {
        let seen = fs::symlink_metadata(path).ok()?;
        let key = (
            seen.dev(),
            seen.ino(),
            seen.ctime(),
            seen.ctime_nsec(),
            seen.size(),
        );
        if let Some(known) = self.hashes.get(&key) {
            return Some(known.clone());
        }
        let hash = hash(&fs::read(path).ok()?);
        self.hashes.insert(key, hash.clone());
        Some(hash)
    }

    /// Where Storage lies, also while it is not mounted.
    fn storage(&self) -> PathBuf {
        match self.ground {
            Ground::TwoDisks => self.factory.root().join("disk"),
            _ => self.factory.storage(),
        }
    }

    /// Every regular file below a folder, hidden or not.
    fn all_files(folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() => files.push(entry.path()),
                    _ => {}
                }
            }
        }
        files
    }

    /// What stands in Originals under final names.
    fn originals(&mut self) -> BTreeMap<PathBuf, (String, i64)> {
        let storage = self.storage();
        let mut originals = BTreeMap::new();
        for path in crate::factory::files_below(&storage.join("Originals")) {
            let mtime = fs::metadata(&path).unwrap().mtime();
            let hash = self.hash_of(&path).unwrap();
            originals.insert(
                path.strip_prefix(&storage).unwrap().to_owned(),
                (hash, mtime),
            );
        }
        originals
    }

    /// With nobody at work at this instant: every content is whole somewhere, and what stood in Originals stands.
    pub(crate) fn check_that_nothing_is_lost(&mut self, when: &str) {
        let originals = self.originals();
        for (path, stood) in &self.stood {
            let found = originals.get(path);
            assert!(
                found.is_some_and(|found| found.0 == stood.0),
                "P3, {when}: {} stood in Originals with {stood:?}, and is now {found:?}",
                path.display()
            );
        }
        let mut found: BTreeSet<String> =
            originals.values().map(|(hash, _)| hash.clone()).collect();
        for path in Self::all_files(&self.factory.inbox()) {
            found.extend(self.hash_of(&path));
        }
        let lost: Vec<_> = self
            .owed
            .iter()
            .filter(|(hash, _)| !found.contains(*hash))
            .collect();
        assert!(lost.is_empty(), "P1, {when}: lost {lost:#?}");
    }

    /// Waits until all is filed that must be, then looks at everything.
    pub(crate) fn check_everything(&mut self) {
        let mut wanting = Vec::new();
        let is_filed = wait_until(PATIENCE * 2, || {
            wanting = self.what_waits();
            std::thread::sleep(Duration::from_millis(if wanting.is_empty() {
                0
            } else {
                40
            }));
            wanting.is_empty()
        });
        assert!(is_filed, "P5, P6: not filed in time: {wanting:#?}");
        if std::mem::take(&mut self.nobody_remembered) {
            self.allow_doubles();
        }
        // The last commits and clearings may be under way still.
        let mut differs = String::new();
        let agrees = wait_until(PATIENCE, || {
            differs = self.what_differs();
            differs.is_empty()
        });
        assert!(agrees, "ledger and Originals: {differs}");
        self.check_that_nothing_is_lost("at rest");
        // The bytes, and not only what the file system says of them.
        self.hashes.clear();
        let originals = self.originals();
        let unasked: Vec<_> = originals
            .iter()
            .filter(|(_, (hash, _))| !self.completed.contains(hash))
            .collect();
        assert!(
            unasked.is_empty(),
            "P4: what was never complete stands in Originals: {unasked:#?}"
        );
        let mut places: BTreeMap<&String, Vec<&PathBuf>> = BTreeMap::new();
        for (path, (hash, _)) in &originals {
            places.entry(hash).or_default().push(path);
        }
        places.retain(|hash, paths| paths.len() > 1 && !self.doubled.contains(*hash));
        assert!(
            places.is_empty(),
            "P5: one content stands several times: {places:#?}"
        );
        for (path, (_, mtime)) in &self.stood {
            assert_eq!(originals[path].1, *mtime, "P3: {}", path.display());
        }
        self.counts.filed += (originals.len() - self.stood.len()) as u64;
        self.stood = originals;
        self.check_what_is_foreign();
        self.check_the_page();
    }

    /// While nobody remembers what is filed, a photo that comes again is found where it stands only under its own name.
    /// Under another one it is filed again, and so it is where its own name came free.
    fn allow_doubles(&mut self) {
        let mut names: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (path, (hash, _)) in self.originals() {
            names.entry(hash).or_default().push(path);
        }
        for (hash, paths) in names {
            if paths.len() == 1 || !self.doubled.insert(hash) {
                continue;
            }
            self.note("doubled", format!("{paths:?}"));
        }
    }

    /// Where ledger and Originals do not say the same; temporary files of ours count, too.
    fn what_differs(&mut self) -> String {
        let rows: BTreeMap<PathBuf, String> = self
            .factory
            .rows()
            .iter()
            .map(|row| {
                (
                    PathBuf::from(text(row, "final_path")),
                    text(row, "file_hash").to_owned(),
                )
            })
            .collect();
        let stands: BTreeMap<PathBuf, String> = self
            .originals()
            .into_iter()
            .map(|(path, (hash, _))| (path, hash))
            .collect();
        let only = |one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>| {
            one.iter()
                .filter(|(path, hash)| other.get(*path) != Some(hash))
                .map(|(path, _)| path.display().to_string())
                .collect::<Vec<_>>()
        };
        let (in_ledger, mut on_disk) = (only(&rows, &stands), only(&stands, &rows));
        // Of those that stand twice one has the row.
        on_disk.retain(|path| !self.doubled.contains(&stands[Path::new(path)]));
        let litter = self.litter();
        if in_ledger.is_empty() && on_disk.is_empty() && litter.is_empty() {
            return String::new();
        }
        format!(
            "only in the ledger {in_ledger:?}, only in Originals {on_disk:?}, temporary files {litter:?}"
        )
    }

    /// Photos that are not filed, and names that are not cleared.
    fn what_waits(&mut self) -> Vec<String> {
        let inbox = self.factory.inbox();
        if !self.names_stay {
            // Whatever the model knows of it: a photo in the inbox has to go.
            let names: Vec<_> = self
                .names
                .iter()
                .map(|(path, laid)| (path.clone(), laid.is_photo))
                .collect();
            let mut waits = Vec::new();
            for (path, is_photo) in names {
                if !inbox.join(&path).exists() {
                    self.found_taken(&path);
                } else if is_photo {
                    waits.push(path.display().to_string());
                }
            }
            for path in crate::factory::files_below(&inbox) {
                let relative = path.strip_prefix(&inbox).unwrap();
                if !self.names.contains_key(relative) && !self.foreign.contains_key(relative) {
                    waits.push(format!("{} (no name of ours)", relative.display()));
                }
            }
            if !waits.is_empty() {
                return waits;
            }
        }
        let originals: BTreeSet<String> = self
            .originals()
            .into_values()
            .map(|(hash, _)| hash)
            .collect();
        self.names
            .iter()
            .filter(|(_, laid)| laid.is_photo && !originals.contains(&laid.hash))
            .map(|(path, _)| format!("{} is not in Originals", path.display()))
            .collect()
    }

    fn check_what_is_foreign(&self) {
        for (path, expected) in &self.foreign {
            let found = describe(&self.factory.inbox().join(path));
            assert_eq!(&found, expected, "P8: {}", path.display());
        }
    }

    pub(crate) fn check_the_page(&self) {
        for path in ["/", "/api/v1/status"] {
            let (code, body) = http(self.factory.address(), "GET", path, &[]);
            assert_eq!(code, 200, "{path}: {body}");
        }
    }

    /// Temporary files of ours where none is under way.
    fn litter(&self) -> Vec<PathBuf> {
        [self.factory.inbox(), self.storage()]
            .iter()
            .flat_map(|folder| Self::all_files(folder))
            .filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with(".photo-factory-") && name != ".photo-factory-storage"
            })
            .collect()
    }
}

/// What stands at a path, in words: for what must stay as it is.
pub(crate) fn describe(path: &Path) -> String {
    let Ok(seen) = fs::symlink_metadata(path) else {
        return "nothing".to_owned();
    };
    if seen.is_file() {
        return format!("file {}", hash(&fs::read(path).unwrap()));
    }
    if seen.is_symlink() {
        return format!("link to {}", fs::read_link(path).unwrap().display());
    }
    format!("type {:o}", seen.mode() & 0o170_000)
}
