//! XMP packets: the few properties the house asks for, from RDF in any of its usual spellings.
//!
//! Properties count only at the top level of the packet: history and ingredients nest whole descriptions of other pictures.

use super::source::find;
use super::tags::{Tag, Tags};

/// Deeper nesting is not followed.
const DEEPEST: usize = 64;

/// Prefixes remembered: a packet made up of others would keep us looking.
const PREFIXES: usize = 64;

const NAMESPACES: [(&str, &str); 4] = [
    ("http://ns.adobe.com/exif/1.0/", "exif"),
    ("http://ns.adobe.com/photoshop/1.0/", "photoshop"),
    ("http://ns.adobe.com/xap/1.0/", "xmp"),
    ("http://ns.adobe.com/tiff/1.0/", "tiff"),
];

const PROPERTIES: [(Tag, &str); 11] = [
    (Tag::XmpOriginal, "exif:DateTimeOriginal"),
    (Tag::XmpDigitized, "exif:DateTimeDigitized"),
    (Tag::XmpDateCreated, "photoshop:DateCreated"),
    (Tag::XmpCreateDate, "xmp:CreateDate"),
    (Tag::XmpModifyDate, "xmp:ModifyDate"),
    (Tag::XmpLatitude, "exif:GPSLatitude"),
    (Tag::XmpLatitudeRef, "exif:GPSLatitudeRef"),
    (Tag::XmpLongitude, "exif:GPSLongitude"),
    (Tag::XmpLongitudeRef, "exif:GPSLongitudeRef"),
    (Tag::XmpMake, "tiff:Make"),
    (Tag::XmpModel, "tiff:Model"),
];

/// Adds the properties of a packet to `tags`.
pub(super) fn read(packet: &[u8], tags: &mut Tags) {
    let text = String::from_utf8_lossy(packet);
    let mut names: Vec<(String, &str)> = NAMESPACES
        .iter()
        .map(|(_, name)| ((*name).to_owned(), *name))
        .collect();
    names.push(("xap".to_owned(), "xmp"));
    let mut open: Vec<String> = Vec::new();
    let mut rest = text.as_ref();
    // A property's text between its own tags.
    let mut property: Option<Tag> = None;
    while let Some((before, after)) = rest.split_once('<') {
        if let Some(tag) = property.take() {
            tags.add(tag, unescape(before).as_bytes());
        }
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let Some((element, after)) = cut_element(after) else {
            return;
        };
        rest = after;
        if element.starts_with(['?', '!']) {
            continue;
        }
        if element.starts_with('/') {
            open.pop();
            continue;
        }
        let (body, closed) = element
            .strip_suffix('/')
            .map_or((element, false), |body| (body, true));
        let (name, attributes) = body
            .split_once(|c: char| c.is_ascii_whitespace())
            .unwrap_or((body, ""));
        let attributes = attributes_of(attributes);
        for (key, value) in &attributes {
            if let Some(prefix) = key.strip_prefix("xmlns:")
                && let Some((_, ours)) = NAMESPACES.iter().find(|(uri, _)| uri == value)
            {
                names.retain(|(held, _)| held != prefix);
                if names.len() < PREFIXES {
                    names.push((prefix.to_owned(), *ours));
                }
            }
        }
        let in_description = open.last().is_some_and(|parent| is_description(parent))
            && open.iter().filter(|name| is_description(name)).count() == 1;
        let top_description = is_description(name) && !open.iter().any(|name| is_description(name));
        if top_description {
            for (key, value) in &attributes {
                if let Some(tag) = tag_of(key, &names) {
                    tags.add(tag, unescape(value).as_bytes());
                }
            }
        }
        if !closed {
            if in_description {
                property = tag_of(name, &names);
            }
            open.push(name.to_owned());
            if open.len() > DEEPEST {
                return;
            }
        }
    }
}

/// Whether these bytes hold an XMP packet at all.
pub(super) fn is_packet(bytes: &[u8]) -> bool {
    find(bytes, b"<rdf:RDF").is_some() || find(bytes, b":RDF").is_some()
}

fn is_description(name: &str) -> bool {
    name.ends_with(":Description")
}

/// Cuts at the `>` that ends an element, not at one inside a quoted value.
fn cut_element(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some((text.get(..at)?, text.get(at + 1..)?)),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn attributes_of(mut text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    while let Some((key, after)) = text.split_once('=') {
        let after = after.trim_start();
        let Some(quote) = after.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            break;
        };
        let Some((value, rest)) = after.get(1..).and_then(|after| after.split_once(quote)) else {
            break;
        };
        found.push((key.trim(), value));
        text = rest;
    }
    found
}

fn tag_of(name: &str, names: &[(String, &str)]) -> Option<Tag> {
    let (prefix, local) = name.split_once(':')?;
    let (_, ours) = names.iter().find(|(held, _)| held == prefix)?;
    let found = PROPERTIES.iter().find(|(_, property)| {
        property
            .split_once(':')
            .is_some_and(|(theirs, name)| theirs == *ours && name == local)
    });
    found.map(|(tag, _)| *tag)
}

fn unescape(text: &str) -> String {
    let text = text.trim();
    if !text.contains('&') {
        return text.to_owned();
    }
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(inside: &str) -> Tags {
        let mut tags = Tags::default();
        let text = format!(
            "<?xpacket begin='' id='W5M0'?><x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>{inside}</rdf:RDF></x:xmpmeta>"
        );
        read(text.as_bytes(), &mut tags);
        tags
    }

    #[test]
    fn properties_are_read_as_elements_and_as_attributes() {
        let elements = packet(
            "<rdf:Description><exif:DateTimeOriginal> 2020-01-02T03:04:05 </exif:DateTimeOriginal><tiff:Model>A &amp; B</tiff:Model></rdf:Description>",
        );
        assert_eq!(
            elements.text(Tag::XmpOriginal).as_deref(),
            Some("2020-01-02T03:04:05")
        );
        assert_eq!(elements.text(Tag::XmpModel).as_deref(), Some("A & B"));
        let attributes = packet(
            "<rdf:Description rdf:about='' xmp:CreateDate=\"2020-01-02\" photoshop:DateCreated='2019-01-01'/>",
        );
        assert_eq!(
            attributes.text(Tag::XmpCreateDate).as_deref(),
            Some("2020-01-02")
        );
        assert_eq!(
            attributes.text(Tag::XmpDateCreated).as_deref(),
            Some("2019-01-01")
        );
    }

    #[test]
    fn a_namespace_may_have_any_prefix() {
        let tags = packet(
            "<rdf:Description xmlns:q='http://ns.adobe.com/xap/1.0/' q:CreateDate='2020-01-02'/>",
        );
        assert_eq!(tags.text(Tag::XmpCreateDate).as_deref(), Some("2020-01-02"));
    }

    #[test]
    fn the_dates_of_nested_ingredients_are_not_the_pictures_own() {
        let tags = packet(
            "<rdf:Description><xmpMM:Pantry><rdf:Bag><rdf:li><rdf:Description xmp:CreateDate='1999-01-01'>\
             <exif:DateTimeOriginal>1999-01-01</exif:DateTimeOriginal></rdf:Description></rdf:li></rdf:Bag></xmpMM:Pantry>\
             <xmp:CreateDate>2020-01-02</xmp:CreateDate></rdf:Description>",
        );
        assert_eq!(tags.text(Tag::XmpCreateDate).as_deref(), Some("2020-01-02"));
        assert_eq!(tags.text(Tag::XmpOriginal), None);
    }

    #[test]
    fn cut_and_tangled_packets_end_quietly() {
        let whole = "<rdf:RDF><rdf:Description xmp:CreateDate='2020-01-02'><exif:DateTimeOriginal>2020</exif:DateTimeOriginal>";
        for end in 0..whole.len() {
            read(&whole.as_bytes()[..end], &mut Tags::default());
        }
        read("<a".repeat(100_000).as_bytes(), &mut Tags::default());
        read(
            "<a:Description>".repeat(100_000).as_bytes(),
            &mut Tags::default(),
        );
    }
}
