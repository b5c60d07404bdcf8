//! Looks at everything the appliance needs, and says of each finding what it is, why it matters, and what to type. Looking
//! changes nothing; only [`accept_storage`] does, when the owner asks for it.
//!
//! One file per part of the house: `folders`, `inbox`, `mounts`, `originals`, `records`, `system`, `syncthing`. Each gives [`Check`]s; none
//! prints, none stops the others. What looks at a disk does so on a thread of its own: a disk that hangs is a finding, too.

mod folders;
mod inbox;
pub mod mounts;
mod originals;
mod page;
mod records;
mod syncthing;
mod system;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::asset::{lossy, quoted};
use crate::config::{Config, ConfigError};
use crate::disk::DiskError;
use crate::disk::storage::{self, Accepted};

/// How long a disk may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a check came to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Nothing to do.
    Well,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Something to put right.
    Finding,
}

impl Level {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Note => "note",
            Self::Finding => "finding",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What was looked at, in a word or two: the same at every run.
    pub name: &'static str,
    /// What it came to.
    pub level: Level,
    /// What was found, in one sentence.
    pub what: String,
    /// Why it matters; empty where all is well.
    pub why: String,
    /// What to type or do, one step each.
    pub steps: Vec<String>,
}

impl Check {
    fn well(name: &'static str, what: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Well,
            what: what.into(),
            why: String::new(),
            steps: Vec::new(),
        }
    }

    fn note(name: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            level: Level::Note,
            why: why.into(),
            ..Self::well(name, what)
        }
    }

    fn finding(name: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            level: Level::Finding,
            why: why.into(),
            ..Self::well(name, what)
        }
    }

    /// Adds a step.
    fn then(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "check": self.name,
            "level": self.level.as_str(),
            "what": self.what,
            "why": self.why,
            "do": self.steps,
        })
    }
}

/// Settings that can't be used are the one finding: everything else depends on them.
pub fn of_settings(error: &ConfigError) -> Check {
    Check::finding(
        "settings",
        error.to_string(),
        "Photo Factory does not start with settings that it does not understand, and the other checks need them.",
    )
    .then("correct the settings file as said above, then type `photo-factory doctor` again")
}

/// Looks at one part of the house.
type Part = fn(&Config, Timestamp) -> Vec<Check>;

/// Looks at everything.
pub fn examine(config: &Config, now: Timestamp) -> Vec<Check> {
    let mut checks = vec![Check::well(
        "settings",
        format!("understood; the root is {}", config.root.display()),
    )];
    let running = records::running(config);
    checks.extend(running.check(config));
    let places = [
        ("inbox", &config.inbox),
        ("storage", &config.storage),
        ("data", &config.data),
        ("logs", &config.logs),
    ];
    for (name, path) in places {
        let (path, reserve) = (path.clone(), config.reserve);
        let silent = hangs(name, &path);
        let work = Box::new(move || folders::examine(name, &path, reserve));
        checks.extend(guarded(silent, work));
    }
    let parts: [(&'static str, Part); 7] = [
        ("storage disk", |config, _| vec![folders::identity(config)]),
        ("places", |config, _| folders::together(config)),
        ("originals", |config, _| originals::folders(config)),
        ("inbox files", |config, _| inbox::examine(config)),
        ("clock", system::clock),
        ("syncthing", |config, _| syncthing::examine(config)),
        ("page", |config, _| page::examine(config)),
    ];
    for (name, part) in parts {
        let (config, silent) = (config.clone(), hangs(name, &config.root));
        checks.extend(guarded(silent, Box::new(move || part(&config, now))));
    }
    checks.push(system::worker(config));
    checks.push(system::courier(config));
    checks.extend(running.ledger_and_history(config, now));
    checks
}

/// Makes the folder at Storage's path the expected one, because the owner says that it is. Says what came of it.
pub fn accept_storage(config: &Config) -> Result<String, DiskError> {
    let shown = config.storage.display();
    let said = match storage::accept(&config.storage, &config.data)? {
        Accepted::Already(id) => {
            format!("{shown} is the expected Storage already (id {id}): nothing was changed.")
        }
        Accepted::Adopted(id) => format!("{shown} is Storage from now on (id {id})."),
        Accepted::Marked(id) => format!(
            "{shown} is Storage from now on; it got the marker {} (id {id}).",
            storage::MARKER
        ),
    };
    Ok(match originals::none_of(config) {
        Some(missing) => format!("{said} {missing}"),
        None => said,
    })
}

fn hangs(name: &'static str, path: &Path) -> Check {
    Check::finding(
        name,
        format!("looking at this did not end within {} s: a disk below {} does not answer", PATIENCE.as_secs(), path.display()),
        "A disk that hangs is about to fail, or its cable or power supply is; photos wait in the inbox meanwhile.",
    )
    .then("type `dmesg | tail -50` and look for errors of a disk; check cable and power; then restart the machine")
}

/// Does the work on a thread of its own, and gives `silent` where it does not end: then the thread is left behind.
fn guarded(silent: Check, work: Box<dyn FnOnce() -> Vec<Check> + Send>) -> Vec<Check> {
    let answer = Arc::new((Mutex::new(None), Condvar::new()));
    let theirs = Arc::clone(&answer);
    thread::spawn(move || {
        let done = catch_unwind(AssertUnwindSafe(work));
        *theirs.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        theirs.1.notify_one();
    });
    // Woken by the answer: how long a sleep takes by a clock that was faked or set is not to be relied on.
    let (mut answered, _) = answer
        .1
        .wait_timeout_while(
            answer.0.lock().unwrap_or_else(PoisonError::into_inner),
            PATIENCE,
            |answered| answered.is_none(),
        )
        .unwrap_or_else(PoisonError::into_inner);
    match answered.take() {
        Some(Ok(checks)) => checks,
        Some(Err(_panic)) => vec![Check::note(
            silent.name,
            "could not be looked at, by a fault of Photo Factory's own",
            "Please report it; nothing was changed.",
        )],
        None => vec![silent],
    }
}

/// A user by name and number, as far as this machine knows the name.
fn user(id: u32) -> String {
    user_name(id).map_or_else(
        || format!("user {id}"),
        |name| format!("user {id} ({name})"),
    )
}

/// A user's name, as far as this machine knows it.
pub fn user_name(id: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

/// A path as it is to be typed.
fn typed(path: &Path) -> String {
    quoted(&lossy(path.as_os_str()))
}

/// This process's user.
fn ourselves() -> u32 {
    rustix::process::geteuid().as_raw()
}
