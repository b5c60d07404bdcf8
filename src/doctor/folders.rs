//! The folders: there, ours to use, on a disk that suits, with room; and how inbox and Storage lie to each other.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::mounts::{self, Kind, Mount};
use super::{Check, ourselves, typed, user};
use crate::asset::bytes_text;
use crate::config::{Config, Reserve};
use crate::disk::storage::{Mark, Place};
use crate::disk::{self, EntryIs, Source, TEMPORARY_PREFIX};

/// Less room than this for ledger, history and logs is too little.
const LEAST_FREE: u64 = 64 << 20;

/// A temporary file of ours that is older than this is nobody's.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// One folder by itself; `reserve`: what is kept free on its disk.
pub(super) fn examine(name: &'static str, path: &Path, reserve: Reserve) -> Vec<Check> {
    let seen = match std::fs::metadata(path) {
        Ok(seen) => seen,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![missing(name, path)];
        }
        Err(error) => {
            return vec![
                Check::finding(
                    name,
                    format!("{} can't be looked at: {error}", path.display()),
                    purpose(name),
                )
                .then(format!(
                    "type `namei -l {}` and give {} the right to enter each folder on the way",
                    typed(path),
                    user(ourselves())
                )),
            ];
        }
    };
    if !seen.is_dir() {
        return vec![
            Check::finding(
                name,
                format!("{} is no folder", path.display()),
                purpose(name),
            )
            .then(format!(
                "move it away: `mv {0} {0}.old`; `photo-factory run` then makes the folder",
                typed(path)
            )),
        ];
    }
    let mount = path
        .canonicalize()
        .ok()
        .and_then(|whole| mounts::of(&whole));
    if let Some(check) = unusable(name, path, &seen, mount.as_ref()) {
        return vec![check];
    }
    let mut checks = vec![room(name, path, mount.as_ref(), reserve)];
    checks.extend(mount.and_then(|mount| suits(name, path, &mount)));
    checks
}

fn purpose(name: &str) -> &'static str {
    match name {
        "inbox" => "Photos arrive there: nothing is filed while it can't be used.",
        "storage" => "Photos are kept there: they wait in the inbox while it can't be used.",
        "data" => "The ledger is there, the memory of what is kept.",
        _ => "The log is there: without it nobody can tell later what went wrong.",
    }
}

fn missing(name: &'static str, path: &Path) -> Check {
    let parent = path.ancestors().skip(1).find(|parent| parent.is_dir());
    let may_make =
        parent.is_some_and(|parent| may(parent, Access::WRITE_OK | Access::EXEC_OK).is_ok());
    if may_make {
        return Check::well(
            name,
            format!(
                "{} is not there yet; `photo-factory run` makes it",
                path.display()
            ),
        );
    }
    Check::finding(
        name,
        format!(
            "{} is not there, and {} may not make it",
            path.display(),
            user(ourselves())
        ),
        purpose(name),
    )
    .then(format!(
        "sudo install -d -o {} {}",
        ourselves(),
        typed(path)
    ))
}

fn may(path: &Path, access: Access) -> rustix::io::Result<()> {
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS)
}

/// A folder that we may not read and write.
fn unusable(
    name: &'static str,
    path: &Path,
    seen: &Metadata,
    mount: Option<&Mount>,
) -> Option<Check> {
    let us = ourselves();
    match may(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Err(Errno::ROFS) => Some(read_only(name, path, mount)),
        Err(Errno::ACCESS | Errno::PERM) => {
            let what = format!(
                "{} belongs to {} (mode {:o}), and {} may not read and write it",
                path.display(),
                user(seen.uid()),
                seen.mode() & 0o7777,
                user(us)
            );
            let check = Check::finding(name, what, purpose(name));
            let shown = typed(path);
            Some(if mount.is_some_and(|mount| mount.what() == Kind::Fat) {
                check.then(format!(
                    "this file system knows no owners: mount it with the options `uid={us},gid={us},umask=022` (in /etc/fstab)"
                ))
            } else {
                check
                    .then(format!("sudo chown -R {us} {shown}"))
                    .then(format!("or, to leave it to its owner: sudo setfacl -R -m u:{us}:rwX -m d:u:{us}:rwX {shown}"))
            })
        }
        _ if mount.is_some_and(|mount| mount.is_read_only) => Some(read_only(name, path, mount)),
        _ => None,
    }
}

fn read_only(name: &'static str, path: &Path, mount: Option<&Mount>) -> Check {
    let check = Check::finding(
        name,
        format!("{} is mounted read-only", path.display()),
        format!(
            "{} The system does that to a disk with errors.",
            purpose(name)
        ),
    );
    let check = check.then("type `dmesg | tail -50` and look for errors of the disk: a failing disk is to be replaced, not remounted");
    match mount {
        Some(mount) => check.then(format!("sudo mount -o remount,rw {}", typed(&mount.at))),
        None => check,
    }
}

/// How much room there is.
fn room(name: &'static str, path: &Path, mount: Option<&Mount>, reserve: Reserve) -> Check {
    let on = mount.map_or_else(String::new, |mount| {
        format!(" ({} on {})", mount.kind, mount.source)
    });
    let shown = path.display();
    let space = rustix::fs::statvfs(path);
    let Ok(space) = space else {
        return Check::note(
            name,
            format!("{shown}{on} can be used; how much room it has is not known"),
            "",
        );
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let total = space.f_blocks.saturating_mul(space.f_frsize);
    let least = if name == "storage" {
        kept_free(total, reserve)
    } else {
        LEAST_FREE.min(total / 50)
    };
    let says = format!("{} of {} are free", bytes_text(free), bytes_text(total));
    if free <= least {
        return Check::finding(
            name,
            format!("{shown}{on} is full: {says}"),
            match name {
                "storage" => "Filing pauses before the disk is full, so that nothing is written half; photos wait in the inbox.",
                "inbox" => "Phones can't deliver what does not fit.",
                _ => "A ledger that can't be written stops the filing.",
            },
        )
        .then(format!("make room on that disk (`du -xh --max-depth=2 {} | sort -h | tail`), or use a larger one; work goes on by itself", typed(path)));
    }
    // btrfs and vfat make inodes as they need them, and say that they have none.
    if space.f_files > 0 && space.f_favail <= 1000.min(space.f_files / 50) {
        return Check::finding(
            name,
            format!("{shown}{on} can hold only {} more files, though {says}", space.f_favail),
            "Each photo needs an inode; this file system was made with few of them.",
        )
        .then(format!("look for folders with very many small files: `sudo du --inodes -x {} | sort -n | tail`", typed(path)));
    }
    Check::well(name, format!("{shown}{on}: readable and writable, {says}"))
}

/// How much is kept free on a disk of this size.
fn kept_free(total: u64, reserve: Reserve) -> u64 {
    let share = u128::from(total) * u128::from(reserve.millionths) / 1_000_000;
    u64::try_from(share).unwrap_or(u64::MAX).min(reserve.most)
}

/// What the kind of file system means for what is in the folder.
fn suits(name: &'static str, path: &Path, mount: &Mount) -> Option<Check> {
    let on = |kind: &str| {
        format!(
            "{} is on {kind} ({} on {})",
            path.display(),
            mount.kind,
            mount.source
        )
    };
    match (mount.what(), name) {
        (Kind::Memory, "storage" | "data") => Some(
            Check::finding(
                name,
                on("a file system in memory"),
                "Everything on it is gone when the machine stops, the photos too.",
            )
            .then("put the root on a disk, or name one in [storage] path; then type `photo-factory doctor` again"),
        ),
        (Kind::Container, "storage" | "data") => Some(Check::note(
            name,
            on("the layer of a container"),
            "It goes with the container: mount a folder of the machine there before real photos come.",
        )),
        (Kind::Fat, "storage") => Some(Check::note(
            name,
            on("a FAT file system"),
            "It can't keep photos read-only or link them, and its times are coarse: photos are copied and read back, and are safe. An ext4 disk is faster and protects them from other programs.",
        )),
        (Kind::Network, "inbox") => Some(Check::note(
            name,
            on("a network file system"),
            "It sends no events for what other machines write: the inbox is looked through every 10 s instead, and photos are copied.",
        )),
        (Kind::Network, "data") => Some(Check::note(
            name,
            on("a network file system"),
            "The ledger needs locks and syncs that network file systems don't always keep: a disk of this machine is safer for Data.",
        )),
        _ => None,
    }
}

/// To look at markers none is needed.
const NO_RESERVE: disk::space::Reserve = disk::space::Reserve {
    millionths: 0,
    most: 0,
};

/// Whether Storage is the disk it was (P7).
pub(super) fn identity(config: &Config) -> Check {
    const NAME: &str = "storage disk";
    const WHY: &str = "Photos are filed into the disk that was used before, and into no other: they wait in the inbox until it is back.";
    const ACCEPT: &str = "only if you changed the disk on purpose, and its photos are on the new one: photo-factory doctor --accept-storage";
    let place = Place {
        storage: config.storage.clone(),
        data: config.data.clone(),
        has_photos: false,
        reserve: NO_RESERVE,
    };
    let shown = config.storage.display();
    let (remembered, marked) = match (place.remembered(), place.marked()) {
        (Ok(remembered), Ok(marked)) => (remembered, marked),
        (Err(error), _) | (_, Err(error)) => {
            return Check::note(
                NAME,
                format!("it can't be told whether Storage is the disk it was: {error}"),
                WHY,
            );
        }
    };
    let mount = |check: Check| {
        check
            .then(format!("see what is mounted, and what could be: `findmnt -T {}` and `lsblk -f`; then mount the disk (`sudo mount …`)", typed(&config.storage)))
            .then(ACCEPT)
    };
    match (remembered, marked) {
        (Mark::Is(expected), Mark::Is(found)) if expected == found => {
            Check::well(NAME, format!("{shown} is the disk it was (id {found})"))
        }
        (Mark::Is(expected), Mark::Is(found)) => mount(Check::finding(
            NAME,
            format!(
                "{shown} is another disk than before: its marker says {found}, expected is {expected}"
            ),
            WHY,
        )),
        (Mark::Is(_), Mark::Missing) => mount(Check::finding(
            NAME,
            format!("{shown} has no marker, as an empty folder whose disk is not mounted"),
            WHY,
        )),
        (Mark::Is(_), Mark::Damaged) => mount(Check::finding(
            NAME,
            format!("the marker of {shown} is damaged"),
            WHY,
        )),
        (Mark::Damaged, _) => Check::finding(
            NAME,
            format!(
                "which disk was Storage is forgotten: {} is damaged",
                config.data.join(disk::storage::MEMORY).display()
            ),
            WHY,
        )
        .then(format!(
            "look whether {shown} holds your photos; if so: photo-factory doctor --accept-storage"
        )),
        (Mark::Missing, Mark::Is(found)) => Check::well(
            NAME,
            format!("{shown} was used before (id {found}); the next start takes it as it is"),
        ),
        (Mark::Missing, Mark::Damaged) => {
            Check::finding(NAME, format!("the marker of {shown} is damaged"), WHY).then(ACCEPT)
        }
        (Mark::Missing, Mark::Missing) => Check::well(
            NAME,
            format!("{shown} is not marked yet; the first start marks it"),
        ),
    }
}

/// How the folders lie to each other, and what interrupted work left in them.
pub(super) fn together(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (inbox, storage) = (whole(&config.inbox), whole(&config.storage));
    let overlap = [
        (
            &inbox,
            &storage.join("Originals"),
            "the inbox lies in Originals",
        ),
        (&storage, &inbox, "Storage lies in the inbox"),
        (&whole(&config.data), &inbox, "Data lies in the inbox"),
    ];
    for (inner, outer, says) in overlap {
        if inner.starts_with(outer) {
            checks.push(
                Check::finding(
                    "places",
                    format!("{says}: {} in {}", inner.display(), outer.display()),
                    "What is kept would be met again as what arrives.",
                )
                .then("give each its own folder: [inbox] path and [storage] path in the settings"),
            );
        }
    }
    if let (Ok(inbox), Ok(storage)) = (std::fs::metadata(&inbox), std::fs::metadata(&storage)) {
        checks.push(Check::well(
            "places",
            if inbox.dev() == storage.dev() {
                "inbox and Storage are on one file system: a photo is filed by a link, without being copied"
            } else {
                "inbox and Storage are on two file systems: each photo is copied and read back"
            },
        ));
    }
    checks.extend(leftovers(&config.storage));
    checks
}

/// Copies that were never finished, and that no start has cleared away.
fn leftovers(storage: &Path) -> Option<Check> {
    let originals = Source::open(&storage.join("Originals")).ok()?;
    let mut found = Vec::new();
    walk(&originals, |folder, entry| {
        let name = entry.name.as_encoded_bytes();
        if name.starts_with(TEMPORARY_PREFIX.as_bytes()) && name.ends_with(b".part") {
            let path = storage.join("Originals").join(folder).join(&entry.name);
            let is_old = path.symlink_metadata().is_ok_and(|seen| {
                seen.modified()
                    .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > FORGOTTEN))
            });
            found.extend(is_old.then_some(path));
        }
    });
    let first = found.first()?;
    Some(
        Check::note(
            "leftovers",
            format!(
                "{} unfinished copies of ours stand in Originals, the first {}",
                found.len(),
                first.display()
            ),
            "They take room and do no harm: what they were to become is in the inbox, or filed.",
        )
        .then(format!(
            "find {} -name '{TEMPORARY_PREFIX}*.part' -mtime +1 -delete",
            typed(&storage.join("Originals"))
        )),
    )
}

/// Goes through a folder and all below it, following no link. What can't be read is passed over.
pub(super) fn walk(source: &Source, mut each: impl FnMut(&Path, &disk::Entry)) -> (usize, usize) {
    let (mut folders, mut files) = (0, 0);
    let mut left = vec![PathBuf::new()];
    while let Some(folder) = left.pop() {
        folders += 1;
        for entry in source.list(&folder).unwrap_or_default() {
            match entry.is {
                EntryIs::Folder => left.push(folder.join(&entry.name)),
                EntryIs::File => {
                    files += 1;
                    each(&folder, &entry);
                }
                EntryIs::Other => {}
            }
        }
    }
    (folders, files)
}
