//! Small files of our own, replaced whole: whoever reads one finds the old content or the new, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};

use super::DiskError;

/// User and group: whom a file or a folder belongs to.
pub type Owner = (u32, u32);

/// Gives the file at `path` this content, durably and in one step.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    let new = new_name(path);
    let written = File::create(&new).and_then(|file| written(file, content, &new, path));
    written.map_err(DiskError::io("write", path))
}

/// The same for a file with this mode, and this owner where it is not to be ours: at no moment others can read it.
pub fn replace_file_of(
    path: &Path,
    content: &[u8],
    mode: u32,
    owner: Option<Owner>,
) -> Result<(), DiskError> {
    let new = new_name(path);
    let writing = || {
        // One that a power cut left behind may have another mode.
        removed(&new)?;
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let seen = file.metadata()?;
        if let Some(owner) = owner.filter(|owner| *owner != (seen.uid(), seen.gid())) {
            std::os::unix::fs::fchown(&file, Some(owner.0), Some(owner.1))?;
        }
        file.set_permissions(PermissionsExt::from_mode(mode))?;
        written(file, content, &new, path)
    };
    writing().map_err(DiskError::io("write", path))
}

/// Removes a file of ours; whether there was one.
pub fn remove_file(path: &Path) -> Result<bool, DiskError> {
    removed(path).map_err(DiskError::io("remove", path))
}

/// Gives a folder to a user, with this mode. A link is not followed.
pub fn give_folder(path: &Path, owner: Owner, mode: u32) -> Result<(), DiskError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .and_then(|folder| {
            rustix::fs::fchown(&folder, Some(user), Some(group))?;
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode))
        })
        .map_err(DiskError::new("change the owner of", path))
}

fn new_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn written(mut file: File, content: &[u8], new: &Path, path: &Path) -> io::Result<()> {
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    // vfat: the renamed entry is durable only once the file is synced again.
    file.sync_all()?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn removed(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
