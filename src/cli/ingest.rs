//! `ingest`: one pass over the inbox, or copies from other folders.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argh::{ArgsInfo, FromArgs};
use serde_json::{Value, json};
use smol::{LocalExecutor, channel};

use super::progress::Bar;
use super::{Ended, inspect};
use crate::appliance::now;
use crate::asset::{LeftBecause, bytes_text, shown};
use crate::config::{Clear, Config};
use crate::courier::Courier;
use crate::disk::Source;
use crate::factory::Factory;
use crate::ledger::Degraded;
use crate::librarian::{Fate, Inbox, Line, Report, Scope};
use crate::monitor::syncthing::{Watcher, kept_pin};

/// Take everything in the inbox once, and end.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "ingest")]
pub struct Ingest {
    /// only these files and folders of the inbox; with --copy: any files and folders
    #[argh(positional)]
    paths: Vec<PathBuf>,
    /// copy from the given paths, which stay as they are
    #[argh(switch)]
    copy: bool,
    /// tell what would be done, and change nothing
    #[argh(switch)]
    dry_run: bool,
    /// one JSON line for each file, and one for the summary
    #[argh(switch)]
    json: bool,
}

impl Ingest {
    pub(super) fn writes(&self) -> bool {
        !self.dry_run
    }
}

/// What a pass came to.
#[derive(Debug, Default)]
struct Summary {
    filed: u64,
    duplicates: u64,
    /// Originals that were missing and are put back.
    restored: u64,
    bytes: u64,
    /// Filed, but damaged.
    damaged: Vec<(PathBuf, String)>,
    /// Kept, and still in the inbox.
    uncleared: BTreeMap<PathBuf, Report>,
    /// By path, so that a file that was put off and then filed counts once.
    others: BTreeMap<PathBuf, Report>,
}

/// Half of how long what Syncthing said counts in a pass: nobody asks it again meanwhile.
const PASS_LASTS: Duration = Duration::from_secs(1800);

/// Carries out the command.
pub fn ingest(asked: &Ingest, config: Config) -> Result<Ended, Box<dyn std::error::Error>> {
    let places = places(asked, &config)?;
    if asked.dry_run {
        return inspect::dry_run(&places, &config, asked.json);
    }
    let factory = Factory::open(config, now)?;
    let started = Instant::now();
    let mut summary = Summary::default();
    for (source, scope) in places {
        let line = if asked.copy {
            factory.copying_line(Source::open(&source)?)
        } else {
            let line = factory.inbox_line(true)?;
            if line.clear == Clear::Safe {
                ask_syncthing(&line);
            }
            line
        };
        pass(&line, scope, asked.json, &mut summary);
    }
    if let Err(error) = factory.finish_pass() {
        log::warn!("{error}; what was interrupted is put right at the next start");
    }
    // Its thread holds the ledger: the file is closed by us, not by the end of the process in the middle of a write.
    factory.desk.clone().close();
    let degraded = factory.ledger.degraded();
    Ok(tell(
        &summary,
        started.elapsed(),
        asked.json,
        degraded.as_ref(),
    ))
}

/// Asks Syncthing whether the phones keep their copies: names are cleared only then.
fn ask_syncthing(line: &Line) {
    let config = &line.config;
    let courier = Courier::new(config.courier.clone());
    let settings = config.monitor.syncthing.clone();
    let mut watcher = Watcher::new(settings, PASS_LASTS, kept_pin(&config.data));
    let sight = watcher.look(&courier, &config.inbox, config.clear, Instant::now());
    line.note_copies_stay(sight.phone_copies_stay_until());
}

/// Which part of which source.
fn places(asked: &Ingest, config: &Config) -> Result<Vec<(PathBuf, Scope)>, String> {
    if asked.paths.is_empty() {
        return if asked.copy {
            Err("--copy needs the folders or files to copy from".to_owned())
        } else {
            Ok(vec![(config.inbox.clone(), Scope::default())])
        };
    }
    let place = |path: &PathBuf| {
        let whole = path.canonicalize().map_err(|error| {
            format!("{} can't be read: {error}; check the name", path.display())
        })?;
        let inbox = config
            .inbox
            .canonicalize()
            .unwrap_or_else(|_| config.inbox.clone());
        let (folder, only) = match (whole.is_dir(), whole.parent(), whole.file_name()) {
            (false, Some(parent), Some(name)) => (parent.to_owned(), Some(name.to_owned())),
            _ => (whole.clone(), None),
        };
        match folder.strip_prefix(&inbox) {
            Ok(relative) if !asked.copy => Ok((
                inbox.clone(),
                Scope {
                    folder: relative.to_owned(),
                    only,
                },
            )),
            _ if asked.copy => Ok((
                folder,
                Scope {
                    folder: PathBuf::new(),
                    only,
                },
            )),
            _ => Err(format!(
                "{} lies outside the inbox {}: add --copy to copy from it, its files then stay where they are",
                path.display(),
                config.inbox.display()
            )),
        }
    };
    asked.paths.iter().map(place).collect()
}

/// One pass of one line, reporting as it goes.
fn pass(line: &Arc<Line>, scope: Scope, json: bool, summary: &mut Summary) {
    let bar = Bar::new(0);
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let (ready, shots) = channel::bounded(64);
        let (reports, fates) = channel::bounded::<Report>(64);
        let journeys = executor.spawn(Arc::clone(line).run(shots, reports));
        let inbox = executor.spawn(Inbox::new(Arc::clone(line)).pass(scope, ready));
        while let Ok(report) = fates.recv().await {
            summary.count(&report);
            let depth = line.progress.depth();
            bar.set_length(summary.bytes + depth.saturating_mul(summary.mean_size()));
            bar.set_position(summary.bytes);
            bar.set_message(format!(
                "{} filed, {} duplicates, {depth} to go",
                summary.filed, summary.duplicates
            ));
            if json {
                say!("{}", line_of(&report));
            } else if let (true, Some(sentence)) = (bar.is_hidden(), sentence(&report)) {
                say!("{sentence}");
            }
        }
        for report in inbox.await {
            summary.count(&report);
        }
        journeys.await;
    }));
    bar.clear();
}

impl Summary {
    fn count(&mut self, report: &Report) {
        match &report.fate {
            Fate::Filed(asset) => {
                self.filed += 1;
                if !asset.errors.is_empty() {
                    self.damaged
                        .push((report.path.clone(), asset.errors.join("; ")));
                }
            }
            Fate::Duplicate(_) => self.duplicates += 1,
            Fate::Restored(_) => self.restored += 1,
            _ => {
                self.others.insert(report.path.clone(), report.clone());
                return;
            }
        }
        if report.uncleared.is_some() {
            self.uncleared.insert(report.path.clone(), report.clone());
        }
        self.bytes += report.size;
        self.others.remove(&report.path);
    }

    /// Files that need no place in the inbox any more.
    fn done(&self) -> u64 {
        self.filed + self.duplicates + self.restored
    }

    fn mean_size(&self) -> u64 {
        self.bytes / self.done().max(1)
    }
}

/// One report as a JSON object: the fields that a program looks for.
fn line_of(report: &Report) -> Value {
    let (decision, asset, reason) = match &report.fate {
        Fate::Filed(asset) => ("new", Some(asset), None),
        Fate::Duplicate(asset) => ("duplicate", Some(asset), None),
        Fate::Restored(asset) => (
            "restored",
            Some(asset),
            Some("the ledger knew these bytes, but the original was missing: it is put back"),
        ),
        Fate::Left(why, reason) => (why.as_str(), None, Some(reason.as_str())),
        Fate::Unsettled(reason) | Fate::PutOff(reason) => {
            ("unsettled", None, Some(reason.as_str()))
        }
        Fate::Gone => ("unsettled", None, Some("it is gone")),
    };
    json!({
        "path": report.path.to_string_lossy(),
        "decision": decision,
        "final_path": asset.map(|asset| asset.final_path.to_string_lossy()),
        "file_hash": asset.map(|asset| asset.file_hash.to_string()),
        "reason": reason.or(report.uncleared.as_deref()),
    })
}

/// What was done with one file. What stays is named once, at the end.
fn sentence(report: &Report) -> Option<String> {
    let path = shown(&report.path);
    match &report.fate {
        Fate::Filed(asset) => Some(format!(
            "{path} -> {} ({})",
            shown(&asset.final_path),
            asset.captured.from.as_str()
        )),
        Fate::Duplicate(asset) => Some(format!(
            "{path} is kept already as {}",
            shown(&asset.final_path)
        )),
        Fate::Restored(asset) => Some(format!(
            "{path} is put back as {}: the original was missing",
            shown(&asset.final_path)
        )),
        _ => None,
    }
}

/// Tells what it came to, names every problem, and says how the command ended.
fn tell(summary: &Summary, took: Duration, json: bool, degraded: Option<&Degraded>) -> Ended {
    let left = summary
        .others
        .values()
        .filter(|other| !matches!(other.fate, Fate::Left(LeftBecause::Kept(_), _) | Fate::Gone))
        .count()
        + summary.uncleared.len();
    let problems = left + summary.damaged.len();
    let seconds = took.as_secs_f64();
    if json {
        say!(
            "{}",
            json!({"summary": {
                "files": summary.done() + summary.others.len() as u64,
                "filed": summary.filed,
                "duplicates": summary.duplicates,
                "restored": summary.restored,
                "left": left,
                "problems": problems,
                "bytes": summary.bytes,
                "seconds": seconds,
                "ledger": degraded.map(Degraded::sentence),
            }})
        );
    } else {
        for (path, errors) in &summary.damaged {
            say!("{} is filed, but damaged: {errors}", shown(path));
        }
        for (path, Report { fate, .. }) in &summary.others {
            if let Fate::Left(_, reason) | Fate::Unsettled(reason) | Fate::PutOff(reason) = fate {
                say!("{} stays in the inbox: {reason}", shown(path));
            }
        }
        for (path, Report { uncleared, .. }) in &summary.uncleared {
            let reason = uncleared.as_deref().unwrap_or_default();
            say!("{} stays in the inbox: {reason}", shown(path));
        }
        if summary.restored > 0 {
            say!(
                "{} originals were missing from Storage and are put back: `photo-factory verify` tells whether more are gone.",
                summary.restored
            );
        }
        if summary.done() == 0 && summary.others.is_empty() {
            say!("Nothing to do: the inbox holds nothing that could be taken.");
        } else {
            say!(
                "{} filed, {} duplicates, {left} stay in the inbox; {} in {seconds:.1} s",
                summary.filed,
                summary.duplicates,
                bytes_text(summary.bytes)
            );
        }
    }
    if let (false, Some(degraded)) = (json, degraded) {
        say!("The ledger cannot be used: {}", degraded.sentence());
    }
    if problems == 0 {
        Ended::Well
    } else {
        Ended::WithProblems
    }
}
