//! The room on the disk of Storage, and what of it is kept free.

use rustix::fs::StatVfs;

use crate::asset::bytes_text;

/// Inodes kept free at most: files of the system need some too.
const MOST_INODES: u64 = 1000;

/// What is kept free on the disk of Storage: a share of it, but at most so many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserve {
    /// The share, in millionths of the disk.
    pub millionths: u32,
    /// Bytes at most.
    pub most: u64,
}

/// How much room a disk has, for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes free.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Bytes that are kept free.
    pub reserve: u64,
    /// Files for which there is room above what is kept free; `None`: as many as there are bytes for.
    pub files: Option<u64>,
    /// The device, as major and minor number: a file on it can be linked there.
    pub device: (u32, u32),
}

impl Space {
    pub(super) fn of(stat: &StatVfs, reserve: Reserve, device: (u32, u32)) -> Self {
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        let share = |of: u64| {
            let share = u128::from(of) * u128::from(reserve.millionths) / 1_000_000;
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let kept_inodes = if reserve.most == 0 {
            0
        } else {
            share(stat.f_files).min(MOST_INODES)
        };
        Self {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total,
            reserve: share(total).min(reserve.most),
            // btrfs and vfat make inodes as they need them, and say that they have none.
            files: (stat.f_files > 0).then(|| stat.f_favail.saturating_sub(kept_inodes)),
            device,
        }
    }

    /// Whether there is more room than there was: bytes or inodes. Of an unknown room, any is more.
    pub fn has_more_than(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| self.free > before.free || self.files > before.files)
    }

    /// Why there is no room for a copy of so many bytes beside what is promised already; 0 bytes: a link, which needs none.
    pub(super) fn lacks(&self, promised: u64, bytes: u64) -> Option<String> {
        const GOES_ON: &str =
            "Photos wait in the inbox. Make room on that disk, and work goes on by itself.";
        let needed = self.reserve.saturating_add(promised).saturating_add(bytes);
        if self.free < needed {
            return Some(format!(
                "The disk of Storage is full: {} are free, {} are needed for what waits, with the {} that are kept free ([storage] reserve). {GOES_ON}",
                bytes_text(self.free),
                bytes_text(needed),
                bytes_text(self.reserve),
            ));
        }
        if bytes > 0 && self.files == Some(0) {
            return Some(format!(
                "The disk of Storage can hold no more files, though it has {} free: its inodes are used up (`df -i`). {GOES_ON}",
                bytes_text(self.free)
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_share_of_the_disk_up_to_a_limit_and_a_link_needs_no_room() {
        let space = |free, files| Space {
            free,
            total: 1000,
            reserve: 20,
            files,
            device: (0, 0),
        };
        assert_eq!(space(120, None).lacks(0, 100), None);
        assert!(space(119, None).lacks(0, 100).is_some());
        assert!(
            space(120, None).lacks(1, 100).is_some(),
            "promised to another"
        );
        assert_eq!(space(20, Some(0)).lacks(0, 0), None);
        assert!(space(19, Some(9)).lacks(0, 0).is_some());
        assert!(
            space(500, Some(0))
                .lacks(0, 1)
                .is_some_and(|said| said.contains("inodes"))
        );
    }
}
