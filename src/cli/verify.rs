//! `verify`: every original read again and held against its row; with `--repair`, the good copy taken from a backup.

mod repair;
mod rows;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use argh::{ArgsInfo, FromArgs};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;

use super::Ended;
use super::progress::Bar;
use crate::asset::{Original, bytes_text, in_order, lossy, shown};
use crate::config::Config;
use crate::dashboard::client::AskError;
use crate::disk::{DiskError, Source};
use crate::ledger::{Ledger, LedgerError};
use crate::verify::{Checked, Finding, Pace, What, check, folders, stands, strangers};
use repair::{Outcome, Repair};
use rows::{AT_ONCE, Rows, digest};

/// MB per second; slower than a kilobyte a second, a single photo takes the hour.
const LEAST_LIMIT: f64 = 0.001;

/// Read every original again and compare it with the ledger; nothing is changed without --repair.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "verify")]
pub struct Verify {
    /// only what was filed on this day (YYYY-MM-DD) or later
    #[argh(option, from_str_fn(day))]
    since: Option<Date>,
    /// read no faster than this, in MB/s
    #[argh(option)]
    limit: Option<f64>,
    /// put back what is missing or changed, from the backup that --from names
    #[argh(switch)]
    repair: bool,
    /// a folder with good copies: a copy of Storage, or of its folder Originals; it is only read
    #[argh(option)]
    from: Option<PathBuf>,
    /// one JSON line for each finding, and one for the summary
    #[argh(switch)]
    json: bool,
}

impl Verify {
    pub(super) fn writes(&self) -> bool {
        self.repair
    }
}

/// Why the verification could not be done, or not to its end.
#[derive(Debug)]
pub enum VerifyError {
    /// The arguments make no sense together.
    Arguments(String),
    /// The running appliance did not answer.
    Asking(AskError),
    /// The ledger could not be read.
    Reading(LedgerError),
    /// There is no ledger.
    NoLedger(PathBuf),
    /// The ledger can't be read now; why, where it is known.
    Down(String),
    /// So many files are noted in the journal and not in the ledger, and a repair would not know them.
    Journaled(u64),
    /// Storage is not there, or went away.
    Storage(DiskError),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(what) => f.write_str(what),
            Self::Asking(error) => error.fmt(f),
            Self::Reading(error) => error.fmt(f),
            Self::NoLedger(data) => write!(
                f,
                "there is no ledger in {} to compare with: if there are photos in Originals, `photo-factory rebuild` makes one from them; else check --root",
                data.display()
            ),
            Self::Down(why) => write!(
                f,
                "the ledger cannot be read now, so there is nothing to compare the originals with: {why}"
            ),
            Self::Journaled(count) => write!(
                f,
                "{} noted in the journal only, not in the ledger yet, and a repair does not know what it does not see there: type `photo-factory ingest` or start `photo-factory run` first, which takes them in, then this again (where Photo Factory runs, wait until its page no longer names the journal)",
                photos_are(*count)
            ),
            Self::Storage(error) => write!(
                f,
                "Storage cannot be verified: {error}; is its disk connected and mounted?"
            ),
        }
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Asking(error) => Some(error),
            Self::Reading(error) => Some(error),
            Self::Storage(error) => Some(error),
            Self::Arguments(_) | Self::NoLedger(_) | Self::Down(_) | Self::Journaled(_) => None,
        }
    }
}

impl From<DiskError> for VerifyError {
    fn from(error: DiskError) -> Self {
        Self::Storage(error)
    }
}

/// What it came to.
#[derive(Debug, Default)]
struct Summary {
    checked: u64,
    sound: u64,
    bytes: u64,
    repaired: u64,
    /// Noted in the journal only, and not read.
    journaled: u64,
    /// Files and folders of other programs.
    litter: u64,
    /// By the name of the finding; those that were repaired are not among them.
    found: HashMap<&'static str, u64>,
}

/// Carries out the command.
pub fn verify(asked: &Verify, config: &Config, now: Timestamp) -> Result<Ended, VerifyError> {
    let started = Instant::now();
    let mut pace = pace(asked)?;
    let today = now.to_zoned(config.zone.clone()).date();
    if let Some(since) = asked.since.filter(|since| *since > today) {
        return Err(VerifyError::Arguments(format!(
            "--since {since} lies ahead: by this machine's clock today is {today}, and nothing was filed later; type an earlier day, as YYYY-MM-DD"
        )));
    }
    let repair = Repair::asked(asked, config)?;
    let storage = Source::open(&config.storage)?;
    stands(&storage, config)?;
    let rows = Rows { data: &config.data };
    let wanted = |original: &Original| {
        asked
            .since
            .is_none_or(|since| original.ingested_at.to_zoned(config.zone.clone()).date() >= since)
    };
    let (mut known, mut total) = (Vec::new(), 0);
    let mut has_copies = false;
    rows.each(|original| {
        known.push(digest(&original.final_path));
        if wanted(original) {
            total += original.size;
        }
        has_copies = has_copies || repair.as_ref().is_some_and(|it| it.has_copy(original));
        Ok(())
    })?;
    known.sort_unstable();
    let mut summary = Summary {
        journaled: journaled(config, repair.is_some())?,
        ..Summary::default()
    };
    if let Some(repair) = repair.as_ref().filter(|_| !has_copies && !known.is_empty()) {
        return Err(repair.has_none());
    }
    let bar = Bar::new(total);
    let never = AtomicBool::new(false);
    rows.each(|original| {
        if !wanted(original) {
            return Ok(());
        }
        let checked = check(&storage, original, &never, &mut |bytes| {
            bar.inc(bytes);
            thread::sleep(pace.after(bytes, Instant::now()));
        });
        summary.checked += 1;
        match checked {
            Checked::Sound | Checked::Halted => {
                summary.sound += 1;
                summary.bytes += original.size;
            }
            Checked::Found(what) => {
                stands(&storage, config)?;
                let path = original.final_path.clone();
                let finding = Finding { path, what };
                let outcome = repair
                    .as_ref()
                    .filter(|_| finding.what.wants_repair())
                    .map(|repair| repair.put_right(original));
                summary.count(&finding, outcome.as_ref());
                bar.suspend(|| tell(&finding, outcome.as_ref(), asked.json));
            }
        }
        Ok(())
    })?;
    let folders = folders(&storage)?;
    for finding in &folders.unreadable {
        summary.count(finding, None);
        bar.suspend(|| tell(finding, None, asked.json));
    }
    let mut found = Vec::new();
    let mut tell_strangers = |found: &mut Vec<Finding>| -> Result<(), VerifyError> {
        for finding in rows.still_strangers(std::mem::take(found), &known)? {
            if finding.what == What::Litter {
                summary.litter += 1;
                continue;
            }
            if let Some(repair) = &repair
                && repair.discards_unfinished(&finding.path)?
            {
                continue;
            }
            summary.count(&finding, None);
            bar.suspend(|| tell(&finding, None, asked.json));
        }
        Ok(())
    };
    for folder in folders.readable {
        let is_known = |path: &Path| -> Result<bool, DiskError> {
            Ok(known.binary_search(&digest(path)).is_ok())
        };
        found.extend(strangers(&storage, &folder, is_known)?);
        if found.len() >= AT_ONCE {
            tell_strangers(&mut found)?;
        }
    }
    tell_strangers(&mut found)?;
    bar.clear();
    Ok(conclude(&summary, started.elapsed(), asked))
}

/// The day that was typed.
fn day(typed: &str) -> Result<Date, String> {
    Date::strptime("%Y-%m-%d", typed).map_err(|_unclear| {
        format!("`{typed}` is no day: type it as YYYY-MM-DD, for example 2024-05-31")
    })
}

/// How many files only the journal knows. A repair is refused while there are any, or while that can't be told: what it does
/// not know it might take for damage.
fn journaled(config: &Config, repairs: bool) -> Result<u64, VerifyError> {
    match Ledger::journaled_in(&config.data) {
        Ok(count) if repairs && count > 0 => Err(VerifyError::Journaled(count)),
        Ok(count) => Ok(count),
        Err(error) if repairs => Err(VerifyError::Reading(error)),
        Err(error) => {
            log::warn!("{error}; how many photos are noted in the journal only is not known");
            Ok(0)
        }
    }
}

/// The beginning of a sentence on so many photos.
fn photos_are(count: u64) -> String {
    match count {
        1 => "1 photo is".to_owned(),
        count => format!("{count} photos are"),
    }
}

fn pace(asked: &Verify) -> Result<Pace, VerifyError> {
    match asked.limit {
        None => Ok(Pace::UNLIMITED),
        Some(limit) if limit.is_finite() && limit >= LEAST_LIMIT => {
            Ok(Pace::megabytes_per_second(limit))
        }
        Some(_) => Err(VerifyError::Arguments(format!(
            "--limit is a number of MB per second, {LEAST_LIMIT} or more"
        ))),
    }
}

impl Summary {
    fn count(&mut self, finding: &Finding, outcome: Option<&Outcome>) {
        if let Some(Outcome::PutRight(_)) = outcome {
            self.repaired += 1;
        } else {
            *self.found.entry(finding.what.as_str()).or_default() += 1;
        }
    }

    fn of(&self, what: &str) -> u64 {
        self.found.get(what).copied().unwrap_or_default()
    }
}

fn tell(finding: &Finding, outcome: Option<&Outcome>, json: bool) {
    let what = &finding.what;
    if json {
        let (repaired, aside, why_not) = match outcome {
            Some(Outcome::PutRight(aside)) => (true, aside.as_ref(), None),
            Some(Outcome::Not(reason)) => (false, None, Some(reason)),
            None => (false, None, None),
        };
        let line = json!({
            "path": lossy(finding.path.as_os_str()),
            "finding": what.as_str(),
            "reason": what.to_string(),
            "advice": what.advice(),
            "repaired": repaired,
            "set_aside": aside.map(|aside| lossy(aside.as_os_str())),
            "not_repaired": why_not,
        });
        say!("{line}");
        return;
    }
    let path = shown(&finding.path);
    match outcome {
        Some(Outcome::PutRight(None)) => {
            say!("{path}: {what}; it is put back from the backup");
        }
        Some(Outcome::PutRight(Some(aside))) => say!(
            "{path}: {what}; the good copy is back in its place, and what stood there is kept as {}",
            shown(aside)
        ),
        Some(Outcome::Not(reason)) => say!("{path}: {what}; it is not put right: {reason}"),
        None => say!("{path}: {what}; {}", what.advice()),
    }
}

fn conclude(summary: &Summary, took: Duration, asked: &Verify) -> Ended {
    let problems: u64 = summary.found.values().sum();
    let seconds = took.as_secs_f64();
    let unknown = What::Unknown.as_str();
    let temporary = What::Temporary.as_str();
    if asked.json {
        say!(
            "{}",
            json!({"summary": {
                "checked": summary.checked,
                "ok": summary.sound,
                "missing": summary.of("missing"),
                "changed": summary.of("changed"),
                "unreadable": summary.of("unreadable"),
                "unknown": summary.of(unknown),
                "temporary": summary.of(temporary),
                "repaired": summary.repaired,
                "journaled": summary.journaled,
                "litter": summary.litter,
                "bytes": summary.bytes,
                "seconds": seconds,
            }})
        );
    } else {
        let mut said = vec![format!(
            "{} of {} originals are sound",
            summary.sound, summary.checked
        )];
        said.extend((summary.repaired > 0).then(|| format!("{} repaired", summary.repaired)));
        let found = in_order(&summary.found, |(what, _)| **what);
        said.extend(found.iter().map(|(what, count)| format!("{count} {what}")));
        said.extend((summary.litter > 0).then(|| {
            format!(
                "{} left by other programs (a NAS, a desktop), which are no matter of ours",
                summary.litter
            )
        }));
        let bytes = bytes_text(summary.bytes);
        say!("{}; {bytes} read in {seconds:.1} s", said.join(", "));
        if summary.journaled > 0 {
            say!(
                "{} noted in the journal only, and not compared with anything: type `photo-factory ingest` or start `photo-factory run`, which takes them into the ledger, then verify again",
                photos_are(summary.journaled)
            );
        }
    }
    if problems == 0 {
        Ended::Well
    } else {
        Ended::WithProblems
    }
}
