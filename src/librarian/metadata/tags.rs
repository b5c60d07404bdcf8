//! The tags the house asks for, as raw text, and the form in which the worker sends them.
//!
//! A request is one packet: the file's size (8 bytes, little endian) with the file's descriptor. A reply is one packet of at
//! most [`REPLY_LIMIT`] bytes: its length (4 bytes, little endian, itself not counted), a status byte, then
//! records of tag (1 byte), length (2 bytes) and value. Nothing in it is interpreted before it reaches the daemon.

/// The longest reply.
pub const REPLY_LIMIT: usize = 64 << 10;

/// Values longer than this are not sent: no date or name is. Exiv2 spells out a maker note in decimal, four letters a byte.
pub const VALUE_LIMIT: usize = 48 << 10;

macro_rules! tags {
    ($($name:ident = $key:literal,)*) => {
        /// One piece of metadata, under Exiv2's name for it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Tag {
            $(#[doc = $key] $name,)*
        }

        impl Tag {
            /// Every tag, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Exiv2's name.
            pub fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }
        }
    };
}

tags! {
    Make = "Exif.Image.Make",
    Model = "Exif.Image.Model",
    Original = "Exif.Photo.DateTimeOriginal",
    OriginalSubSec = "Exif.Photo.SubSecTimeOriginal",
    OriginalOffset = "Exif.Photo.OffsetTimeOriginal",
    Digitized = "Exif.Photo.DateTimeDigitized",
    DigitizedSubSec = "Exif.Photo.SubSecTimeDigitized",
    DigitizedOffset = "Exif.Photo.OffsetTimeDigitized",
    ModifySubSec = "Exif.Photo.SubSecTime",
    PixelsAcross = "Exif.Photo.PixelXDimension",
    PixelsDown = "Exif.Photo.PixelYDimension",
    MakerNote = "Exif.Photo.MakerNote",
    Modified = "Exif.Image.DateTime",
    ImageOriginal = "Exif.Image.DateTimeOriginal",
    ImageDigitized = "Exif.Image.0x9004",
    Latitude = "Exif.GPSInfo.GPSLatitude",
    LatitudeRef = "Exif.GPSInfo.GPSLatitudeRef",
    Longitude = "Exif.GPSInfo.GPSLongitude",
    LongitudeRef = "Exif.GPSInfo.GPSLongitudeRef",
    XmpOriginal = "Xmp.exif.DateTimeOriginal",
    XmpDigitized = "Xmp.exif.DateTimeDigitized",
    XmpDateCreated = "Xmp.photoshop.DateCreated",
    XmpCreateDate = "Xmp.xmp.CreateDate",
    XmpModifyDate = "Xmp.xmp.ModifyDate",
    XmpLatitude = "Xmp.exif.GPSLatitude",
    XmpLatitudeRef = "Xmp.exif.GPSLatitudeRef",
    XmpLongitude = "Xmp.exif.GPSLongitude",
    XmpLongitudeRef = "Xmp.exif.GPSLongitudeRef",
    XmpMake = "Xmp.tiff.Make",
    XmpModel = "Xmp.tiff.Model",
    IptcDate = "Iptc.Application2.DateCreated",
    IptcTime = "Iptc.Application2.TimeCreated",
    Width = "width",
    Height = "height",
}

/// Whether the worker could read the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The file was read, with or without tags.
    Read,
    /// Exiv2 refused the file.
    Refused,
}

/// What was found in one file: the first value of each tag.
#[derive(Clone, Default, Debug)]
pub struct Tags(Vec<(Tag, Vec<u8>)>);

impl Tags {
    /// Adds a value, unless the tag has one or the value is too long.
    pub fn add(&mut self, tag: Tag, value: &[u8]) {
        if !value.is_empty() && value.len() <= VALUE_LIMIT && self.bytes(tag).is_none() {
            self.0.push((tag, value.to_vec()));
        }
    }

    /// Adds what another source knows and this one does not.
    pub fn fill_from(&mut self, other: &Self) {
        for (tag, value) in &other.0 {
            self.add(*tag, value);
        }
    }

    /// The raw value.
    pub fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        let found = self.0.iter().find(|(held, _)| *held == tag);
        found.map(|(_, value)| value.as_slice())
    }

    /// The value as text, up to the first NUL, without blanks around it.
    pub fn text(&self, tag: Tag) -> Option<String> {
        super::source::text(self.bytes(tag)?)
    }

    /// The value as a number.
    pub fn number(&self, tag: Tag) -> Option<u32> {
        self.text(tag)?.parse().ok().filter(|&number| number > 0)
    }

    /// Removes a tag.
    pub fn remove(&mut self, tag: Tag) {
        self.0.retain(|(held, _)| *held != tag);
    }

    /// A reply packet.
    pub fn encode(&self, status: Status) -> Vec<u8> {
        let mut packet = vec![0, 0, 0, 0, status as u8];
        for (tag, value) in &self.0 {
            let Ok(length) = u16::try_from(value.len()) else {
                continue;
            };
            if packet.len() + 3 + value.len() > REPLY_LIMIT {
                continue;
            }
            packet.push(*tag as u8);
            packet.extend(length.to_le_bytes());
            packet.extend(value);
        }
        let length = u32::try_from(packet.len() - 4).unwrap_or(0);
        if let Some(head) = packet.get_mut(..4) {
            head.copy_from_slice(&length.to_le_bytes());
        }
        packet
    }

    /// Reads a reply packet; `None` for anything malformed, since the worker may have been taken over by a file.
    pub fn decode(packet: &[u8]) -> Option<(Status, Self)> {
        let (head, mut rest) = packet.split_first_chunk::<4>()?;
        if usize::try_from(u32::from_le_bytes(*head)).ok()? != rest.len() {
            return None;
        }
        let (&status, after) = rest.split_first()?;
        rest = after;
        let status = match status {
            0 => Status::Read,
            1 => Status::Refused,
            _ => return None,
        };
        let mut tags = Self::default();
        while let Some((&number, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk::<2>()?;
            let (value, after) =
                after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            tags.add(*Tag::ALL.get(usize::from(number))?, value);
            rest = after;
        }
        Some((status, tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_comes_back_as_it_was_sent() {
        let mut tags = Tags::default();
        tags.add(Tag::Make, b"Nikon\0");
        tags.add(Tag::Width, b"640");
        tags.add(Tag::Make, b"second value is ignored");
        let (status, back) = Tags::decode(&tags.encode(Status::Refused)).unwrap();
        assert_eq!(status, Status::Refused);
        assert_eq!(back.text(Tag::Make).as_deref(), Some("Nikon"));
        assert_eq!(back.number(Tag::Width), Some(640));
        assert!(back.bytes(Tag::Model).is_none());
    }

    #[test]
    fn a_reply_that_is_cut_or_made_up_is_refused() {
        let mut tags = Tags::default();
        tags.add(Tag::Make, b"Nikon");
        let packet = tags.encode(Status::Read);
        for length in 0..packet.len() {
            assert!(Tags::decode(&packet[..length]).is_none(), "{length}");
        }
        assert!(Tags::decode(&[4, 0, 0, 0, 0, 200, 0, 0]).is_none());
        assert!(Tags::decode(&[1, 0, 0, 0, 9]).is_none());
    }
}
