//! Inputs to begin with, made from our own fixtures: sound files of every format, small, so that a change hits something.

#![allow(
    unreachable_pub,
    clippy::too_many_lines,
    clippy::format_collect,
    reason = "a list of samples, for two programs: the test, and the one that writes the seeds"
)]

use crate::fixtures::exif::Exif;
use crate::fixtures::raster::{dng, landscape, png};
use crate::fixtures::video::{Movie, matroska, mov, mp4};
use crate::fixtures::{jpeg, sidecar};
use photo_factory::asset::crc32;
use photo_factory::librarian::metadata::tags::{Status, Tag, Tags};

/// The seeds of a fuzz target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "kind" | "metadata" => files()
            .iter()
            .map(|(name, content)| named(name, content))
            .collect(),
        "xmp" => vec![
            sidecar::xmp("2020-01-02T03:04:05.678+01:00").into_bytes(),
            XMP.as_bytes().to_vec(),
        ],
        "takeout" => vec![
            sidecar::takeout("a.jpg", 1_502_717_400, (-33.8908, 151.2743)).into_bytes(),
            br#"{"photoTakenTime":{"timestamp":1502717400},"geoDataExif":{"latitude":1,"longitude":-2.5e1}}"#
                .to_vec(),
        ],
        "worker_reply" => vec![
            reply(&[
                (Tag::Make, "Canon"),
                (Tag::Model, "Canon EOS 80D"),
                (Tag::Original, "2016:07:14 18:31:07"),
                (Tag::OriginalSubSec, "12"),
                (Tag::OriginalOffset, "+02:00"),
                (Tag::Latitude, "43/1 41/1 4596/100"),
                (Tag::LatitudeRef, "N"),
                (Tag::Longitude, "7/1 16/1 1848/100"),
                (Tag::LongitudeRef, "E"),
                (Tag::Width, "640"),
                (Tag::Height, "480"),
            ]),
            reply(&[
                (Tag::XmpCreateDate, "2012-07-05T23:18:27Z"),
                (Tag::IptcDate, "20090603"),
                (Tag::IptcTime, "170222+0200"),
                (Tag::XmpLatitude, "44,38.77548N"),
                (Tag::XmpLongitude, "63,34,10.98W"),
                (
                    Tag::MakerNote,
                    "65 112 112 108 101 32 105 79 83 0 0 1 77 77 0 1 0 17 0 2 0 0 0 5 0 0 0 32 0 0 0 0 65 66 67 68 0",
                ),
            ]),
        ],
        "date_stamps" => lines(&[
            "2016:07:14 18:31:07\n5\n+02:00\n2020-01-05T15:04:05.250-05:00\n2003-08-31\n20090603\n170222+0200\n43/1 28/1 2814/100\nN\n7/1 0/1 0/0\nE\n44,38.77548N\n63,34,10.98W",
            "2004:01:01 00:00:00\n\n\n20030831T101112Z\n2016/09/12 10:05\n2009-06-03\n17:02:22+02:00\n\n\n\n\n-1.914167\n63.569717",
            "    :  :     :  :  \n054 \n   :  \n2019-02-12T15:27:12+0800",
        ]),
        "file_name" => lines(&[
            "*.tmp\n20240131_123456.jpg",
            "IMG_????.*\nIMG-20240131-WA0007.jpg",
            "*a*b*\nScreenshot_2024-05-01-12-34-56.png",
            "\nPXL_20231006_063909898.LS.mp4",
            "x\n2024-01-31 12.34.56.jpg",
            "x\nphoto_2024@31-01-2024_12-34-56.jpg",
            "x\nBURST20181224173015123_COVER.jpg",
            "x\nFB_IMG_1502717400123.jpg",
            ".*\n.syncthing.IMG_0001.JPG.tmp",
        ]),
        "shots" => lines(&[
            "IMG_1.HEIC\nIMG_1.MOV\nIMG_1.AAE\nIMG_E1.HEIC\nIMG_O1.AAE",
            "IMG_1.jpg\nIMG_1(1).jpg\nIMG_1.jpg.json\nIMG_1.jpg(1).json\nIMG_1-edited.jpg",
            "IMG_1.NEF\nIMG_1.jpg\nIMG_1.NEF.xmp\nIMG_1.xmp",
            "00100lrPORTRAIT_00100_BURST20181224173015123_COVER.jpg\n00100lrPORTRAIT_00100_BURST20181224173015123_C.json",
            "a.jpg\na.jpg.supplemental-metadata(2).json\na(2).jpg\n.jpg\n..jpg\n-rf.jpg",
        ]),
        "settings" => lines(&[
            "[inbox]\npath = \"in\"\nsettle_seconds = 3\nrescan_seconds = 0.5\nclear = \"never\"\npoll = \"auto\"\nignore = [\"*.tmp\", \"a?\"]\n[storage]\npath = \"/mnt/photos\"\nreserve = \"1.5 GiB\"\n[verify]\ndays = 30\nlimit = 0.5\n[dashboard]\nlisten = \"127.0.0.1:8380\"\nhosts = [\"photos.lan\"]\nrefresh_seconds = 10\n",
            "inbox.poll = true\nstorage = { path = 'x' }\n",
            "[inbox]\nsettle_second = 5\n",
        ]),
        "ledger_rows" => rows(),
        "journal_line" => journal_lines(),
        "storage_marker" => lines(&[
            "0123456789abcdef0123456789abcdef\nThis file tells Photo Factory that this folder is its Storage.\n",
            " 0123456789ABCDEF0123456789ABCDEF\r\n",
        ]),
        "heartbeats" => vec![
            [
                &7_u64.to_le_bytes()[..],
                &1_700_000_000_000_i64.to_le_bytes(),
                b"\x01\x00\x04disk",
                b"IMG_0001.JPG",
            ]
            .concat(),
        ],
        "page_request" => lines(&[
            "GET / HTTP/1.1\r\nHost: localhost:8380\r\nCookie: a=b; refresh=30\r\nAccept: */*",
            "HEAD /api/v1/status HTTP/1.0\r\nHost: [::1]:8380",
            "GET /?refresh=0 HTTP/1.1\r\nhost: photos.example.org\r\nContent-Length: 0",
            "GET /export.csv HTTP/1.1\r\nHost: pi.local.\r\nVia: 1.1 photo-factory",
            "POST / HTTP/1.1\r\nHost: 192.168.1.2\r\nTransfer-Encoding: chunked",
            "POST /sign-in HTTP/1.1\r\nHost: pi.local\r\nOrigin: http://pi.local\r\nSec-Fetch-Site: same-origin\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 45\r\n\r\n\
             token=00ff&password=a+long%20one&next=%2Fx%3D",
            "GET /status.txt HTTP/1.1\r\nHost: pi.local\r\nAuthorization: Bearer 00ff\r\nForwarded: for=127.0.0.1\r\n\
             Accept-Encoding: br;q=1, gzip;q=0.5\r\nIf-None-Match: \"1\"",
        ]),
        other => unreachable!("no target is called {other}"),
    }
}

/// A file of every format that a reader of ours opens.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let exif = Exif::taken("2022:09:03 16:20:11")
        .camera("Apple", "iPhone 12")
        .offset("+02:00")
        .at(52.5163, 13.3777)
        .content_id("5B2C3E0A-6F4D-4C7B-9A21-0D8E7F61A2B3");
    let tiff = exif.tiff();
    let movie = Movie {
        created: Some(1_662_214_811),
        creation_date: Some("2022-09-03T16:20:11+0200".to_owned()),
        location: Some("+52.5163+013.3777/".to_owned()),
        content_id: exif.content_id.clone(),
        camera: exif.make.clone().zip(exif.model.clone()),
    };
    let frames = [vec![0xff, 0xd8, 0xff, 0xd9]];
    let picture = landscape(1, 8, 6);
    let profile: String = tiff.iter().map(|byte| format!("{byte:02x}")).collect();
    let profile = format!("\nexif\n{}\n457869660000{profile}", tiff.len() + 6);
    let jpeg = jpeg::small(1, &exif);
    let raw = |magic: &[u8]| [magic, tiff.get(magic.len()..).unwrap_or_default()].concat();
    vec![
        ("IMG_1.JPG", jpeg.clone()),
        ("IMG_2.jpg", jpeg::encode(&picture, None, Some(XMP))),
        ("IMG_3.png", png(&picture, &[], Some(&exif))),
        (
            "IMG_4.png",
            png(&picture, &[("Raw profile type exif", &profile)], None),
        ),
        ("IMG_5.DNG", dng(&picture, &exif)),
        ("IMG_6.tif", tiff.clone()),
        ("IMG_7.RW2", raw(b"IIU\0")),
        ("IMG_8.ORF", raw(b"IIRO")),
        ("IMG_9.heic", heic(*b"heic", &tiff)),
        ("IMG_10.avif", heic(*b"avif", &tiff)),
        ("IMG_11.CR3", cr3(&tiff)),
        (
            "IMG_12.jxl",
            [
                boxed(*b"JXL ", b"\r\n\x87\n"),
                boxed(*b"ftyp", b"jxl \0\0\0\0jxl "),
                boxed(*b"Exif", &[&[0; 4], &tiff[..]].concat()),
                boxed(*b"xml ", XMP.as_bytes()),
                boxed(*b"jxlc", &[0xff, 0x0a]),
            ]
            .concat(),
        ),
        (
            "IMG_13.jp2",
            [
                boxed(*b"jP  ", b"\r\n\x87\n"),
                boxed(*b"ftyp", b"jp2 \0\0\0\0jp2 "),
                boxed(
                    *b"jp2h",
                    &boxed(*b"ihdr", &[0, 0, 0, 6, 0, 0, 0, 8, 0, 3, 7, 7, 0, 0]),
                ),
                boxed(*b"jp2c", &[0xff, 0x4f]),
            ]
            .concat(),
        ),
        (
            "IMG_14.webp",
            riff(
                *b"WEBP",
                &[
                    (b"VP8X", &[0x0c, 0, 0, 0, 7, 0, 0, 5, 0, 0]),
                    (b"EXIF", &tiff),
                    (b"XMP ", XMP.as_bytes()),
                ],
            ),
        ),
        (
            "IMG_15.gif",
            [
                &b"GIF89a\x08\0\x06\0\0\0\0!\xff\x0bXMP DataXMP"[..],
                XMP.as_bytes(),
                b"\0;",
            ]
            .concat(),
        ),
        (
            "IMG_16.bmp",
            [
                &b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x08\0\0\0\xfa\xff\xff\xff\x01\0\x18\0"
                    [..],
                &[0; 60],
            ]
            .concat(),
        ),
        (
            "IMG_17.psd",
            [
                &b"8BPS\0\x01\0\0\0\0\0\0\0\x03\0\0\0\x06\0\0\0\x08\0\x08\0\x03"[..],
                &[0; 16],
            ]
            .concat(),
        ),
        ("IMG_18.RAF", raf(&jpeg)),
        (
            "IMG_19.MRW",
            [
                &b"\0MRM"[..],
                &be32(tiff.len() + 8),
                b"\0TTW",
                &be32(tiff.len()),
                &tiff,
            ]
            .concat(),
        ),
        ("IMG_20.X3F", x3f()),
        ("IMG_21.MOV", mov(&movie, &frames, 8, 6)),
        ("IMG_22.mp4", mp4(&movie, &frames, 8, 6)),
        ("IMG_23.mov", user_data(&jpeg)),
        ("IMG_24.mkv", matroska(1_662_214_811)),
        ("IMG_25.avi", avi(&tiff)),
        ("IMG_26.wmv", asf()),
        ("IMG_27.MTS", transport()),
        (
            "IMG_28.jpg.json",
            sidecar::takeout("IMG_28.jpg", 1_502_717_400, (-33.9, 151.3)).into_bytes(),
        ),
        ("IMG_29.xmp", XMP.as_bytes().to_vec()),
        ("IMG_30.aae", sidecar::aae().into_bytes()),
        ("IMG_31.JPG", jpeg::truncated(&jpeg)),
        ("notes.txt", b"Milk, bread\n".to_vec()),
    ]
}

const XMP: &str = r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><!-- c --><rdf:Description rdf:about="" xmlns:e="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreateDate='2020-01-02T03:04Z'><e:DateTimeOriginal>2020-01-02T03:04:05</e:DateTimeOriginal><e:GPSLatitude>44,38.77548N</e:GPSLatitude><e:GPSLongitude>63,34,10.98W</e:GPSLongitude><tiff:Model>A &amp; B</tiff:Model></rdf:Description></rdf:RDF></x:xmpmeta>"#;

fn named(name: &str, content: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"\n", content].concat()
}

fn lines(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn reply(values: &[(Tag, &str)]) -> Vec<u8> {
    let mut tags = Tags::default();
    for (tag, value) in values {
        tags.add(*tag, value.as_bytes());
    }
    tags.encode(Status::Read)
}

/// An asset's row behind its key, and one of a file that was left.
fn rows() -> Vec<Vec<u8>> {
    // Version, hash, size, inbox path, final path, kind, capture time and what is empty: postcard's plainest values.
    let mut asset = 7_u64.to_be_bytes().to_vec();
    asset.push(1);
    asset.extend([9; 32]);
    asset.extend(b"\x80\x01\x09IMG_1.JPG\x00\x0cOriginals/x/\x09\x00\x80\x80\x01\x01\x02\x00");
    asset.extend([0; 16]);
    let mut left = 0_u64.to_be_bytes().to_vec();
    left.extend(b"notes.txt\n\x01\x0c\x00\x00\x08no photo\x00");
    vec![asset, left]
}

/// Lines of a journal, without their checksums.
fn journal_lines() -> Vec<Vec<u8>> {
    let rows = rows();
    let (key, body) = rows[0].split_at(8);
    let sum = crc32([rows[0].as_slice()]).to_le_bytes();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let record = hex(&[body, &sum].concat());
    let id = u64::from(key[7]);
    let row = |line: &str| {
        format!(r#"{{"line":"{line}","id":{id},"final_path":"","file_hash":"","record":"{record}""#)
    };
    vec![
        br#"{"line":"begin","format":1"#.to_vec(),
        row("intend").into_bytes(),
        row("file").into_bytes(),
        br#"{"line":"finish","id":9223372036854775808"#.to_vec(),
        br#"{"line":"withdraw","id":9223372036854775809"#.to_vec(),
    ]
}

fn be32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or_default().to_be_bytes()
}

fn le32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or_default().to_le_bytes()
}

fn boxed(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
    [&be32(body.len() + 8), &kind[..], body].concat()
}

/// A picture's description with two items: EXIF in `idat`, and its size.
fn heic(brand: [u8; 4], tiff: &[u8]) -> Vec<u8> {
    let item = boxed(*b"infe", b"\x02\0\0\0\0\x01\0\0Exif\0");
    let packet = boxed(*b"infe", b"\x02\0\0\0\0\x02\0\0mime\0application/rdf+xml\0");
    let items = boxed(*b"iinf", &[&b"\0\0\0\0\0\x02"[..], &item, &packet].concat());
    let exif = [&[0; 4], tiff].concat();
    let place = |item: u8, at: usize, length: usize| {
        [&[0, item, 0, 1, 0, 0, 0, 1][..], &be32(at), &be32(length)].concat()
    };
    let places = boxed(
        *b"iloc",
        &[
            &b"\x01\0\0\0\x44\0\0\x02"[..],
            &place(1, 0, exif.len()),
            &place(2, exif.len(), XMP.len()),
        ]
        .concat(),
    );
    let size = boxed(*b"ispe", &[0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 6]);
    let properties = boxed(*b"iprp", &boxed(*b"ipco", &size));
    let data = boxed(*b"idat", &[&exif, XMP.as_bytes()].concat());
    let meta = [&[0; 4], &items[..], &places, &properties, &data].concat();
    [
        boxed(*b"ftyp", &[&brand[..], &[0; 4], &brand[..]].concat()),
        boxed(*b"meta", &meta),
    ]
    .concat()
}

fn cr3(tiff: &[u8]) -> Vec<u8> {
    let canon = b"\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48";
    let parts = [
        boxed(*b"CMT1", tiff),
        boxed(*b"CMT2", tiff),
        boxed(*b"CMT4", tiff),
    ]
    .concat();
    [
        boxed(*b"ftyp", b"crx \0\0\0\x01crx isom"),
        boxed(*b"moov", &boxed(*b"uuid", &[&canon[..], &parts].concat())),
    ]
    .concat()
}

fn riff(kind: [u8; 4], chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let body: Vec<u8> = chunks
        .iter()
        .flat_map(|(name, content)| chunk(**name, content))
        .collect();
    [&b"RIFF"[..], &le32(body.len() + 4), &kind[..], &body].concat()
}

fn chunk(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = [&name[..], &le32(content.len()), content].concat();
    out.resize(out.len().next_multiple_of(2), 0);
    out
}

fn avi(tiff: &[u8]) -> Vec<u8> {
    let mut header = [0; 40];
    header[32] = 8;
    header[36] = 6;
    let exif = [b"Exif\0\0", tiff].concat();
    let nikon = b"\x03\0\x05\0NIKON\x13\0\x14\x002009:10:27 12:14:00\0";
    let list = [
        &b"hdrl"[..],
        &chunk(*b"avih", &header),
        &chunk(*b"IDIT", b"MON OCT 27 12:14:00 2009\n"),
        &chunk(*b"strd", &exif),
        &chunk(*b"nctg", nikon),
    ]
    .concat();
    riff(
        *b"AVI ",
        &[(b"LIST", &list), (b"IMAK", b"Canon"), (b"LIST", b"movi")],
    )
}

fn asf() -> Vec<u8> {
    let guid = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";
    let properties = b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65";
    let mut object = [&properties[..], &104_u64.to_le_bytes(), &[0; 24]].concat();
    object.extend(129_000_000_000_000_000_u64.to_le_bytes());
    object.resize(104, 0);
    let mut out = guid.to_vec();
    out.extend(134_u64.to_le_bytes());
    out.extend([1, 0, 0, 0, 1, 2]);
    out.extend(object);
    out
}

/// Packets of a transport stream with a camera's date in the picture's user data.
fn transport() -> Vec<u8> {
    let mut out = Vec::new();
    for counter in 0..8_u8 {
        let mut packet = vec![0x47, 0x50, 0x11, 0x10 | counter];
        packet.extend(b"\0\0\x01\xe0\0\0\x80\0\0\0\0\x01\x06\x05\x30");
        packet.extend(b"\x17\xee\x8c\x60\xf8\x4d\x11\xd9\x8c\xd6\x08\x00\x20\x0c\x9a\x66MDPM");
        packet.extend(b"\x03\x18\x42\x20\x09\x10\x19\x27\x12\x14\x00\x70\x01\x03\0\0");
        packet.resize(188, 0xff);
        out.extend(packet);
    }
    out
}

fn raf(jpeg: &[u8]) -> Vec<u8> {
    let mut out = b"FUJIFILMCCD-RAW 0201".to_vec();
    out.resize(84, 0);
    out.extend(be32(92));
    out.extend(be32(jpeg.len()));
    out.extend(jpeg);
    out
}

/// A header, a list of properties in UTF-16, and the directory that the last four bytes lead to.
fn x3f() -> Vec<u8> {
    let mut out = b"FOVb\x02\0\x02\0".to_vec();
    out.resize(40, 0);
    let at = out.len();
    let text: Vec<u8> = "TIME\x001157000000\0"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    out.extend(b"SECp\0\0\x02\0");
    for number in [1, 0, 0, text.len() / 2, 0, 5] {
        out.extend(le32(number));
    }
    out.extend(text);
    let length = out.len() - at;
    let directory = out.len();
    out.extend(b"SECd\0\0\x02\0");
    for number in [1, at, length] {
        out.extend(le32(number));
    }
    out.extend(b"PROP");
    out.extend(le32(directory));
    out
}

/// What makers put into a movie's user data.
fn user_data(jpeg: &[u8]) -> Vec<u8> {
    let text = |kind: [u8; 4], value: &[u8]| {
        let length = u8::try_from(value.len()).unwrap_or_default();
        boxed(kind, &[&[0, length, 0x15, 0xc7], value].concat())
    };
    let parts = [
        text(*b"\xa9day", b"2019-11-20T15:04:02+0100"),
        text(*b"\xa9xyz", b"+27.1281+100.2508/"),
        text(*b"\xa9mak", b"Canon"),
        boxed(
            *b"loci",
            b"\0\0\0\0\x15\xc7a\0\0\0\x64\0\0\0\x1b\0\0\0\0\0\0",
        ),
        boxed(*b"GPMF", b"MINFc\x01\0\x04HERO"),
        boxed(*b"CNTH", &boxed(*b"CNDA", jpeg)),
        boxed(*b"XMP_", XMP.as_bytes()),
    ]
    .concat();
    [
        boxed(*b"ftyp", b"qt  \0\0\0\0"),
        boxed(*b"moov", &boxed(*b"udta", &parts)),
    ]
    .concat()
}
