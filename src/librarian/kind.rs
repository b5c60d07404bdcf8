//! What a file is: told by its content first and its extension second.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::metadata::source::{be16, be32, find, le16, le32};
use crate::asset::{Kind, split_name};

/// How much of a file's head [`tell`] makes use of.
pub const HEAD: usize = 4096;

/// What a file was told to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// A photo or a video.
    Media(Kind),
    /// Something that belongs to a photo.
    Sidecar(SidecarKind),
    /// Neither; why, in words for the owner.
    NotMedia(String),
}

/// The sorts of sidecars.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SidecarKind {
    /// Adobe XMP.
    Xmp,
    /// Apple's list of edits.
    Aae,
    /// Google Takeout's JSON beside each photo.
    Takeout,
}

/// Extensions of camera raw formats; most are TIFF inside.
const RAW: &[&str] = &[
    "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "gpr", "iiq", "k25", "kdc",
    "mef", "mos", "mrw", "nef", "nrw", "orf", "ori", "pef", "raf", "raw", "rw2", "rwl", "sr2",
    "srf", "srw", "x3f",
];

const VIDEO: &[&str] = &[
    "3g2", "3gp", "asf", "avi", "divx", "dv", "flv", "insv", "lrv", "m2t", "m2ts", "m4v", "mkv",
    "mod", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "ogv", "qt", "tod", "ts", "vob", "webm",
    "wmv",
];

/// Tells what a file is from its first bytes ([`HEAD`] of them, or all there are) and its name.
///
/// A photo whose content says nothing keeps the kind of its extension: damaged photos are kept, not left behind.
pub fn tell(head: &[u8], name: &OsStr) -> Told {
    let extension = extension(name);
    if head.is_empty() {
        return not_media(
            "the file is empty; if it should be a photo, send it again from the phone",
        );
    }
    if let Some(litter) = litter(name) {
        return Told::NotMedia(format!("{litter}, no photo"));
    }
    if let Some(kind) = by_content(head, &extension) {
        return Told::Media(kind);
    }
    if let Some(sidecar) = sidecar(head, &extension) {
        return Told::Sidecar(sidecar);
    }
    if let Some(what) = other_content(head) {
        return Told::NotMedia(format!("{what}, no photo or video"));
    }
    match by_extension(&extension) {
        Some(kind) => Told::Media(kind),
        None => Told::NotMedia(unknown(&extension)),
    }
}

/// The name's extension in lower case, without its dot.
pub(super) fn extension(name: &OsStr) -> String {
    let (_, extension) = split_name(name);
    let extension = extension.as_bytes().strip_prefix(b".").unwrap_or_default();
    String::from_utf8_lossy(extension).to_ascii_lowercase()
}

fn not_media(why: &str) -> Told {
    Told::NotMedia(why.to_owned())
}

fn unknown(extension: &str) -> String {
    match extension {
        "xmp" | "aae" => format!("named .{extension}, but its content is no sidecar"),
        "json" => "a JSON file that describes no photo".to_owned(),
        "" => "no photo or video by its content, and its name has no extension".to_owned(),
        // Shown to the owner, also on a terminal: a stranger's control characters stay out.
        other if other.len() > 16 || !other.chars().all(char::is_alphanumeric) => {
            "no photo or video by its content, nor by its extension".to_owned()
        }
        other => format!("no photo or video by its content, nor by its extension .{other}"),
    }
}

fn by_extension(extension: &str) -> Option<Kind> {
    Some(match extension {
        "jpg" | "jpeg" | "jpe" | "jfif" | "mpo" | "insp" | "thm" => Kind::Jpeg,
        "heic" | "heif" | "hif" | "heics" => Kind::Heic,
        "avif" | "avifs" => Kind::Avif,
        "png" | "apng" => Kind::Png,
        "webp" => Kind::Webp,
        "tif" | "tiff" => Kind::Tiff,
        "gif" => Kind::Gif,
        "jxl" => Kind::Jxl,
        "jp2" | "j2k" | "jpf" | "jpx" | "j2c" => Kind::Jp2,
        "psd" | "psb" => Kind::Psd,
        "bmp" | "dib" => Kind::Bmp,
        raw if RAW.contains(&raw) => Kind::Raw,
        video if VIDEO.contains(&video) => Kind::Video,
        _ => return None,
    })
}

/// The kind that the content itself proves; the extension only divides formats that look alike.
pub(super) fn by_content(head: &[u8], extension: &str) -> Option<Kind> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    if starts(b"\xff\xd8\xff") {
        return Some(Kind::Jpeg);
    }
    if starts(b"\x89PNG\r\n\x1a\n") {
        return Some(Kind::Png);
    }
    if starts(b"GIF87a") || starts(b"GIF89a") {
        return Some(Kind::Gif);
    }
    if starts(b"8BPS") {
        return Some(Kind::Psd);
    }
    if starts(b"RIFF") {
        return match head.get(8..12)? {
            b"WEBP" => Some(Kind::Webp),
            b"AVI " | b"AMV " => Some(Kind::Video),
            _ => None,
        };
    }
    if head.get(4..8) == Some(b"ftyp") {
        return by_brand(head);
    }
    if starts(b"\0\0\0\x0cjP  \r\n\x87\n") || starts(b"\xff\x4f\xff\x51") {
        return Some(Kind::Jp2);
    }
    if starts(b"\0\0\0\x0cJXL \r\n\x87\n") || (starts(b"\xff\x0a") && extension == "jxl") {
        return Some(Kind::Jxl);
    }
    if is_tiff(head) {
        return Some(tiff(head, extension));
    }
    let raw: [&[u8]; 6] = [
        b"FUJIFILMCCD-RAW",
        b"II\x1a\0\0\0HEAPCCDR",
        b"\0MRM",
        b"FOVb",
        b"IIII\x08\0\0\0",
        b"MMMM\0\0\0\x08",
    ];
    if raw.iter().any(|magic| starts(magic)) {
        return Some(Kind::Raw);
    }
    if starts(b"BM") && matches!(le32(head, 14), Some(12 | 40 | 52 | 56 | 64 | 108 | 124)) {
        return Some(Kind::Bmp);
    }
    is_video(head, extension).then_some(Kind::Video)
}

/// ISO base media files share one container; the brands in `ftyp` say what is inside.
fn by_brand(head: &[u8]) -> Option<Kind> {
    let end = usize::try_from(be32(head, 0)?)
        .unwrap_or(usize::MAX)
        .clamp(12, head.len().max(12));
    let brands = head.get(8..end.min(head.len()))?;
    let major = brands.get(..4)?;
    // The four bytes after the major brand are a version.
    let others = brands.get(8..).unwrap_or_default();
    let has = |set: &[&[u8]]| others.chunks_exact(4).any(|brand| set.contains(&brand));
    match major {
        b"avif" | b"avis" => Some(Kind::Avif),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => {
            Some(Kind::Heic)
        }
        b"mif1" | b"mif2" | b"msf1" | b"miaf" | b"1pic" if has(&[b"avif", b"avis"]) => {
            Some(Kind::Avif)
        }
        b"mif1" | b"mif2" | b"msf1" | b"miaf" | b"1pic" => Some(Kind::Heic),
        b"crx " => Some(Kind::Raw),
        b"jxl " => Some(Kind::Jxl),
        b"jp2 " | b"jpx " | b"jpm " | b"jph " => Some(Kind::Jp2),
        b"M4A " | b"M4B " | b"M4P " | b"F4A " | b"F4B " => None,
        _ => Some(Kind::Video),
    }
}

fn is_tiff(head: &[u8]) -> bool {
    let magics: [&[u8]; 9] = [
        b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"MMSR",
    ];
    magics.iter().any(|magic| head.starts_with(magic))
}

/// Whether a TIFF is a camera's raw file: its own magic or marker, the DNG tag, sensor data, or a camera's extension.
fn tiff(head: &[u8], extension: &str) -> Kind {
    let plain = matches!(head.get(2..4), Some(b"*\0" | b"\0*" | b"+\0" | b"\0+"));
    if !plain || head.get(8..10) == Some(b"CR") || RAW.contains(&extension) || is_sensor_data(head)
    {
        Kind::Raw
    } else {
        Kind::Tiff
    }
}

/// Looks through the first directory, where it lies within the head.
fn is_sensor_data(head: &[u8]) -> bool {
    let little = head.starts_with(b"II");
    let u16_at = |at| {
        if little {
            le16(head, at)
        } else {
            be16(head, at)
        }
    };
    let u32_at = |at| {
        if little {
            le32(head, at)
        } else {
            be32(head, at)
        }
    };
    let Some(start) = u32_at(4).and_then(|at| usize::try_from(at).ok()) else {
        return false;
    };
    let mut camera = false;
    let mut reduced = false;
    let mut parts = false;
    for entry in 0..usize::from(u16_at(start).unwrap_or(0).min(200)) {
        let at = start.saturating_add(2 + entry * 12);
        let Some(tag) = u16_at(at) else { break };
        let value = u16_at(at + 8).unwrap_or(0);
        match tag {
            // DNGVersion.
            0xc612 => return true,
            // NewSubfileType: the first picture is only a preview.
            0x00fe => reduced = u32_at(at + 8) == Some(1),
            // Compression: Sony ARW, Nikon NEF, Samsung SRW, Pentax PEF; PhotometricInterpretation: sensor or linear raw.
            0x0103 if matches!(value, 32767 | 34713 | 32770 | 65535) => return true,
            0x0106 if matches!(value, 32803 | 34892) => return true,
            0x010f => camera = true,
            0x014a => parts = true,
            _ => {}
        }
    }
    camera && reduced && parts
}

fn is_video(head: &[u8], extension: &str) -> bool {
    let starts = |magic: &[u8]| head.starts_with(magic);
    if starts(b"\x1a\x45\xdf\xa3") {
        return !matches!(extension, "mka" | "mks");
    }
    if starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11") {
        return extension != "wma";
    }
    if starts(b"OggS") {
        return find(head, b"theora").is_some();
    }
    let magics: [&[u8]; 6] = [
        b"\0\0\x01\xba",
        b"\0\0\x01\xb3",
        b"FLV\x01",
        b".RMF",
        b"\x06\x0e\x2b\x34\x02\x05",
        b"\x1f\x07\0",
    ];
    if magics.iter().any(|magic| starts(magic)) {
        return true;
    }
    // Transport streams: a sync byte every 188 bytes, or every 192 after a 4-byte time code.
    let sync = |first: usize, step: usize| {
        (0..4).all(|packet| {
            head.get(first + packet * step)
                .is_none_or(|&byte| byte == 0x47)
        }) && head.get(first + step) == Some(&0x47)
    };
    if sync(0, 188) || sync(4, 192) {
        return true;
    }
    // QuickTime before 2001 has no ftyp: it begins with any of its boxes.
    let size = be32(head, 0).unwrap_or(2);
    matches!(
        head.get(4..8),
        Some(b"moov" | b"mdat" | b"wide" | b"skip" | b"free" | b"pnot")
    ) && !(2..8).contains(&size)
}

fn sidecar(head: &[u8], extension: &str) -> Option<SidecarKind> {
    let text = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    match extension {
        "xmp" if text.starts_with(b"<") && !is_html(text) => Some(SidecarKind::Xmp),
        "aae" if text.starts_with(b"<") || text.starts_with(b"bplist") => Some(SidecarKind::Aae),
        "json" if text.starts_with(b"{") && find(text, b"\"photoTakenTime\"").is_some() => {
            Some(SidecarKind::Takeout)
        }
        // A long description pushes photoTakenTime out of the head; these stand together only in Takeout's files.
        "json"
            if text.starts_with(b"{")
                && find(text, b"\"title\"").is_some()
                && find(text, b"\"description\"").is_some()
                && text.len() >= HEAD - 16 =>
        {
            Some(SidecarKind::Takeout)
        }
        _ if text.starts_with(b"<x:xmpmeta") || text.starts_with(b"<?xpacket begin") => {
            Some(SidecarKind::Xmp)
        }
        _ => None,
    }
}

fn is_html(text: &[u8]) -> bool {
    let start = text
        .get(..text.len().min(64))
        .unwrap_or_default()
        .to_ascii_lowercase();
    start.starts_with(b"<!doctype html")
        || start.starts_with(b"<html")
        || start.starts_with(b"<head")
}

/// Content that is certainly something else, whatever the extension says.
fn other_content(head: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let text = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    Some(if starts(b"%PDF") {
        "a PDF document"
    } else if starts(b"%!PS") || starts(b"\xc5\xd0\xd3\xc6") {
        "a PostScript document"
    } else if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
        "a ZIP archive or an office document"
    } else if starts(b"\x1f\x8b")
        || starts(b"7z\xbc\xaf")
        || starts(b"Rar!")
        || starts(b"\xfd7zXZ")
        || starts(b"BZh")
    {
        "an archive"
    } else if head.get(4..8) == Some(b"ftyp")
        || starts(b"ID3")
        || starts(b"fLaC")
        || starts(b"OggS")
        || starts(b"#!AMR")
        || starts(b"RIFF") && head.get(8..12) == Some(b"WAVE")
        || starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
        || starts(b"\x1a\x45\xdf\xa3")
    {
        "an audio file"
    } else if is_html(text) {
        "a web page"
    } else if starts(b"\x7fELF") || starts(b"MZ") || starts(b"#!/") {
        "a program"
    } else if starts(b"BEGIN:V") {
        "a contact or calendar file"
    } else if starts(b"SQLite format 3") {
        "a database"
    } else {
        return None;
    })
}

/// What file managers leave behind in folders.
fn litter(name: &OsStr) -> Option<&'static str> {
    let name = String::from_utf8_lossy(name.as_bytes()).to_ascii_lowercase();
    match name.as_str() {
        ".ds_store" | ".localized" => Some("a folder file of macOS"),
        "thumbs.db" | "ehthumbs.db" | "desktop.ini" => Some("a folder file of Windows"),
        ".nomedia" | ".picasa.ini" | "picasa.ini" => Some("a folder file of a photo program"),
        other if other.starts_with("._") => Some("a companion file of macOS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(head: &[u8], name: &str) -> Told {
        tell(head, OsStr::new(name))
    }

    /// A little-endian TIFF with these (tag, type, value) entries in its first directory.
    fn tiff_with(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
        for (tag, kind, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes
    }

    fn ftyp(brands: &[&[u8; 4]]) -> Vec<u8> {
        let mut bytes = u32::try_from(12 + brands.len() * 4)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        bytes.extend(b"ftyp");
        bytes.extend(brands[0]);
        bytes.extend([0; 4]);
        brands[1..].iter().for_each(|brand| bytes.extend(*brand));
        bytes
    }

    #[test]
    fn the_content_outranks_the_extension() {
        let jpeg = b"\xff\xd8\xff\xe1\0\0Exif";
        for name in ["a.jpg", "a.nef", "a.png", "a.heic", "a", "a.txt"] {
            assert_eq!(told(jpeg, name), Told::Media(Kind::Jpeg), "{name}");
        }
        assert_eq!(
            told(b"\x89PNG\r\n\x1a\n....", "a.jpg"),
            Told::Media(Kind::Png)
        );
        assert!(matches!(told(b"%PDF-1.4", "a.jpg"), Told::NotMedia(_)));
        assert!(matches!(
            told(b"<!DOCTYPE html><html>", "a.jpg"),
            Told::NotMedia(_)
        ));
    }

    #[test]
    fn brands_divide_stills_from_videos_and_sound() {
        for (brands, wanted) in [
            (&[b"heic", b"mif1"][..], Some(Kind::Heic)),
            (&[b"mif1", b"avif"], Some(Kind::Avif)),
            (&[b"mif1", b"heic"], Some(Kind::Heic)),
            (&[b"avis", b"msf1"], Some(Kind::Avif)),
            (&[b"crx ", b"isom"], Some(Kind::Raw)),
            (&[b"qt  "], Some(Kind::Video)),
            (&[b"isom", b"mp42"], Some(Kind::Video)),
            (&[b"3gp5"], Some(Kind::Video)),
            (&[b"M4A ", b"isom"], None),
        ] {
            let found = told(&ftyp(brands), "x");
            match wanted {
                Some(kind) => assert_eq!(found, Told::Media(kind), "{brands:?}"),
                None => assert!(matches!(found, Told::NotMedia(_)), "{brands:?}"),
            }
        }
    }

    #[test]
    fn raw_formats_are_told_from_plain_tiff() {
        assert_eq!(
            told(&tiff_with(&[(0x100, 3, 8)]), "scan.tif"),
            Told::Media(Kind::Tiff)
        );
        assert_eq!(
            told(&tiff_with(&[(0xc612, 1, 1)]), "scan.tif"),
            Told::Media(Kind::Raw)
        );
        assert_eq!(
            told(&tiff_with(&[(0x103, 3, 34713)]), "noext"),
            Told::Media(Kind::Raw)
        );
        assert_eq!(
            told(&tiff_with(&[(0x100, 3, 8)]), "DSC_1.NEF"),
            Told::Media(Kind::Raw)
        );
        assert_eq!(told(b"IIU\0\x18\0\0\0", "x"), Told::Media(Kind::Raw));
        assert_eq!(
            told(b"II*\0\x10\0\0\0CR\x02\0", "x.tif"),
            Told::Media(Kind::Raw)
        );
        assert_eq!(told(b"FOVb....", "x"), Told::Media(Kind::Raw));
    }

    #[test]
    fn old_quicktime_and_transport_streams_are_videos() {
        assert_eq!(
            told(b"\0\0\x10\0moov\0\0\0\0", "x"),
            Told::Media(Kind::Video)
        );
        assert_eq!(
            told(b"\0\0\0\x08wide\0\0\0\0", "x"),
            Told::Media(Kind::Video)
        );
        let mut stream = vec![0; 800];
        (0..4).for_each(|packet| stream[4 + packet * 192] = 0x47);
        assert_eq!(told(&stream, "00001.MTS"), Told::Media(Kind::Video));
    }

    #[test]
    fn a_damaged_photo_keeps_the_kind_of_its_extension_and_an_empty_one_is_no_photo() {
        assert_eq!(told(&[0; 64], "IMG_0001.JPG"), Told::Media(Kind::Jpeg));
        assert_eq!(told(b"\xff\xd8", "IMG_0001.JPG"), Told::Media(Kind::Jpeg));
        assert_eq!(told(b"garbage", "clip.mov"), Told::Media(Kind::Video));
        assert!(matches!(told(b"", "IMG_0001.JPG"), Told::NotMedia(_)));
        assert!(matches!(told(b"garbage", "notes.txt"), Told::NotMedia(_)));
    }

    #[test]
    fn sidecars_are_told_by_content_and_extension() {
        let takeout = br#"{"title": "a.jpg", "photoTakenTime": {"timestamp": "1"}}"#;
        assert_eq!(
            told(takeout, "a.jpg.json"),
            Told::Sidecar(SidecarKind::Takeout)
        );
        assert!(matches!(
            told(br#"{"title": "Album"}"#, "metadata.json"),
            Told::NotMedia(_)
        ));
        assert_eq!(
            told(b"<?xpacket begin='' ?>", "a.xmp"),
            Told::Sidecar(SidecarKind::Xmp)
        );
        assert_eq!(
            told(b"<?xml version='1.0'?><plist>", "a.aae"),
            Told::Sidecar(SidecarKind::Aae)
        );
        assert!(matches!(told(b"\0\0\0", ".DS_Store"), Told::NotMedia(_)));
    }
}
