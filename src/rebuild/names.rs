//! From the names in Originals back to those the files came with, as far as that goes. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::asset::split_name;
use crate::librarian::kind::SidecarKind;
use crate::librarian::shot::{group, sidecar_by_name};
use crate::librarian::sidecar;

/// Groups the names of one folder of Originals into shots: as in an inbox, and besides a sidecar that was placed with its
/// own name kept behind its photo's stem (`IMG_1.IMG_E1.aae` beside `IMG_1.jpg`) goes with that photo.
pub(super) fn shots(names: Vec<OsString>) -> Vec<Vec<OsString>> {
    let (alone, mut shots): (Vec<_>, Vec<_>) = group(names)
        .into_iter()
        .partition(|shot| shot.iter().all(|name| sidecar_by_name(name).is_some()));
    for name in alone.into_iter().flatten() {
        let home = shots
            .iter()
            .enumerate()
            .filter_map(|(index, shot)| Some((behind(&name, stem_of(shot)?)?.len(), index)))
            .min();
        match home.and_then(|(_, index)| shots.get_mut(index)) {
            Some(shot) => shot.push(name),
            None => shots.push(vec![name]),
        }
    }
    shots
}

/// The name by which a file of a shot is known to belong to it, and which it probably came with: its own, or that of a
/// sidecar without the stem put before it. `stem`: that of the photo it came with, where that is known.
pub(super) fn name_before(name: &OsStr, shot: &[OsString], stem: Option<&OsStr>) -> OsString {
    let photos = || shot.iter().filter(|name| sidecar_by_name(name).is_none());
    let Some(placed) = stem_of(shot) else {
        return name.to_owned();
    };
    let with_stem = |name: &OsStr| match (stem, behind(name, placed)) {
        (Some(stem), Some(rest)) => {
            let mut renamed = stem.to_owned();
            renamed.push(".");
            renamed.push(rest);
            renamed
        }
        _ => name.to_owned(),
    };
    let Some(kind) = sidecar_by_name(name) else {
        return with_stem(name);
    };
    let belongs = |name: &OsStr| photos().any(|photo| sidecar::belongs_to(name, kind, photo));
    if belongs(name) {
        return with_stem(name);
    }
    if let Some(rest) = behind(name, placed)
        && belongs(rest)
    {
        return rest.to_owned();
    }
    // It was placed with this photo, whatever its name said: the suffix of one of the two hides it.
    let Some(photo) = photos().next() else {
        return name.to_owned();
    };
    let mut named = with_stem(photo);
    named.push(match kind {
        SidecarKind::Xmp => ".xmp",
        SidecarKind::Aae => return with_stem(&replaced(photo)),
        SidecarKind::Takeout => ".json",
    });
    named
}

fn replaced(photo: &OsStr) -> OsString {
    let mut name = split_name(photo).0.to_owned();
    name.push(".aae");
    name
}

/// The stem that the photos of a shot share.
pub(super) fn stem_of(shot: &[OsString]) -> Option<&OsStr> {
    shot.iter()
        .find(|name| sidecar_by_name(name).is_none())
        .map(|photo| split_name(photo).0)
}

/// What follows `stem` and a dot.
fn behind<'a>(name: &'a OsStr, stem: &OsStr) -> Option<&'a OsStr> {
    let (front, rest) = name.as_bytes().split_at_checked(stem.len())?;
    let rest = rest.strip_prefix(b".")?;
    (front.eq_ignore_ascii_case(stem.as_bytes()) && !rest.is_empty())
        .then(|| OsStr::from_bytes(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<OsString> {
        names.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_sidecar_that_kept_its_name_behind_its_photos_stem_goes_with_that_photo() {
        let mut found = shots(names(&[
            "IMG_1.jpg",
            "IMG_1-1.jpg",
            "IMG_1.IMG_E1.aae",
            "IMG_1-1.IMG_E1.aae",
            "alone.xmp",
        ]));
        found.sort();
        assert_eq!(
            found,
            [
                names(&["IMG_1-1.jpg", "IMG_1-1.IMG_E1.aae"]),
                names(&["IMG_1.jpg", "IMG_1.IMG_E1.aae"]),
                names(&["alone.xmp"]),
            ]
        );
    }

    #[test]
    fn a_sidecar_gets_a_name_by_which_it_is_known() {
        let shot = names(&["IMG_1.jpg", "IMG_1.IMG_E1.aae", "IMG_1.jpg.xmp"]);
        let before = |name: &str, shot: &[OsString], stem: Option<&str>| {
            name_before(OsStr::new(name), shot, stem.map(OsStr::new))
        };
        assert_eq!(before("IMG_1.IMG_E1.aae", &shot, None), "IMG_E1.aae");
        assert_eq!(before("IMG_1.jpg.xmp", &shot, None), "IMG_1.jpg.xmp");
        // Takeout's own index, and the suffix that the photo got here.
        let shot = names(&["IMG_1(1)-1.jpg", "IMG_1(1)-1.IMG_1.jpg(1).json"]);
        assert_eq!(
            before("IMG_1(1)-1.IMG_1.jpg(1).json", &shot, None),
            "IMG_1(1)-1.jpg.json"
        );
        // What the ledger knows of the photo counts.
        let shot = names(&["IMG_1-1.jpg", "IMG_1-1.mov"]);
        assert_eq!(before("IMG_1-1.mov", &shot, Some("IMG_1")), "IMG_1.mov");
    }
}
