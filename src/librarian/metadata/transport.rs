//! MPEG transport streams as camcorders write them (AVCHD): the date lies in the video itself, in a record called MDPM.

use jiff::civil::Time;

use super::source::{LONGEST, Source, array, be16, find};
use super::stamp::{self, Stamp, Zone};
use super::video::Facts;

/// The identifier of the user data that holds MDPM.
const MDPM: &[u8] = b"\x17\xee\x8c\x60\xf8\x4d\x11\xd9\x8c\xd6\x08\0\x20\x0c\x9a\x66MDPM";

/// 188, or 192 where a time code stands before each packet; `None` for another format.
pub(super) fn packet_length(head: &[u8]) -> Option<usize> {
    let sync = |first: usize, step: usize| {
        head.get(first + step) == Some(&0x47)
            && (0..4).all(|packet| {
                head.get(first + packet * step)
                    .is_none_or(|&byte| byte == 0x47)
            })
    };
    if sync(0, 188) {
        Some(188)
    } else if sync(4, 192) {
        Some(192)
    } else {
        None
    }
}

/// Looks for the record in the first seconds of each stream.
pub(super) fn read(source: &Source, packet: usize, facts: &mut Facts) {
    let head = source.read(0, LONGEST / 2);
    let mut streams: Vec<(u16, Vec<u8>)> = Vec::new();
    for chunk in head.chunks(packet) {
        let Some((pid, payload)) = payload(chunk.get(packet - 188..).unwrap_or_default()) else {
            continue;
        };
        if let Some((_, stream)) = streams.iter_mut().find(|(held, _)| *held == pid) {
            stream.extend(payload);
        } else if streams.len() < 16 {
            streams.push((pid, payload.to_vec()));
        }
    }
    for (_, stream) in &streams {
        if let Some(record) = find(stream, MDPM).and_then(|at| stream.get(at + MDPM.len()..)) {
            records(&unescaped(record), facts);
            return;
        }
    }
}

fn payload(packet: &[u8]) -> Option<(u16, &[u8])> {
    if packet.first() != Some(&0x47) {
        return None;
    }
    let pid = be16(packet, 1)? & 0x1fff;
    let control = packet.get(3)? >> 4 & 3;
    let start = match control {
        1 => 4,
        3 => 5 + usize::from(*packet.get(4)?),
        _ => return None,
    };
    Some((pid, packet.get(start..)?))
}

/// H.264 puts a 3 after two zeros.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut zeros = 0;
    for &byte in bytes.iter().take(4096) {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

/// A count, then five bytes each: a number and four bytes of value.
fn records(bytes: &[u8], facts: &mut Facts) {
    let count = usize::from(bytes.first().copied().unwrap_or(0));
    let value = |number: u8| -> Option<[u8; 4]> {
        let entries = bytes.get(1..)?.chunks_exact(5).take(count);
        entries
            .into_iter()
            .find(|entry| entry.first() == Some(&number))
            .and_then(|entry| array(entry, 1))
    };
    facts.local = value(0x18)
        .zip(value(0x19))
        .and_then(|(day, time)| date(day, time));
    facts.make = value(0xe0).and_then(|make| {
        let name = match be16(&make, 0)? {
            0x0103 => "Panasonic",
            0x0108 => "Sony",
            0x1011 => "Canon",
            0x1104 => "JVC",
            _ => return None,
        };
        Some(name.to_owned())
    });
    let degrees = |reference: u8, first: u8, negative: u8| -> Option<f64> {
        let mut sum = 0.0;
        for (number, scale) in (first..).zip([1.0, 60.0, 3600.0]) {
            let pair = value(number)?;
            let (top, bottom) = (f64::from(be16(&pair, 0)?), f64::from(be16(&pair, 2)?));
            sum += if bottom > 0.0 {
                top / bottom / scale
            } else {
                0.0
            };
        }
        Some(if value(reference)?.first() == Some(&negative) {
            -sum
        } else {
            sum
        })
    };
    facts.location = degrees(0xb1, 0xb2, b'S')
        .zip(degrees(0xb5, 0xb6, b'W'))
        .and_then(|(latitude, longitude)| stamp::location(latitude, longitude));
}

/// Binary-coded decimals; the first byte is the zone: sign, half hours.
fn date(
    [zone, century, year, month]: [u8; 4],
    [day, hour, minute, second]: [u8; 4],
) -> Option<Stamp> {
    let decimal = |byte: u8| {
        (byte >> 4 < 10 && byte & 15 < 10).then(|| u32::from(byte >> 4) * 10 + u32::from(byte & 15))
    };
    let date = stamp::date(
        decimal(century)? * 100 + decimal(year)?,
        decimal(month)?,
        decimal(day)?,
    )?;
    let time: Time = stamp::time(decimal(hour)?, decimal(minute)?, decimal(second)?, 0)?;
    let minutes = i16::from(zone >> 1 & 15) * 60 + i16::from(zone & 1) * 30;
    let zone = if zone & 0x80 != 0 || minutes > 14 * 60 {
        Zone::Unknown
    } else {
        Zone::Offset(if zone & 0x20 == 0 { minutes } else { -minutes })
    };
    Some(Stamp {
        local: date.to_datetime(time),
        zone,
    })
}
