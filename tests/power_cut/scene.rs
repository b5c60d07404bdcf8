//! The photos of a scene, the program that files them, and the look at what became of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::disk::Disk;
use crate::factory::{laying_out, output_of, program};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::{self, Load};
use crate::fixtures::raster::landscape;
use crate::fixtures::sidecar;
use crate::fixtures::video::{Movie, mov};

pub(crate) const INBOX: &str = "Photos_Inbox";
const ORIGINALS: &str = "Storage/Originals";
/// The one file that is no photo: it stays, and is told of.
const NOTE: &str = "note.txt";
const LEDGER: &str = "Data/ledger.redb";
const JOURNAL: &str = "Data/journal.jsonl";

/// What must never be lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    /// What was given, by a name to call it.
    given: BTreeMap<String, Vec<u8>>,
    /// The ledger was down for a while: what came again then under another name may be kept twice.
    maybe_twice: bool,
    mend: Mend,
}

/// What the owner does about the ledger before the program recovers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Mend {
    /// Nothing: it can be used.
    #[default]
    Nothing,
    /// Puts an older copy in its place.
    PutBack(Vec<u8>),
    /// Has it made anew from Originals.
    Rebuild,
}

/// A folder for one run, removed when all went well.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = scratch().join(format!("power-cut-{}-{name}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() && std::env::var_os("PHOTO_FACTORY_KEEP").is_none() {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

/// Memory where there is some: thousands of states are laid out, and what is tested is no property of the disk below.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let probe = memory.join(format!("power-cut-{}", std::process::id()));
    if fs::create_dir(&probe).is_ok() {
        drop(fs::remove_dir(&probe));
        return memory.to_owned();
    }
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// The program under test, with these arguments.
pub(crate) fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("--root").arg(root).args(arguments);
    command.env("TZ", "UTC").stdin(Stdio::null());
    command
}

impl Scene {
    /// An empty factory in a new folder.
    pub(crate) fn prepare(root: &Path) -> Self {
        fs::create_dir_all(root.join(INBOX)).unwrap();
        fs::write(
            root.join("photo-factory.toml"),
            "[inbox]\nsettle_seconds = 0\n",
        )
        .unwrap();
        Self::default()
    }

    /// Lays a finished file into the inbox.
    fn put(&mut self, root: &Path, name: impl AsRef<Path>, content: Vec<u8>) -> PathBuf {
        let path = root.join(INBOX).join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        laying_out(|| {
            fs::write(&path, &content).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(3600))
                .unwrap();
        });
        self.given
            .insert(name.as_ref().to_string_lossy().into_owned(), content);
        path
    }

    /// Files two photos beforehand: duplicates of one will come.
    pub(crate) fn file_some_before(&mut self, root: &Path) {
        self.put(root, "kept.jpg", picture(1));
        self.put(root, "earlier.jpg", picture(2));
        let output = output_of(&mut command(root, &["ingest"]));
        assert!(output.status.success(), "{output:?}");
    }

    /// Another file stands in the place of the ledger; gives what stood there.
    pub(crate) fn lose_the_ledger(&mut self, root: &Path) -> Vec<u8> {
        let ledger = fs::read(root.join(LEDGER)).unwrap();
        fs::write(root.join(LEDGER), "no ledger").unwrap();
        self.maybe_twice = true;
        ledger
    }

    /// The same scene, in which this is done before the program recovers.
    pub(crate) fn mended_by(&self, mend: Mend) -> Self {
        Self {
            mend,
            ..self.clone()
        }
    }

    /// One that was kept before comes again, and a new one.
    pub(crate) fn bring_more(&mut self, root: &Path) {
        self.put(root, "kept.jpg", picture(1));
        self.put(root, "single.jpg", picture(4));
        self.put(root, "more.jpg", picture(8));
    }

    /// One photo.
    pub(crate) fn put_one(&mut self, root: &Path) {
        self.put(root, "one.jpg", picture(1));
    }

    /// One of each way that a photo can take. With `links`, one is hard-linked from outside, which makes it be copied.
    pub(crate) fn fill(&mut self, root: &Path, links: bool) {
        // Longer than a copy's buffer.
        let large = Load::new(3).next(&Exif::taken("2021:02:03 04:05:03"), 70_000);
        let large = self.put(root, "DCIM/large.jpg", large);
        if links {
            fs::create_dir_all(root.join("elsewhere")).unwrap();
            fs::hard_link(large, root.join("elsewhere/second name.jpg")).unwrap();
        }
        self.put(root, "single.jpg", picture(4));
        self.put(
            root,
            Path::new(std::ffi::OsStr::from_bytes(b"M\xfcnchen\n.jpg")),
            picture(5),
        );
        self.put(root, "copy of kept.jpg", picture(1));
        self.put(root, "twin-1.jpg", picture(6));
        self.put(root, "twin-2.jpg", picture(6));
        let still = Exif::taken("2024:05:06 07:08:09")
            .offset("+02:00")
            .content_id("A-1");
        let movie = Movie {
            created: Some(1_714_972_090),
            creation_date: Some("2024-05-06T07:08:10+0200".to_owned()),
            content_id: Some("A-1".to_owned()),
            ..Movie::default()
        };
        let frame = jpeg::encode(&landscape(5, 64, 48), None, None);
        self.put(root, "DCIM/IMG_4242.JPG", jpeg::small(7, &still));
        self.put(root, "DCIM/IMG_4242.MOV", mov(&movie, &[frame], 64, 48));
        self.put(root, "DCIM/IMG_4242.AAE", sidecar::aae().into_bytes());
        self.put(root, NOTE, b"no photo".to_vec());
    }

    /// The contents that are nowhere in the inbox and in Originals, under whatever name.
    pub(crate) fn missing(&self, disk: &Disk) -> Vec<&str> {
        let named = disk.named();
        let is_there = |content: &Vec<u8>| {
            named.iter().any(|(path, file)| {
                (path.starts_with(INBOX) || path.starts_with(ORIGINALS)) && *file.bytes == *content
            })
        };
        let missing = self.given.iter().filter(|(_, content)| !is_there(content));
        missing.map(|(name, _)| name.as_str()).collect()
    }

    /// Lets the program recover, twice, and looks at everything. The answer says what is wrong.
    pub(crate) fn recover(&self, root: &Path) -> Result<(), String> {
        self.mend.carry_out(root)?;
        let first = ingest(root)?;
        let after = Disk::of(root).map_err(|error| error.to_string())?;
        self.look(&after)?;
        let second = ingest(root)?;
        let again = Disk::of(root).map_err(|error| error.to_string())?;
        if let (Some(filed), Some(duplicates)) =
            (second["filed"].as_u64(), second["duplicates"].as_u64())
            && filed + duplicates > 0
        {
            return Err(format!(
                "the second recovery took files again: {first}, {second}"
            ));
        }
        if photos(&after) != photos(&again) {
            return Err("the second recovery changed files".to_owned());
        }
        if waits_in_the_journal(root) {
            return Err("the journal was not folded in".to_owned());
        }
        self.ledger_agrees(root, &again)
    }

    /// Every row names an original with its bytes, and every original has a row, or the bytes of one that has.
    fn ledger_agrees(&self, root: &Path, disk: &Disk) -> Result<(), String> {
        let output = output_of(&mut command(root, &["export"]));
        let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let rows: BTreeMap<String, String> = json(&output)
            .iter()
            .map(|row| (text(row, "final_path"), text(row, "file_hash")))
            .collect();
        let originals: BTreeMap<String, String> = photos(disk)
            .into_iter()
            .filter(|(path, _)| path.starts_with(ORIGINALS))
            .map(|(path, hash)| {
                let path = path.strip_prefix("Storage").unwrap_or(&path);
                (path.to_string_lossy().into_owned(), hash)
            })
            .collect();
        let stands = |(path, hash): (&String, &String)| originals.get(path) == Some(hash);
        let is_known = |(path, hash): (&String, &String)| {
            rows.contains_key(path) || self.maybe_twice && rows.values().any(|row| row == hash)
        };
        if rows.iter().all(stands) && originals.iter().all(is_known) && output.status.success() {
            Ok(())
        } else {
            Err(format!(
                "the ledger says {rows:#?}, in Originals are {originals:#?}"
            ))
        }
    }

    /// Every photo stands in Originals under a name of its own, nothing but the note waits, no litter lies about.
    fn look(&self, disk: &Disk) -> Result<(), String> {
        let missing = self.missing(disk);
        if !missing.is_empty() {
            return Err(format!("lost: {missing:?}"));
        }
        for path in photos(disk).keys() {
            let name = path.file_name().unwrap_or_default();
            if name.as_bytes().starts_with(b".photo-factory-") && !is_marker(path) {
                return Err(format!("litter: {}", path.display()));
            }
            if path.starts_with(INBOX) && name != NOTE {
                return Err(format!("still in the inbox: {}", path.display()));
            }
        }
        Ok(())
    }
}

impl Mend {
    /// Does it.
    pub(crate) fn carry_out(&self, root: &Path) -> Result<(), String> {
        match self {
            Self::Nothing => {}
            Self::PutBack(ledger) => fs::write(root.join(LEDGER), ledger).unwrap(),
            Self::Rebuild => {
                let output = output_of(&mut command(root, &["rebuild"]));
                // What is kept twice is told of, as a problem.
                if !matches!(output.status.code(), Some(0 | 2)) {
                    return Err(format!("rebuild: {output:?}"));
                }
            }
        }
        Ok(())
    }
}

/// Whether there is a journal that waits for a ledger.
pub(crate) fn waits_in_the_journal(root: &Path) -> bool {
    root.join(JOURNAL).exists()
}

/// A small photo of its own.
fn picture(seed: u64) -> Vec<u8> {
    jpeg::small(seed, &Exif::taken(&format!("2021:02:03 04:05:{seed:02}")))
}

fn is_marker(path: &Path) -> bool {
    path.parent() == Some(Path::new("Storage"))
}

/// What lies in the inbox and in Originals, with its hash.
fn photos(disk: &Disk) -> BTreeMap<PathBuf, String> {
    let named = disk.named().into_iter();
    named
        .filter(|(path, _)| path.starts_with(INBOX) || path.starts_with("Storage"))
        .map(|(path, content)| (path, hash(&content.bytes)))
        .collect()
}

fn hash(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}

/// One pass, which must end well: every file taken, but for the note.
fn ingest(root: &Path) -> Result<Value, String> {
    let output = output_of(&mut command(root, &["ingest", "--json"]));
    let lines = json(&output);
    let summary = lines
        .last()
        .map_or(Value::Null, |last| last["summary"].clone());
    // The note is told of when it is met first; what is known to stay is not looked at again.
    let ended = (output.status.code(), summary["problems"].as_u64());
    let only_the_note = lines
        .iter()
        .all(|line| line["decision"] != "not_media" || line["path"] == NOTE);
    if ended == (Some(0), Some(0)) || (ended == (Some(2), Some(1)) && only_the_note) {
        return Ok(summary);
    }
    let problems: Vec<String> = lines
        .iter()
        .filter(|line| !line["reason"].is_null())
        .map(|line| format!("{} {}", line["path"], line["reason"]))
        .collect();
    Err(format!(
        "{}: {problems:?} {summary} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

fn json(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
