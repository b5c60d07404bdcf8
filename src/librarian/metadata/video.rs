//! What all video readers give, and how it becomes metadata.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::source::{Source, find};
use super::stamp::{Stamp, instant_on_zone};
use super::tags::Tags;
use super::{asf, matroska, quicktime, riff, rules, transport};
use crate::asset::{CapturedFrom, Location, Metadata};

/// What a video's containers say.
#[derive(Default)]
pub(super) struct Facts {
    /// The creation time: an instant.
    pub(super) instant: Option<Timestamp>,
    /// Apple's creation date: local, with offset; survives edits and exports.
    pub(super) apple: Option<Stamp>,
    /// A local date in user data.
    pub(super) local: Option<Stamp>,
    pub(super) location: Option<Location>,
    pub(super) make: Option<String>,
    pub(super) model: Option<String>,
    pub(super) content_id: Option<String>,
    pub(super) width: u32,
    pub(super) height: u32,
    /// EXIF and XMP inside the video.
    pub(super) tags: Tags,
    pub(super) errors: Vec<String>,
}

impl Facts {
    /// Keeps the largest picture: other tracks are thumbnails.
    pub(super) fn add_size(&mut self, width: u32, height: u32) {
        if u64::from(width) * u64::from(height) > u64::from(self.width) * u64::from(self.height) {
            self.width = width;
            self.height = height;
        }
    }

    /// Where the container has an instant, that counts, on the appliance's zone like every other video's; a local date
    /// counts alone.
    pub(super) fn into_metadata(self, zone: &TimeZone) -> Metadata {
        let mut metadata = rules::interpret(&self.tags, zone);
        if let Some(stamp) = self.apple {
            metadata
                .dates
                .extend(stamp.on_zone(CapturedFrom::QuickTimeCreationDate, zone));
        }
        if let Some(instant) = self.instant {
            let from = CapturedFrom::VideoCreationTime;
            metadata.dates.push(instant_on_zone(instant, from, zone));
        } else if let Some(stamp) = self.local {
            metadata
                .dates
                .extend(stamp.on_zone(CapturedFrom::VideoLocalDate, zone));
        }
        metadata.location = self.location.or(metadata.location);
        metadata.make = self.make.or(metadata.make);
        metadata.model = self.model.or(metadata.model);
        metadata.content_id = self.content_id;
        metadata.width = Some(self.width).filter(|&width| width > 0);
        metadata.height = Some(self.height).filter(|&height| height > 0);
        metadata.errors = self.errors;
        metadata
    }
}

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
