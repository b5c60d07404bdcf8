//! Renames that replace nothing, on every file system: where the kernel's careful rename is missing, the nearest to it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Snapshot, discard, stat_file, stat_name};

/// Whether a rename that refuses to replace was refused because this file system has none: NFS, many of FUSE.
fn has_no_careful_rename(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// Whether a link was refused because this file system has none, or not for us.
pub(super) fn has_no_links(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::MLINK
    )
}

/// Renames what stands at `name`, where anybody may put something else at any moment, to `ours`, a name that only we make.
/// What stood there last is then at `ours`, to be looked at: nothing is removed unseen.
pub(super) fn put_aside(
    folder: &OwnedFd,
    name: &OsStr,
    keep: &OwnedFd,
    ours: &OsStr,
) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(folder, name, keep, ours, RenameFlags::NOREPLACE) {
        Err(errno) if has_no_careful_rename(errno) => match stat_name(keep, ours) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::renameat(folder, name, keep, ours),
            Err(errno) => Err(errno),
        },
        done => done,
    }
}

/// Gives the file at `ours`, a name that only we make, the name `name`, at which anybody may make a file at any moment.
pub(super) fn claim(folder: &OwnedFd, ours: &OsStr, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(folder, ours, folder, name, RenameFlags::NOREPLACE) {
        Err(errno) if has_no_careful_rename(errno) => {}
        done => return done,
    }
    match rustix::fs::linkat(folder, ours, folder, name, AtFlags::empty()) {
        Ok(()) => discard(folder, ours),
        Err(errno) if has_no_links(errno) => claim_empty(folder, ours, name),
        Err(errno) => Err(errno),
    }
}

/// The name is made by an empty file of ours, which the rename then replaces. A kill between the two leaves the empty file:
/// in Originals an intent leads to it, and an empty file is never taken for the photo.
fn claim_empty(folder: &OwnedFd, ours: &OsStr, name: &OsStr) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let empty = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
    let made = Snapshot::of(&stat_file(&empty)?);
    drop(empty);
    let is_still_ours = || {
        stat_name(folder, name).is_ok_and(|stat| {
            let now = Snapshot::of(&stat);
            now.same_inode(&made) && now.size == 0
        })
    };
    if !is_still_ours() {
        return Err(Errno::EXIST);
    }
    let renamed = rustix::fs::renameat(folder, ours, folder, name);
    if renamed.is_err() && is_still_ours() {
        discard(folder, name)?;
    }
    renamed
}

/// Claims `name`, or the first free `name-N`.
pub(super) fn with_free_name(
    name: &OsStr,
    mut claim: impl FnMut(&OsStr) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let (stem, extension) = crate::asset::split_name(name);
    let mut candidate = name.to_owned();
    for count in 1_u32.. {
        match claim(&candidate) {
            Err(Errno::EXIST) => {}
            done => return done,
        }
        stem.clone_into(&mut candidate);
        candidate.push(format!("-{count}"));
        candidate.push(extension);
    }
    Err(Errno::EXIST)
}
