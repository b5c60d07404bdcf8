//! What belongs together, when it was taken, and where it goes.
//!
//! The photo that leads a shot (a still before a raw, both before a video) gives day and base name to all of it, also when
//! the other half was filed days ago. Names alone make no pair: cameras count round, and a name comes back.

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

use super::kind::Told;
use super::{date, sidecar};
use crate::asset::{
    Asset, AssetId, CaptureTime, CapturedFrom, FileHash, Kind, LeftBecause, Metadata, day_folder,
    in_order, shot_key, split_name,
};
use crate::ledger::{Draft, Ledger, LedgerError, Pairing, Shot};

/// How far apart the two halves of one shot may have been taken: a Live Photo's video starts before its still.
const PAIR_SECONDS: i64 = 10;

/// The longest stem that leaves room for a suffix and an extension in a name of 255 bytes.
const STEM_BYTES: usize = 200;

/// A file that was read: all that a decision needs.
#[derive(Clone, PartialEq, Debug)]
pub struct ReadFile {
    /// Where it lies, relative to its source.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// What it is.
    pub told: Told,
    /// SHA-256 of its content.
    pub file_hash: FileHash,
    /// What its metadata says.
    pub metadata: Metadata,
}

impl ReadFile {
    /// A file of which nothing but the name is known.
    pub fn unread(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            size: 0,
            mtime: Timestamp::UNIX_EPOCH,
            told: Told::NotMedia(String::new()),
            file_hash: FileHash([0; 32]),
            metadata: Metadata::default(),
        }
    }
}

/// What is to be done; files are named by their index.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// File these together.
    File {
        /// What the ledger is asked for; its members are in the order of `files`.
        shot: Shot,
        /// Which files.
        files: Vec<usize>,
    },
    /// Leave it in the inbox.
    Stay {
        /// Which file.
        file: usize,
        /// Why.
        why: LeftBecause,
        /// Why, and a way out, in words for the owner.
        reason: String,
    },
}

/// A photo or video with its capture time, before it is known with whom it goes.
struct Taken {
    file: usize,
    kind: Kind,
    captured: CaptureTime,
}

/// Decides about the files of one group (one stem, one folder). The ledger tells what was filed before.
pub fn decide(
    files: &[ReadFile],
    ledger: Option<&Ledger>,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Vec<Decision>, LedgerError> {
    let mut decisions = Vec::new();
    let mut media = Vec::new();
    let mut sidecars = Vec::new();
    for (index, file) in files.iter().enumerate() {
        match &file.told {
            Told::NotMedia(reason) => decisions.push(Decision::Stay {
                file: index,
                why: LeftBecause::NotMedia,
                reason: reason.clone(),
            }),
            Told::Sidecar(_) => sidecars.push(index),
            Told::Media(kind) => media.push((index, *kind)),
        }
    }
    let taken: Vec<Taken> = media
        .into_iter()
        .map(|(file, kind)| Taken {
            file,
            kind,
            captured: capture_time(files, file, &sidecars, now, zone),
        })
        .collect();
    // Of two that may lead, the one with an identifier knows its other half.
    let has_no_id = |photo: &Taken| {
        files
            .get(photo.file)
            .is_none_or(|file| file.metadata.content_id.is_none())
    };
    let mut taken = in_order(taken, |photo| {
        (rank(photo.kind), has_no_id(photo), photo.file)
    });
    while !taken.is_empty() {
        let leader = taken.remove(0);
        let (partners, rest) = taken
            .into_iter()
            .partition(|other| are_pair(files, &leader, other));
        taken = rest;
        let members: Vec<Taken> = std::iter::once(leader)
            .chain::<Vec<Taken>>(partners)
            .collect();
        decisions.push(shot(files, &members, &mut sidecars, ledger)?);
    }
    for index in sidecars {
        decisions.push(late_sidecar(files, index, ledger)?);
    }
    Ok(decisions)
}

/// Who leads: a picture anybody can open, then a raw, then a video.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Video => 2,
        Kind::Raw => 1,
        _ => 0,
    }
}

fn capture_time(
    files: &[ReadFile],
    index: usize,
    sidecars: &[usize],
    now: Timestamp,
    zone: &TimeZone,
) -> CaptureTime {
    let Some(file) = files.get(index) else {
        return date::capture_time(&[], OsStr::new(""), now, now, zone);
    };
    let mut dates = file.metadata.dates.clone();
    for sidecar in of_photo(files, sidecars, file) {
        dates.extend_from_slice(&sidecar.metadata.dates);
    }
    date::capture_time(&dates, name_of(&file.path), file.mtime, now, zone)
}

fn of_photo<'a>(
    files: &'a [ReadFile],
    sidecars: &'a [usize],
    photo: &'a ReadFile,
) -> impl Iterator<Item = &'a ReadFile> {
    sidecars
        .iter()
        .filter_map(|&index| files.get(index))
        .filter(|file| is_sidecar_of(file, name_of(&photo.path)))
}

fn is_sidecar_of(file: &ReadFile, photo: &OsStr) -> bool {
    matches!(file.told, Told::Sidecar(kind) if sidecar::belongs_to(name_of(&file.path), kind, photo))
}

fn are_pair(files: &[ReadFile], leader: &Taken, other: &Taken) -> bool {
    let content_id = |taken: &Taken| {
        files
            .get(taken.file)
            .and_then(|file| file.metadata.content_id.as_deref())
    };
    may_pair(leader.kind, other.kind)
        && belong_together(
            (content_id(leader), &leader.captured),
            (content_id(other), &other.captured),
        )
}

/// Two stills of one format, or two videos, are never halves of one shot.
fn may_pair(one: Kind, other: Kind) -> bool {
    rank(one) != rank(other)
}

/// Whether two files of one name are one shot: by Apple's content identifier where both have one, by time else.
fn belong_together(one: (Option<&str>, &CaptureTime), other: (Option<&str>, &CaptureTime)) -> bool {
    if let (Some(one), Some(other)) = (one.0, other.0) {
        return one == other;
    }
    seconds_apart(one.1, other.1).abs() <= PAIR_SECONDS
}

/// Compares instants where one of the two is known as an instant, wall clocks where neither is.
fn seconds_apart(one: &CaptureTime, other: &CaptureTime) -> i64 {
    let walls = |one: DateTime, other: DateTime| {
        one.since((Unit::Second, other))
            .map_or(i64::MAX, |span| span.get_seconds())
    };
    let from_clock = |captured: &CaptureTime| {
        matches!(
            captured.from,
            CapturedFrom::VideoCreationTime | CapturedFrom::Mtime
        )
    };
    // A video's UTC was put on the appliance's zone; where the still says its own offset, compare on that.
    match (one.offset_minutes, other.offset_minutes) {
        (Some(_), Some(_)) if from_clock(one) || from_clock(other) => {
            let instant = |captured: &CaptureTime| {
                let minutes = i64::from(captured.offset_minutes.unwrap_or_default());
                captured
                    .local
                    .to_zoned(TimeZone::UTC)
                    .map_or(0, |zoned| zoned.timestamp().as_second() - minutes * 60)
            };
            instant(one) - instant(other)
        }
        _ => walls(one.local, other.local),
    }
}

/// Makes the ledger's shot of a leader, its partners and their sidecars (which it takes out of `sidecars`).
fn shot(
    files: &[ReadFile],
    members: &[Taken],
    sidecars: &mut Vec<usize>,
    ledger: Option<&Ledger>,
) -> Result<Decision, LedgerError> {
    let leader_captured = members.first().map(|leader| leader.captured);
    let leader_file = members.first().and_then(|leader| files.get(leader.file));
    let (Some(captured), Some(file)) = (leader_captured, leader_file) else {
        return Ok(Decision::File {
            shot: Shot {
                folder: PathBuf::new(),
                stem: OsString::new(),
                members: Vec::new(),
            },
            files: Vec::new(),
        });
    };
    let kind = members.first().map_or(Kind::Jpeg, |leader| leader.kind);
    let (stem, _) = split_name(name_of(&file.path));
    let mut home = Home {
        folder: day_folder(captured.day()),
        stem: short(stem),
        pairing: Pairing::Alone,
        leads: None,
    };
    if let Some(ledger) = ledger {
        home = known_home(ledger, file, kind, &captured)?.unwrap_or(home);
    }
    let mut drafts = Vec::new();
    let mut indexes = Vec::new();
    for (position, member) in members.iter().enumerate() {
        let Some(file) = files.get(member.file) else {
            continue;
        };
        let pairing = if position == 0 {
            home.pairing
        } else {
            Pairing::Leader
        };
        let mut draft = draft(file, member.kind, member.captured, stem, pairing);
        // A half without a date of its own has its leader's.
        if draft.captured.from.is_guess() {
            if let Some((_, captured)) = home.leads {
                draft.captured = captured;
            } else if position > 0 {
                draft.captured = captured;
            }
        }
        draft.location = draft.location.or_else(|| {
            of_photo(files, sidecars, file).find_map(|sidecar| sidecar.metadata.location)
        });
        drafts.push(draft);
        indexes.push(member.file);
    }
    sidecars.retain(|&index| {
        let Some(file) = files.get(index) else {
            return false;
        };
        let belongs = members
            .iter()
            .filter_map(|member| files.get(member.file))
            .any(|photo| is_sidecar_of(file, name_of(&photo.path)));
        if belongs {
            let (pairing, captured) = home
                .leads
                .map_or((Pairing::Leader, captured), |(id, captured)| {
                    (Pairing::With(id), captured)
                });
            drafts.push(draft(file, Kind::Sidecar, captured, stem, pairing));
            indexes.push(index);
        }
        !belongs
    });
    Ok(Decision::File {
        shot: Shot {
            folder: home.folder,
            stem: home.stem,
            members: drafts,
        },
        files: indexes,
    })
}

/// Where a shot goes, and with which filed photo.
struct Home {
    folder: PathBuf,
    stem: OsString,
    pairing: Pairing,
    /// The filed photo that leads the shot in place of the first that came now: what belongs to the shot belongs to it,
    /// also when the shot was interrupted between its files.
    leads: Option<(AssetId, CaptureTime)>,
}

/// Where the shot of this leader goes because of what is filed already: the same bytes, or its other half.
fn known_home(
    ledger: &Ledger,
    file: &ReadFile,
    kind: Kind,
    captured: &CaptureTime,
) -> Result<Option<Home>, LedgerError> {
    if let Some(same) = ledger.by_hash(&file.file_hash)? {
        let mut home = Home::beside(&same, Pairing::Alone);
        if let Some(id) = same.paired_with {
            home.leads = ledger.asset(id)?.and_then(|pair| leads(&pair, kind));
        }
        return Ok(Some(home));
    }
    let mut filed = ledger.by_shot(&shot_key(&file.path))?;
    if let Some(content_id) = &file.metadata.content_id {
        filed.extend(ledger.by_content_id(content_id)?);
    }
    // The same identifier before the same name and time.
    let (same, others): (Vec<_>, Vec<_>) = filed.into_iter().partition(|asset| {
        asset.content_id.is_some() && asset.content_id == file.metadata.content_id
    });
    let partner = same.into_iter().chain(others).find(|asset| {
        asset.kind != Kind::Sidecar
            && may_pair(asset.kind, kind)
            && belong_together(
                (file.metadata.content_id.as_deref(), captured),
                (asset.content_id.as_deref(), &asset.captured),
            )
    });
    Ok(partner.map(|partner| {
        let pairing = Pairing::With(partner.id);
        if rank(partner.kind) < rank(kind) || partner.captured.day() == captured.day() {
            Home {
                leads: leads(&partner, kind),
                ..Home::beside(&partner, pairing)
            }
        } else {
            // The half that leads came late: it keeps its own day, and what is filed is never moved.
            Home {
                folder: day_folder(captured.day()),
                stem: short(split_name(name_of(&file.path)).0),
                pairing,
                leads: None,
            }
        }
    }))
}

/// The filed photo, if it leads a file of this kind.
fn leads(filed: &Asset, kind: Kind) -> Option<(AssetId, CaptureTime)> {
    (rank(filed.kind) < rank(kind)).then_some((filed.id, filed.captured))
}

impl Home {
    fn beside(filed: &Asset, pairing: Pairing) -> Self {
        let (stem, _) = split_name(name_of(&filed.final_path));
        Self {
            folder: filed
                .final_path
                .parent()
                .unwrap_or(Path::new(""))
                .to_owned(),
            stem: stem.to_owned(),
            pairing,
            leads: None,
        }
    }
}

/// A sidecar that came without its photo: it finds the photo in the ledger, or waits for it.
fn late_sidecar(
    files: &[ReadFile],
    index: usize,
    ledger: Option<&Ledger>,
) -> Result<Decision, LedgerError> {
    let stay = |reason: &str| Decision::Stay {
        file: index,
        why: LeftBecause::WaitsForPhoto,
        reason: reason.to_owned(),
    };
    let Some((file, kind)) = files.get(index).and_then(|file| match file.told {
        Told::Sidecar(kind) => Some((file, kind)),
        _ => None,
    }) else {
        return Ok(stay("it is no sidecar"));
    };
    let name = name_of(&file.path);
    let folder = file.path.parent().unwrap_or(Path::new(""));
    for stem in ledger
        .into_iter()
        .flat_map(|_| sidecar::candidate_photos(name, kind))
    {
        // The key is of folder and stem; the extension, cut off again, only keeps a dot in the stem whole.
        let mut photo = stem;
        photo.push(".jpg");
        let rows = ledger.map_or(Ok(Vec::new()), |ledger| {
            ledger.by_shot(&shot_key(&folder.join(&photo)))
        })?;
        let photo = rows
            .into_iter()
            .filter(|asset| {
                asset.kind != Kind::Sidecar
                    && sidecar::belongs_to(name, kind, asset.original_name())
            })
            .min_by_key(|asset| (rank(asset.kind), Reverse(asset.id)));
        if let Some(photo) = photo {
            let home = Home::beside(&photo, Pairing::With(photo.id));
            let (stem, _) = split_name(photo.original_name());
            let draft = draft(file, Kind::Sidecar, photo.captured, stem, home.pairing);
            let shot = Shot {
                folder: home.folder,
                stem: home.stem,
                members: vec![draft],
            };
            return Ok(Decision::File {
                shot,
                files: vec![index],
            });
        }
    }
    Ok(stay(
        "its photo has not come yet; it is filed with the photo as soon as that arrives in the same folder",
    ))
}

fn draft(
    file: &ReadFile,
    kind: Kind,
    captured: CaptureTime,
    stem: &OsStr,
    pairing: Pairing,
) -> Draft {
    Draft {
        file_hash: file.file_hash,
        size: file.size,
        inbox_path: file.path.clone(),
        kind,
        captured,
        location: file.metadata.location,
        make: file.metadata.make.clone(),
        model: file.metadata.model.clone(),
        width: file.metadata.width,
        height: file.metadata.height,
        content_id: file.metadata.content_id.clone(),
        errors: file.metadata.errors.clone(),
        extension: extension_after(name_of(&file.path), stem),
        pairing,
    }
}

/// What follows the shot's stem in a name: `.JPG`, `.JPG.xmp`. A name that does not start with it (`IMG_E1.aae` of
/// `IMG_1.jpg`) is kept whole behind a dot, so that no two of a shot become one.
fn extension_after(name: &OsStr, stem: &OsStr) -> OsString {
    let (name, stem) = (name.as_bytes(), stem.as_bytes());
    let rest = name.get(stem.len()..).unwrap_or_default();
    let starts = name
        .get(..stem.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(stem));
    if starts && (rest.is_empty() || rest.starts_with(b".")) {
        return OsStr::from_bytes(rest).to_owned();
    }
    let mut whole = OsString::from(".");
    whole.push(OsStr::from_bytes(name));
    whole
}

/// A stem cut to leave room for suffix and extension, at a character's edge where it is UTF-8.
fn short(stem: &OsStr) -> OsString {
    let bytes = stem.as_bytes();
    if bytes.len() <= STEM_BYTES {
        return stem.to_owned();
    }
    let is_edge = |&at: &usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 != 0x80);
    let cut = (STEM_BYTES - 3..=STEM_BYTES)
        .rev()
        .find(is_edge)
        .unwrap_or(STEM_BYTES);
    OsStr::from_bytes(bytes.get(..cut).unwrap_or(bytes)).to_owned()
}

fn name_of(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}
