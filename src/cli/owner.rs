//! Root may write everywhere, and what it makes in another user's factory locks that user out of it.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::process::geteuid;

use crate::asset::quoted;
use crate::config::{self, Config, installed};
use crate::disk;
use crate::doctor::user_name;

/// Changes to a user, from root; Debian's util-linux has it there.
const RUNUSER: &str = "/usr/sbin/runuser";

/// The home of that user: the root of the installed factory, as the package makes it.
const HOME: &str = "HOME=/var/lib/photo-factory";

/// Why a command is not for who typed it.
#[derive(Debug)]
pub(super) enum OwnerError {
    /// Root was asked to write into a factory of another user.
    Anothers {
        /// Its Data.
        data: PathBuf,
        /// Whose it is.
        owner: u32,
        /// What was typed.
        typed: String,
    },
    /// Somebody else was asked to change the installed factory.
    NeedsRoot(String),
    /// Root can't become the installed factory's user.
    Becoming(String, io::Error),
}

impl fmt::Display for OwnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anothers { data, owner, typed } => write!(
                f,
                "you are root, and {data} belongs to user {name}: files that root makes there would lock that user's Photo Factory \
                 out, so nothing was changed. Type: sudo -u {user} {typed}\nIf root is to run it from now on, give it the folders of \
                 the factory first, Data last: sudo chown -R root INBOX STORAGE LOGS && sudo chown -R root {shown}",
                data = data.display(),
                name = name_of(*owner),
                user = quoted(&name_of(*owner)),
                shown = quoted(&data.to_string_lossy()),
            ),
            Self::NeedsRoot(typed) => write!(
                f,
                "the installed Photo Factory in {} has a user of its own. Type: sudo {typed}",
                installed::ROOT
            ),
            Self::Becoming(name, error) => write!(
                f,
                "going on as user {name}: {RUNUSER}: {error}; type `sudo apt install util-linux`, and the same again"
            ),
        }
    }
}

impl std::error::Error for OwnerError {}

fn name_of(user: u32) -> String {
    user_name(user).unwrap_or_else(|| format!("#{user}"))
}

fn words(typed: &[String]) -> String {
    let words: Vec<String> = typed.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// Whether who types this may write here without taking the factory from its owner. `typed`: the program and its arguments.
pub(super) fn is_respected(config: &Config, typed: &[String]) -> Result<(), OwnerError> {
    let owner = std::fs::metadata(&config.data).map_or(0, |data| data.uid());
    if owner == 0 || !geteuid().is_root() {
        return Ok(());
    }
    Err(OwnerError::Anothers {
        data: config.data.clone(),
        owner,
        typed: words(typed),
    })
}

/// The user and the group that the installed factory belongs to.
pub(super) fn of_installed() -> disk::Owner {
    let root = Path::new(installed::ROOT);
    let seen = root.join("Data").metadata().or_else(|_| root.metadata());
    let owner = |seen: Metadata| (seen.uid(), seen.gid());
    seen.map_or((0, 0), owner)
}

/// Goes on as the installed factory's user where root types what that user is to do (`is_theirs`); else says what to type to
/// who may not (`writes`: what changes it).
pub(super) fn goes_on(is_theirs: bool, writes: bool, typed: &[String]) -> Result<(), OwnerError> {
    let owner = of_installed().0;
    let us = geteuid();
    if us.is_root() {
        if is_theirs && owner != 0 {
            let error = as_user(owner).args(typed.iter().skip(1)).exec();
            return Err(OwnerError::Becoming(name_of(owner), error));
        }
        return Ok(());
    }
    let enter = Access::READ_OK | Access::EXEC_OK;
    let may_enter = rustix::fs::accessat(CWD, installed::ROOT, enter, AtFlags::EACCESS).is_ok();
    if us.as_raw() != owner && (writes || !may_enter) {
        return Err(OwnerError::NeedsRoot(words(typed)));
    }
    Ok(())
}

/// This program, as another user; for root.
pub(super) fn as_user(user: u32) -> Command {
    let program = config::program().unwrap_or("/usr/bin/photo-factory".into());
    let mut command = Command::new(RUNUSER);
    // By `env`, and not by the methods of Command, which are several KB of program.
    command
        .args(["-u", &name_of(user), "--", "env"])
        .args(["-u", "XDG_STATE_HOME", "-u", "XDG_CONFIG_HOME", HOME])
        .arg(program);
    command
}
