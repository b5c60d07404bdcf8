//! A disk in memory: what stands on it, the changes made to it one after another, and which of them have been made to last.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use photo_factory::asset::crc32;

/// What a name leads to.
pub(crate) type Inode = usize;

/// The folder that everything lies in.
pub(crate) const ROOT: Inode = 0;

/// Disks write whole sectors.
pub(crate) const SECTOR: usize = 512;

/// A regular file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Content {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) mode: u32,
    /// Nanoseconds since 1970.
    pub(crate) mtime: u64,
}

impl Content {
    pub(crate) fn empty() -> Self {
        Self {
            bytes: Arc::default(),
            mode: 0o644,
            mtime: 0,
        }
    }
}

/// Everything that stands on a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) folders: BTreeMap<Inode, BTreeMap<OsString, Inode>>,
    pub(crate) files: BTreeMap<Inode, Content>,
}

/// One change of one thing. A rename is two: the new name comes, the old one goes.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// A file or folder with no name yet.
    New {
        inode: Inode,
        is_folder: bool,
    },
    Add {
        folder: Inode,
        name: OsString,
        inode: Inode,
    },
    Remove {
        folder: Inode,
        name: OsString,
        inode: Inode,
    },
    Write {
        inode: Inode,
        offset: usize,
        bytes: Arc<Vec<u8>>,
    },
    Resize {
        inode: Inode,
        size: usize,
    },
    Mode {
        inode: Inode,
        mode: u32,
    },
    Time {
        inode: Inode,
        mtime: u64,
    },
    SyncFile {
        inode: Inode,
        /// `fsync`, not `fdatasync`.
        attributes: bool,
    },
    SyncFolder {
        folder: Inode,
    },
    SyncAll,
}

/// How much of an effect reached the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reached {
    Nothing,
    All,
    /// Of a write: its first sectors.
    Front,
    /// Of a write: its last sectors.
    Back,
    /// Of a write: every other sector.
    Alternate,
    /// Of a write: the new size of the file, but not its bytes.
    SizeOnly,
}

/// One system call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What to call it in a message.
    pub(crate) shown: String,
    /// So many calls were over when it began: what a sync makes durable for certain.
    pub(crate) over_before: usize,
    pub(crate) effects: Vec<Effect>,
}

impl Disk {
    /// Reads a folder. Links and the like are no part of a scene.
    pub(crate) fn of(root: &Path) -> io::Result<Self> {
        let mut disk = Self::default();
        let mut seen = BTreeMap::new();
        disk.folders.insert(ROOT, BTreeMap::new());
        let mut folders = vec![(ROOT, root.to_owned())];
        let mut next = ROOT;
        while let Some((inode, path)) = folders.pop() {
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let status = entry.path().symlink_metadata()?;
                let key = (status.dev(), status.ino());
                let child = *seen.entry(key).or_insert_with(|| {
                    next += 1;
                    next
                });
                if status.is_dir() {
                    disk.folders.insert(child, BTreeMap::new());
                    folders.push((child, entry.path()));
                } else if status.is_file() {
                    disk.files.insert(
                        child,
                        Content {
                            bytes: Arc::new(fs::read(entry.path())?),
                            mode: status.mode() & 0o7777,
                            mtime: u64::try_from(status.mtime() * 1_000_000_000)
                                .unwrap_or_default()
                                + u64::try_from(status.mtime_nsec()).unwrap_or_default(),
                        },
                    );
                } else {
                    continue;
                }
                if let Some(names) = disk.folders.get_mut(&inode) {
                    names.insert(entry.file_name(), child);
                }
            }
        }
        Ok(disk)
    }

    /// Makes it stand in a folder that does not exist yet.
    pub(crate) fn materialise(&self, root: &Path) -> io::Result<()> {
        let mut made: BTreeMap<Inode, PathBuf> = BTreeMap::new();
        let mut folders = vec![(ROOT, root.to_owned())];
        while let Some((inode, path)) = folders.pop() {
            fs::create_dir_all(&path)?;
            for (name, child) in self.folders.get(&inode).into_iter().flatten() {
                let path = path.join(name);
                if self.folders.contains_key(child) {
                    folders.push((*child, path));
                } else if let Some(first) = made.get(child) {
                    fs::hard_link(first, &path)?;
                } else if let Some(content) = self.files.get(child) {
                    fs::write(&path, content.bytes.as_slice())?;
                    let file = fs::File::options().write(true).open(&path)?;
                    file.set_modified(
                        SystemTime::UNIX_EPOCH + Duration::from_nanos(content.mtime),
                    )?;
                    file.set_permissions(fs::Permissions::from_mode(content.mode))?;
                    made.insert(*child, path);
                }
            }
        }
        Ok(())
    }

    /// Every file that has a name, and what leads there.
    pub(crate) fn named(&self) -> BTreeMap<PathBuf, &Content> {
        let mut files = BTreeMap::new();
        let mut folders = vec![(ROOT, PathBuf::new())];
        while let Some((inode, path)) = folders.pop() {
            for (name, child) in self.folders.get(&inode).into_iter().flatten() {
                let path = path.join(name);
                if self.folders.contains_key(child) {
                    folders.push((*child, path));
                } else if let Some(content) = self.files.get(child) {
                    files.insert(path, content);
                }
            }
        }
        files
    }

    /// Which inode a path leads to.
    pub(crate) fn find(&self, path: &Path) -> Option<Inode> {
        let mut inode = ROOT;
        for component in path.components() {
            match component {
                Component::Normal(name) => inode = *self.folders.get(&inode)?.get(name)?,
                Component::CurDir => {}
                _ => return None,
            }
        }
        Some(inode)
    }

    /// A number that no inode has.
    pub(crate) fn unused(&self) -> Inode {
        let last = |last: Option<&Inode>| last.copied().unwrap_or_default();
        1 + last(self.folders.keys().last()).max(last(self.files.keys().last()))
    }

    /// Equal states have equal fingerprints: names, bytes, and which names share a file.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut order: BTreeMap<Inode, usize> = BTreeMap::new();
        let mut folders = vec![ROOT];
        while let Some(inode) = folders.pop() {
            for (name, child) in self.folders.get(&inode).into_iter().flatten() {
                name.as_bytes().hash(&mut hasher);
                if self.folders.contains_key(child) {
                    folders.push(*child);
                    "folder".hash(&mut hasher);
                } else if let Some(content) = self.files.get(child) {
                    let next = order.len();
                    let known = *order.entry(*child).or_insert(next);
                    known.hash(&mut hasher);
                    if known == next {
                        content.bytes.len().hash(&mut hasher);
                        crc32([content.bytes.as_slice()]).hash(&mut hasher);
                    }
                }
            }
            "end".hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Lets an effect, or a part of it, reach the disk.
    pub(crate) fn apply(&mut self, effect: &Effect, reached: Reached) {
        if reached == Reached::Nothing {
            return;
        }
        match effect {
            Effect::New { inode, is_folder } => {
                if *is_folder {
                    self.folders.insert(*inode, BTreeMap::new());
                } else {
                    self.files.insert(*inode, Content::empty());
                }
            }
            Effect::Add {
                folder,
                name,
                inode,
            } => {
                if let Some(names) = self.folders.get_mut(folder) {
                    names.insert(name.clone(), *inode);
                }
            }
            Effect::Remove {
                folder,
                name,
                inode,
            } => {
                if let Some(names) = self.folders.get_mut(folder)
                    && names.get(name) == Some(inode)
                {
                    names.remove(name);
                }
            }
            Effect::Write {
                inode,
                offset,
                bytes,
            } => {
                if let Some(content) = self.files.get_mut(inode) {
                    write(Arc::make_mut(&mut content.bytes), *offset, bytes, reached);
                }
            }
            Effect::Resize { inode, size } => {
                if let Some(content) = self.files.get_mut(inode) {
                    Arc::make_mut(&mut content.bytes).resize(*size, 0);
                }
            }
            Effect::Mode { inode, mode } => {
                if let Some(content) = self.files.get_mut(inode) {
                    content.mode = *mode;
                }
            }
            Effect::Time { inode, mtime } => {
                if let Some(content) = self.files.get_mut(inode) {
                    content.mtime = *mtime;
                }
            }
            Effect::SyncFile { .. } | Effect::SyncFolder { .. } | Effect::SyncAll => {}
        }
    }
}

/// Writes what reached the disk of `bytes`, sector by sector of the disk, not of the call.
fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8], reached: Reached) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    let (first, last) = (offset / SECTOR, end.div_ceil(SECTOR));
    let middle = first + (last - first).div_ceil(2);
    for sector in first..last {
        let is_on_disk = match reached {
            Reached::All => true,
            Reached::Nothing | Reached::SizeOnly => false,
            Reached::Front => sector < middle,
            Reached::Back => sector >= middle,
            Reached::Alternate => sector % 2 == 0,
        };
        if is_on_disk {
            let from = (sector * SECTOR).max(offset);
            let to = ((sector + 1) * SECTOR).min(end);
            file[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
        }
    }
}

impl Effect {
    /// Whether it is a change of what a name leads to, and where.
    pub(crate) fn folder(&self) -> Option<Inode> {
        match self {
            Self::Add { folder, .. } | Self::Remove { folder, .. } => Some(*folder),
            _ => None,
        }
    }

    pub(crate) fn is_data(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Resize { .. })
    }

    /// Whether a sync makes this effect, which was over before it began, durable.
    pub(crate) fn is_made_durable_by(&self, sync: &Self) -> bool {
        match (sync, self) {
            (Self::SyncAll, _) => true,
            (Self::SyncFolder { folder }, _) => self.folder() == Some(*folder),
            (
                Self::SyncFile { inode: synced, .. },
                Self::Write { inode, .. } | Self::Resize { inode, .. },
            ) => synced == inode,
            (
                Self::SyncFile {
                    inode: synced,
                    attributes,
                },
                Self::Mode { inode, .. } | Self::Time { inode, .. },
            ) => *attributes && synced == inode,
            _ => false,
        }
    }
}

/// A path as a message shows it.
pub(crate) fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
