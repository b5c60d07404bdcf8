//! What the status page says, as plain data: gathered in one place, shown by the page, by the JSON and by the `status` command.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::asset::{Asset, Left, LeftBecause, in_order, lossy};
use crate::ledger::{Ledger, LedgerError};
use crate::monitor::{Beat, Seen, Service, ServiceRow, Status};
use crate::verify::background::Verified;

/// Photos listed on the page.
pub const NEWEST: usize = 50;

/// Problems listed.
pub const PROBLEMS: usize = 100;

/// A damaged photo is reported at the top of the page for so many days: long enough to send it again from the phone.
const DAMAGE_NEWS_DAYS: i32 = 7;

/// What is said in the place of a ledger where nothing was ever filed.
const NO_LEDGER: &str = "there is no ledger yet";

/// What the photo line is at, handed in by whoever runs it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Activity {
    /// One word or two: `watching`, `filing`, `paused`, …
    pub state: String,
    /// Files that wait in the inbox.
    pub inbox_depth: u64,
    /// The file it works on.
    pub current: Option<String>,
    /// Files placed since the start.
    pub filed_since_start: u64,
    /// Duplicates found since the start.
    pub duplicates_since_start: u64,
    /// While files wait: for how long files have been taken one after the other, and how many found their fate.
    pub run: Option<(Duration, u64)>,
    /// When it was started; `None`: it does not run.
    pub started_at: Option<Timestamp>,
    /// Why nothing is filed at present, if so: whole sentences, the first thing the page says.
    pub trouble: Option<String>,
    /// Bytes free on the disk of the originals.
    pub storage_free: Option<u64>,
    /// Until when the owner wants no photo to be taken, if so.
    pub paused_until: Option<Timestamp>,
    /// What the owner should know or do, whole sentences: another disk under Storage, a metadata worker that is missing, …
    pub notices: Vec<String>,
    /// What the verification of the originals found; `None`: it is switched off.
    pub verified: Option<Verified>,
}

impl Activity {
    /// Nothing runs: the files were opened by a command.
    pub fn not_running() -> Self {
        Self {
            state: "not running".to_owned(),
            ..Self::default()
        }
    }
}

impl Activity {
    /// How long it takes till nothing waits any more, at the pace of this run; `None`: too little is known.
    pub fn time_left(&self) -> Option<Duration> {
        let (since, done) = self.run.filter(|(_, done)| *done >= 10)?;
        let each = since.checked_div(u32::try_from(done).ok()?)?;
        each.checked_mul(u32::try_from(self.inbox_depth).ok()?)
    }
}

/// How things stand, the worst first said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Nothing to do.
    Well,
    /// Works; the owner should look at something.
    Attention,
    /// Does not do its work.
    Trouble,
}

impl Level {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Attention => "attention",
            Self::Trouble => "trouble",
        }
    }
}

/// How many photos.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Photos {
    /// Photos and videos that are kept.
    pub total: u64,
    /// The bytes of all that is kept, sidecars too.
    pub bytes: u64,
    /// Filed today.
    pub today: u64,
    /// Filed today and in the six days before.
    pub this_week: u64,
    /// Kept although damaged when they came.
    pub with_errors: u64,
    /// Filed under a guessed day.
    pub guessed_dates: u64,
}

/// A file that needs a look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it lies or stands.
    pub path: String,
    /// Which sort: `not_media`, `unreadable`, `sidecar`, `damaged`.
    pub sort: &'static str,
    /// Why, and what to do.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Everything the page says.
#[derive(Clone, PartialEq, Debug)]
pub struct Overview {
    /// When it was gathered.
    pub generated_at: Timestamp,
    /// The zone its times are shown in.
    pub zone: TimeZone,
    /// This program's version.
    pub version: &'static str,
    /// The services.
    pub services: Vec<ServiceRow>,
    /// The last beats of each, for who looks at the page.
    pub beats: Vec<(Service, Vec<Beat>)>,
    /// What the monitor sees beside them.
    pub seen: Seen,
    /// The counts; `None`: the ledger could not be read.
    pub photos: Option<Photos>,
    /// Kinds and their counts, the most frequent first.
    pub kinds: Vec<(&'static str, u64)>,
    /// The photos filed last.
    pub newest: Vec<Asset>,
    /// What needs a look.
    pub problems: Vec<Problem>,
    /// How many files in the inbox need a look; more than are listed, maybe.
    pub left: u64,
    /// What the photo line is at.
    pub activity: Activity,
    /// Why the ledger could not be read.
    pub ledger_error: Option<String>,
}

impl Overview {
    /// Reads what the page says. Without a ledger, or with one that fails, the page says that; it never fails itself.
    pub fn gather(
        ledger: Option<&Ledger>,
        services: Vec<ServiceRow>,
        seen: Seen,
        activity: Activity,
        now: Timestamp,
        zone: TimeZone,
    ) -> Self {
        let mut overview = Self {
            generated_at: now,
            zone,
            version: env!("CARGO_PKG_VERSION"),
            services,
            beats: Vec::new(),
            seen,
            photos: None,
            kinds: Vec::new(),
            newest: Vec::new(),
            problems: Vec::new(),
            left: 0,
            activity,
            ledger_error: None,
        };
        let warnings = overview
            .seen
            .syncthing
            .iter()
            .flat_map(|sight| &sight.warnings);
        let notices = &mut overview.activity.notices;
        notices.extend(warnings.cloned());
        notices.extend(overview.seen.alert_troubles.iter().cloned());
        let Some(ledger) = ledger else {
            overview.ledger_error = Some(NO_LEDGER.to_owned());
            return overview;
        };
        if let Err(error) = overview.read(ledger) {
            overview.newest = ledger.newest_journaled(NEWEST);
            overview.ledger_error = Some(error.to_string());
        }
        if let Some(degraded) = ledger.degraded() {
            overview.ledger_error = Some(degraded.sentence());
        }
        overview.activity.notices.extend(ledger.journal_notice());
        overview
    }

    fn read(&mut self, ledger: &Ledger) -> Result<(), LedgerError> {
        let totals = ledger.totals()?;
        let today = self.generated_at.to_zoned(self.zone.clone()).date();
        let first = today.checked_sub(Span::new().days(6)).unwrap_or(today);
        let filed = ledger.ingested_per_day(first, today)?;
        self.photos = Some(Photos {
            total: totals.photos(),
            bytes: totals.bytes,
            today: filed
                .iter()
                .filter(|(day, _)| *day == today)
                .map(|(_, count)| count)
                .sum(),
            this_week: filed.iter().map(|(_, count)| count).sum(),
            with_errors: totals.with_errors,
            guessed_dates: totals.guessed_dates,
        });
        let kinds = totals.per_kind.iter();
        let kinds = kinds.map(|(kind, count)| (kind.as_str(), *count));
        self.kinds = in_order(kinds, |&(_, count)| Reverse(count));
        self.left = totals.left;
        self.newest = ledger.newest(NEWEST)?;
        let left = ledger.all_left(PROBLEMS)?;
        self.problems = left.iter().filter_map(problem_of_left).collect();
        self.problems
            .extend(self.newest.iter().filter_map(problem_of_asset));
        Ok(())
    }

    /// The one sentence at the top: whether all is well and, if not, what to do.
    pub fn verdict(&self) -> (Level, String) {
        let trouble = self.trouble();
        if let Some(sentence) = trouble {
            return (Level::Trouble, sentence);
        }
        if let Some(sentence) = self.attention() {
            return (Level::Attention, sentence);
        }
        let kept = match self.photos.unwrap_or_default().total {
            0 => "No photo has come yet: put some into the inbox".to_owned(),
            1 => "One photo is kept".to_owned(),
            total => format!("{} photos are kept", grouped(total)),
        };
        let waiting = match self.activity.inbox_depth {
            0 => "nothing waits".to_owned(),
            1 => "one more is on its way".to_owned(),
            depth => format!("{} more are on their way", grouped(depth)),
        };
        (Level::Well, format!("All is well. {kept}; {waiting}."))
    }

    fn trouble(&self) -> Option<String> {
        if self.activity.started_at.is_none() {
            let stopped = "Photo Factory is not running: nothing is filed until it is started. What is kept is safe.";
            return Some(match &self.ledger_error {
                Some(error) if error != NO_LEDGER => {
                    ended(format!("{stopped} The ledger cannot be used: {error}"))
                }
                _ => stopped.to_owned(),
            });
        }
        if let Some(trouble) = &self.activity.trouble {
            return Some(trouble.clone());
        }
        if let Some(error) = &self.ledger_error {
            return Some(ended(format!("The ledger cannot be used: {error}")));
        }
        let mut ours = self.services.iter().filter(|row| row.service.is_ours());
        ours.find_map(failure)
    }

    fn attention(&self) -> Option<String> {
        // Without the others photos are filed all the same.
        let mut others = self.services.iter().filter(|row| !row.service.is_ours());
        if let Some(sentence) = others.find_map(failure) {
            return Some(sentence);
        }
        let degraded = self.services.iter().find_map(|row| match &row.status {
            Some(Status::Degraded(reason)) => Some(ended(format!(
                "The {} works with a limit: {reason}",
                row.service.as_str()
            ))),
            _ => None,
        });
        if let Some(sentence) = degraded.or_else(|| self.activity.notices.first().cloned()) {
            return Some(sentence);
        }
        match self.left {
            0 => {}
            1 => {
                return Some(
                    "One file in the inbox needs a look: it is listed below, with what to do."
                        .to_owned(),
                );
            }
            left => {
                return Some(format!(
                    "{} files in the inbox need a look: they are listed below, with what to do.",
                    grouped(left)
                ));
            }
        }
        let recently = |problem: &&Problem| {
            let age = self.generated_at.duration_since(problem.since);
            problem.sort == "damaged" && age.as_hours() < i64::from(DAMAGE_NEWS_DAYS) * 24
        };
        match self.problems.iter().filter(recently).count() {
            0 => None,
            1 => Some(
                "A photo arrived damaged and was kept as it is: send it again from the phone while it is still there.".to_owned(),
            ),
            count => Some(format!(
                "{count} photos arrived damaged and were kept as they are: send them again from the phone while they are still there."
            )),
        }
    }
}

/// That a service does not work, and what to do.
fn failure(row: &ServiceRow) -> Option<String> {
    let name = row.service.as_str();
    if row.is_overdue() {
        let minutes = row.silent_for.unwrap_or_default().as_secs() / 60;
        return Some(format!(
            "The {name} has been silent for {minutes} minutes. Restart Photo Factory; photos that wait stay where they are."
        ));
    }
    match row.status.as_ref()? {
        Status::Down(reason) => Some(ended(format!("The {name} does not work: {reason}"))),
        Status::Stuck(reason) => Some(ended(format!("The {name} is stuck: {reason}"))),
        _ => None,
    }
}

/// What a service's row means for the owner, in one word.
pub fn service_word(row: &ServiceRow) -> &'static str {
    match &row.status {
        _ if row.is_overdue() => "silent",
        None => "not heard yet",
        Some(status) => status.as_str(),
    }
}

fn problem_of_left(left: &Left) -> Option<Problem> {
    if let LeftBecause::Kept(_) = left.why {
        return None;
    }
    Some(Problem {
        path: lossy(left.inbox_path.as_os_str()),
        sort: left.why.as_str(),
        reason: left.reason.clone(),
        since: left.since,
    })
}

fn problem_of_asset(asset: &Asset) -> Option<Problem> {
    if asset.errors.is_empty() {
        return None;
    }
    Some(Problem {
        path: lossy(asset.final_path.as_os_str()),
        sort: "damaged",
        reason: format!(
            "{}. It is kept as it came; if the phone still shows it whole, send it again",
            asset.errors.join("; ")
        ),
        since: asset.ingested_at,
    })
}

/// With a full stop, where the reason that ends it brought none.
pub(super) fn ended(mut sentence: String) -> String {
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// A number with its thousands set apart: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How long ago, as people say it. A time that lies ahead (the clock was set back) is `just now`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    let (count, unit) = match seconds {
        ..10 => return "just now".to_owned(),
        10..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..86_400 => (seconds / 3_600, "h"),
        86_400..172_800 => (1, "day"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit} ago")
}
