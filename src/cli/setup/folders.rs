//! Where photos are kept and where they arrive: what may be named, what that means, and how the folders are made.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::asking::{Asking, Judged};
use super::{SetupError, drop_in};
use crate::asset::{bytes_text, quoted};
use crate::config::Config;
use crate::disk::storage::{MARKER, Mark, Place};
use crate::disk::{self, DiskError, Owner};
use crate::doctor::{mounts, user_name};

/// The folders that were chosen.
pub(super) struct Folders {
    pub(super) storage: PathBuf,
    pub(super) inbox: PathBuf,
    /// As they were typed: relative ones stay so in the settings.
    pub(super) typed_storage: String,
    pub(super) typed_inbox: String,
}

impl Folders {
    pub(super) fn ask(
        asking: &Asking,
        config: &Config,
        storage: Option<String>,
        inbox: Option<String>,
    ) -> Result<Self, SetupError> {
        let root = &config.root;
        let typed_storage = asking.ask(
            "Where are the photos to be kept?",
            &config.storage.to_string_lossy(),
            storage,
            &|typed| {
                let path = named(root, typed)?;
                lies_apart(&path, "Storage", &config.data, "Data")?;
                say!("  {}", disk_of(&path));
                Ok(if path == config.storage {
                    None
                } else {
                    doubt(config, &path)
                })
            },
        )?;
        let storage = root.join(&typed_storage);
        let typed_inbox = asking.ask(
            "Where are photos to arrive (the folder that Syncthing fills)?",
            &config.inbox.to_string_lossy(),
            inbox,
            &|typed| -> Judged {
                let path = named(root, typed)?;
                lies_apart(&path, "the inbox", &config.data, "Data")?;
                lies_apart(&config.data, "Data", &path, "the inbox")?;
                lies_apart(&path, "the inbox", &storage, "Storage")?;
                lies_apart(&storage, "Storage", &path, "the inbox")?;
                say!("  {}", disk_of(&path));
                Ok(None)
            },
        )?;
        Ok(Self {
            inbox: root.join(&typed_inbox),
            storage,
            typed_storage,
            typed_inbox,
        })
    }

    fn both(&self) -> [(&Path, u32); 2] {
        [(&self.storage, 0o750), (&self.inbox, 0o2770)]
    }

    /// Those that are not there.
    pub(super) fn missing(&self) -> impl Iterator<Item = &Path> {
        let both = self.both().into_iter().map(|(path, _)| path);
        both.filter(|path| !path.exists())
    }

    /// Makes what is missing, and gives it to the factory's user; `None`: that is who types this.
    pub(super) fn make(&self, owner: Option<Owner>) -> Result<(), SetupError> {
        for (path, mode) in self.both() {
            let is_new = !path.exists();
            if is_new {
                disk::make_folder(path)?;
                say!("Made: {}", path.display());
            }
            let Some(owner) = owner else { continue };
            if is_new || is_nobodys(path) {
                give(path, owner, mode)?;
            }
        }
        Ok(())
    }

    /// What systemd must know of them, for a factory with this root.
    pub(super) fn drop_in(&self, root: &Path) -> Option<String> {
        let folders = self.both().map(|(path, _)| {
            let path = whole(path);
            let mount = mounts::of(there(&path)).map_or("/".into(), |mount| mount.at);
            (path, mount)
        });
        drop_in::text(root, &folders)
    }
}

/// The path that was typed, if it can be one of ours.
fn named(root: &Path, typed: &str) -> Result<PathBuf, String> {
    let path = root.join(typed);
    if typed.is_empty() || typed.starts_with('~') || typed.chars().any(char::is_control) {
        return Err(format!(
            "{} is no path: write it whole, as /mnt/photos/Storage",
            typed.escape_debug()
        ));
    }
    if path.exists() && !path.is_dir() {
        return Err(format!("{} is no folder", path.display()));
    }
    if !path.exists() && path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{typed} is not there: write it without `..`"));
    }
    Ok(path)
}

/// That `inner` does not lie in `outer`.
fn lies_apart(inner: &Path, inner_is: &str, outer: &Path, outer_is: &str) -> Result<(), String> {
    let (inner, outer) = (whole(inner), whole(outer));
    if !inner.starts_with(&outer) {
        return Ok(());
    }
    Err(format!(
        "{inner_is} {} would lie in {outer_is} {}: what is kept would be met again as what arrives, or get lost among it; give each a \
         folder of its own",
        inner.display(),
        outer.display()
    ))
}

/// The part of a path that is there.
fn there(path: &Path) -> &Path {
    let mut parts = path.ancestors();
    parts.find(|part| part.exists()).unwrap_or(Path::new("/"))
}

/// A path free of links, as far as it is there.
fn whole(path: &Path) -> PathBuf {
    let there = there(path);
    let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
    match there.canonicalize() {
        Ok(there) if rest.as_os_str().is_empty() => there,
        Ok(there) => there.join(rest),
        Err(_) => path.to_owned(),
    }
}

/// Which disk a folder is on, and how much room it has.
fn disk_of(path: &Path) -> String {
    let shown = path.display();
    let whole = whole(path);
    let there = there(&whole);
    let free = rustix::fs::statvfs(there).map_or_else(
        |_| "how much is free is not known".to_owned(),
        |space| {
            format!(
                "{} free",
                bytes_text(space.f_bavail.saturating_mul(space.f_frsize))
            )
        },
    );
    match mounts::of(there) {
        Some(mount) if mount.at == Path::new("/") => {
            format!("{shown} is on the disk of the system, {free}")
        }
        Some(mount) => format!(
            "{shown} is on the disk mounted at {}, {free}",
            mount.at.display()
        ),
        None => format!("{shown}: {free}"),
    }
}

/// What another Storage than before means for the photos; `None`: nothing.
fn doubt(config: &Config, path: &Path) -> Option<String> {
    const ACCEPT: &str = "photo-factory doctor --accept-storage";
    let at = |storage: &Path| Place {
        storage: storage.to_owned(),
        data: config.data.clone(),
        has_photos: false,
        reserve: disk::space::Reserve {
            millionths: 0,
            most: 0,
        },
    };
    let place = at(path);
    let (before, shown) = (config.storage.display(), path.display());
    let has_originals = path.join("Originals").is_dir();
    match (place.remembered().ok()?, place.marked().ok()?) {
        (Mark::Is(known), Mark::Is(found)) if known == found => None,
        (Mark::Is(_), Mark::Is(found)) => Some(format!(
            "{shown} is the Storage of another Photo Factory (its marker says {found}). Photos are not filed there, and wait in the inbox, until \
             you type `{ACCEPT}`; do that only if it holds the photos of this one."
        )),
        (Mark::Is(_), _) => Some(format!(
            "Photo Factory has used {before} so far. Copy everything in it to {shown}, with the hidden file {MARKER} (`cp -a {}/. {}/`): until then \
             photos wait in the inbox.",
            quoted(&config.storage.to_string_lossy()),
            quoted(&path.to_string_lossy())
        )),
        (_, Mark::Is(found)) => Some(format!(
            "{shown} was the Storage of a Photo Factory before (its marker says {found}), and is used on. The photos in it stay; \
             `photo-factory rebuild`, with Photo Factory stopped, takes into the ledger those that it does not know."
        )),
        _ if has_originals => Some(format!(
            "{shown} has a folder Originals already. What is in it stays as it is; `photo-factory rebuild`, with Photo Factory stopped, takes \
             its photos into the ledger."
        )),
        _ => None,
    }
}

/// Whether a folder that is there may be given to the factory's user unasked: root's, and nothing in it but what a new disk has.
fn is_nobodys(path: &Path) -> bool {
    let is_roots = path.metadata().is_ok_and(|seen| seen.uid() == 0);
    let entries = std::fs::read_dir(path).map(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "lost+found"))
    });
    is_roots && entries.unwrap_or(false)
}

fn give(path: &Path, owner: Owner, mode: u32) -> Result<(), SetupError> {
    match disk::give_folder(path, owner, mode) {
        Ok(()) => {}
        // FAT and its kin: who may write is an option of the mount, and doctor says which.
        Err(error) if is_unknown_to_disk(&error) => {
            say!(
                "{} is on a disk that keeps no owners; doctor says how to mount it",
                path.display()
            );
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let name = user_name(owner.0).unwrap_or_else(|| owner.0.to_string());
    say!("Given to user {name}: {}", path.display());
    if mode & 0o2000 == 0 {
        return Ok(());
    }
    // What others of the group put there, ours to file and clear, whatever their umask.
    let entry = format!("g:{}:rwX", owner.1);
    let set = Command::new("setfacl")
        .args(["-d", "-m", &entry, "--"])
        .arg(path)
        .status();
    match set {
        Ok(status) if status.success() => {}
        tried => {
            let missing = tried.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            let first = if missing {
                "sudo apt install acl && "
            } else {
                ""
            };
            say!(
                "Files that other users put into {} can't be filed whatever their umask: type {first}sudo setfacl -d -m {entry} {}",
                path.display(),
                quoted(&path.to_string_lossy())
            );
        }
    }
    Ok(())
}

fn is_unknown_to_disk(error: &DiskError) -> bool {
    use rustix::io::Errno;
    [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS]
        .iter()
        .any(|errno| error.source.raw_os_error() == Some(errno.raw_os_error()))
}
