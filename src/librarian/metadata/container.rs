//! Which container a video comes in, and its reader.

use jiff::tz::TimeZone;

use super::source::{Source, find};
use super::video::Facts;
use super::{asf, matroska, quicktime, riff, transport};
use crate::asset::Metadata;

/// Reads a video of any container.
pub(super) fn read(source: &Source, zone: &TimeZone) -> Metadata {
    let head = source.read(0, 1024);
    let mut facts = Facts::default();
    let starts = |magic: &[u8]| head.starts_with(magic);
    if starts(b"\x1a\x45\xdf\xa3") {
        matroska::read(source, &mut facts);
    } else if starts(b"RIFF") {
        riff::read(source, &mut facts);
    } else if starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11") {
        asf::read(source, &mut facts);
    } else if let Some(packet) = transport::packet_length(&head) {
        transport::read(source, packet, &mut facts);
    } else if matches!(
        head.get(4..8),
        Some(b"ftyp" | b"moov" | b"mdat" | b"wide" | b"skip" | b"free" | b"pnot")
    ) {
        quicktime::read(source, &mut facts);
    } else if head.iter().all(|&byte| byte == 0) {
        facts
            .errors
            .push("the video is damaged: it begins with zeros only".to_owned());
    } else if !starts(b"\0\0\x01")
        && !starts(b"FLV")
        && !starts(b"OggS")
        && find(&head, b"MXF").is_none()
        && !starts(b"\x06\x0e\x2b\x34")
        && !starts(b"\x1f\x07\0")
        && !starts(b".RMF")
    {
        facts
            .errors
            .push("the video is damaged: its content is of no known format".to_owned());
    }
    facts.into_metadata(zone)
}
