//! What must hold for any bytes whatever, one function per parser: for the fuzz targets, and for `tests/mutated_input.rs`.
//!
//! None may panic (also not where a panic would be caught), take long, or take much memory: those who call watch over that.
//! Each says besides what its parser promises about its answer. A *named file* is an input whose first line is a file's name
//! and the rest its content.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::unnecessary_debug_formatting,
    clippy::disallowed_methods,
    reason = "a property that does not hold is told by a panic; the inputs become files"
)]

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use photo_factory::asset::{CaptureTime, CapturedFrom, FileHash, Metadata, crc32, day_folder};
use photo_factory::config::Config;
use photo_factory::dashboard::access::Access;
use photo_factory::dashboard::gate::head::{self, Head};
use photo_factory::dashboard::overview::{Activity, Overview};
use photo_factory::dashboard::request::{From, Method, Request};
use photo_factory::dashboard::routes;
use photo_factory::dashboard::site::Site;
use photo_factory::disk::storage::StorageId;
use photo_factory::ledger::{restored_asset, restored_left, restored_line};
use photo_factory::librarian::decide::{Decision, ReadFile, decide};
use photo_factory::librarian::kind::{HEAD, SidecarKind, Told, tell};
use photo_factory::librarian::metadata::tags::{Status, Tag, Tags};
use photo_factory::librarian::metadata::{Reader, interpret};
use photo_factory::librarian::{date, settle, shot, sidecar};
use photo_factory::monitor::{Monitor, Seen, Service, Settings, Watched, parsed_row, row_record};

/// Inputs longer than this are not asked for.
pub const LONGEST: usize = 64 << 10;

/// Memory that an input may take at most, the longest that a reader takes (2 MiB) too.
pub const MEMORY: usize = 64 << 20;

/// Tries one input.
pub type Property = fn(&[u8]);

/// Every property, under the name of its fuzz target.
pub const ALL: [(&str, Property); 14] = [
    ("kind", kind),
    ("metadata", metadata),
    ("xmp", xmp),
    ("takeout", takeout),
    ("worker_reply", worker_reply),
    ("date_stamps", date_stamps),
    ("file_name", file_name),
    ("shots", shots),
    ("settings", settings),
    ("ledger_rows", ledger_rows),
    ("journal_line", journal_line),
    ("storage_marker", storage_marker),
    ("heartbeats", heartbeats),
    ("page_request", page_request),
];

/// What a file is, told by its head and its name.
pub fn kind(input: &[u8]) {
    let (name, content) = named_file(input);
    if let Told::NotMedia(reason) = tell(content.get(..HEAD).unwrap_or(content), name) {
        is_sentence(&reason);
    }
}

/// A photo, a video or a sidecar, the way the daemon goes: told, read, dated.
pub fn metadata(input: &[u8]) {
    let (name, _) = named_file(input);
    let found = read(input);
    is_sound(&found);
    dated(&found.dates, name, Timestamp::UNIX_EPOCH);
}

/// What our own readers say of a named file; nothing of what is no photo, video or sidecar.
pub fn read(input: &[u8]) -> Metadata {
    let (name, content) = named_file(input);
    let told = tell(content.get(..HEAD).unwrap_or(content), name);
    let read = |reader: &Reader, file: &File| {
        let size = content.len() as u64;
        match told {
            Told::Media(kind) => reader.read(file, size, kind, name),
            Told::Sidecar(kind) => reader.read_sidecar(file, size, kind, name),
            Told::NotMedia(_) => Metadata::default(),
        }
    };
    with_reader(content, read)
}

/// An XMP sidecar.
pub fn xmp(input: &[u8]) {
    let found = with_reader(input, |reader, file| {
        reader.read_sidecar(
            file,
            input.len() as u64,
            SidecarKind::Xmp,
            OsStr::new("x.xmp"),
        )
    });
    is_sound(&found);
}

/// Google Takeout's JSON.
pub fn takeout(input: &[u8]) {
    let found = with_reader(input, |reader, file| {
        let name = OsStr::new("x.jpg.json");
        reader.read_sidecar(file, input.len() as u64, SidecarKind::Takeout, name)
    });
    is_sound(&found);
}

/// What the metadata worker answers: a file may have taken it over.
pub fn worker_reply(input: &[u8]) {
    let sized = |packet: &[u8]| {
        let length = u32::try_from(packet.len()).unwrap();
        [&length.to_le_bytes(), packet].concat()
    };
    for packet in [input.to_vec(), sized(input)] {
        let Some((status, tags)) = Tags::decode(&packet) else {
            continue;
        };
        is_sound(&interpret(&tags, &zone()));
        let (again, same) = Tags::decode(&tags.encode(status)).unwrap();
        assert_eq!(again, status);
        assert!(same_tags(&tags, &same), "{tags:?} became {same:?}");
    }
}

/// Dates, offsets and coordinates as text: one line for each tag.
pub fn date_stamps(input: &[u8]) {
    let tags_of = [
        Tag::Original,
        Tag::OriginalSubSec,
        Tag::OriginalOffset,
        Tag::XmpOriginal,
        Tag::XmpDateCreated,
        Tag::IptcDate,
        Tag::IptcTime,
        Tag::Latitude,
        Tag::LatitudeRef,
        Tag::Longitude,
        Tag::LongitudeRef,
        Tag::XmpLatitude,
        Tag::XmpLongitude,
    ];
    let mut tags = Tags::default();
    for (tag, line) in tags_of.iter().zip(input.split(|&byte| byte == b'\n')) {
        tags.add(*tag, line);
    }
    let found = interpret(&tags, &zone());
    is_sound(&found);
    // What we write of a date, we read as the same date.
    for date in &found.dates {
        let text = date.local_text() + &date.offset_text().unwrap_or_default();
        let mut written = Tags::default();
        written.add(Tag::Original, text.as_bytes());
        let again = interpret(&written, &zone());
        let again = again.dates.first().unwrap();
        assert_eq!(
            (again.local, again.offset_minutes),
            (date.local, date.offset_minutes),
            "{text}"
        );
    }
}

/// The date in a file's name, and whether a pattern of `ignore` fits it: first line the pattern, then the name.
pub fn file_name(input: &[u8]) {
    let (pattern, name) = named_file(input);
    let name = OsStr::from_bytes(name);
    let pattern = pattern.to_string_lossy().into_owned();
    settle::passed_over(name, std::slice::from_ref(&pattern));
    if let Some(found) = date::from_name(name, &zone()) {
        assert_eq!(found.from, CapturedFrom::FileName);
        is_date(&found);
    }
    // The modification time may be anything, in nanoseconds: so the disk gives it.
    let mtime = input.first_chunk::<8>().copied().unwrap_or_default();
    let mtime = Timestamp::from_nanosecond(i64::from_le_bytes(mtime).into());
    dated(&[], name, mtime.unwrap());
}

/// Which names of one folder belong together, and the names that they get in Originals: one name a line.
pub fn shots(input: &[u8]) {
    let mut names: Vec<OsString> = input
        .split(|&byte| byte == b'\n')
        .filter(|name| is_file_name(name))
        .take(64)
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect();
    names.sort();
    names.dedup();
    let groups = shot::group(names.clone());
    let mut grouped: Vec<OsString> = groups.iter().flatten().cloned().collect();
    grouped.sort();
    assert_eq!(grouped, names, "a name is lost or in two shots");
    for group in groups {
        let files: Vec<ReadFile> = group.iter().map(|name| read_file(name)).collect();
        let decisions = decide(&files, None, now(), &zone()).unwrap();
        let mut decided = Vec::new();
        for decision in decisions {
            match decision {
                Decision::Stay { file, reason, .. } => {
                    is_sentence(&reason);
                    decided.push(file);
                }
                Decision::File { shot, files } => {
                    decided.extend(files);
                    is_folder_of_a_day(&shot.folder);
                    let endings = shot.members.iter().map(|draft| &draft.extension);
                    for ending in endings {
                        let mut name = shot.stem.clone();
                        name.push(ending);
                        assert!(is_file_name(name.as_bytes()), "{name:?}");
                    }
                }
            }
        }
        decided.sort_unstable();
        assert!(decided.into_iter().eq(0..files.len()), "{group:?}");
    }
}

/// The settings file.
pub fn settings(input: &[u8]) {
    with_file(input, |file| {
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        match Config::read(Some(Path::new("/")), Some(&path), None) {
            Ok(config) => assert!(config.inbox.is_absolute() && config.storage.is_absolute()),
            Err(error) => assert!(error.to_string().contains(&path.display().to_string())),
        }
    });
}

/// Rows of the ledger: as they are, and under the checksum that makes them pass for sound.
pub fn ledger_rows(input: &[u8]) {
    count_rows(input);
}

/// The same; how many rows were read.
pub fn count_rows(input: &[u8]) -> usize {
    let Some((key, body)) = input.split_first_chunk::<8>() else {
        return 0;
    };
    let sealed = |key: &[u8], body: &[u8]| [body, &crc32([key, body]).to_le_bytes()].concat();
    let mut count = 0;
    let id = u64::from_be_bytes(*key);
    for row in [body.to_vec(), sealed(key, body)] {
        if let Some((asset, stored)) = restored_asset(id, &row) {
            let (again, _) = restored_asset(id, &stored).unwrap();
            // As text: a latitude that is no number is equal to none.
            assert_eq!(format!("{asset:?}"), format!("{again:?}"));
            asset.to_json();
            count += 1;
        }
    }
    let (path, body) = named_file(body);
    let path = path.as_bytes();
    for row in [body.to_vec(), sealed(path, body)] {
        if let Some((left, stored)) = restored_left(path, &row) {
            let (again, _) = restored_left(path, &stored).unwrap();
            assert_eq!(left, again);
            count += 1;
        }
    }
    count
}

/// A line of the journal: as it is, and with the checksum that makes it pass for whole.
pub fn journal_line(input: &[u8]) {
    count_lines(input);
}

/// The same; how many lines were read.
pub fn count_lines(input: &[u8]) -> usize {
    let sum = format!(",\"sum\":\"{:08x}\"}}", crc32([input]));
    [input.to_vec(), [input, sum.as_bytes()].concat()]
        .iter()
        .filter_map(|line| restored_line(line))
        .map(|stored| {
            let (end, line) = stored.split_last().unwrap();
            assert!(*end == b'\n' && !line.contains(end), "{stored:?}");
            assert_eq!(restored_line(line).as_deref(), Some(&*stored));
        })
        .count()
}

/// The marker by which Storage is known: what passes for an id is one, and stands in the first line.
pub fn storage_marker(input: &[u8]) {
    if let Some(id) = StorageId::parse(input) {
        let line = input.split(|&byte| byte == b'\n').next().unwrap();
        let line = std::str::from_utf8(line).unwrap().trim();
        let text = id.to_string();
        assert!(line.eq_ignore_ascii_case(&text), "{line:?} became {text}");
        assert_eq!(StorageId::parse(text.as_bytes()), Some(id));
    }
}

/// The last heartbeat of a service, as the history keeps it.
pub fn heartbeats(input: &[u8]) {
    let watched = Watched {
        service: Service::LIBRARIAN,
        interval: std::time::Duration::from_secs(60),
    };
    if let Some(row) = parsed_row(&watched, input) {
        let stored = row_record(&row).unwrap();
        assert_eq!(parsed_row(&watched, &stored), Some(row));
    }
}

/// A request to the page, with its form. Whatever gets through the gate is one whole request, in our own spelling.
pub fn page_request(input: &[u8]) {
    let end = input.windows(4).position(|end| end == b"\r\n\r\n");
    let (input, body) = input.split_at(end.unwrap_or(input.len()));
    let body = body.get(4..).unwrap_or_default();
    let hosts = ["photos.example.org".to_owned()];
    let head = match Head::parse(input, &hosts) {
        Ok(head) => head,
        Err(reply) => {
            assert!(reply.status >= 400, "{reply:?}");
            return;
        }
    };
    assert!(head.body_length() <= head::BODY_LIMIT);
    // The gate reads so much of what follows, and takes nothing else for a form.
    let body = body
        .get(..head.body_length())
        .filter(|body| head::is_form(body));
    let body = std::str::from_utf8(body.unwrap_or_default()).unwrap();
    let request = head.request(IpAddr::from([192, 168, 1, 7]), false);
    let (only, rest) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(rest, "", "a second request rides along: {request:?}");
    assert!(
        only.bytes()
            .all(|byte| matches!(byte, b'\r' | b'\n' | b' '..=b'~')),
        "{request:?}"
    );
    assert_eq!(only.matches('\n').count(), only.matches("\r\n").count());
    assert_eq!(Head::parse(only.as_bytes(), &hosts).as_ref(), Ok(&head));
    for (ours, line) in [
        ("Via: ", "Via: 1.1 photo-factory"),
        ("Forwarded: ", "Forwarded: for=\"192.168.1.7\";proto=http"),
        ("Connection: ", "Connection: close"),
    ] {
        let named: Vec<_> = only.lines().filter(|line| line.starts_with(ours)).collect();
        assert_eq!(named, [line], "a client's own mark: {request:?}");
    }
    let mut words = only.split([' ', '\r']);
    let method = Method::of(words.next().unwrap()).unwrap();
    let target = words.next().unwrap();
    let valued = |name| only.lines().find_map(|line| line.strip_prefix(name));
    let own = Request {
        method,
        cookie: valued("Cookie: "),
        authorization: valued("Authorization: "),
        if_none_match: valued("If-None-Match: "),
        takes_gzip: valued("Accept-Encoding: ").is_some(),
        host: valued("Host: ").unwrap(),
        origin: valued("Origin: "),
        fetch_site: valued("Sec-Fetch-Site: "),
        body,
        ..Request::get(target, From::Socket)
    };
    let asked = Request {
        from: head::sender(valued("Forwarded: ").unwrap()),
        ..own
    };
    // What the gate lets in gets a page, and nothing that is for the socket's own clients.
    routes::answer(&SITE, &own);
    match routes::answer(&SITE, &asked) {
        routes::Answer::Whole(reply) => {
            let reply = reply.fitted(&asked);
            assert!(
                reply
                    .extra
                    .iter()
                    .all(|(_, value)| !value.contains(['\r', '\n']))
            );
        }
        answer => panic!("not for a stranger: {request:?} gets {answer:?}"),
    }
}

/// A dashboard of nothing.
static SITE: LazyLock<Site> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("pf-fuzz-page-{}", std::process::id()));
    std::fs::create_dir_all(root.join("Data")).unwrap();
    let config = Config::read(Some(&root), None, None).unwrap();
    let monitor = Monitor::open(&config.data, Settings::of(&config), now(), || Some(true));
    Site {
        access: Access::new(&config),
        config: Arc::new(config),
        ledger: Weak::new(),
        monitor: Arc::new(monitor),
        overview: Box::new(|| {
            Overview::gather(
                None,
                Vec::new(),
                Seen::default(),
                Activity::not_running(),
                now(),
                zone(),
            )
        }),
        act: Box::new(|action| format!("{action:?}")),
        now,
    }
});

/// A name, and what follows its line.
fn named_file(input: &[u8]) -> (&OsStr, &[u8]) {
    let end = input.iter().position(|&byte| byte == b'\n');
    let (name, content) = input.split_at(end.unwrap_or(input.len()));
    (
        OsStr::from_bytes(name),
        content.strip_prefix(b"\n").unwrap_or(content),
    )
}

/// What a file system takes for a name.
fn is_file_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= 255
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

fn read_file(name: &OsStr) -> ReadFile {
    let mut file = ReadFile::unread(Path::new(name));
    let head: &[u8] = match shot::sidecar_by_name(name) {
        Some(SidecarKind::Xmp | SidecarKind::Aae) => b"<x",
        Some(SidecarKind::Takeout) => b"{\"photoTakenTime\":1",
        None => b"x",
    };
    file.told = tell(head, name);
    file.file_hash = FileHash([1; 32]);
    for photo in shot::sidecar_by_name(name)
        .into_iter()
        .flat_map(|kind| sidecar::candidate_photos(name, kind))
    {
        assert!(!photo.is_empty(), "{name:?}");
    }
    file
}

/// Central Europe's clock: one that is changed twice a year.
fn zone() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_900_000_000).unwrap()
}

/// Hands the bytes over as an open file. The same one serves again and again.
fn with_file<T>(content: &[u8], use_it: impl FnOnce(&File) -> T) -> T {
    thread_local! {
        static FILE: OnceCell<File> = const { OnceCell::new() };
    }
    FILE.with(|file| {
        let file = file.get_or_init(|| {
            rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC)
                .unwrap()
                .into()
        });
        file.set_len(content.len() as u64).unwrap();
        file.write_all_at(content, 0).unwrap();
        use_it(file)
    })
}

/// The daemon's reader on these bytes, without the worker: everything is read by our own code.
fn with_reader(content: &[u8], read: impl FnOnce(&Reader, &File) -> Metadata) -> Metadata {
    thread_local! {
        static READER: Reader = Reader::new(None, zone());
    }
    with_file(content, |file| READER.with(|reader| read(reader, file)))
}

fn same_tags(one: &Tags, other: &Tags) -> bool {
    Tag::ALL.iter().all(|&tag| {
        // A reply has room for so much only; what does not fit is left out.
        other.bytes(tag).is_none() || one.bytes(tag) == other.bytes(tag)
    }) && matches!(
        Tags::decode(&one.encode(Status::Read)),
        Some((Status::Read, _))
    )
}

/// A metadata that the rest of the house can rely on.
fn is_sound(metadata: &Metadata) {
    metadata.dates.iter().for_each(is_date);
    if let Some(at) = metadata.location {
        assert!(at.latitude.abs() <= 90.0, "{at:?}");
        assert!(at.longitude.abs() <= 180.0, "{at:?}");
    }
    assert_ne!(metadata.width, Some(0));
    assert_ne!(metadata.height, Some(0));
    assert_eq!(metadata.width.is_some(), metadata.height.is_some());
    let words = [&metadata.make, &metadata.model, &metadata.content_id];
    for word in words.into_iter().flatten() {
        // They stand in every row of the ledger, on the page and on terminals.
        assert!(!word.trim().is_empty() && word.len() <= 256, "{word:?}");
        assert!(!word.contains(char::is_control), "{word:?}");
    }
    assert!(metadata.dates.len() <= 32);
    assert!(metadata.errors.len() + metadata.warnings.len() <= 16);
    for sentence in metadata.errors.iter().chain(&metadata.warnings) {
        is_sentence(sentence);
        assert!(!sentence.contains("the reader failed"), "{sentence}");
    }
}

fn is_date(date: &CaptureTime) {
    assert_eq!(date.local.subsec_nanosecond() % 1_000_000, 0, "{date:?}");
    assert!(
        date.offset_minutes
            .is_none_or(|minutes| minutes.abs() <= 14 * 60),
        "{date:?}"
    );
}

/// The day that is decided is one that a folder can be named after.
fn dated(dates: &[CaptureTime], name: &OsStr, mtime: Timestamp) {
    let found = date::capture_time(dates, name, mtime, now(), &zone());
    assert!(
        found.local.year() >= 1900 || found.from == CapturedFrom::Mtime,
        "{found:?}"
    );
    is_folder_of_a_day(&day_folder(found.day()));
}

fn is_folder_of_a_day(folder: &Path) {
    let text = folder.to_str().unwrap();
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "Originals/0000/0000-00-00", "{text}");
}

/// Something that can be shown to the owner, on a page or a terminal.
fn is_sentence(text: &str) {
    assert!(!text.is_empty() && text.len() <= 1000, "{text:?}");
    assert!(!text.contains(char::is_control), "{text:?}");
}
