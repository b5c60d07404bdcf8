//! Google Takeout's JSON: when and where Google says a photo was taken.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::stamp::{instant_on_zone, location};
use crate::asset::{CapturedFrom, Metadata};

/// Reads one JSON file.
pub(super) fn read(bytes: &[u8], zone: &TimeZone) -> Metadata {
    let mut metadata = Metadata::default();
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(why) => {
            metadata
                .errors
                .push(format!("the Takeout file cannot be read as JSON: {why}"));
            return metadata;
        }
    };
    // Google writes seconds as text; zero stands for unknown.
    let seconds = match &value["photoTakenTime"]["timestamp"] {
        Value::String(text) => text.parse().ok(),
        number => number.as_i64(),
    };
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
    metadata.location = ["geoData", "geoDataExif"].iter().find_map(|name| {
        let data = &value[*name];
        let (latitude, longitude) = (data["latitude"].as_f64()?, data["longitude"].as_f64()?);
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
        assert!(read(b"{}", &zone).dates.is_empty());
        assert!(!read(b"{", &zone).errors.is_empty());
    }
}
