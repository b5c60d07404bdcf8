//! The page's keys in the data folder: what is kept of the password and of the token, and the first password until it was shown.
//!
//! | file | holds |
//! |---|---|
//! | `page-password` | what is kept of the password: one line ([`password::hashed`]) |
//! | `page-password.first` | the password that was made at the first start, until `photo-factory password` has shown it |
//! | `page-token` | what is kept of the token: its SHA-256, in hex |
//!
//! All are the owner's alone (mode 0600). Without them the page is only served to this machine, or tells only whether all is well.
#![expect(
    clippy::disallowed_methods,
    reason = "these files are the page's own, and no file of the owner's"
)]

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::password;

/// What is kept of the password.
pub const PASSWORD: &str = "page-password";
/// The first password, not yet shown.
pub const FIRST: &str = "page-password.first";
/// What is kept of the token.
pub const TOKEN: &str = "page-token";

/// Bytes of such a file at most.
const LONGEST: u64 = 4096;

/// Why a key can't be read, made or removed.
#[derive(Debug)]
pub enum KeyError {
    /// A file can't be read.
    Reading(PathBuf, io::Error),
    /// A file can't be written or removed.
    Changing(PathBuf, io::Error),
    /// The kernel has no random bytes.
    Random(io::Error),
    /// It has fewer characters than [`password::SHORTEST`], or is very long.
    Length,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading(path, error) => {
                let path = path.display();
                write!(
                    f,
                    "reading {path}: {error}; type this as the user who runs Photo Factory"
                )
            }
            Self::Changing(path, error) => {
                let path = path.display();
                write!(
                    f,
                    "changing {path}: {error}; the data folder must be writable, and its disk not full"
                )
            }
            Self::Random(error) => {
                write!(f, "no password can be made: {error}; restart this machine")
            }
            Self::Length => write!(
                f,
                "a password has at least {} characters, and at most {} bytes; nothing was changed",
                password::SHORTEST,
                password::LONGEST
            ),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Reading(_, error) | Self::Changing(_, error) | Self::Random(error) => Some(error),
            Self::Length => None,
        }
    }
}

/// By what a file is known to be the same as before: device, inode, time of its last change in nanoseconds, size.
pub(super) type Mark = (u64, u64, i128, u64);

/// The keys in one data folder.
#[derive(Clone, Debug)]
pub struct Keys {
    data: PathBuf,
}

impl Keys {
    /// Those in this folder, which need not exist.
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
        }
    }

    /// The line that is kept of the password; `None`: none is set.
    pub fn password(&self) -> Result<Option<String>, KeyError> {
        self.read(PASSWORD)
    }

    /// The first password, which was not shown yet.
    pub fn first(&self) -> Result<Option<String>, KeyError> {
        self.read(FIRST)
    }

    /// What is kept of the token.
    pub fn token(&self) -> Result<Option<String>, KeyError> {
        self.read(TOKEN)
    }

    /// Makes the first password where there is none. It is kept in clear before it is in force: a power cut between must not
    /// lock the owner out.
    pub fn make_first(&self) -> Result<(), KeyError> {
        if self.password()?.is_some() {
            return Ok(());
        }
        let made = password::made().map_err(KeyError::Random)?;
        self.keep(FIRST, &made)?;
        self.keep(
            PASSWORD,
            &password::hashed(&made).map_err(KeyError::Random)?,
        )
    }

    /// Removes the first password's clear text: it was shown.
    pub fn forget_first(&self) -> Result<(), KeyError> {
        self.remove(FIRST).map(drop)
    }

    /// Whether it can be a password.
    pub fn suits(password: &str) -> Result<(), KeyError> {
        if password.chars().count() < password::SHORTEST || password.len() > password::LONGEST {
            return Err(KeyError::Length);
        }
        Ok(())
    }

    /// Sets a password. An unshown first one is forgotten before.
    pub fn set_password(&self, password: &str) -> Result<(), KeyError> {
        Self::suits(password)?;
        self.forget_first()?;
        self.keep(
            PASSWORD,
            &password::hashed(password).map_err(KeyError::Random)?,
        )
    }

    /// Makes a password, sets it and gives it back.
    pub fn make_password(&self) -> Result<String, KeyError> {
        let made = password::made().map_err(KeyError::Random)?;
        self.set_password(&made).map(|()| made)
    }

    /// Removes the password; whether there was one.
    pub fn remove_password(&self) -> Result<bool, KeyError> {
        self.forget_first()?;
        self.remove(PASSWORD)
    }

    /// Makes a token in the place of any other, and gives it back.
    pub fn make_token(&self) -> Result<String, KeyError> {
        let made = password::made_token().map_err(KeyError::Random)?;
        self.keep(TOKEN, &password::hex(&password::sum(&made)))?;
        Ok(made)
    }

    /// Removes the token; whether there was one.
    pub fn remove_token(&self) -> Result<bool, KeyError> {
        self.remove(TOKEN)
    }

    /// Those of the files that others may read.
    pub fn exposed(&self) -> Vec<PathBuf> {
        let paths = [PASSWORD, FIRST, TOKEN].map(|name| self.data.join(name));
        let is_exposed =
            |path: &PathBuf| fs::metadata(path).is_ok_and(|seen| seen.mode() & 0o077 != 0);
        paths.into_iter().filter(is_exposed).collect()
    }

    /// Which file this is now; `None`: there is none. Where that can't be told, or the whole folder is gone, there is one that
    /// can't be read: what hangs on a disk must not open the page when the disk is pulled out.
    pub(super) fn mark(&self, name: &str) -> Option<Mark> {
        let seen = match fs::metadata(self.data.join(name)) {
            Ok(seen) => seen,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.data.is_dir() => {
                return None;
            }
            Err(_) => return Some(Mark::default()),
        };
        let changed = i128::from(seen.ctime()) * 1_000_000_000 + i128::from(seen.ctime_nsec());
        Some((seen.dev(), seen.ino(), changed, seen.size()))
    }

    fn read(&self, name: &str) -> Result<Option<String>, KeyError> {
        let path = self.data.join(name);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
        match read {
            Ok(_) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KeyError::Reading(path, error)),
        }
    }

    /// Whole or not at all, and still there after a power cut.
    fn keep(&self, name: &str, line: &str) -> Result<(), KeyError> {
        let path = self.data.join(name);
        let temporary = self.data.join(format!("{name}.new"));
        let keeping = || {
            fs::create_dir_all(&self.data)?;
            // One that a power cut left behind may have another mode.
            removed(&temporary)?;
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.data)?.sync_all()
        };
        keeping().map_err(|error| KeyError::Changing(path, error))
    }

    fn remove(&self, name: &str) -> Result<bool, KeyError> {
        let path = self.data.join(name);
        let removing = || {
            let was_there = removed(&path)?;
            if was_there {
                File::open(&self.data)?.sync_all()?;
            }
            Ok(was_there)
        };
        removing().map_err(|error| KeyError::Changing(path.clone(), error))
    }
}

/// Whether there was such a file.
fn removed(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys in a folder that is made when the first is kept; removed with what is returned.
    fn keys(name: &str) -> (Keys, impl Drop) {
        struct Gone(PathBuf);
        impl Drop for Gone {
            fn drop(&mut self) {
                drop(fs::remove_dir_all(&self.0));
            }
        }
        let folder = std::env::temp_dir().join(format!("pf-keys-{name}-{}", std::process::id()));
        (Keys::new(&folder), Gone(folder))
    }

    #[test]
    fn the_first_password_is_in_force_and_in_clear_until_it_was_shown() {
        let (keys, _gone) = keys("first");
        keys.make_first().unwrap();
        let first = keys.first().unwrap().unwrap();
        let kept = keys.password().unwrap().unwrap();
        assert!(password::is_right(&first, &kept));
        keys.forget_first().unwrap();
        keys.make_first().unwrap();
        assert_eq!(keys.first().unwrap(), None, "there is one already");
        assert_eq!(keys.password().unwrap().unwrap(), kept);
    }

    #[test]
    fn a_set_password_replaces_the_first_one_and_short_ones_change_nothing() {
        let (keys, _gone) = keys("set");
        keys.make_first().unwrap();
        let before = keys.mark(PASSWORD);
        for wrong in ["", "1234567", &"x".repeat(2000)] {
            assert!(matches!(keys.set_password(wrong), Err(KeyError::Length)));
        }
        assert_eq!(keys.mark(PASSWORD), before);
        assert!(keys.first().unwrap().is_some());
        keys.set_password("grün wie Gras").unwrap();
        assert_ne!(keys.mark(PASSWORD), before);
        assert_eq!(keys.first().unwrap(), None);
        let kept = keys.password().unwrap().unwrap();
        assert!(password::is_right("grün wie Gras", &kept));
        assert!(keys.remove_password().unwrap());
        assert!(!keys.remove_password().unwrap());
        assert_eq!(keys.password().unwrap(), None);
    }

    #[test]
    fn the_keys_are_the_owners_alone_and_no_token_is_kept_in_clear() {
        let (keys, _gone) = keys("modes");
        keys.make_first().unwrap();
        let token = keys.make_token().unwrap();
        assert!(keys.exposed().is_empty());
        for entry in fs::read_dir(&keys.data).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600);
            let text = fs::read_to_string(entry.path()).unwrap();
            assert!(!text.contains(&token));
        }
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(keys.data.join(TOKEN), readable).unwrap();
        assert_eq!(keys.exposed(), [keys.data.join(TOKEN)]);
        assert!(keys.remove_token().unwrap());
        assert_eq!(keys.token().unwrap(), None);
    }
}
