//! Which names in a folder belong to one shot: still, video, raw and sidecars of one stem. Pure.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::kind::SidecarKind;
use super::sidecar;
use crate::asset::split_name;

/// The sort of sidecar that a name's extension promises.
pub fn sidecar_by_name(name: &OsStr) -> Option<SidecarKind> {
    let (_, extension) = split_name(name);
    match extension.as_bytes().to_ascii_lowercase().as_slice() {
        b".xmp" => Some(SidecarKind::Xmp),
        b".aae" => Some(SidecarKind::Aae),
        b".json" => Some(SidecarKind::Takeout),
        _ => None,
    }
}

/// Groups the files of one folder into shots: those with one stem, and the sidecars of any of them.
/// A sidecar without its photo is a group of its own.
pub fn group(mut names: Vec<OsString>) -> Vec<Vec<OsString>> {
    // Short names first: of two copies, `IMG_1.jpg` is the original and `IMG_1 (copy).jpg` the duplicate.
    names.sort_unstable_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    let mut shots: Vec<Vec<OsString>> = Vec::new();
    let mut by_stem: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut sidecars = Vec::new();
    for name in names {
        if let Some(kind) = sidecar_by_name(&name) {
            sidecars.push((name, kind));
            continue;
        }
        let shot = *by_stem.entry(stem_key(&name)).or_insert(shots.len());
        if shot == shots.len() {
            shots.push(Vec::new());
        }
        if let Some(members) = shots.get_mut(shot) {
            members.push(name);
        }
    }
    for (name, kind) in sidecars {
        let home = sidecar::candidate_photos(&name, kind)
            .iter()
            .find_map(|stem| {
                let shot = *by_stem.get(&stem.as_bytes().to_ascii_lowercase())?;
                let members = shots.get(shot)?;
                members
                    .iter()
                    .any(|photo| sidecar::belongs_to(&name, kind, photo))
                    .then_some(shot)
            });
        match home.and_then(|shot| shots.get_mut(shot)) {
            Some(members) => members.push(name),
            None => shots.push(vec![name]),
        }
    }
    shots
}

fn stem_key(name: &OsStr) -> Vec<u8> {
    split_name(name).0.as_bytes().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_stem_is_one_shot_and_sidecars_go_with_their_photo() {
        let names = [
            "IMG_1.HEIC",
            "img_1.mov",
            "IMG_1.HEIC.xmp",
            "IMG_1.AAE",
            "IMG_2.jpg",
            "alone.xmp",
            "IMG_2.jpg.json",
        ];
        let shots = group(names.iter().map(OsString::from).collect());
        let mut shots: Vec<Vec<String>> = shots
            .into_iter()
            .map(|shot| {
                let mut shot: Vec<_> = shot
                    .iter()
                    .map(|name| name.to_string_lossy().into_owned())
                    .collect();
                shot.sort();
                shot
            })
            .collect();
        shots.sort();
        assert_eq!(
            shots,
            [
                vec!["IMG_1.AAE", "IMG_1.HEIC", "IMG_1.HEIC.xmp", "img_1.mov"],
                vec!["IMG_2.jpg", "IMG_2.jpg.json"],
                vec!["alone.xmp"],
            ]
        );
    }
}
