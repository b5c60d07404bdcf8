//! Names in Originals: one base name for all files of a shot, with the first suffix that is free for each.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::change::Shot;
use super::error::Trouble;
use super::tables::{Key, folded};
use crate::asset::{AssetId, split_name};

/// The longest file name that Linux's file systems take, in bytes.
const LONGEST_NAME: usize = 255;
/// How many suffixes are tried before a name is given up: only a folder that cannot be read comes this far.
const MOST_SUFFIXES: u32 = 1_000_000;
/// How many names are remembered with their suffix.
const MOST_HINTS: usize = 4096;

/// For wished names, a suffix below which all were found taken: of a thousand photos of one name each then looks at one
/// or two names, not at all of them. Dropped when a name becomes free again.
#[derive(Default, Debug)]
pub(super) struct Hints(HashMap<Vec<u8>, u32>);

impl Hints {
    fn get(&self, key: &[u8]) -> u32 {
        self.0.get(key).copied().unwrap_or_default()
    }

    fn set(&mut self, key: Vec<u8>, number: u32) {
        if number == 0 {
            return;
        }
        if self.0.len() >= MOST_HINTS {
            self.0.clear();
        }
        self.0.insert(key, number);
    }
}

impl Shot {
    /// The name tried for a member: 0 is the wished one, 1 the first with a suffix, and so on. Relative to Storage.
    pub fn name(&self, member: usize, number: u32) -> PathBuf {
        let extensions = self.members.iter().map(|draft| draft.extension.len());
        let extension = self.members.get(member).map(|draft| &draft.extension);
        let extension = extension.map_or(OsStr::new(""), OsString::as_os_str);
        name(
            self,
            number,
            extension,
            extensions.max().unwrap_or_default(),
        )
    }
}

/// A final path for each of these members: one base name for all whose extensions differ. Two members with one extension
/// (`a.jpg` and `a.JPG`) cannot share a name: the second goes to the next free one.
pub(super) fn names(
    shot: &Shot,
    members: &[usize],
    hints: &mut Hints,
    is_free: &dyn Fn(&Path) -> Result<bool, Trouble>,
) -> Result<Vec<PathBuf>, Trouble> {
    let extension = |index: usize| shot.members[members[index]].extension.as_os_str();
    let mut paths = vec![PathBuf::new(); members.len()];
    let mut taken = Vec::new();
    let mut rest: Vec<usize> = (0..members.len()).collect();
    while !rest.is_empty() {
        let mut seen = Vec::new();
        let (group, later) = rest.into_iter().partition::<Vec<_>, _>(|index| {
            let folded = folded(extension(*index));
            let first = !seen.contains(&folded);
            seen.push(folded);
            first
        });
        let extensions: Vec<&OsStr> = group.iter().map(|index| extension(*index)).collect();
        let free = free_names(shot, &extensions, &taken, hints, is_free)?;
        for (index, path) in group.into_iter().zip(free) {
            taken.push(Key::final_path(&path));
            paths[index] = path;
        }
        rest = later;
    }
    Ok(paths)
}

fn free_names(
    shot: &Shot,
    extensions: &[&OsStr],
    taken: &[Key],
    hints: &mut Hints,
    is_free: &dyn Fn(&Path) -> Result<bool, Trouble>,
) -> Result<Vec<PathBuf>, Trouble> {
    let longest = extensions.iter().map(|extension| extension.len()).max();
    let mut wished = folded(shot.folder.join(&shot.stem).as_os_str());
    for extension in extensions {
        wished.push(0);
        wished.extend(folded(extension));
    }
    for number in hints.get(&wished)..MOST_SUFFIXES {
        let mut paths = Vec::with_capacity(extensions.len());
        for extension in extensions {
            let path = name(shot, number, extension, longest.unwrap_or_default());
            if taken.contains(&Key::final_path(&path)) || !is_free(&path)? {
                break;
            }
            paths.push(path);
        }
        if paths.len() == extensions.len() {
            hints.set(wished, number);
            return Ok(paths);
        }
    }
    Err(Trouble::NoFreeName {
        wished: shot.folder.join(&shot.stem),
    })
}

/// `stem-3.ext` in the shot's folder, the stem cut so that the longest extension of the shot fits behind it.
fn name(shot: &Shot, number: u32, extension: &OsStr, longest: usize) -> PathBuf {
    let suffix = if number == 0 {
        String::new()
    } else {
        format!("-{number}")
    };
    let most = LONGEST_NAME.saturating_sub(suffix.len() + longest);
    let mut name = shortened(&shot.stem, most);
    name.push(&suffix);
    name.push(extension);
    shot.folder.join(name)
}

/// What is put before the row's number in the name of a file whose place another took.
const DISPLACED: &str = "-row-";

/// The name kept for a row in whose place another file stands.
pub(super) fn displaced(path: &Path, id: AssetId) -> PathBuf {
    let (stem, extension) = split_name(path.file_name().unwrap_or_default());
    let suffix = format!("{DISPLACED}{}", id.0);
    let most = LONGEST_NAME.saturating_sub(suffix.len() + extension.len());
    let mut name = shortened(stem, most);
    name.push(suffix);
    name.push(extension);
    path.with_file_name(name)
}

/// Where a file stood before another took its place, if its name says that this happened: a backup has it there.
pub fn place_before(path: &Path) -> Option<PathBuf> {
    let (stem, extension) = split_name(path.file_name()?);
    let (before, id) = stem.to_str()?.rsplit_once(DISPLACED)?;
    id.parse::<u64>().ok()?;
    let mut name = OsString::from(before);
    name.push(extension);
    Some(path.with_file_name(name))
}

/// The stem cut to `most` bytes, not within a UTF-8 character.
fn shortened(stem: &OsStr, most: usize) -> OsString {
    let bytes = stem.as_bytes();
    if bytes.len() <= most {
        return stem.to_owned();
    }
    let mut end = most;
    while end > 0 && bytes[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    OsString::from_vec(bytes[..end].to_vec())
}
