//! A small inbox with everything in it that is filed in a way of its own, and what must be true of it after any fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::factory::{hash, hash_of, json_lines, output_of, program, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::{self, Load};
use crate::fixtures::raster::landscape;
use crate::fixtures::sidecar;
use crate::fixtures::video::{Movie, mov};

/// Files are taken at the first look, and the disk may be filled to the last byte: what is broken here is neither.
const SETTINGS: &str = "[inbox]\nsettle_seconds = 0\nrescan_seconds = 1\n[storage]\nreserve = 0\n";

const LEDGER: &str = "Data/ledger.redb";
/// Where a ledger is kept that is lost later.
const GOOD_LEDGER: &str = "ledger.copy";
const BACKUP: &str = "backup";

/// A root before the run that is broken, and what an undisturbed run makes of it.
pub(crate) struct Scene {
    /// What the root is copied from.
    template: PathBuf,
    /// SHA-256 of every photo: none may ever be without a whole copy.
    given: BTreeSet<String>,
    /// What an undisturbed run leaves.
    expected: Outcome,
}

/// What stands where after a run. Times and numbers of rows may differ from run to run.
#[derive(PartialEq, Eq, Debug, Clone, Default)]
struct Outcome {
    /// Every file, by its path below the root, with its SHA-256 where it is not the program's own.
    files: BTreeMap<PathBuf, String>,
    /// Every row: its path, SHA-256, time, and the path of the row it is paired with.
    rows: BTreeSet<[String; 4]>,
}

impl Scene {
    /// An inbox, and nothing else yet: the first start.
    pub(crate) fn first_start(folder: &Path) -> Self {
        let template = new_template(folder);
        lay_first(&template);
        lay_the_rest(&template);
        Self::known(template)
    }

    /// The ledger is down, as all but one photo come. What is expected is what comes of it when the ledger is back; it is
    /// put back by [`Self::put_the_ledger_back`] or made anew.
    pub(crate) fn without_ledger(folder: &Path) -> Self {
        let template = new_template(folder);
        lay_first(&template);
        ingest(&template).is_well();
        lay_the_rest(&template);
        lose_the_ledger(&template);
        Self::known_by(template, |root| {
            ingest(root).is_well();
            assert!(waits_in_the_journal(root), "the ledger was not down");
            Self::put_the_ledger_back(root);
            ingest(root)
        })
    }

    /// All but one photo came while the ledger was down; now it is there again, and more photos are.
    pub(crate) fn with_a_journal(folder: &Path) -> Self {
        let template = template_with_a_journal(folder);
        let inbox = template.join("Photos_Inbox");
        Self::put_the_ledger_back(&template);
        let again = jpeg::small(1, &Exif::taken("2022:05:06 07:08:09"));
        lay(&inbox.join("IMG_0001.JPG"), &again);
        let more = jpeg::small(6, &Exif::taken("2022:05:06 09:10:11"));
        lay(&inbox.join("IMG_0001 (2).JPG"), &more);
        Self::known(template)
    }

    /// The same with a ledger that stays lost: it is to be rebuilt.
    pub(crate) fn to_be_rebuilt(folder: &Path) -> Self {
        let template = template_with_a_journal(folder);
        Self::known_by(template, |root| said_by(&mut rebuild(root)))
    }

    /// Three photos are filed, and in a backup; one is missing since, and another has other bytes.
    pub(crate) fn to_be_repaired(folder: &Path) -> Self {
        let template = new_template(folder);
        let inbox = template.join("Photos_Inbox");
        for second in 1..=3 {
            let taken = Exif::taken(&format!("2022:05:06 07:08:{second:02}"));
            lay(
                &inbox.join(format!("{second}.jpg")),
                &jpeg::small(second, &taken),
            );
        }
        lay(&inbox.join("note.txt"), b"no photo");
        ingest(&template).is_well();
        copy_tree(&template.join("Storage"), &template.join(BACKUP));
        let originals = all_files(&template.join("Storage/Originals"));
        fs::remove_file(&originals[0]).unwrap();
        let mut spoilt = fs::read(&originals[1]).unwrap();
        spoilt[100] ^= 1;
        fs::remove_file(&originals[1]).unwrap();
        lay(&originals[1], &spoilt);
        Self::known_by(template, |root| said_by(&mut repair(root)))
    }

    /// The ledger of before it was lost is put in its place again.
    pub(crate) fn put_the_ledger_back(root: &Path) {
        fs::copy(root.join(GOOD_LEDGER), root.join(LEDGER)).unwrap();
    }

    /// A factory that has filed photos before: one comes again, and one more comes.
    pub(crate) fn later_start(folder: &Path) -> Self {
        let template = new_template(folder);
        let inbox = template.join("Photos_Inbox");
        let kept = jpeg::small(1, &Exif::taken("2022:05:06 07:08:09"));
        lay(&inbox.join("IMG_0001.JPG"), &kept);
        let run = ingest(&template);
        assert_eq!(run.code, Some(0), "{}", run.said);
        lay(&inbox.join("IMG_0001 (copy).JPG"), &kept);
        lay(
            &inbox.join("IMG_0002.JPG"),
            &jpeg::small(2, &Exif::taken("2022:05:06 09:10:11")),
        );
        lay(
            &inbox.join("IMG_0002.xmp"),
            sidecar::xmp("2022-05-06T09:10:11").as_bytes(),
        );
        Self::known(template)
    }

    /// A folder with nothing in it at all.
    pub(crate) fn empty_root(folder: &Path) -> Self {
        let template = folder.join("template");
        fs::create_dir_all(&template).unwrap();
        Self::known(template)
    }

    /// Notes what was given, and what an undisturbed pass makes of it.
    fn known(template: PathBuf) -> Self {
        let scene = Self::known_by(template, ingest);
        let root = scene.template.with_file_name("undisturbed");
        scene.all_is_filed(&root).unwrap();
        scene
    }

    /// The same with what is done instead of a pass.
    fn known_by(template: PathBuf, run: impl FnOnce(&Path) -> Run) -> Self {
        let notes = template.join("Photos_Inbox/note.txt");
        let given = all_files(&template.join("Photos_Inbox"))
            .into_iter()
            .chain(all_files(&template.join("Storage/Originals")))
            .filter(|path| *path != notes)
            .map(|path| hash_of(&path))
            .collect();
        let mut scene = Self {
            template,
            given,
            expected: Outcome::default(),
        };
        let root = scene.template.with_file_name("undisturbed");
        scene.lay_out(&root);
        let run = run(&root);
        scene.expected = outcome(&root).unwrap();
        scene.check_run(&run).unwrap();
        scene
    }

    /// How many different photos there are.
    pub(crate) fn photos(&self) -> usize {
        self.given.len()
    }

    /// Makes `root` what it is before the run.
    pub(crate) fn lay_out(&self, root: &Path) {
        copy_tree(&self.template, root);
    }

    /// At this instant no photo is lost: each is somewhere, whole.
    pub(crate) fn nothing_is_lost(&self, root: &Path) -> Result<(), String> {
        let found: BTreeSet<String> = ["Photos_Inbox", "Storage"]
            .iter()
            .flat_map(|folder| all_files(&root.join(folder)))
            .map(|path| hash_of(&path))
            .collect();
        let lost: Vec<_> = self.given.difference(&found).collect();
        if lost.is_empty() {
            return Ok(());
        }
        Err(format!("LOST: {lost:?}; there are {:?}", all_files(root)))
    }

    /// Every photo stands in Originals, once.
    pub(crate) fn all_is_filed(&self, root: &Path) -> Result<(), String> {
        // A temporary file may go while we look: the program may be at work.
        let content = |path: &PathBuf| fs::read(path).unwrap_or_default();
        let filed: Vec<_> = all_files(&root.join("Storage/Originals"))
            .iter()
            .map(|path| hash(&content(path)))
            .collect();
        let distinct: BTreeSet<_> = filed.iter().cloned().collect();
        if distinct == self.given && filed.len() == self.given.len() {
            return Ok(());
        }
        Err(format!("{:?}", all_files(root)))
    }

    /// Runs the program undisturbed until it has put everything right, then once more, which must change nothing.
    pub(crate) fn recovers(&self, root: &Path) -> Result<(), String> {
        let run = ingest(root);
        self.has_recovered(root, &run)
    }

    /// The same after a run that had no ledger for a while: what comes again then under another name may be kept twice, for
    /// nobody knows of the first copy, and nothing in Originals is deleted.
    pub(crate) fn recovers_from_no_ledger(&self, root: &Path) -> Result<(), String> {
        let run = ingest(root);
        self.has_recovered_as(root, &run, true)
    }

    /// After the appliance has run: a pass finds nothing to do, and the rows are those of an undisturbed run. Which of two
    /// photos of one name came first is a matter of its threads.
    pub(crate) fn is_as_after_a_pass(&self, root: &Path) -> Result<(), String> {
        let rows = |outcome: &Outcome| -> BTreeSet<[String; 4]> {
            let unnumbered = |row: &[String; 4]| row.clone().map(|field| field.replace("-1.", "."));
            outcome.rows.iter().map(unnumbered).collect()
        };
        let before = outcome(root)?;
        let (found, expected) = (rows(&before), rows(&self.expected));
        if found != expected {
            return Err(format!("its rows are {found:#?}, not {expected:#?}"));
        }
        let run = ingest(root);
        self.check_run(&run)?;
        let after = outcome(root)?;
        if before != after {
            return Err(format!(
                "one more pass changed {}",
                difference(&before, &after)
            ));
        }
        Ok(())
    }

    /// The same after a recovery that was run by the caller.
    pub(crate) fn has_recovered(&self, root: &Path, run: &Run) -> Result<(), String> {
        self.has_recovered_as(root, run, false)
    }

    fn has_recovered_as(&self, root: &Path, run: &Run, maybe_twice: bool) -> Result<(), String> {
        self.check_run(run)?;
        self.is_finished(root, maybe_twice)
            .map_err(|error| format!("after its recovery, which said {}: {error}", run.said))?;
        let before = outcome(root)?;
        let again = ingest(root);
        self.check_run(&again)?;
        let after = outcome(root)?;
        if before != after {
            return Err(format!(
                "a second recovery changed {before:#?} to {after:#?}"
            ));
        }
        Ok(())
    }

    /// All is as an undisturbed run would have left it.
    fn is_finished(&self, root: &Path, maybe_twice: bool) -> Result<(), String> {
        self.nothing_is_lost(root)?;
        let mut found = outcome(root)?;
        if maybe_twice {
            let expected = &self.expected.files;
            found.files.retain(|path, content| {
                let is_more = path.starts_with("Storage/Originals") && !expected.contains_key(path);
                !is_more || !expected.values().any(|kept| kept == content)
            });
        }
        if found != self.expected {
            return Err(format!("it left {}", difference(&self.expected, &found)));
        }
        for path in all_files(&root.join("Storage/Originals")) {
            let seen = fs::metadata(&path).unwrap();
            if seen.nlink() != 1 || seen.mode() & 0o222 != 0 {
                return Err(format!(
                    "{} has {} names and mode {:o}",
                    path.display(),
                    seen.nlink(),
                    seen.mode()
                ));
            }
        }
        Ok(())
    }

    /// It ended well, and named no problem but the note that is no photo.
    fn check_run(&self, run: &Run) -> Result<(), String> {
        let strange = run.problems.iter().any(|path| path != "note.txt");
        if strange || !matches!(run.code, Some(0 | 2)) {
            return Err(format!(
                "of {} photos, a run that nothing disturbed ended with {:?} and said {}",
                self.photos(),
                run.code,
                run.said
            ));
        }
        Ok(())
    }
}

/// What a run said.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    /// Files it did not take.
    pub(crate) problems: Vec<String>,
    pub(crate) said: String,
}

impl Run {
    /// It ended well while a scene was made.
    fn is_well(&self) {
        assert!(matches!(self.code, Some(0 | 2)), "{}", self.said);
    }

    /// Reads what it said on stdout and stderr.
    pub(crate) fn read(code: Option<i32>, said: String) -> Self {
        // A file that was put off is told of again.
        let last: BTreeMap<String, bool> = said
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| {
                let taken = matches!(line["decision"].as_str()?, "new" | "duplicate");
                Some((line["path"].as_str()?.to_owned(), taken))
            })
            .collect();
        let problems = last
            .into_iter()
            .filter_map(|(path, taken)| (!taken).then_some(path))
            .collect();
        Self {
            code,
            problems,
            said,
        }
    }
}

/// The command that makes the ledger anew.
pub(crate) fn rebuild(root: &Path) -> Command {
    command_of(root, &["rebuild", "--json"])
}

/// The command that puts back from the backup what is missing or changed.
pub(crate) fn repair(root: &Path) -> Command {
    let mut command = command_of(root, &["verify", "--json", "--repair", "--from"]);
    command.arg(root.join(BACKUP));
    command
}

/// The command that takes the inbox, with its file work on one thread: its order is then the same in each run.
pub(crate) fn command(root: &Path) -> Command {
    command_of(root, &["ingest", "--json"])
}

fn command_of(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("--root").arg(root).args(arguments);
    command.env("TZ", "UTC").env("BLOCKING_MAX_THREADS", "1");
    command.stdin(Stdio::null());
    command
}

/// One pass over the inbox.
pub(crate) fn ingest(root: &Path) -> Run {
    said_by(&mut command(root))
}

/// Runs a command to its end.
pub(crate) fn said_by(command: &mut Command) -> Run {
    let output = output_of(command);
    let said = [output.stdout, output.stderr].concat();
    Run::read(
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn new_template(folder: &Path) -> PathBuf {
    let template = folder.join("template");
    fs::create_dir_all(template.join("Photos_Inbox")).unwrap();
    fs::write(template.join("photo-factory.toml"), SETTINGS).unwrap();
    template
}

/// A factory that lost its ledger when it had filed one photo, and filed all others into the journal.
fn template_with_a_journal(folder: &Path) -> PathBuf {
    let template = new_template(folder);
    lay_first(&template);
    ingest(&template).is_well();
    lay_the_rest(&template);
    lose_the_ledger(&template);
    ingest(&template).is_well();
    assert!(waits_in_the_journal(&template), "the ledger was not down");
    template
}

/// Another file stands in the place of the ledger.
fn lose_the_ledger(root: &Path) {
    fs::copy(root.join(LEDGER), root.join(GOOD_LEDGER)).unwrap();
    fs::write(root.join(LEDGER), "no ledger").unwrap();
}

/// Whether there is a journal that waits for a ledger.
pub(crate) fn waits_in_the_journal(root: &Path) -> bool {
    root.join("Data/journal.jsonl").exists()
}

/// A photo that comes twice.
fn lay_first(template: &Path) {
    let first = jpeg::small(1, &Exif::taken("2022:05:06 07:08:09"));
    lay(&template.join("Photos_Inbox/IMG_0001.JPG"), &first);
}

fn lay_the_rest(template: &Path) {
    let inbox = template.join("Photos_Inbox");
    let first = jpeg::small(1, &Exif::taken("2022:05:06 07:08:09"));
    lay(&inbox.join("again/IMG_0001.JPG"), &first);
    // Another photo of that name and day.
    let other = jpeg::small(2, &Exif::taken("2022:05:06 08:00:00"));
    lay(&inbox.join("camera/IMG_0001.JPG"), &other);
    // Somebody else keeps a name of it: it is copied, in several pieces.
    let heavy = Load::new(3).next(&Exif::taken("2021:02:03 04:05:06"), 150_000);
    lay(&template.join("elsewhere/heavy.jpg"), &heavy);
    fs::hard_link(
        template.join("elsewhere/heavy.jpg"),
        inbox.join("heavy.jpg"),
    )
    .unwrap();
    let id = "2B4F0C11-9A5E-4E0B-8F5D-0D5E1C7A9B22";
    let still = Exif::taken("2022:09:03 23:59:59").content_id(id);
    lay(&inbox.join("IMG_0003.JPG"), &jpeg::small(4, &still));
    lay(&inbox.join("IMG_0003.MOV"), &movie(id));
    lay(&inbox.join("IMG_0003.AAE"), sidecar::aae().as_bytes());
    let name = std::ffi::OsStr::from_bytes(b"M\xfcnchen\x01\n.jpg");
    let content = jpeg::small(5, &Exif::taken("2021:02:03 04:05:07"));
    lay(&inbox.join(name), &content);
    lay(&inbox.join("note.txt"), b"no photo");
}

fn lay(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::open(path).unwrap();
    file.set_modified(an_hour_ago).unwrap();
}

fn movie(id: &str) -> Vec<u8> {
    let movie = Movie {
        creation_date: Some("2022-09-04T00:00:01+0000".to_owned()),
        content_id: Some(id.to_owned()),
        ..Movie::default()
    };
    let frame = jpeg::encode(&landscape(5, 64, 48), None, None);
    mov(&movie, &[frame], 64, 48)
}

/// Copies a tree with its links and times; what stood there goes.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    let copied = output_of(Command::new("cp").arg("-a").arg(from).arg(to));
    assert!(copied.status.success(), "{copied:?}");
}

/// Every regular file below a folder, hidden ones too.
pub(crate) fn all_files(folder: &Path) -> Vec<PathBuf> {
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
    files.sort();
    files
}

fn outcome(root: &Path) -> Result<Outcome, String> {
    let files = all_files(root)
        .into_iter()
        .filter_map(|path| {
            let shown = path.strip_prefix(root).ok()?.to_owned();
            let name = shown.file_name().unwrap_or_default().as_bytes();
            // The marker of Storage has an id of its own in each run.
            // A ledger that was lost is kept under a name with the time in it, or not.
            if name.starts_with(b"ledger.redb.damaged-") {
                return None;
            }
            let own = shown.starts_with("Data")
                || shown.starts_with("Logs")
                || name.starts_with(b".photo-factory-");
            let content = if own { String::new() } else { hash_of(&path) };
            Some((shown, content))
        })
        .collect();
    let mut export = Command::new(program());
    export.arg("--root").arg(root).arg("export");
    let output = output_of(export.env("TZ", "UTC"));
    if !output.status.success() {
        return Err(format!("export: {output:?}"));
    }
    let rows = json_lines(&output);
    let paths: BTreeMap<u64, &str> = rows
        .iter()
        .map(|row| (row["id"].as_u64().unwrap(), text(row, "final_path")))
        .collect();
    let row = |row: &Value| {
        let pair = row["paired_with"].as_u64().map(|id| paths[&id]);
        [
            text(row, "final_path").to_owned(),
            text(row, "file_hash").to_owned(),
            text(row, "captured_at").to_owned(),
            pair.unwrap_or_default().to_owned(),
        ]
    };
    let rows = rows.iter().map(row).collect();
    Ok(Outcome { files, rows })
}

/// What is there too much, and what is missing.
fn difference(expected: &Outcome, found: &Outcome) -> String {
    let more: Vec<_> = found
        .files
        .iter()
        .filter(|(path, content)| expected.files.get(*path) != Some(content))
        .collect();
    let less: Vec<_> = expected
        .files
        .iter()
        .filter(|(path, content)| found.files.get(*path) != Some(content))
        .collect();
    let more_rows: Vec<_> = found.rows.difference(&expected.rows).collect();
    let less_rows: Vec<_> = expected.rows.difference(&found.rows).collect();
    format!(
        "files that should not be: {more:?}; files missing: {less:?}; rows that should not be: {more_rows:?}; rows missing: {less_rows:?}"
    )
}
