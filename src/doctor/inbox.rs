//! The files in the inbox: whose they are, and whether all its folders can be watched.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::folders::walk;
use super::{Check, ourselves, user};
use crate::asset::in_order;
use crate::config::{Config, Poll};
use crate::disk::{self, Source};

/// Files of the inbox looked at, at most: enough to see whose they are.
const MOST_FILES: usize = 200_000;

/// Whose the files of the inbox are, and whether all its folders can be watched.
pub(super) fn examine(config: &Config) -> Vec<Check> {
    let Ok(source) = Source::open(&config.inbox) else {
        // Said of the folder already.
        return Vec::new();
    };
    // The appliance is the user who owns Data; before its first start that is us.
    let us = std::fs::metadata(&config.data).map_or(ourselves(), |seen| seen.uid());
    // Each with how many files are its, and the first of them.
    let mut owners: Vec<(u32, usize, PathBuf)> = Vec::new();
    let mut seen = 0;
    let (folders, files) = walk(&source, |folder, entry| {
        seen += 1;
        if seen > MOST_FILES {
            return;
        }
        let path = config.inbox.join(folder).join(&entry.name);
        if let Ok(metadata) = path.symlink_metadata() {
            let owner = metadata.uid();
            match owners.iter_mut().find(|known| known.0 == owner) {
                Some((_, count, _)) => *count += 1,
                None => owners.push((owner, 1, path)),
            }
        }
    });
    let mut checks = vec![watches(config, folders)];
    owners.retain(|(owner, ..)| *owner != us);
    if us == 0 || has_lease_right() {
        owners.clear();
    }
    for (owner, count, first) in in_order(owners, |(owner, ..)| *owner) {
        checks.push(
            Check::finding(
                "inbox files",
                format!("{count} of {files} files in the inbox belong to {}, and Photo Factory runs as {}; the first: {}", user(owner), user(us), first.display()),
                "The kernel does not tell us who still writes another user's file: only the settle time tells a slow copy from a finished one, and photos are copied instead of linked.",
            )
            .then(format!("best: have that program (Syncthing?) run as {}", user(us)))
            .then("or give Photo Factory the right to ask: sudo setcap cap_lease+ep $(which photo-factory)")
            .then("or wait longer for slow writers: settle_seconds = 60 under [inbox] in the settings"),
        );
    }
    checks
}

/// `CAP_LEASE`, by its number in `linux/capability.h`.
const CAP_LEASE: u32 = 28;

fn has_lease_right() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|rights| rights & (1 << CAP_LEASE) != 0)
}

/// Whether the kernel gives a watch for each folder of the inbox.
fn watches(config: &Config, folders: usize) -> Check {
    let polls = match config.poll {
        Poll::Set(poll) => poll,
        Poll::Auto => disk::is_network(&config.inbox),
    };
    if polls {
        return Check::well(
            "watches",
            "the inbox is looked through every few seconds instead of being watched",
        );
    }
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches")
        .ok()
        .and_then(|limit| limit.trim().parse::<usize>().ok());
    match limit {
        Some(limit) if folders > limit / 10 * 8 => Check::finding(
            "watches",
            format!("the inbox has {folders} folders, and this machine watches {limit} at most for each user"),
            "Where watches run out the whole inbox is looked through every few seconds instead, which keeps the machine busy.",
        )
        .then(format!(
            "echo fs.inotify.max_user_watches={} | sudo tee /etc/sysctl.d/60-photo-factory.conf && sudo sysctl --system",
            (folders * 4).next_power_of_two().max(524_288)
        )),
        Some(limit) => Check::well("watches", format!("{folders} folders to watch, {limit} may be")),
        None => Check::note("watches", "it is not known how many folders may be watched", "/proc/sys/fs/inotify can't be read."),
    }
}
