//! Which disk Storage is: the marker in it, the memory of that marker in Data, and how much room it has.
//!
//! # Invariants
//!
//! - Nothing is written into a folder that is not known to be Storage: its marker has the id that Data remembers, or
//!   neither of them has one and the ledger knows no photo (the first use) (P7).
//! - An Originals that was a disk of its own is one, with that id in a marker too.
//! - The marker is durable before Data remembers its id: cut between the two, the next start adopts the marker.

mod originals;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::space::{Reserve, Space};
use super::watch::Unusable;
use super::{DiskError, Snapshot, open_root, stat_file};

/// The marker's name in Storage.
pub const MARKER: &str = ".photo-factory-storage";

/// The name in Data of the memory of the marker.
pub const MEMORY: &str = "storage";

/// The folder in Storage that holds the photos.
pub(super) const ORIGINALS: &str = "Originals";

/// Under these names they are written before they get their own.
const NEW_MARKER: &str = ".photo-factory-storage.new";
const NEW_MEMORY: &str = "storage.new";

/// The name of the file by which a failing disk is tried.
const TRIAL: &str = ".photo-factory-trial";

/// What follows the id in the marker.
const MARKER_SAYS: &str = "\
This file tells Photo Factory that this folder is its Storage, and not another disk or an empty mount point.
Leave it where it is; when you copy Storage to another disk, copy it too.
";

/// What follows the id in the memory.
const MEMORY_SAYS: &str = "\
The id of the Storage that Photo Factory files into: its marker file .photo-factory-storage has the same.
";

/// Bytes read of a marker at most.
const MARKER_LIMIT: u64 = 4096;

/// What tells one Storage from another: 128 random bits, made at its first use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StorageId([u8; 16]);

/// Where Storage is, and what is known of it beforehand.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its path.
    pub storage: PathBuf,
    /// The Data folder, which remembers its id.
    pub data: PathBuf,
    /// Whether the ledger knows photos: then a folder without any is not it.
    pub has_photos: bool,
    /// What is kept free there.
    pub reserve: Reserve,
}

/// The folder at Storage's path, opened, and found to be Storage.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) root: OwnedFd,
    pub(super) seen: Snapshot,
    /// The folder of the photos, which may be a disk of its own.
    pub(super) originals: OwnedFd,
    pub(super) originals_seen: Snapshot,
    pub(super) space: Space,
}

/// What became of [`accept`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It was the expected one already.
    Already(StorageId),
    /// The marker that it has is the expected one from now on.
    Adopted(StorageId),
    /// It had none (or a damaged one): it got one.
    Marked(StorageId),
}

/// What stands in the place of a marker or of its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Nothing, or a name with nothing behind it.
    Missing,
    /// An id.
    Is(StorageId),
    /// Something that is none.
    Damaged,
}

impl fmt::Display for StorageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl StorageId {
    fn random() -> io::Result<Self> {
        let mut bits = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bits)?;
        Ok(Self(bits))
    }

    /// From the first line of a marker; `None` where it holds no id.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let line = text.split(|&byte| byte == b'\n').next()?;
        let digits = std::str::from_utf8(line).ok()?.trim();
        let is_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl Place {
    /// The id that Data remembers.
    pub fn remembered(&self) -> Result<Mark, DiskError> {
        mark_in(None, &self.data.join(MEMORY))
    }

    /// The id in the marker that stands at Storage's path now.
    pub fn marked(&self) -> Result<Mark, DiskError> {
        mark_in(None, &self.storage.join(MARKER))
    }

    /// Opens Storage and makes sure that it is Storage; at the first use it is made and marked. `trial`: it failed before,
    /// so it must take a small file too. Blocks.
    pub(super) fn open(
        &self,
        known: Option<StorageId>,
        trial: bool,
    ) -> Result<(Opened, StorageId), Unusable> {
        let root = match open_root(&self.storage) {
            Ok(root) => root,
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => self.make()?,
            Err(error) => return Err(failing(&error)),
        };
        let looked =
            |path: &Path, errno: Errno| failing(&DiskError::io("look at", path)(errno.into()));
        is_writable(&root, &self.storage)?;
        let id = self.identify(&root, known)?;
        may_write(&root, &self.storage)?;
        if trial {
            self.try_writing(&root).map_err(|error| failing(&error))?;
        }
        let path = self.originals_path();
        make_originals(&root)
            .map_err(|errno| failing(&DiskError::io("make the folder", &path)(errno.into())))?;
        let originals = self.originals(&root, id)?;
        let is_own_disk =
            originals::is_own_disk(&root, &originals).map_err(|errno| looked(&path, errno))?;
        if is_own_disk {
            is_writable(&originals, &path)?;
            may_write(&originals, &path)?;
        }
        if is_own_disk && trial {
            self.try_writing(&originals)
                .map_err(|error| failing(&error))?;
        }
        let stat = rustix::fs::fstatvfs(&originals).map_err(|errno| looked(&path, errno))?;
        let snapshot = |folder: &OwnedFd| stat_file(folder).map(|stat| Snapshot::of(&stat));
        let seen = snapshot(&root).map_err(|errno| looked(&self.storage, errno))?;
        let originals_seen = snapshot(&originals).map_err(|errno| looked(&path, errno))?;
        let space = Space::of(&stat, self.reserve, originals_seen.device);
        let opened = Opened {
            root,
            seen,
            originals,
            originals_seen,
            space,
        };
        Ok((opened, id))
    }

    /// The first use of a folder that is not there yet; a Storage that was there is not made anew.
    fn make(&self) -> Result<OwnedFd, Unusable> {
        let remembered = self.remembered().map_err(|error| failing(&error))?;
        if self.has_photos || remembered != Mark::Missing {
            return Err(Unusable::Away(format!(
                "Storage {} is not there: is its disk plugged in and mounted? Photos wait in the inbox, nothing is written elsewhere, and work goes \
                 on by itself when it is back. If you moved Storage, set [storage] path; if you gave it up, make the folder, \
                 copy the photos into it and type `photo-factory doctor --accept-storage`.",
                self.storage.display()
            )));
        }
        super::make_folder(&self.storage)
            .and_then(|()| open_root(&self.storage))
            .map_err(|error| failing(&error))
    }

    fn identify(&self, root: &OwnedFd, known: Option<StorageId>) -> Result<StorageId, Unusable> {
        let found =
            mark_in(Some(root), &self.storage.join(MARKER)).map_err(|error| failing(&error))?;
        if let (Mark::Is(found), Some(known)) = (found, known)
            && found == known
        {
            return Ok(found);
        }
        // Asked anew: the owner may have accepted another disk meanwhile.
        match (self.remembered().map_err(|error| failing(&error))?, found) {
            (Mark::Is(expected), Mark::Is(found)) if expected == found => Ok(found),
            (Mark::Is(expected), found) => Err(self.is_another(expected, found)),
            (Mark::Damaged, _) => Err(Unusable::Away(format!(
                "Photo Factory no longer knows which disk its Storage is: {} is damaged. Photos wait in the inbox. If {} holds your photos, \
                 type `photo-factory doctor --accept-storage`.",
                self.data.join(MEMORY).display(),
                self.storage.display()
            ))),
            // Data is new or was lost: the Storage that was used is used on.
            (Mark::Missing, Mark::Is(found)) => {
                self.remember(found).map_err(|error| failing(&error))?;
                Ok(found)
            }
            (Mark::Missing, Mark::Damaged) => Err(Unusable::Away(format!(
                "The marker {} is damaged, so it is not certain that this is Storage. Photos wait in the inbox. If this folder holds your \
                 photos, type `photo-factory doctor --accept-storage`.",
                self.storage.join(MARKER).display()
            ))),
            (Mark::Missing, Mark::Missing) if self.has_photos && !has_originals(root) => {
                Err(Unusable::Away(format!(
                    "Storage {} is empty, though photos were kept there: is its disk mounted? Photos wait in the inbox, and work goes on by \
                     itself when it is. If you gave that disk up, type `photo-factory doctor --accept-storage`.",
                    self.storage.display()
                )))
            }
            (Mark::Missing, Mark::Missing) => {
                may_write(root, &self.storage)?;
                self.mark(root).map_err(|error| failing(&error))
            }
        }
    }

    fn is_another(&self, expected: StorageId, found: Mark) -> Unusable {
        let found = match found {
            Mark::Is(found) => format!("its marker says {found}"),
            Mark::Missing => format!(
                "its marker {MARKER} is missing, as in the empty folder of a disk that is not mounted"
            ),
            Mark::Damaged => format!("its marker {MARKER} is damaged"),
        };
        Unusable::Away(format!(
            "Storage {} is not the disk it was: {found}; expected is {expected}. Mount that disk there, and work goes on by itself; until then \
             photos wait in the inbox and nothing is written there. If you changed the disk on purpose, copy the photos to it \
             and type `photo-factory doctor --accept-storage`.",
            self.storage.display()
        ))
    }

    /// Makes a marker, durably, then has Data remember it.
    fn mark(&self, root: &OwnedFd) -> Result<StorageId, DiskError> {
        let failed = DiskError::io("mark", &self.storage);
        let id = StorageId::random().map_err(failed)?;
        write_mark(root, &self.storage, (NEW_MARKER, MARKER), id, MARKER_SAYS)?;
        self.remember(id)?;
        log::info!(
            "{} is Storage from now on, with the id {id}",
            self.storage.display()
        );
        Ok(id)
    }

    fn remember(&self, id: StorageId) -> Result<(), DiskError> {
        let data = open_root(&self.data)?;
        write_mark(&data, &self.data, (NEW_MEMORY, MEMORY), id, MEMORY_SAYS)
    }

    /// Whether the disk takes a small file: reading may be answered from memory long after the disk is gone.
    fn try_writing(&self, root: &OwnedFd) -> Result<(), DiskError> {
        let failed = |errno: Errno| DiskError::io("write to", &self.storage)(errno.into());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let tried = rustix::fs::openat(root, TRIAL, flags, mode).and_then(|file| {
            let tried = rustix::io::write(&file, b"?").and_then(|_| rustix::fs::fsync(&file));
            rustix::fs::unlinkat(root, TRIAL, AtFlags::empty())?;
            tried
        });
        match tried {
            // A full disk is there all the same.
            Err(Errno::NOSPC | Errno::DQUOT) => Ok(()),
            tried => tried.map_err(failed),
        }
    }
}

/// Makes the folder at `storage` the expected one, because the owner says that it is: its marker is adopted, or one is
/// made. The appliance need not be stopped.
pub fn accept(storage: &Path, data: &Path) -> Result<Accepted, DiskError> {
    let place = Place {
        storage: storage.to_owned(),
        data: data.to_owned(),
        has_photos: false,
        reserve: Reserve {
            millionths: 0,
            most: 0,
        },
    };
    let root = open_root(storage)?;
    let accepted = match mark_in(Some(&root), &storage.join(MARKER))? {
        Mark::Is(found) if place.remembered()? == Mark::Is(found) => Accepted::Already(found),
        Mark::Is(found) => {
            place.remember(found)?;
            Accepted::Adopted(found)
        }
        Mark::Missing | Mark::Damaged => Accepted::Marked(place.mark(&root)?),
    };
    let (Accepted::Already(id) | Accepted::Adopted(id) | Accepted::Marked(id)) = accepted;
    let is_news = place.accept_originals(&root, id)?;
    Ok(match accepted {
        Accepted::Already(id) if is_news => Accepted::Adopted(id),
        accepted => accepted,
    })
}

fn failing(error: &DiskError) -> Unusable {
    if error.source.raw_os_error() == Some(Errno::ROFS.raw_os_error()) {
        return Unusable::Away(format!(
            "Storage can't be used, and photos wait in the inbox: {error}. Work goes on by itself."
        ));
    }
    Unusable::Away(format!(
        "Storage can't be used, and photos wait in the inbox: {error}. Check the disk and its cable (`dmesg`); work goes on by itself when it answers again."
    ))
}

fn is_writable(folder: &OwnedFd, path: &Path) -> Result<(), Unusable> {
    let stat = rustix::fs::fstatvfs(folder)
        .map_err(|errno| failing(&DiskError::io("look at", path)(errno.into())))?;
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(read_only(path));
    }
    Ok(())
}

fn may_write(folder: &OwnedFd, path: &Path) -> Result<(), Unusable> {
    match rustix::fs::accessat(
        folder,
        c".",
        Access::WRITE_OK | Access::EXEC_OK,
        AtFlags::empty(),
    ) {
        Err(Errno::ROFS) => Err(read_only(path)),
        Err(Errno::ACCESS | Errno::PERM) => {
            let user = rustix::process::geteuid().as_raw();
            let path = path.display();
            Err(Unusable::Away(format!(
                "Storage {path} may not be written by Photo Factory (user id {user}), so photos wait in the inbox. Type \
                 `sudo chown -R {user} {path}`; work goes on by itself."
            )))
        }
        // What else is wrong shows when it is used.
        _ => Ok(()),
    }
}

fn read_only(path: &Path) -> Unusable {
    Unusable::Away(format!(
        "Storage {} is mounted read-only, so nothing can be filed; the system does that to a disk with errors. Photos wait in the inbox. Check the \
         disk (`dmesg`), then type `mount -o remount,rw` and its path; work goes on by itself.",
        path.display()
    ))
}

fn has_originals(root: &OwnedFd) -> bool {
    super::open_below(root, Path::new(ORIGINALS)).is_ok()
}

fn make_originals(root: &OwnedFd) -> rustix::io::Result<()> {
    if has_originals(root) {
        return Ok(());
    }
    match rustix::fs::mkdirat(root, ORIGINALS, Mode::from_raw_mode(0o755)) {
        Ok(()) => rustix::fs::fsync(root),
        // A full disk is Storage all the same; whatever else is there shows when it is used.
        Err(Errno::EXIST | Errno::NOSPC | Errno::DQUOT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Reads a marker or its memory, in `folder` where that is open already.
fn mark_in(folder: Option<&OwnedFd>, path: &Path) -> Result<Mark, DiskError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match folder {
        Some(folder) => rustix::fs::openat(
            folder,
            path.file_name().unwrap_or_default(),
            flags,
            Mode::empty(),
        ),
        None => rustix::fs::openat(CWD, path, flags, Mode::empty()),
    };
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Mark::Missing),
        Err(errno) => return Err(DiskError::io("read", path)(errno.into())),
    };
    let mut text = Vec::new();
    file.take(MARKER_LIMIT)
        .read_to_end(&mut text)
        .map_err(DiskError::io("read", path))?;
    if text.is_empty() {
        // vfat: a power cut between our rename and the sync after it leaves the name with nothing behind it.
        return Ok(Mark::Missing);
    }
    Ok(StorageId::parse(&text).map_or(Mark::Damaged, Mark::Is))
}

/// Writes an id under a temporary name, syncs it, gives it its name, and syncs it (vfat) and its folder.
fn write_mark(
    folder: &OwnedFd,
    path: &Path,
    (temporary, name): (&str, &str),
    id: StorageId,
    says: &str,
) -> Result<(), DiskError> {
    let failed = |errno: Errno| DiskError::io("write", &path.join(name))(errno.into());
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let file = rustix::fs::openat(folder, temporary, flags, mode).map_err(failed)?;
    let mut file = File::from(file);
    let written = file
        .write_all(format!("{id}\n{says}").as_bytes())
        .map_err(DiskError::io("write", &path.join(name)))
        .and_then(|()| rustix::fs::fsync(&file).map_err(failed))
        .and_then(|()| rustix::fs::renameat(folder, temporary, folder, name).map_err(failed));
    if written.is_err() {
        // The first error is the one to tell; the next attempt uses the same name.
        rustix::fs::unlinkat(folder, temporary, AtFlags::empty()).unwrap_or_default();
        return written;
    }
    rustix::fs::fsync(&file).map_err(failed)?;
    rustix::fs::fsync(folder).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_what_was_written_and_from_nothing_else() {
        let id = StorageId([0xab; 16]);
        assert_eq!(
            StorageId::parse(format!("{id}\n{MARKER_SAYS}").as_bytes()),
            Some(id)
        );
        assert_eq!(StorageId::parse(format!("{id}").as_bytes()), Some(id));
        for damaged in [
            "",
            "\n",
            "abababab",
            "+babababababababababababababababab",
            "zz",
        ] {
            assert_eq!(StorageId::parse(damaged.as_bytes()), None, "{damaged}");
        }
        assert_eq!(StorageId::parse(&[0; 512]), None);
    }
}
