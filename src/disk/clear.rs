//! Clearing inbox names: a name is put aside, looked at, and only then it goes; what was interrupted is given back.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::hold::{gone, proc_path};
use super::rename::{claim, put_aside, with_free_name};
use super::{
    DiskError, Held, Kept, Parted, Snapshot, Source, TEMPORARY_PREFIX, Vault, discard, stat_name,
};

/// Marks a name that was put aside to be cleared; the original name follows.
const ASIDE: &str = "aside-";

/// Makes the names of files put aside different within one run.
static ASIDE_COUNT: AtomicU64 = AtomicU64::new(0);

/// What became of an inbox name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cleared {
    /// The name is gone, the photo is kept.
    Cleared,
    /// Something else stands at that name by now: it was left alone.
    Changed,
    /// The original does not stand where it was verified any more: the name was left alone.
    NotKept,
    /// The original shared its inode with this name and was written to through it: it is not what was read any more. The
    /// name was left alone.
    Overwritten,
}

impl Source {
    /// Clears the inbox name of `held`, whose bytes are kept as `kept` proves, if the name still means that file.
    ///
    /// The name is first put aside, so that a file that took its place in the last moment is not the one that goes. However
    /// it ends, the original is then a file of its own: no other name leads to its inode (P3, P4).
    pub fn clear(
        &self,
        held: &mut Held,
        kept: &mut Kept,
        vault: &Vault,
    ) -> Result<Cleared, DiskError> {
        let cleared = if vault.still_stands(kept) {
            self.try_clear(held, kept)
        } else {
            Ok(Cleared::NotKept)
        };
        let is_its_own = matches!(cleared, Ok(Cleared::Cleared))
            && !held.has_other_names()
            && held.is_undisturbed();
        if !is_its_own && vault.part_from(held, kept)? == Parted::Overwritten {
            if matches!(cleared, Ok(Cleared::Cleared)) {
                self.give_name_back(held)?;
            }
            held.let_go();
            return Ok(Cleared::Overwritten);
        }
        held.let_go();
        cleared
    }

    /// What was written meanwhile gets a name in the inbox again, to be taken from there.
    fn give_name_back(&self, held: &Held) -> Result<(), DiskError> {
        let failed = |errno| DiskError::new("restore", &self.path().join(held.path()))(errno);
        match self.parent(held.path()).or_else(gone).map_err(failed)? {
            Some((folder, name)) => relink(&held.file, &folder, name).map_err(failed),
            None => Ok(()),
        }
    }

    fn try_clear(&self, held: &Held, kept: &Kept) -> Result<Cleared, DiskError> {
        let failed = |errno| DiskError::new("clear", &self.path().join(held.path()))(errno);
        let Some((folder, name)) = self.parent(held.path()).or_else(gone).map_err(failed)? else {
            return Ok(Cleared::Changed);
        };
        if !held.is_undisturbed() {
            // A writer waits at our door, or wrote where no lease could stop it: the inbox name stays with it.
            return Ok(Cleared::Changed);
        }
        let aside = loop {
            let aside = aside_name(name);
            match put_aside(&folder, name, &folder, &aside) {
                Ok(()) => break aside,
                // Left by a run that was killed and had our process id.
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Ok(Cleared::Changed),
                Err(errno) => return Err(failed(errno)),
            }
        };
        let stat = stat_name(&folder, &aside).map_err(failed)?;
        let is_ours = Snapshot::of(&stat).same_content(&held.seen);
        if !is_ours || held.lost_its_lease() {
            put_back(&folder, &aside, name).map_err(failed)?;
            return Ok(Cleared::Changed);
        }
        if kept.shares_inode && stat.stx_nlink < 2 {
            // The name in Originals went: this is the last one.
            put_back(&folder, &aside, name).map_err(failed)?;
            return Ok(Cleared::NotKept);
        }
        rustix::fs::unlinkat(&folder, &aside, AtFlags::empty()).map_err(failed)?;
        if held.lost_its_lease() {
            // A writer had found the file before its name went, and now waits to open it: it gets a name to write under.
            // Where no link is left to make one from, its writing was begun after the file was gone.
            match relink(&held.file, &folder, name) {
                Ok(()) => return Ok(Cleared::Changed),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(Cleared::Cleared)
    }

    /// Gives a file that was put aside by an interrupted [`Source::clear`] its name back. Returns whether it was one.
    pub fn restore_aside(&self, relative: &Path) -> Result<bool, DiskError> {
        let failed = |errno| DiskError::new("restore", &self.path().join(relative))(errno);
        let Some((folder, name)) = self.parent(relative).or_else(gone).map_err(failed)? else {
            return Ok(false);
        };
        let Some(original) = name_before_aside(name) else {
            return Ok(false);
        };
        let seen = Snapshot::of(&stat_name(&folder, name).map_err(failed)?);
        let stands =
            stat_name(&folder, original).is_ok_and(|stat| Snapshot::of(&stat).same_inode(&seen));
        if stands || seen.size == 0 {
            // A power cut on a disk without a journal may leave both names of a rename, on vfat the new one with nothing
            // behind it. In the first case the file has its name, in the other its bytes are kept: or it was no photo.
            discard(&folder, name).map_err(failed)?;
            return Ok(true);
        }
        put_back(&folder, name, original).map_err(failed)?;
        Ok(true)
    }
}

/// The name under which `name` is put aside: it ends with the original name, cut at the front where it would be too long.
fn aside_name(name: &OsStr) -> OsString {
    const NAME_MAX: usize = 255;
    let count = ASIDE_COUNT.fetch_add(1, Ordering::Relaxed);
    let mut aside = OsString::from(format!(
        "{TEMPORARY_PREFIX}{ASIDE}{}-{count}-",
        std::process::id()
    ));
    let room = NAME_MAX - aside.len();
    let bytes = name.as_bytes();
    aside.push(OsStr::from_bytes(
        bytes
            .get(bytes.len().saturating_sub(room)..)
            .unwrap_or(bytes),
    ));
    aside
}

/// The name that a file put aside to be cleared had (its end, where it was too long); `None`: it is none of those.
pub fn name_before_aside(aside: &OsStr) -> Option<&OsStr> {
    let rest = aside
        .as_bytes()
        .strip_prefix(TEMPORARY_PREFIX.as_bytes())?
        .strip_prefix(ASIDE.as_bytes())?;
    let mut parts = rest.splitn(3, |&byte| byte == b'-');
    let (_pid, _count, name) = (parts.next()?, parts.next()?, parts.next()?);
    (!name.is_empty()).then(|| OsStr::from_bytes(name))
}

/// Renames `aside` to `name`, or to the first free `name-N` where something else took the name meanwhile.
fn put_back(folder: &OwnedFd, aside: &OsStr, name: &OsStr) -> rustix::io::Result<()> {
    with_free_name(name, |candidate| {
        claim(folder, aside, candidate)?;
        // vfat: without this a power cut would leave the name empty, and these bytes may be kept nowhere else. Where we
        // may not open it, it is at least as safe as its owner left it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(folder, candidate, flags, Mode::empty())
            .and_then(rustix::fs::fsync)
            .or(Ok(()))
    })
}

fn relink(file: &File, folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    with_free_name(name, |candidate| {
        rustix::fs::linkat(
            CWD,
            proc_path(file),
            folder,
            candidate,
            AtFlags::SYMLINK_FOLLOW,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_put_aside_leads_back_to_the_original_name() {
        let aside = aside_name(OsStr::new("a-b-c.jpg"));
        assert_eq!(name_before_aside(&aside), Some(OsStr::new("a-b-c.jpg")));
        let long = "x".repeat(251) + ".jpg";
        let aside = aside_name(OsStr::new(&long));
        assert_eq!(aside.len(), 255);
        assert!(name_before_aside(&aside).is_some_and(|name| name.as_bytes().ends_with(b"x.jpg")));
        assert_eq!(
            name_before_aside(OsStr::new(".photo-factory-12.part")),
            None
        );
    }
}
