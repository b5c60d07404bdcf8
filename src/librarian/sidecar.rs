//! Which photo a sidecar belongs to. Pure: names only.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::kind::SidecarKind;

/// Google cuts the names of its JSON files to this many characters, `.json` not counted.
const TAKEOUT_CUT: usize = 46;
/// The middle part of newer Takeout names; itself cut at any point to fit.
const SUPPLEMENTAL: &str = ".supplemental-metadata";
/// What Google appends to the name of an edited copy, in the languages seen.
const EDITED: &[&str] = &[
    "-edited",
    "-bearbeitet",
    "-modifié",
    "-editado",
    "-modificato",
    "-bewerkt",
    "-edytowane",
];

/// Whether `photo` is one this sidecar speaks about, both names taken from the same folder.
pub fn belongs_to(sidecar: &OsStr, kind: SidecarKind, photo: &OsStr) -> bool {
    let sidecar = sidecar.as_bytes();
    let photo = photo.as_bytes();
    match kind {
        SidecarKind::Xmp => without(sidecar, b".xmp").is_some_and(|named| {
            same(named, photo) || same(named, stem(photo)) && !stem(photo).is_empty()
        }),
        SidecarKind::Aae => {
            let Some(named) = without(sidecar, b".aae") else {
                return false;
            };
            let photo = stem(photo);
            same(named, photo)
                || same(&unedited(named), photo)
                || same(&unedited(named), &unedited(photo))
        }
        SidecarKind::Takeout => {
            let (Ok(sidecar), Ok(photo)) = (str::from_utf8(sidecar), str::from_utf8(photo)) else {
                return false;
            };
            takeout_names(sidecar, photo)
        }
    }
}

/// The stems under which the photo of this sidecar may lie, most likely first: for a look-up by folder and stem.
pub fn candidate_photos(sidecar: &OsStr, kind: SidecarKind) -> Vec<OsString> {
    let name = sidecar.as_bytes();
    let mut found: Vec<Vec<u8>> = Vec::new();
    match kind {
        SidecarKind::Xmp => {
            if let Some(named) = without(name, b".xmp") {
                // IMG.JPG.xmp speaks of IMG.JPG, whose stem is IMG; IMG.xmp of IMG.
                found.push(stem(named).to_vec());
                found.push(named.to_vec());
            }
        }
        SidecarKind::Aae => {
            if let Some(named) = without(name, b".aae") {
                found.push(named.to_vec());
                found.push(unedited(named));
                found.extend(edited(&unedited(named)));
            }
        }
        SidecarKind::Takeout => {
            if let Some((title, index)) = str::from_utf8(name).ok().and_then(takeout_title) {
                for title in [title.as_str(), without_supplement(&title)] {
                    let base = String::from_utf8_lossy(stem(title.as_bytes())).into_owned();
                    found.push(format!("{base}{index}").into_bytes());
                    found.push(format!("{title}{index}").into_bytes());
                    found.extend(
                        EDITED
                            .iter()
                            .map(|suffix| format!("{base}{suffix}{index}").into_bytes()),
                    );
                }
            }
        }
    }
    let mut unique: Vec<OsString> = Vec::new();
    for name in found.into_iter().map(OsString::from_vec) {
        if !name.is_empty() && !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

fn same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The name without an extension it ends in, in either case.
fn without<'a>(name: &'a [u8], extension: &[u8]) -> Option<&'a [u8]> {
    let (front, back) = name.split_at_checked(name.len().checked_sub(extension.len())?)?;
    (same(back, extension) && !front.is_empty()).then_some(front)
}

fn stem(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => name.get(..dot).unwrap_or(name),
        _ => name,
    }
}

/// Apple marks the edited rendering `IMG_E1234` and the original's edit list `IMG_O1234`; both are about `IMG_1234`.
fn unedited(stem: &[u8]) -> Vec<u8> {
    let mut name = stem.to_vec();
    let marked = name.get(..4).is_some_and(|front| same(front, b"IMG_"))
        && name
            .get(4)
            .is_some_and(|mark| matches!(mark.to_ascii_uppercase(), b'E' | b'O'))
        && name.get(5).is_some_and(u8::is_ascii_digit);
    if marked {
        name.remove(4);
    }
    name
}

/// The edited rendering's stem, for a camera's own stem.
fn edited(stem: &[u8]) -> Option<Vec<u8>> {
    let mut name = stem.to_vec();
    let plain = name.get(..4).is_some_and(|front| same(front, b"IMG_"))
        && name.get(4).is_some_and(u8::is_ascii_digit);
    plain.then(|| {
        name.insert(4, b'E');
        name
    })
}

/// A Takeout JSON's name as title and index: `IMG.jpg(1).json`, `IMG(1).jpg.json` and
/// `IMG.jpg.supplemental-metadata(1).json` all give (`IMG.jpg…`, `(1)`).
fn takeout_title(json: &str) -> Option<(String, String)> {
    let cut = json.len().checked_sub(5)?;
    let (title, extension) = json.split_at_checked(cut)?;
    if !extension.eq_ignore_ascii_case(".json") || title.is_empty() {
        return None;
    }
    Some(take_index(title))
}

/// Takes `(n)` out of a name: from its very end, or from before its extension.
fn take_index(name: &str) -> (String, String) {
    let index_at_end = |text: &str| -> Option<usize> {
        let inner = text.strip_suffix(')')?;
        let open = inner.rfind('(')?;
        let digits = inner.get(open + 1..)?;
        let number = !digits.is_empty()
            && digits.len() <= 4
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        (number && open > 0).then_some(open)
    };
    if let Some((base, index)) = index_at_end(name).and_then(|open| name.split_at_checked(open)) {
        return (base.to_owned(), index.to_owned());
    }
    if let Some((base, extension)) = name.rfind('.').and_then(|dot| name.split_at_checked(dot))
        && let Some((front, index)) =
            index_at_end(base).and_then(|open| base.split_at_checked(open))
    {
        return (format!("{front}{extension}"), index.to_owned());
    }
    (name.to_owned(), String::new())
}

/// Strips `.supplemental-metadata` or any beginning of it that was left by the cut.
fn without_supplement(title: &str) -> &str {
    let Some((base, last)) = title.rfind('.').and_then(|dot| title.split_at_checked(dot)) else {
        return title;
    };
    let is_part = SUPPLEMENTAL.starts_with(last) && base.contains('.') || last == SUPPLEMENTAL;
    if is_part { base } else { title }
}

fn takeout_names(json: &str, photo: &str) -> bool {
    let Some((title, index)) = takeout_title(json) else {
        return false;
    };
    let (photo, photo_index) = take_index(photo);
    if index != photo_index {
        return false;
    }
    let base = unedited_takeout(&photo);
    let full = title.chars().count();
    [photo.as_str(), base.as_str()].into_iter().any(|photo| {
        let short = String::from_utf8_lossy(stem(photo.as_bytes())).into_owned();
        let whole = without_supplement(&title);
        // The photo's name; for some exports without its extension.
        [photo, short.as_str()].iter().any(|name| title == *name || whole == *name)
            // Cut to length: the beginning of the photo's name, or of that with the middle part.
            || (full >= TAKEOUT_CUT && format!("{photo}{SUPPLEMENTAL}").starts_with(&title))
            || (full >= TAKEOUT_CUT && short.starts_with(&title))
    })
}

/// `IMG-edited.jpg` shares the JSON of `IMG.jpg`.
fn unedited_takeout(photo: &str) -> String {
    let (base, extension) = photo
        .rfind('.')
        .and_then(|dot| photo.split_at_checked(dot))
        .unwrap_or((photo, ""));
    let base = EDITED
        .iter()
        .find_map(|suffix| base.strip_suffix(suffix))
        .unwrap_or(base);
    format!("{base}{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn belongs(sidecar: &str, kind: SidecarKind, photo: &str) -> bool {
        belongs_to(OsStr::new(sidecar), kind, OsStr::new(photo))
    }

    #[test]
    fn an_xmp_names_its_photo_with_or_without_the_extension() {
        assert!(belongs("IMG_1.xmp", SidecarKind::Xmp, "IMG_1.NEF"));
        assert!(belongs("IMG_1.NEF.XMP", SidecarKind::Xmp, "IMG_1.nef"));
        assert!(!belongs("IMG_1.NEF.xmp", SidecarKind::Xmp, "IMG_1.jpg"));
        assert!(!belongs("IMG_1.xmp", SidecarKind::Xmp, "IMG_12.jpg"));
    }

    #[test]
    fn apples_edit_lists_belong_to_the_original_and_its_rendering() {
        for photo in ["IMG_4120.JPG", "IMG_4120.HEIC", "IMG_E4120.JPG"] {
            assert!(belongs("IMG_4120.AAE", SidecarKind::Aae, photo), "{photo}");
            assert!(belongs("IMG_O4120.aae", SidecarKind::Aae, photo), "{photo}");
        }
        assert!(belongs("IMG_E4120.aae", SidecarKind::Aae, "IMG_4120.HEIC"));
        assert!(!belongs("IMG_4120.AAE", SidecarKind::Aae, "IMG_4121.JPG"));
    }

    #[test]
    fn takeouts_names_are_matched_by_its_own_rules() {
        let yes = [
            ("IMG_1.jpg.json", "IMG_1.jpg"),
            ("IMG_1.jpg(1).json", "IMG_1(1).jpg"),
            ("IMG_1(1).jpg.json", "IMG_1(1).jpg"),
            ("IMG_1.jpg.supplemental-metadata.json", "IMG_1.jpg"),
            ("IMG_1.jpg.supplemental-metadata(2).json", "IMG_1(2).jpg"),
            ("IMG_1.jpg.supplemental-me.json", "IMG_1.jpg"),
            ("IMG_1.jpg.s.json", "IMG_1.jpg"),
            ("IMG_1.jpg.json", "IMG_1-edited.jpg"),
            ("IMG_1.jpg(1).json", "IMG_1-edited(1).jpg"),
            (
                "00100lrPORTRAIT_00100_BURST20181224173015123_C.json",
                "00100lrPORTRAIT_00100_BURST20181224173015123_COVER.jpg",
            ),
            (
                "PXL_20231006_063909898.LS.mp4.json",
                "PXL_20231006_063909898.LS.mp4",
            ),
        ];
        for (json, photo) in yes {
            assert!(belongs(json, SidecarKind::Takeout, photo), "{json} {photo}");
        }
        let no = [
            ("IMG_1.jpg.json", "IMG_1(1).jpg"),
            ("IMG_1.jpg(1).json", "IMG_1.jpg"),
            ("IMG_1.jpg(1).json", "IMG_1(2).jpg"),
            ("IMG_1.jpg.json", "IMG_10.jpg"),
            ("IMG.json", "IMG_1.jpg"),
            ("IMG_1.jpg.json", "IMG_1.png"),
        ];
        for (json, photo) in no {
            assert!(
                !belongs(json, SidecarKind::Takeout, photo),
                "{json} {photo}"
            );
        }
    }

    #[test]
    fn the_photos_stem_is_among_the_candidates() {
        for (sidecar, kind, stem) in [
            ("IMG_1.xmp", SidecarKind::Xmp, "IMG_1"),
            ("IMG_1.NEF.xmp", SidecarKind::Xmp, "IMG_1"),
            ("IMG_O4120.aae", SidecarKind::Aae, "IMG_4120"),
            (
                "IMG_1.jpg.supplemental-metadata(2).json",
                SidecarKind::Takeout,
                "IMG_1(2)",
            ),
            ("IMG_1.jpg(1).json", SidecarKind::Takeout, "IMG_1(1)"),
            ("IMG_1.jpg.json", SidecarKind::Takeout, "IMG_1-edited"),
        ] {
            let candidates = candidate_photos(OsStr::new(sidecar), kind);
            assert!(
                candidates.contains(&OsString::from(stem)),
                "{sidecar}: {candidates:?}"
            );
        }
    }
}
