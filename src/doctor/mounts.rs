//! Which file system a path is on, and how it is mounted: /proc/self/mountinfo.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mounted file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Where it is mounted.
    pub at: PathBuf,
    /// Its kind: `ext4`, `vfat`, …
    pub kind: String,
    /// The device or server it comes from.
    pub source: String,
    /// Whether it is mounted read-only, here or in all.
    pub is_read_only: bool,
}

/// What is to be known of a kind of file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Keeps everything.
    Ordinary,
    /// FAT and its kin: no owners, no modes, no links, coarse times.
    Fat,
    /// Another machine's: no events.
    Network,
    /// In memory: gone with the next start.
    Memory,
    /// The layer of a container: gone with the container.
    Container,
}

impl Mount {
    pub(super) fn what(&self) -> Kind {
        match self.kind.as_str() {
            "vfat" | "exfat" | "msdos" | "ntfs" | "ntfs3" | "fuseblk" => Kind::Fat,
            "tmpfs" | "ramfs" => Kind::Memory,
            "overlay" | "aufs" => Kind::Container,
            kind if kind.starts_with("nfs")
                || kind.starts_with("cifs")
                || kind.starts_with("smb")
                || ["9p", "ceph", "afs", "fuse.sshfs", "fuse.rclone", "virtiofs"]
                    .contains(&kind) =>
            {
                Kind::Network
            }
            _ => Kind::Ordinary,
        }
    }
}

/// The mount that a path is on, as far as the system says. The path must exist and be free of links.
pub fn of(path: &Path) -> Option<Mount> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    find(&table, path)
}

fn find(table: &[u8], path: &Path) -> Option<Mount> {
    let mounts = table.split(|&byte| byte == b'\n').filter_map(parse);
    // Of two at one place the later covers the earlier.
    mounts
        .filter(|mount| path.starts_with(&mount.at))
        .max_by_key(|mount| mount.at.components().count())
}

/// A line: `36 35 98:0 /root /at rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue`.
fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |at: usize| {
        fields
            .get(at)
            .map(|field| String::from_utf8_lossy(field).into_owned())
    };
    let is_read_only =
        |at: usize| text(at).is_some_and(|options| options.split(',').any(|option| option == "ro"));
    Some(Mount {
        at: OsString::from_vec(unescaped(fields.get(4)?)).into(),
        kind: text(dash + 1)?,
        source: text(dash + 2)?,
        is_read_only: is_read_only(5) || is_read_only(dash + 3),
    })
}

/// Blanks, tabs, line ends and backslashes are written as `\040`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let (b'\\', Some(byte)) = (first, code) {
            bytes.push(byte);
            rest = after.get(3..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw,errors=remount-ro
30 22 8:17 / /mnt/usb\\040disk rw,nosuid shared:5 - vfat /dev/sdb1 ro,uid=1000
31 22 0:40 / /mnt rw - tmpfs none rw
32 22 0:41 / /srv ro,relatime - nfs4 nas:/photos rw
";

    #[test]
    fn a_path_is_on_the_mount_that_leads_farthest() {
        let usb = find(TABLE, Path::new("/mnt/usb disk/Storage")).expect("found");
        assert_eq!(
            (usb.kind.as_str(), usb.is_read_only, usb.what()),
            ("vfat", true, Kind::Fat)
        );
        let memory = find(TABLE, Path::new("/mnt/usb")).expect("found");
        assert_eq!(memory.what(), Kind::Memory);
        let root = find(TABLE, Path::new("/home")).expect("found");
        assert_eq!(
            (root.source.as_str(), root.is_read_only),
            ("/dev/root", false)
        );
        let network = find(TABLE, Path::new("/srv/x")).expect("found");
        assert_eq!(
            (network.is_read_only, network.what()),
            (true, Kind::Network)
        );
    }
}
