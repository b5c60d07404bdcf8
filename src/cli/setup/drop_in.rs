//! What systemd must know of folders outside the root: a drop-in for the unit, as text.

use std::path::{Path, PathBuf};

/// The drop-in of the installed factory's unit.
pub(super) const PATH: &str = "/etc/systemd/system/photo-factory.service.d/10-setup.conf";

/// Mount points of the system: they are there before any service, and hold more than photos.
const OF_THE_SYSTEM: [&str; 5] = ["/", "/home", "/var", "/usr", "/opt"];

/// What `ProtectHome=` hides.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// A folder, and where the disk is mounted that it is on.
pub(super) type Folder = (PathBuf, PathBuf);

/// The drop-in for a factory with these folders; `None`: the unit does as it is. All paths are whole.
pub(super) fn text(root: &Path, folders: &[Folder]) -> Option<String> {
    let mut units = Vec::new();
    let mut writable = Vec::new();
    let mut is_at_home = false;
    for (folder, mount) in folders {
        let is_own = !OF_THE_SYSTEM.iter().any(|known| mount == Path::new(known))
            && !root.starts_with(mount);
        if is_own {
            add(&mut units, format!("{}.mount", unit_name(mount)));
        }
        if !folder.starts_with(root) {
            let path = if is_own { mount } else { folder };
            add(&mut writable, quoted(&path.to_string_lossy()));
            is_at_home |= HOMES.iter().any(|home| folder.starts_with(home));
        }
    }
    if units.is_empty() && writable.is_empty() {
        return None;
    }
    let mut text = String::from(
        "# Written by `photo-factory setup`, anew each time: lines of your own belong into another file beside this one.\n",
    );
    if !units.is_empty() {
        let units = units.join(" ");
        text.extend([
            "\n[Unit]\n\
             # The disk is waited for, but Photo Factory starts without it too: its page says what is missing, and photos wait in the\n\
             # inbox. With RequiresMountsFor= a missing disk would keep that page away.\n\
             Wants=",
            &units,
            "\nAfter=",
            &units,
            "\n",
        ]);
    }
    if !writable.is_empty() {
        text.push_str(
            "\n[Service]\n\
             # Of a disk its mount point, not the folder on it: by a folder the unit would hold on to a disk that is unmounted.\n",
        );
        for path in &writable {
            text.extend(["ReadWritePaths=", path, "\n"]);
        }
        if is_at_home {
            text.push_str(
                "# ProtectHome=yes would hide the folder, and ProtectHome=tmpfs a disk that is mounted later. What is not named above can\n\
                 # be read only where its owner lets others read it, and not be written.\n\
                 ProtectHome=read-only\n",
            );
        }
    }
    Some(text)
}

fn add(list: &mut Vec<String>, word: String) {
    if !list.contains(&word) {
        list.push(word);
    }
}

/// A path as systemd names its unit (systemd.unit(5), "string escaping for inclusion in unit names").
fn unit_name(path: &Path) -> String {
    let path = path.to_string_lossy();
    let path = path.trim_matches('/');
    if path.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::new();
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            b':' | b'_' | b'.' => name.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            byte => name.extend([format!("\\x{byte:02x}")]),
        }
    }
    name
}

/// A path that need not be there (`-`), as a word of a unit file.
fn quoted(path: &str) -> String {
    let path = path
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    format!("\"-{path}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(folders: &[(&str, &str)]) -> Option<String> {
        let folders: Vec<Folder> = folders
            .iter()
            .map(|(folder, mount)| (PathBuf::from(folder), PathBuf::from(mount)))
            .collect();
        let text = text(Path::new("/var/lib/photo-factory"), &folders)?;
        let said: Vec<&str> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        Some(said.join("\n"))
    }

    #[test]
    fn folders_below_the_root_need_none() {
        let inside = "/var/lib/photo-factory/Storage";
        assert_eq!(of(&[(inside, "/")]), None);
        assert_eq!(of(&[(inside, "/var")]), None);
        assert_eq!(of(&[(inside, "/var/lib")]), None);
        assert_eq!(
            of(&[(inside, inside)]).as_deref(),
            Some(
                "[Unit]\nWants=var-lib-photo\\x2dfactory-Storage.mount\nAfter=var-lib-photo\\x2dfactory-Storage.mount"
            )
        );
    }

    #[test]
    fn a_disk_is_waited_for_and_may_be_written_as_a_whole() {
        let both = of(&[
            ("/mnt/photos/Storage", "/mnt/photos"),
            ("/mnt/photos/Inbox", "/mnt/photos"),
        ]);
        assert_eq!(
            both.as_deref(),
            Some(
                "[Unit]\nWants=mnt-photos.mount\nAfter=mnt-photos.mount\n[Service]\nReadWritePaths=\"-/mnt/photos\""
            )
        );
        let plain = of(&[("/srv/Storage", "/")]);
        assert_eq!(
            plain.as_deref(),
            Some("[Service]\nReadWritePaths=\"-/srv/Storage\"")
        );
    }

    #[test]
    fn a_folder_in_a_home_can_be_seen() {
        assert_eq!(
            of(&[("/home/anna/Camera", "/home")]).as_deref(),
            Some("[Service]\nReadWritePaths=\"-/home/anna/Camera\"\nProtectHome=read-only")
        );
    }

    #[test]
    fn names_are_written_as_systemd_reads_them() {
        for (path, name) in [
            ("/mnt/usb disk", "mnt-usb\\x20disk"),
            ("/media/pi/my-photos", "media-pi-my\\x2dphotos"),
            ("/.hidden/a.b", "\\x2ehidden-a.b"),
            ("/mnt/grün", "mnt-gr\\xc3\\xbcn"),
            ("/", "-"),
        ] {
            assert_eq!(unit_name(Path::new(path)), name);
        }
        assert_eq!(quoted("/mnt/50% \"a\\b\""), "\"-/mnt/50%% \\\"a\\\\b\\\"\"");
    }
}
