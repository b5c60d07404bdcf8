//! Whether the appliance runs, and what ledger and history say: asked of it where it runs, looked at where it does not.

use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;
use serde_json::Value;

use super::{Check, originals, ourselves, typed, user};
use crate::asset::bytes_text;
use crate::config::Config;
use crate::dashboard::client::{self, Answer, AskError};
use crate::ledger::{Degraded, Ledger, LedgerError, Totals};
use crate::monitor;

/// What the running appliance says of itself.
pub(super) enum Running {
    /// Nothing runs.
    No,
    /// It runs, and says this.
    Says(Value),
    /// It runs, and does not answer as it should.
    Silent(AskError),
}

/// Asks.
pub(super) fn running(config: &Config) -> Running {
    let mut answer = Vec::new();
    match client::ask(&config.data, "/api/v1/status", &mut answer) {
        Ok(Answer::NotRunning) => Running::No,
        Ok(Answer::Done) => Running::Says(serde_json::from_slice(&answer).unwrap_or_default()),
        Err(error) => Running::Silent(error),
    }
}

impl Running {
    /// Whether it runs, whose it is, and what it reports.
    pub(super) fn check(&self, config: &Config) -> Vec<Check> {
        let mut checks: Vec<Check> = whose(config).into_iter().collect();
        checks.push(match self {
            Self::No if is_at_work(config) => Check::note(
                "appliance",
                "it is not running, but another command (an `ingest`, or a `rebuild`) is at work here",
                "`photo-factory run` is refused until that has ended.",
            ),
            Self::No => Check::note(
                "appliance",
                "it is not running",
                "Photos wait in the inbox until it is started, or until `photo-factory ingest`.",
            )
            .then("photo-factory run"),
            Self::Says(status) => Check::well(
                "appliance",
                format!(
                    "it is running, and {}",
                    status["activity"]["state"]
                        .as_str()
                        .unwrap_or("does not say what it does")
                ),
            ),
            Self::Silent(error) => Check::finding(
                "appliance",
                format!("it runs and does not answer: {error}"),
                "A page that does not answer can't warn you.",
            )
            .then("look into Logs/photo-factory.log, then restart it"),
        });
        if let Self::No = self {
            checks.extend(page_address(config));
        }
        if let Self::Says(status) = self {
            checks.extend(status["activity"]["trouble"].as_str().map(|trouble| {
                Check::finding(
                    "appliance",
                    trouble,
                    "Nothing, or not everything, is filed meanwhile.",
                )
                .then("do what is said there; the page says when it is over")
            }));
            let notices = status["notices"].as_array().into_iter().flatten();
            checks.extend(notices.filter_map(Value::as_str).map(|notice| {
                Check::finding(
                    "appliance",
                    notice,
                    "The running appliance reports it; its page says the same.",
                )
                .then("photo-factory status # names each file concerned, with what to do")
            }));
            checks.extend(left(status["inbox"]["left"].as_u64().unwrap_or_default()));
        }
        checks
    }

    /// The ledger and the history.
    pub(super) fn ledger_and_history(&self, config: &Config, now: Timestamp) -> Vec<Check> {
        let mut checks = match self {
            Self::Says(status) => vec![ledger_says(status)],
            Self::Silent(_) => Vec::new(),
            Self::No => {
                let mut checks = ledger_on_disk(config, now);
                checks.extend(history_on_disk(config));
                checks
            }
        };
        checks.extend(journal_put_aside(config));
        checks
    }
}

/// Whether a process holds the lock on this root. Asked of the kernel's list: to try the lock would refuse it to an
/// appliance that starts at this moment.
fn is_at_work(config: &Config) -> bool {
    let Ok(lock) = std::fs::metadata(config.data.join("lock")) else {
        return false;
    };
    let inode = format!(":{}", lock.ino());
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().any(|line| {
        line.contains(" FLOCK ") && line.split_whitespace().any(|word| word.ends_with(&inode))
    })
}

/// Whether the page could be served, while nothing runs.
fn page_address(config: &Config) -> Option<Check> {
    let error = std::net::TcpListener::bind(config.listen).err()?;
    Some(
        Check::finding(
            "page",
            format!("{} can't be listened on: {error}", config.listen),
            "Photo Factory does not start without its page.",
        )
        .then(format!("sudo ss -ltnp 'sport = :{}' # names who uses it", config.listen.port()))
        .then("or choose another address: [dashboard] listen, or `photo-factory run --listen ADDRESS:PORT`"),
    )
}

/// Root may do everything, so what root may do says nothing of the appliance's user.
fn whose(config: &Config) -> Option<Check> {
    let owner = std::fs::metadata(&config.data).ok()?.uid();
    (owner != ourselves()).then(|| {
        Check::note(
            "user",
            format!(
                "you are {}, and Data belongs to {}",
                user(ourselves()),
                user(owner)
            ),
            "What you may read and write is not what the appliance may.",
        )
        .then(format!("sudo -u '#{owner}' photo-factory doctor"))
    })
}

fn left(count: u64) -> Option<Check> {
    (count > 0).then(|| {
        Check::note(
            "left",
            format!("{count} files stay in the inbox, each for a reason of its own"),
            "They are no photos, or something is the matter with them.",
        )
        .then("`photo-factory status` names them with their reasons")
    })
}

fn ledger_says(status: &Value) -> Check {
    match status["photos"]["total"].as_u64() {
        Some(total) => Check::well("ledger", format!("{total} photos and videos are kept")),
        None => Check::finding(
            "ledger",
            format!(
                "the running appliance can't read it: {}",
                status["message"].as_str().unwrap_or_default()
            ),
            "Without its memory it does not know what is kept.",
        )
        .then(
            "see what its page advises; `photo-factory rebuild` makes a new ledger from Originals",
        ),
    }
}

/// What is found of the ledger while nothing runs.
enum OnDisk {
    None,
    Opens {
        /// What is to be said of the journal.
        journal: Option<String>,
        totals: Totals,
        newest: Option<Timestamp>,
        size: u64,
    },
    Degraded(Degraded),
}

fn ledger_on_disk(config: &Config, now: Timestamp) -> Vec<Check> {
    const REBUILD: &str =
        "photo-factory rebuild # makes a new ledger from Originals, and keeps the old file";
    const WHY: &str = "The ledger is the memory of what is kept. Your photos in Originals are not touched by this.";
    let mut unreadable = 0;
    let opened = Ledger::open_existing(&config.data).and_then(|ledger| {
        let Some(ledger) = ledger else {
            return Ok(OnDisk::None);
        };
        unreadable = ledger.unreadable_lines();
        if let Some(degraded) = ledger.degraded() {
            return Ok(OnDisk::Degraded(degraded));
        }
        let newest = ledger.newest(1)?;
        Ok(OnDisk::Opens {
            journal: ledger.journal_notice(),
            totals: ledger.totals()?,
            newest: newest.first().map(|asset| asset.ingested_at),
            size: std::fs::metadata(ledger.path()).map_or(0, |seen| seen.len()),
        })
    });
    let mut checks = match opened {
        Ok(OnDisk::None) => vec![originals::belong(config, None).unwrap_or_else(|| {
            Check::well("ledger", "there is none yet; the first start makes it")
        })],
        Ok(OnDisk::Degraded(degraded)) => {
            vec![Check::finding("ledger", degraded.sentence(), WHY).then(REBUILD)]
        }
        Ok(OnDisk::Opens {
            journal,
            totals,
            newest,
            size,
        }) => {
            let mut checks = vec![Check::well(
                "ledger",
                format!(
                    "opens; {} photos and videos, {}; the file has {}",
                    totals.photos(),
                    bytes_text(totals.bytes),
                    bytes_text(size)
                ),
            )];
            checks.extend(newest.filter(|&newest| newest > now).map(|newest| {
                Check::finding(
                    "clock",
                    format!("a photo was filed at {newest}, which lies ahead: the clock is, or was, wrong"),
                    "Times of filing on the page are wrong by as much; the days that photos stand under are not.",
                )
                .then("sudo timedatectl set-ntp true")
            }));
            checks.extend(journal.map(|notice| {
                let is_usable = Ledger::journaled_in(&config.data).is_ok();
                Check::finding(
                    "journal",
                    notice,
                    "The photos are safe in Originals; until they are in the ledger they are in no export, no verification and no count.",
                )
                .then(if is_usable {
                    "photo-factory ingest"
                } else {
                    "do what is said there"
                })
            }));
            checks.extend(originals::belong(config, Some(&totals)));
            checks.extend(originals::verified(config, &totals));
            checks.extend(left(totals.left));
            checks
        }
        Err(LedgerError::InUse { .. }) => vec![
            Check::note(
                "ledger",
                "another command of Photo Factory is working with it",
                "Only one program can have it open.",
            )
            .then("type `photo-factory doctor` again when that has ended"),
        ],
        Err(error) => {
            let check = Check::finding("ledger", error.to_string(), WHY);
            vec![match error {
                LedgerError::Empty { .. }
                | LedgerError::Foreign { .. }
                | LedgerError::Damaged { .. } => check.then(REBUILD),
                _ => check,
            }]
        }
    };
    checks.extend((unreadable > 0).then(|| {
        Check::finding(
            "journal",
            format!(
                "{unreadable} lines of the journal in {} can't be read",
                config.data.display()
            ),
            LINES_WHY,
        )
        .then("photo-factory ingest # takes in those that can be read")
        .then("photo-factory rebuild # finds the photos of the others")
    }));
    checks
}

const LINES_WHY: &str = "The photos that they name stand in Originals, and the ledger does not get to know them by the journal.";

/// A journal some lines of which could not be taken into the ledger.
fn journal_put_aside(config: &Config) -> Option<Check> {
    let aside = Ledger::journal_aside(&config.data);
    aside.exists().then(|| {
        let shown = aside.display();
        Check::finding(
            "journal",
            format!("{shown} was put aside: some of its lines can't be read"),
            LINES_WHY,
        )
        .then("photo-factory rebuild # with Photo Factory stopped; it finds those photos in Originals")
        .then(format!("then, when you no longer want it: rm {}", typed(&aside)))
    })
}

fn history_on_disk(config: &Config) -> Option<Check> {
    let there = config.data.join("history.redb").exists();
    there.then(|| {
        if monitor::rows_on_disk(&config.data, &monitor::Settings::of(config).roster).is_empty() {
            Check::note(
                "history",
                "the history of the services can't be read as it is (it was not closed cleanly, or is damaged)",
                "Photos are not concerned: the next start puts it right or begins a new one.",
            )
        } else {
            Check::well("history", "opens")
        }
    })
}
