//! The vocabulary of the house: what a photo is, where it is, when it was taken. No I/O.

mod name;

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use name::{bytes_text, is_litter, lossy, one_line, quoted, shot_key, shown, split_name};

/// A ledger row's id; ids grow in the order of filing and are never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AssetId(pub u64);

/// SHA-256 over a file's whole content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileHash(pub [u8; 32]);

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a file is, told by its content first and its extension second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// JPEG.
    Jpeg,
    /// HEIC, HEIF, HIF.
    Heic,
    /// AVIF.
    Avif,
    /// PNG.
    Png,
    /// WebP.
    Webp,
    /// TIFF that is not a camera's raw format.
    Tiff,
    /// GIF.
    Gif,
    /// JPEG XL, bare or boxed.
    Jxl,
    /// JPEG 2000.
    Jp2,
    /// Photoshop document.
    Psd,
    /// Windows bitmap.
    Bmp,
    /// A camera's raw format: DNG CR2 CR3 CRW NEF ARW RAF ORF RW2 PEF SRW X3F GPR and the like.
    Raw,
    /// MOV, MP4, M4V, 3GP, Matroska, `WebM`, AVI, MPEG transport stream, WMV.
    Video,
    /// XMP, AAE or Google Takeout JSON: belongs to a photo and travels with it.
    Sidecar,
}

impl Kind {
    /// All kinds, in the order of their stored form.
    pub const ALL: [Self; 14] = [
        Self::Jpeg,
        Self::Heic,
        Self::Avif,
        Self::Png,
        Self::Webp,
        Self::Tiff,
        Self::Gif,
        Self::Jxl,
        Self::Jp2,
        Self::Psd,
        Self::Bmp,
        Self::Raw,
        Self::Video,
        Self::Sidecar,
    ];

    /// The name users see: `jpeg`, `heic`, `raw`, `video`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Heic => "heic",
            Self::Avif => "avif",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Tiff => "tiff",
            Self::Gif => "gif",
            Self::Jxl => "jxl",
            Self::Jp2 => "jp2",
            Self::Psd => "psd",
            Self::Bmp => "bmp",
            Self::Raw => "raw",
            Self::Video => "video",
            Self::Sidecar => "sidecar",
        }
    }

    /// A picture that does not move: everything but video and sidecars.
    pub fn is_still(self) -> bool {
        !matches!(self, Self::Video | Self::Sidecar)
    }
}

/// Which tag or rule a capture time came from, the most trusted first: the order of the variants is the order of trust.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum CapturedFrom {
    /// EXIF `DateTimeOriginal` (or the maker's equal in formats without EXIF: CRW, X3F).
    ExifDateTimeOriginal,
    /// EXIF `DateTimeDigitized`.
    ExifDateTimeDigitized,
    /// XMP `exif:DateTimeOriginal`.
    XmpDateTimeOriginal,
    /// XMP `photoshop:DateCreated`.
    XmpDateCreated,
    /// XMP `xmp:CreateDate`.
    XmpCreateDate,
    /// XMP `exif:DateTimeDigitized`.
    XmpDateTimeDigitized,
    /// IPTC `DateCreated` with `TimeCreated`.
    IptcDateCreated,
    /// QuickTime Keys `com.apple.quicktime.creationdate`: local, with offset.
    QuickTimeCreationDate,
    /// A local date in a video's own metadata: QuickTime user data `©day`, AVI `IDIT`, AVCHD's MDPM.
    VideoLocalDate,
    /// QuickTime `mvhd`, Matroska `DateUTC`, ASF creation time: an instant, put on the appliance's time zone.
    VideoCreationTime,
    /// Google Takeout JSON `photoTakenTime`: an instant, put on the appliance's time zone.
    TakeoutPhotoTakenTime,
    /// The file's name says it.
    FileName,
    /// EXIF/IFD0 `DateTime` (`ModifyDate`), XMP `xmp:ModifyDate`, PNG `tIME`: when it was last changed.
    ModifyDate,
    /// The file's modification time.
    Mtime,
}

impl CapturedFrom {
    /// The name users see in `captured_from`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExifDateTimeOriginal => "EXIF DateTimeOriginal",
            Self::ExifDateTimeDigitized => "EXIF DateTimeDigitized",
            Self::XmpDateTimeOriginal => "XMP exif:DateTimeOriginal",
            Self::XmpDateCreated => "XMP photoshop:DateCreated",
            Self::XmpCreateDate => "XMP xmp:CreateDate",
            Self::XmpDateTimeDigitized => "XMP exif:DateTimeDigitized",
            Self::IptcDateCreated => "IPTC DateCreated",
            Self::QuickTimeCreationDate => "QuickTime CreationDate",
            Self::VideoLocalDate => "video local date",
            Self::VideoCreationTime => "video creation time",
            Self::TakeoutPhotoTakenTime => "Takeout photoTakenTime",
            Self::FileName => "file name",
            Self::ModifyDate => "ModifyDate",
            Self::Mtime => "mtime",
        }
    }

    /// Whether the date is a guess, to be counted and shown as one.
    pub fn is_guess(self) -> bool {
        matches!(self, Self::FileName | Self::ModifyDate | Self::Mtime)
    }
}

/// When a photo was taken, on its own wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CaptureTime {
    /// The wall clock's reading, to the millisecond.
    pub local: DateTime,
    /// Minutes east of UTC, where the source says so.
    pub offset_minutes: Option<i16>,
    /// Where it was read.
    pub from: CapturedFrom,
}

impl CaptureTime {
    /// The local day: the folder.
    pub fn day(&self) -> Date {
        self.local.date()
    }

    /// `YYYY-MM-DDTHH:MM:SS` and, where there is a fraction, `.fff`.
    pub fn local_text(&self) -> String {
        let millis = self.local.millisecond();
        let whole = self.local.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        if millis == 0 {
            whole
        } else {
            format!("{whole}.{millis:03}")
        }
    }

    /// `+HH:MM`, where the offset is known.
    pub fn offset_text(&self) -> Option<String> {
        self.offset_minutes.map(|minutes| {
            let sign = if minutes < 0 { '-' } else { '+' };
            let minutes = minutes.unsigned_abs();
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        })
    }
}

/// Where a photo was taken: decimal degrees, south and west negative.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// The place name nearest to a location.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Town or village.
    pub name: String,
    /// State or region.
    pub admin1: String,
    /// ISO 3166 two-letter code.
    pub country_code: String,
}

/// A stage of derived work: each has a flag, a time stamp and a queue in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// Place names.
    Geocode = 0,
    /// Thumbnails.
    Thumbnail = 1,
    /// Face boxes.
    FaceScan = 2,
    /// The verified backup.
    Backup = 3,
}

impl Stage {
    /// All stages, in the order of their stored form.
    pub const ALL: [Self; 4] = [Self::Geocode, Self::Thumbnail, Self::FaceScan, Self::Backup];

    /// The name of the flag that says it is done.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Geocode => "is_geocoded",
            Self::Thumbnail => "is_thumbnailed",
            Self::FaceScan => "is_face_scanned",
            Self::Backup => "is_backed_up",
        }
    }

    /// Whether this stage has anything to do for such an asset.
    pub fn wants(self, kind: Kind, location: Option<Location>) -> bool {
        match self {
            // Exactly 0, 0 is a camera without a fix, not a place in the Atlantic.
            Self::Geocode => location.is_some_and(|at| at.latitude != 0.0 || at.longitude != 0.0),
            Self::Thumbnail => kind != Kind::Sidecar,
            Self::FaceScan => kind.is_still(),
            Self::Backup => true,
        }
    }
}

/// What the metadata of one file says, before any decision.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Metadata {
    /// Every valid date found, in any order.
    pub dates: Vec<CaptureTime>,
    /// Where it was taken.
    pub location: Option<Location>,
    /// Camera maker.
    pub make: Option<String>,
    /// Camera model.
    pub model: Option<String>,
    /// Pixels across.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
    /// Apple's `ContentIdentifier`: equal on both halves of a Live Photo.
    pub content_id: Option<String>,
    /// What is damaged, in words for the owner; empty for a sound file.
    pub errors: Vec<String>,
    /// What is odd but no damage (worker absent, dates refused), in words for the owner.
    pub warnings: Vec<String>,
}

/// Everything the ledger remembers of one file in Originals.
#[derive(Clone, PartialEq, Debug)]
pub struct Asset {
    /// The row's id.
    pub id: AssetId,
    /// SHA-256 of the content.
    pub file_hash: FileHash,
    /// Bytes.
    pub size: u64,
    /// Where it lay, relative to the inbox.
    pub inbox_path: PathBuf,
    /// Where it stands, relative to Storage.
    pub final_path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// When it was taken.
    pub captured: CaptureTime,
    /// Where it was taken.
    pub location: Option<Location>,
    /// The name of that place, once geocoded.
    pub place: Option<Place>,
    /// Camera maker.
    pub make: Option<String>,
    /// Camera model.
    pub model: Option<String>,
    /// Pixels across.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
    /// Apple's `ContentIdentifier`.
    pub content_id: Option<String>,
    /// The photo this one belongs to: a Live Photo's video, a RAW's JPEG, a sidecar point at the leading still.
    pub paired_with: Option<AssetId>,
    /// When the row was made.
    pub ingested_at: Timestamp,
    /// When each stage (index: `Stage as usize`) was done.
    pub stage_done_at: [Option<Timestamp>; 4],
    /// What is damaged, in words for the owner.
    pub errors: Vec<String>,
}

impl Asset {
    /// The names of [`Asset::fields`], for a header above no rows at all.
    pub const FIELD_NAMES: [&str; 30] = [
        "id",
        "file_hash",
        "size",
        "original_name",
        "inbox_path",
        "final_path",
        "kind",
        "captured_at",
        "captured_offset",
        "captured_from",
        "latitude",
        "longitude",
        "place",
        "make",
        "model",
        "width",
        "height",
        "paired_with",
        "is_ingested",
        "is_geocoded",
        "is_thumbnailed",
        "is_face_scanned",
        "is_backed_up",
        "has_errors",
        "errors",
        "ingested_at",
        "geocoded_at",
        "thumbnailed_at",
        "face_scanned_at",
        "backed_up_at",
    ];

    /// The file's name in the inbox.
    pub fn original_name(&self) -> &OsStr {
        self.inbox_path.file_name().unwrap_or_default()
    }

    /// Every field that users see, in order, under the name that is the same everywhere.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        let done = |stage: Stage| self.stage_done_at[stage as usize];
        let is = |stage: Stage| json!(done(stage).is_some());
        let at = |stage: Stage| json!(done(stage).map(rfc3339));
        vec![
            ("id", json!(self.id.0)),
            ("file_hash", json!(self.file_hash.to_string())),
            ("size", json!(self.size)),
            ("original_name", json!(lossy(self.original_name()))),
            ("inbox_path", json!(lossy(self.inbox_path.as_os_str()))),
            ("final_path", json!(lossy(self.final_path.as_os_str()))),
            ("kind", json!(self.kind.as_str())),
            ("captured_at", json!(self.captured.local_text())),
            ("captured_offset", json!(self.captured.offset_text())),
            ("captured_from", json!(self.captured.from.as_str())),
            ("latitude", json!(self.location.map(|at| at.latitude))),
            ("longitude", json!(self.location.map(|at| at.longitude))),
            ("place", json!(self.place)),
            ("make", json!(self.make)),
            ("model", json!(self.model)),
            ("width", json!(self.width)),
            ("height", json!(self.height)),
            ("paired_with", json!(self.paired_with.map(|id| id.0))),
            ("is_ingested", json!(true)),
            (Stage::Geocode.flag(), is(Stage::Geocode)),
            (Stage::Thumbnail.flag(), is(Stage::Thumbnail)),
            (Stage::FaceScan.flag(), is(Stage::FaceScan)),
            (Stage::Backup.flag(), is(Stage::Backup)),
            ("has_errors", json!(!self.errors.is_empty())),
            ("errors", json!(self.errors)),
            ("ingested_at", json!(rfc3339(self.ingested_at))),
            ("geocoded_at", at(Stage::Geocode)),
            ("thumbnailed_at", at(Stage::Thumbnail)),
            ("face_scanned_at", at(Stage::FaceScan)),
            ("backed_up_at", at(Stage::Backup)),
        ]
    }

    /// [`Asset::fields`] as one JSON object.
    pub fn to_json(&self) -> Value {
        Value::Object(
            self.fields()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }
}

/// What a file in Originals must be: as much of its row as it takes to verify it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Original {
    /// The row's id.
    pub id: AssetId,
    /// Where it stands, relative to Storage.
    pub final_path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub file_hash: FileHash,
    /// When the row was made.
    pub ingested_at: Timestamp,
}

impl From<&Asset> for Original {
    fn from(asset: &Asset) -> Self {
        Self {
            id: asset.id,
            final_path: asset.final_path.clone(),
            size: asset.size,
            file_hash: asset.file_hash,
            ingested_at: asset.ingested_at,
        }
    }
}

/// A file that stays in the inbox, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    /// Where it lies, relative to the inbox.
    pub inbox_path: PathBuf,
    /// Bytes, when it was looked at.
    pub size: u64,
    /// Modification time in nanoseconds since 1970, when it was looked at.
    pub mtime_ns: i64,
    /// Why it stays.
    pub why: LeftBecause,
    /// The reason and a way out, in words for the owner.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// The sorts of files that stay in the inbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LeftBecause {
    /// No photo or video, no sidecar.
    NotMedia,
    /// A sidecar whose photo has not come.
    WaitsForPhoto,
    /// Could not be opened or read.
    Unreadable,
    /// Kept on purpose, its copy stands in Originals (`inbox.clear` is `never` or `safe`, or the name could not be cleared).
    Kept(AssetId),
}

impl LeftBecause {
    /// The name users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotMedia => "not_media",
            Self::WaitsForPhoto => "sidecar",
            Self::Unreadable => "unreadable",
            Self::Kept(_) => "kept",
        }
    }
}

/// The sum of RFC 1952 (gzip) over all parts, one after the other. It finds damage, not malice.
pub fn crc32<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    /// Of the kinds of table the one of 1 KB: what we sum is short.
    static TABLE: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);
    let mut digest = TABLE.digest();
    for part in parts {
        digest.update(part);
    }
    digest.finalize()
}

/// A time stamp as users see it: UTC, RFC 3339, to the second.
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The folder of a day: `Originals/YYYY/YYYY-MM-DD`, relative to Storage.
pub fn day_folder(day: Date) -> PathBuf {
    PathBuf::from(day.strftime("Originals/%Y/%Y-%m-%d").to_string())
}

/// A short list in the order of a key; what has the same key keeps its order. Each item is put in its place: the library's sort, made
/// for long lists, is 8 KB of program for every type of item.
pub fn in_order<T, K: Ord>(list: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut ordered: Vec<T> = Vec::new();
    for item in list {
        let own = key(&item);
        let place = ordered.partition_point(|other| key(other) <= own);
        ordered.insert(place, item);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_sum_of_parts_is_the_published_one_of_the_whole() {
        assert_eq!(crc32([b"123456789".as_slice()]), 0xcbf4_3926);
        assert_eq!(crc32([b"1234".as_slice(), b"", b"56789"]), 0xcbf4_3926);
        assert_eq!(crc32([]), 0);
    }

    #[test]
    fn an_offset_west_of_greenwich_has_a_minus_sign_and_whole_minutes() {
        let captured = CaptureTime {
            local: jiff::civil::datetime(2024, 1, 31, 23, 59, 58, 70_000_000),
            offset_minutes: Some(-210),
            from: CapturedFrom::ExifDateTimeOriginal,
        };
        assert_eq!(captured.offset_text().as_deref(), Some("-03:30"));
        assert_eq!(captured.local_text(), "2024-01-31T23:59:58.070");
        assert_eq!(
            day_folder(captured.day()),
            Path::new("Originals/2024/2024-01-31")
        );
    }
}
