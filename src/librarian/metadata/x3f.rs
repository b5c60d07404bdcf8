//! Sigma's X3F: its date lies in a property list, not in EXIF.

use super::source::{Source, array, le16, le32};
use super::tags::{Tag, Tags};

/// Reads the property list; gives what is damaged.
pub(super) fn read(source: &Source, tags: &mut Tags) -> Vec<String> {
    let size = source.read(28, 8);
    if let (Some(width @ 1..=65_535), Some(height @ 1..=65_535)) = (le32(&size, 0), le32(&size, 4))
    {
        tags.add(Tag::Width, width.to_string().as_bytes());
        tags.add(Tag::Height, height.to_string().as_bytes());
    }
    if let Some(at) = directory(source) {
        if let Some((place, length)) = at {
            properties(&source.read(place, length), tags);
        }
        Vec::new()
    } else if source.failure().is_some() {
        Vec::new()
    } else {
        vec!["the raw picture is cut off: its directory is missing".to_owned()]
    }
}

/// The directory's place stands in the last four bytes. `Some(None)`: a directory without properties.
#[expect(
    clippy::option_option,
    reason = "no directory, and a directory without properties, are different news"
)]
fn directory(source: &Source) -> Option<Option<(u64, usize)>> {
    let at = u64::from(le32(&source.read(source.size().checked_sub(4)?, 4), 0)?);
    let head = source.exactly(at, 12)?;
    if !head.starts_with(b"SECd") {
        return None;
    }
    let count = usize::try_from(le32(&head, 8)?).ok()?.min(100);
    let entries = source.read(at + 12, count * 12);
    let found = entries
        .chunks_exact(12)
        .find(|entry| entry.ends_with(b"PROP"));
    Some(found.and_then(|entry| {
        Some((
            u64::from(le32(entry, 0)?),
            usize::try_from(le32(entry, 4)?).ok()?,
        ))
    }))
}

/// Pairs of places, counted in UTF-16 units from the end of the pairs.
fn properties(section: &[u8], tags: &mut Tags) {
    if !section.starts_with(b"SECp") {
        return;
    }
    let count = le32(section, 8)
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(0)
        .min(1000);
    let texts = 24 + count * 8;
    let text = |unit: u32| -> Option<String> {
        let start = texts + usize::try_from(unit).ok()? * 2;
        let units =
            (0..256).map_while(|index| le16(section, start + index * 2).filter(|&unit| unit != 0));
        Some(String::from_utf16_lossy(&units.collect::<Vec<_>>()))
    };
    for index in 0..count {
        let at = 24 + index * 8;
        let pair = array::<4>(section, at).zip(array::<4>(section, at + 4));
        let Some((name, value)) = pair.and_then(|(name, value)| {
            Some((
                text(u32::from_le_bytes(name))?,
                text(u32::from_le_bytes(value))?,
            ))
        }) else {
            return;
        };
        match name.as_str() {
            // Seconds since 1970 of the camera's own wall clock.
            "TIME" => {
                let seconds = value
                    .trim()
                    .parse()
                    .ok()
                    .filter(|&seconds: &i64| seconds > 0);
                if let Some(at) =
                    seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
                {
                    tags.add(
                        Tag::Original,
                        at.strftime("%Y:%m:%d %H:%M:%S").to_string().as_bytes(),
                    );
                }
            }
            "CAMMANUF" => tags.add(Tag::Make, value.as_bytes()),
            "CAMMODEL" => tags.add(Tag::Model, value.as_bytes()),
            _ => {}
        }
    }
}
