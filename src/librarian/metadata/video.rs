//! What all video readers give, and how it becomes metadata.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::rules;
use super::stamp::{Stamp, instant_on_zone};
use super::tags::Tags;
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
        metadata.make = rules::word(self.make).or(metadata.make);
        metadata.model = rules::word(self.model).or(metadata.model);
        metadata.content_id = self.content_id.filter(|id| rules::is_word(id));
        metadata.width = Some(self.width).filter(|&width| width > 0);
        metadata.height = Some(self.height).filter(|&height| height > 0);
        metadata.errors = self.errors;
        metadata
    }
}
