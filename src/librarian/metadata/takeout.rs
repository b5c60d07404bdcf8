//! Google Takeout's JSON: when and where Google says a photo was taken.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::stamp::{instant_on_zone, location};
use crate::asset::{CapturedFrom, Metadata};

/// What is looked at. Other values are passed over, not held: whatever is in them takes no memory.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, rename = "photoTakenTime")]
    photo_taken_time: Option<&'a RawValue>,
    #[serde(borrow, rename = "geoData")]
    geo_data: Option<&'a RawValue>,
    #[serde(borrow, rename = "geoDataExif")]
    geo_data_exif: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Time<'a> {
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Place {
    latitude: f64,
    longitude: f64,
}

/// A part that is of another shape says nothing.
fn part<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}

/// Reads one JSON file.
pub(super) fn read(bytes: &[u8], zone: &TimeZone) -> Metadata {
    let mut metadata = Metadata::default();
    let file: File = match serde_json::from_slice(bytes) {
        Ok(file) => file,
        Err(why) => {
            metadata
                .errors
                .push(format!("the Takeout file cannot be read as JSON: {why}"));
            return metadata;
        }
    };
    // Google writes seconds as text; zero stands for unknown.
    let seconds = part(file.photo_taken_time).and_then(|time: Time| {
        let seconds = time.timestamp?.get();
        let text = seconds.trim_matches('"');
        text.parse().ok()
    });
    if let Some(instant) = seconds
        .filter(|&seconds| seconds != 0)
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
    {
        metadata.dates.push(instant_on_zone(
            instant,
            CapturedFrom::TakeoutPhotoTakenTime,
            zone,
        ));
    }
    let places = [file.geo_data, file.geo_data_exif];
    metadata.location = places.into_iter().find_map(|place| {
        let Place {
            latitude,
            longitude,
        } = part(place)?;
        // Google writes zeros where it knows no place.
        location(latitude, longitude).filter(|_| latitude != 0.0 || longitude != 0.0)
    });
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_a_photo_was_taken_is_an_instant_and_an_empty_place_is_none() {
        let zone = TimeZone::fixed(jiff::tz::Offset::from_hours(2).unwrap());
        let json = br#"{"creationTime": {"timestamp": "1"}, "photoTakenTime": {"timestamp": "1696574037"},
            "geoData": {"latitude": 0.0, "longitude": 0.0}, "geoDataExif": {"latitude": 48.5, "longitude": -2.25}}"#;
        let found = read(json, &zone);
        assert_eq!(found.dates[0].local_text(), "2023-10-06T08:33:57");
        assert_eq!(found.dates[0].offset_minutes, Some(120));
        assert!((found.location.unwrap().longitude + 2.25).abs() < 1e-9);
        let number = br#"{"photoTakenTime": {"timestamp": 1696574037}, "geoData": 7}"#;
        assert_eq!(read(number, &zone).dates, found.dates);
        for nothing in ["{}", r#"{"photoTakenTime": "soon", "geoData": null}"#] {
            let found = read(nothing.as_bytes(), &zone);
            assert_eq!(found, Metadata::default(), "{nothing}");
        }
        assert!(!read(b"{", &zone).errors.is_empty());
    }
}
