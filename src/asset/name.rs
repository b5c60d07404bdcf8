//! Names, paths and sizes: how they are shown, cut and compared.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A name for display: bytes that are no UTF-8 become U+FFFD.
pub fn lossy(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

/// A file name cut into stem and extension (with its dot), byte for byte; a leading dot is no extension.
pub fn split_name(name: &OsStr) -> (&OsStr, &OsStr) {
    let bytes = name.as_bytes();
    match bytes.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => (
            OsStr::from_bytes(&bytes[..dot]),
            OsStr::from_bytes(&bytes[dot..]),
        ),
        _ => (name, OsStr::new("")),
    }
}

/// Folders and files that NAS systems, desktops and Syncthing leave behind, in lower case; those whose names begin with a dot
/// (`.DS_Store`, `._IMG_1.jpg`, `.Trash-1000`, `.stversions`) need no mention.
const LITTER: [&[u8]; 13] = [
    b"@eadir",
    b"@recycle",
    b"#recycle",
    b"#snapshot",
    b"$recycle.bin",
    b"system volume information",
    b"lost+found",
    b"__macosx",
    b"thumbs.db",
    b"ehthumbs.db",
    b"desktop.ini",
    b"icon\r",
    b"syncthing-encryption_password_token",
];

/// Whether a file or folder belongs to a system or a program, by its name: nothing of it is a photo of ours.
pub fn is_litter(name: &OsStr) -> bool {
    let lower = name.as_bytes().to_ascii_lowercase();
    lower.starts_with(b".")
        || LITTER.contains(&lower.as_slice())
        || lower.ends_with(b".syncthing-enc")
}

/// A word as a shell takes it for one.
pub fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What one shot has in common: the folder and the stem, in lower case. The key by which halves and sidecars find each other.
pub fn shot_key(inbox_path: &Path) -> Vec<u8> {
    let folder = inbox_path
        .parent()
        .map_or(&b""[..], |folder| folder.as_os_str().as_bytes());
    let (stem, _) = split_name(inbox_path.file_name().unwrap_or_default());
    let mut key = folder.to_vec();
    key.push(b'/');
    key.extend(stem.as_bytes().iter().map(u8::to_ascii_lowercase));
    key
}

/// A path for people's eyes: on one line, whatever its bytes are. See [`one_line`].
pub fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

/// A text with its control characters (a newline, a terminal's escape) and turns of writing direction written out, so that no
/// file name can pass for a line of ours, or play with the owner's terminal.
pub fn one_line(text: &str) -> String {
    let turns = |letter| matches!(letter, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || turns(letter) {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

/// Bytes as people read them: `812 B`, `3.4 MB`, `1.2 TB` (powers of ten, as on the label of a disk).
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    let mut divisor = 1_u64;
    while unit + 1 < UNITS.len() && bytes / divisor >= 1000 {
        divisor *= 1000;
        unit += 1;
    }
    let whole = bytes / divisor;
    if unit == 0 || whole >= 100 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{} {}", bytes % divisor * 10 / divisor, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_dot_is_part_of_the_stem() {
        assert_eq!(
            split_name(OsStr::new(".hidden")),
            (OsStr::new(".hidden"), OsStr::new(""))
        );
        assert_eq!(
            split_name(OsStr::new("a.b.JPG")),
            (OsStr::new("a.b"), OsStr::new(".JPG"))
        );
    }

    #[test]
    fn a_name_can_not_pass_for_a_line_of_ours() {
        let name = Path::new("a\n2 filed\u{1b}[2J\u{202e}gpj.jpg");
        assert_eq!(shown(name), "a\\n2 filed\\u{1b}[2J\\u{202e}gpj.jpg");
        assert_eq!(shown(Path::new("Zoë 1.jpg")), "Zoë 1.jpg");
    }

    #[test]
    fn what_is_to_be_typed_comes_back_as_one_word_from_a_shell() {
        assert_eq!(quoted("/srv/photos"), "/srv/photos");
        assert_eq!(quoted("#1000"), "'#1000'");
        assert_eq!(quoted("my photos"), "'my photos'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
