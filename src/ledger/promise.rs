//! What a promised file is known by where its id means nothing: in an older copy of the ledger, or in one made anew.

use std::ffi::OsString;
use std::path::Path;

use super::tables::folded;
use crate::asset::{Asset, Kind, shot_key, split_name};

impl Asset {
    /// Whether both rows tell of the same bytes in the same place.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        self.file_hash == other.file_hash && self.final_path == other.final_path
    }

    /// Whether both stand in one folder under one base name, as the members of a shot do. One that came later may have a
    /// suffix of its own.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let theirs = bases(other);
        self.final_path.parent() == other.final_path.parent()
            && bases(self).iter().any(|base| theirs.contains(base))
    }

    /// The keys of the shots in the inbox that it may belong to. See [`shot_key`].
    pub(super) fn shot_keys(&self) -> Vec<Vec<u8>> {
        let folder = self.inbox_path.parent().unwrap_or(Path::new(""));
        let names = stems(self, &self.inbox_path).into_iter();
        // Behind a dot of its own a stem with a dot in it stays whole.
        names
            .map(|mut name| {
                name.push(".");
                shot_key(&folder.join(name))
            })
            .collect()
    }
}

/// The names in lower case that a file's shot may have: without extension and without a number that was put behind it.
fn bases(asset: &Asset) -> Vec<Vec<u8>> {
    let stems = stems(asset, &asset.final_path).into_iter();
    stems.map(|stem| without_number(folded(&stem))).collect()
}

/// The file's name without its extension; of a sidecar, which may be called `IMG_1.JPG.json`, also without each that is left.
fn stems(asset: &Asset, path: &Path) -> Vec<OsString> {
    let mut stems = Vec::new();
    let mut name = path.file_name().unwrap_or_default();
    loop {
        let (stem, extension) = split_name(name);
        if !stems.is_empty() && extension.is_empty() {
            return stems;
        }
        stems.push(stem.to_owned());
        if asset.kind != Kind::Sidecar {
            return stems;
        }
        name = stem;
    }
}

fn without_number(mut stem: Vec<u8>) -> Vec<u8> {
    let digits = stem.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let start = stem.len() - digits.count();
    if start < stem.len() && stem[..start].ends_with(b"-") {
        stem.truncate(start - 1);
    }
    stem
}
