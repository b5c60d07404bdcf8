//! `inspect` and `ingest --dry-run`: what the librarian would decide and why, with nothing changed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use argh::{ArgsInfo, FromArgs};
use serde_json::{Map, Value, json};

use super::Ended;
use crate::appliance::now;
use crate::asset::{Asset, AssetId, LeftBecause, in_order, lossy, shown};
use crate::config::Config;
use crate::dashboard::client::{self, Answer};
use crate::disk::{EntryIs, Source};
use crate::ledger::{Draft, Ledger, Pairing, Shot};
use crate::librarian::decide::{Decision, ReadFile, decide};
use crate::librarian::journey::{Looked, read_file};
use crate::librarian::settle::{PassedOver, passed_over};
use crate::librarian::{Reader, Scope, shot};

/// Tell what the librarian would decide about files, and why; nothing is changed.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "inspect")]
pub struct Inspect {
    /// the files
    #[argh(positional)]
    files: Vec<PathBuf>,
    /// one JSON line for each file
    #[argh(switch)]
    json: bool,
}

/// What would be done with one file.
struct Examined {
    decision: &'static str,
    reason: Option<String>,
    /// As it would be filed; `None` for what is no photo.
    asset: Option<Asset>,
    destination: Option<PathBuf>,
    warnings: Vec<String>,
}

/// Reads and decides like the librarian, with the ledger where there is one.
struct Examiner<'a> {
    config: &'a Config,
    reader: Reader,
    ledger: Option<Ledger>,
    /// The files of each folder, grouped into shots: read once, however many of its files are asked about.
    groups: HashMap<PathBuf, Rc<Vec<Vec<OsString>>>>,
}

/// Carries out `inspect`.
pub fn inspect(asked: &Inspect, config: &Config) -> Result<Ended, Box<dyn std::error::Error>> {
    if asked.files.is_empty() {
        return Err("inspect needs the names of files".into());
    }
    let mut examiner = Examiner::new(config)?;
    let mut problems = false;
    for path in &asked.files {
        let found = examiner.examine_path(path);
        problems |= found.decision == "unreadable";
        tell(path, &found, asked.json);
    }
    Ok(if problems {
        Ended::WithProblems
    } else {
        Ended::Well
    })
}

/// Carries out `ingest --dry-run` over the given parts of sources.
pub fn dry_run(
    places: &[(PathBuf, Scope)],
    config: &Config,
    json: bool,
) -> Result<Ended, Box<dyn std::error::Error>> {
    let examiner = Examiner::new(config)?;
    let mut counts: HashMap<&'static str, u64> = HashMap::new();
    for (path, scope) in places {
        let source = Source::open(path)?;
        let mut folders = vec![scope.folder.clone()];
        while let Some(folder) = folders.pop() {
            let mut names = Vec::new();
            for entry in source.list(&folder)? {
                if passed_over(&entry.name, &config.ignore).is_some() {
                    continue;
                }
                match entry.is {
                    EntryIs::Folder if scope.only.is_none() => {
                        folders.push(folder.join(entry.name));
                    }
                    EntryIs::File => names.push(entry.name),
                    EntryIs::Folder | EntryIs::Other => {}
                }
            }
            for group in shot::group(names) {
                if scope
                    .only
                    .as_ref()
                    .is_some_and(|only| !group.contains(only))
                {
                    continue;
                }
                for (name, examined) in examiner.examine_group(&source, &folder, &group) {
                    *counts.entry(examined.decision).or_default() += 1;
                    tell(&folder.join(name), &examined, json);
                }
            }
        }
    }
    if json {
        let files: u64 = counts.values().sum();
        say!(
            "{}",
            json!({"summary": {"dry_run": true, "files": files, "decisions": counts}})
        );
    } else {
        let counts = counts
            .into_iter()
            .map(|(decision, count)| format!("{count} {decision}"));
        let counts = in_order(counts, String::clone);
        let counts = if counts.is_empty() {
            "nothing to do".to_owned()
        } else {
            counts.join(", ")
        };
        say!("Nothing was changed. It would be: {counts}.");
    }
    Ok(Ended::Well)
}

impl<'a> Examiner<'a> {
    fn new(config: &'a Config) -> Result<Self, Box<dyn std::error::Error>> {
        // While the appliance runs the ledger is its alone; then what is filed already is not known here.
        let running = client::ask(&config.data, "/healthz", &mut std::io::sink())
            .is_ok_and(|answer| answer != Answer::NotRunning);
        let ledger = if running {
            None
        } else {
            Ledger::open_existing(&config.data)?.filter(|ledger| {
                let degraded = ledger.degraded();
                if let Some(degraded) = &degraded {
                    log::warn!(
                        "{}; what is filed already is not known here",
                        degraded.reason
                    );
                }
                degraded.is_none()
            })
        };
        let reader = Reader::new(config.worker.clone(), config.zone.clone());
        Ok(Self {
            config,
            reader,
            ledger,
            groups: HashMap::new(),
        })
    }

    fn examine_path(&mut self, path: &Path) -> Examined {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default();
        if let Some(passed) = passed_over(name, &self.config.ignore) {
            let decision = if passed == PassedOver::Temporary {
                "temporary"
            } else {
                "not_media"
            };
            return Examined::without_asset(decision, passed.reason().to_owned());
        }
        let source = match Source::open(folder) {
            Ok(source) => source,
            Err(error) => return Examined::without_asset("unreadable", error.to_string()),
        };
        let groups = self.groups_of(folder, &source);
        let alone = vec![name.to_owned()];
        let group = groups
            .iter()
            .find(|group| group.iter().any(|member| member == name))
            .unwrap_or(&alone);
        let examined = self.examine_group(&source, Path::new(""), group);
        let gone = || {
            Examined::without_asset(
                "unreadable",
                "there is no such file; check the name".to_owned(),
            )
        };
        examined
            .into_iter()
            .find(|(member, _)| member == name)
            .map_or_else(gone, |(_, examined)| examined)
    }

    fn groups_of(&mut self, folder: &Path, source: &Source) -> Rc<Vec<Vec<OsString>>> {
        if let Some(groups) = self.groups.get(folder) {
            return Rc::clone(groups);
        }
        let files = source
            .list(Path::new(""))
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| entry.is == EntryIs::File);
        let names = files
            .map(|entry| entry.name)
            .filter(|name| passed_over(name, &self.config.ignore).is_none());
        let groups = Rc::new(shot::group(names.collect()));
        self.groups.insert(folder.to_owned(), Rc::clone(&groups));
        groups
    }

    /// Every file of one group with what would be done with it.
    fn examine_group(
        &self,
        source: &Source,
        folder: &Path,
        group: &[OsString],
    ) -> Vec<(OsString, Examined)> {
        let mut examined = Vec::new();
        let mut files: Vec<ReadFile> = Vec::new();
        let name_of = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        for name in group {
            let path = folder.join(name);
            match read_file(source, &self.reader, &path, None, &AtomicBool::new(false)) {
                Ok(Looked::Read(_, file)) => files.push(file),
                Ok(Looked::NotMedia(_, reason)) => {
                    examined.push((name.clone(), Examined::without_asset("not_media", reason)));
                }
                Ok(Looked::Unsettled(reason)) => examined.push((
                    name.clone(),
                    Examined::without_asset("unsettled", reason.to_owned()),
                )),
                Ok(Looked::Gone) => {}
                Err(error) => examined.push((
                    name.clone(),
                    Examined::without_asset("unreadable", error.to_string()),
                )),
            }
        }
        let decisions = match decide(&files, self.ledger.as_ref(), now(), &self.config.zone) {
            Ok(decisions) => decisions,
            Err(error) => {
                examined.extend(files.iter().map(|file| {
                    (
                        name_of(&file.path),
                        Examined::without_asset("unreadable", error.to_string()),
                    )
                }));
                return examined;
            }
        };
        for decision in decisions {
            match decision {
                Decision::Stay { file, why, reason } => {
                    let Some(file) = files.get(file) else {
                        continue;
                    };
                    let decision = if why == LeftBecause::WaitsForPhoto {
                        "sidecar"
                    } else {
                        why.as_str()
                    };
                    let mut one = Examined::without_asset(decision, reason);
                    one.asset = Some(as_sidecar(file, &self.config.zone));
                    examined.push((name_of(&file.path), one));
                }
                Decision::File {
                    shot,
                    files: members,
                } => {
                    for (draft, file) in shot.members.iter().zip(members) {
                        let Some(file) = files.get(file) else {
                            continue;
                        };
                        examined.push((name_of(&file.path), self.would_file(&shot, draft, file)));
                    }
                }
            }
        }
        examined
    }

    fn would_file(&self, shot: &Shot, draft: &Draft, file: &ReadFile) -> Examined {
        let known = self
            .ledger
            .as_ref()
            .and_then(|ledger| ledger.by_hash(&draft.file_hash).unwrap_or_default());
        let is_sidecar = draft.kind == crate::asset::Kind::Sidecar;
        let decision = match (&known, is_sidecar) {
            (Some(_), _) => "duplicate",
            (None, true) => "sidecar",
            (None, false) => "new",
        };
        let destination = known.is_none().then(|| self.free_destination(shot, draft));
        let mut asset = as_asset(draft);
        if is_sidecar {
            // Of a sidecar it is of interest what it says, not what its photo says.
            asset = as_sidecar(file, &self.config.zone);
        }
        if let Some(known) = known {
            asset.id = known.id;
            asset.final_path = known.final_path;
        }
        Examined {
            decision,
            reason: None,
            asset: Some(asset),
            destination,
            warnings: file.metadata.warnings.clone(),
        }
    }

    /// The name it would get, as things stand now.
    fn free_destination(&self, shot: &Shot, draft: &Draft) -> PathBuf {
        let taken = |path: &Path| self.config.storage.join(path).symlink_metadata().is_ok();
        let with = |suffix: &str, extension: &OsStr| {
            let mut name = shot.stem.clone();
            name.push(suffix);
            name.push(extension);
            shot.folder.join(name)
        };
        let all_free = |suffix: &str| {
            !shot
                .members
                .iter()
                .any(|member| taken(&with(suffix, &member.extension)))
        };
        let suffixes = std::iter::once(String::new()).chain((1..).map(|count| format!("-{count}")));
        let suffix = suffixes
            .into_iter()
            .find(|suffix| all_free(suffix))
            .unwrap_or_default();
        with(&suffix, &draft.extension)
    }
}

impl Examined {
    fn without_asset(decision: &'static str, reason: String) -> Self {
        Self {
            decision,
            reason: Some(reason),
            asset: None,
            destination: None,
            warnings: Vec::new(),
        }
    }
}

/// The row it would become; id and time of filing are not known.
fn as_asset(draft: &Draft) -> Asset {
    let paired_with = match draft.pairing {
        Pairing::With(id) => Some(id),
        Pairing::Alone | Pairing::Leader => None,
    };
    let unknown = jiff::Timestamp::UNIX_EPOCH;
    draft.to_asset(AssetId(0), paired_with, PathBuf::new(), unknown)
}

fn as_sidecar(file: &ReadFile, zone: &jiff::tz::TimeZone) -> Asset {
    let name = file.path.file_name().unwrap_or_default();
    let captured =
        crate::librarian::date::capture_time(&file.metadata.dates, name, file.mtime, now(), zone);
    as_asset(&Draft {
        file_hash: file.file_hash,
        size: file.size,
        inbox_path: file.path.clone(),
        kind: crate::asset::Kind::Sidecar,
        captured,
        location: file.metadata.location,
        make: file.metadata.make.clone(),
        model: file.metadata.model.clone(),
        width: None,
        height: None,
        content_id: None,
        errors: file.metadata.errors.clone(),
        extension: OsString::new(),
        pairing: Pairing::Alone,
    })
}

/// Fields that only a filed photo has.
const ONLY_FILED: [&str; 3] = ["id", "final_path", "ingested_at"];

fn tell(path: &Path, examined: &Examined, json: bool) {
    if json {
        say!("{}", as_json(path, examined));
        return;
    }
    say!("{}", shown(path));
    let say = |what: &str, value: &str| say!("  {what:<12} {value}");
    say("decision", examined.decision);
    if let Some(reason) = &examined.reason {
        say("because", reason);
    }
    if let Some(asset) = &examined.asset {
        say("kind", asset.kind.as_str());
        say("sha-256", &asset.file_hash.to_string());
        let offset = asset.captured.offset_text().unwrap_or_default();
        say(
            "captured",
            &format!(
                "{}{offset}, from {}",
                asset.captured.local_text(),
                asset.captured.from.as_str()
            ),
        );
        if let Some(at) = asset.location {
            say("place", &format!("{:.6}, {:.6}", at.latitude, at.longitude));
        }
        if let Some(camera) = asset.model.as_ref().or(asset.make.as_ref()) {
            say("camera", camera);
        }
        if examined.decision == "duplicate" {
            say("kept as", &lossy(asset.final_path.as_os_str()));
        }
        asset.errors.iter().for_each(|error| say("damaged", error));
    }
    if let Some(destination) = &examined.destination {
        say("destination", &lossy(destination.as_os_str()));
    }
    examined
        .warnings
        .iter()
        .for_each(|warning| say("note", warning));
}

fn as_json(path: &Path, examined: &Examined) -> Value {
    let mut line = Map::new();
    line.insert("path".to_owned(), json!(lossy(path.as_os_str())));
    line.insert("decision".to_owned(), json!(examined.decision));
    line.insert("reason".to_owned(), json!(examined.reason));
    line.insert(
        "destination".to_owned(),
        json!(
            examined
                .destination
                .as_ref()
                .map(|path| lossy(path.as_os_str()))
        ),
    );
    line.insert("warnings".to_owned(), json!(examined.warnings));
    let known = examined.decision == "duplicate";
    for name in Asset::FIELD_NAMES {
        line.insert(name.to_owned(), Value::Null);
    }
    if let Some(asset) = &examined.asset {
        for (name, value) in asset.fields() {
            let value = if !known && ONLY_FILED.contains(&name) {
                Value::Null
            } else {
                value
            };
            line.insert(name.to_owned(), value);
        }
        line.insert("is_ingested".to_owned(), json!(known));
    }
    line.insert("path".to_owned(), json!(lossy(path.as_os_str())));
    Value::Object(line)
}
