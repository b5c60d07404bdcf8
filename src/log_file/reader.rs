//! The log read backwards, for the page: the newest record first, a bounded part of it at one time.
//!
//! A record begins with its time, `2026-11-26T20:00:00Z [INFO] photo_factory::ledger: …`, and goes on to the next one; records of
//! older versions have no module. What is none (a torn write, broken UTF-8, a line without end) is given as it is.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{KEPT, LogFile};

/// Bytes read at one time at most.
pub const READ_LIMIT: u64 = 256 * 1024;

/// With less than this to read no further file is begun: its last record might be cut.
const WORTH_READING: u64 = 64 * 1024;

/// A place between two records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// 0: the file that is written, 1: the newest of the old ones, and so on.
    pub file: u32,
    /// Bytes from its beginning.
    pub offset: u64,
}

impl Place {
    /// After the newest record.
    pub const END: Self = Self {
        file: 0,
        offset: u64::MAX,
    };

    /// Reads `FILE:OFFSET`; `None`: it is not that, or no file that is kept.
    pub fn parsed(text: &str) -> Option<Self> {
        let (file, offset) = text.split_once(':')?;
        let place = Self {
            file: file.parse().ok()?,
            offset: offset.parse().ok()?,
        };
        (place.file <= KEPT).then_some(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// A record; what it does not tell is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// When, as RFC 3339.
    pub at: &'a str,
    /// `ERROR`, `WARN`, `INFO` or `DEBUG`.
    pub level: &'a str,
    /// The module that wrote it: `photo_factory::ledger::commit`.
    pub module: &'a str,
    /// What it says; it may have several lines.
    pub text: &'a str,
}

/// Gives the records before a place to `take`, the newest first, until it returns `false`: that one it has not taken. Reads at
/// most [`READ_LIMIT`] bytes. Gives back where it goes on; `None`: there is nothing older.
///
/// The log may be rotated meanwhile: no record is given twice. After a rotation a place means the same offset of a newer file;
/// where that is shorter, it is looked for in the next one.
///
/// # Errors
/// A file that is there and can't be read.
pub fn read_back(
    logs: &Path,
    before: Place,
    take: &mut dyn FnMut(&Record<'_>) -> bool,
) -> io::Result<Option<Place>> {
    let log = LogFile::new(logs);
    let mut left = READ_LIMIT;
    let mut offset = before.offset;
    let mut read = Vec::new();
    for number in before.file..=KEPT {
        if left < WORTH_READING {
            return Ok(Some(Place {
                file: number,
                offset: u64::MAX,
            }));
        }
        let path = match number {
            0 => log.path.clone(),
            number => log.numbered(number),
        };
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        let found = file.metadata()?;
        let is_rotated = offset > found.len() && offset != u64::MAX;
        // Rotated while the one before it was read, it comes again under the next number.
        if is_rotated || read.contains(&found.ino()) {
            continue;
        }
        read.push(found.ino());
        let end = offset.min(found.len());
        let start = end.saturating_sub(left);
        let mut part = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut part)?;
        left = left.saturating_sub(end - start);
        if let Some(offset) = give(&part, start, take) {
            return Ok(Some(Place {
                file: number,
                offset,
            }));
        }
        offset = u64::MAX;
    }
    Ok(None)
}

/// Gives the records of a part of a file that begins at `start`; `None`: to its very beginning, else where it goes on.
fn give(part: &[u8], start: u64, take: &mut dyn FnMut(&Record<'_>) -> bool) -> Option<u64> {
    let lines = || {
        let ends = part.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        ends.map(|(end, _)| end + 1)
            .filter(|next| *next < part.len())
    };
    let mut begins: Vec<usize> = lines().filter(|line| is_begin(&part[*line..])).collect();
    // What the part begins with may be the rest of a record whose beginning is not read yet.
    let first = match start {
        0 => 0,
        _ => begins.first().copied().or(lines().next()).unwrap_or(0),
    };
    if begins.first() != Some(&first) {
        begins.insert(0, first);
    }
    let mut end = part.len();
    for begin in begins.into_iter().rev() {
        let record = String::from_utf8_lossy(&part[begin..end]);
        if begin < end && !take(&parsed(&record)) {
            return Some(start + end as u64);
        }
        end = begin;
    }
    (start > 0).then_some(start + first as u64)
}

/// Whether a line begins with a time.
fn is_begin(line: &[u8]) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    line.len() > FORM.len()
        && FORM.iter().zip(line).all(|(form, byte)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        })
}

fn parsed(record: &str) -> Record<'_> {
    let text = record.trim_end();
    let head = || {
        let (at, rest) = text
            .split_once(" [")
            .filter(|_| is_begin(text.as_bytes()))?;
        let (level, rest) = rest.split_once("] ")?;
        Some((at, level, rest))
    };
    let (at, level, text) = head().unwrap_or(("", "", text));
    let is_module = |word: &str| {
        word.starts_with("photo_factory")
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
    };
    let (module, text) = text
        .split_once(": ")
        .filter(|(word, _)| is_module(word))
        .unwrap_or(("", text));
    Record {
        at,
        level,
        module,
        text,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::tests::folder;
    use super::*;

    fn line(number: u32, text: &str) -> String {
        format!("2026-11-26T20:00:{number:02}.5Z [INFO] photo_factory::ledger: {text}\n")
    }

    /// The texts before a place, so many at most, and where it goes on.
    fn texts(logs: &Path, before: Place, limit: usize) -> (Vec<String>, Option<Place>) {
        let mut texts = Vec::new();
        let next = read_back(logs, before, &mut |record| {
            let has_room = texts.len() < limit;
            if has_room {
                texts.push(record.text.to_owned());
            }
            has_room
        });
        (texts, next.unwrap())
    }

    /// All texts, read in so many pieces.
    fn all(logs: &Path, limit: usize) -> Vec<String> {
        let mut all = Vec::new();
        let mut place = Some(Place::END);
        while let Some(before) = place {
            let (texts, next) = texts(logs, before, limit);
            assert!(next != place, "it does not go on");
            all.extend(texts);
            place = next;
        }
        all
    }

    #[test]
    fn a_record_is_read_with_its_time_its_level_and_its_module() {
        let new = "2026-11-26T20:00:00.123Z [WARN] photo_factory::disk::vault: a: b\n";
        let record = Record {
            at: "2026-11-26T20:00:00.123Z",
            level: "WARN",
            module: "photo_factory::disk::vault",
            text: "a: b",
        };
        assert_eq!(parsed(new), record);
        let old = "2026-11-26T20:00:00.123Z [WARN] photo.jpg: b\n";
        let record = Record {
            module: "",
            text: "photo.jpg: b",
            ..record
        };
        assert_eq!(parsed(old), record);
        for torn in ["", "2026-11-26T20:00:00Z [WA", "] [x", "no record"] {
            assert_eq!(parsed(torn).text, torn);
            assert_eq!(parsed(torn).at, "");
        }
    }

    #[test]
    fn a_place_is_two_numbers_and_nothing_else() {
        let place = Place {
            file: 5,
            offset: 17,
        };
        assert_eq!(Place::parsed("5:17"), Some(place));
        assert_eq!(place.to_string(), "5:17");
        for text in [
            "", ":", "6:0", "-1:0", "1", "1:-1", "1:x", "../x:0", "1:0:0",
        ] {
            assert_eq!(Place::parsed(text), None, "{text}");
        }
    }

    #[test]
    fn every_record_is_given_once_over_all_files_whatever_the_size_of_the_pieces() {
        let logs = folder("all");
        let mut log = LogFile::new(&logs);
        let filling = "x".repeat(500);
        let mut written = Vec::new();
        for number in 0..5_000 {
            let text = format!("{number} {filling}");
            log.write_all(line(number % 60, &text).as_bytes()).unwrap();
            written.insert(0, text);
        }
        assert!(log.numbered(2).is_file());
        for limit in [97, 4_999, usize::MAX] {
            assert!(all(&logs, limit) == written, "in pieces of {limit}");
        }
        std::fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn a_piece_is_read_and_no_more_and_records_of_several_lines_stay_whole() {
        let logs = folder("piece");
        let text = format!("first\nsecond {}\nthird", "y".repeat(900));
        let content = line(1, &text).repeat(1_000);
        std::fs::write(logs.join("photo-factory.log"), content).unwrap();
        let (texts, next) = texts(&logs, Place::END, usize::MAX);
        assert!(texts.iter().all(|seen| *seen == text));
        let bytes = u64::try_from(texts.len() * line(1, &text).len()).unwrap();
        assert!(bytes <= READ_LIMIT && bytes > READ_LIMIT - 2_000, "{bytes}");
        assert!(next.is_some());
        assert_eq!(all(&logs, usize::MAX).len(), 1_000);
        std::fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn rubbish_in_a_log_is_given_as_it_is_and_ends() {
        let logs = folder("rubbish");
        let endless = vec![b'z'; 700_000];
        let rubbish: [&[u8]; 5] = [
            b"\n\n\n",
            b"\xff\xfe broken",
            &[0; 4_096],
            &endless,
            b"2026-11-26T20:00:00",
        ];
        for content in rubbish {
            std::fs::write(logs.join("photo-factory.log"), content).unwrap();
            let seen = all(&logs, 3).concat();
            assert!(seen.len() <= content.len() + 2 * 2, "{} bytes", seen.len());
            let last = content.iter().rfind(|byte| byte.is_ascii_alphanumeric());
            assert_eq!(seen.bytes().rfind(u8::is_ascii_alphanumeric).as_ref(), last);
        }
        std::fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn a_log_that_is_rotated_while_it_is_read_gives_no_record_twice() {
        let logs = folder("turn");
        let log = LogFile::new(&logs);
        std::fs::write(&log.path, line(2, "new")).unwrap();
        std::fs::write(log.numbered(1), line(1, "old")).unwrap();
        let mut seen = Vec::new();
        let next = read_back(&logs, Place::END, &mut |record| {
            if seen.is_empty() {
                log.rotate().unwrap();
            }
            seen.push(record.text.to_owned());
            true
        });
        assert_eq!(
            (seen, next.unwrap()),
            (vec!["new".to_owned(), "old".to_owned()], None)
        );
        // The place of the first page is looked for in the file that was rotated.
        std::fs::write(&log.path, "").unwrap();
        let place = Place {
            file: 0,
            offset: line(2, "new").len() as u64,
        };
        assert_eq!(texts(&logs, place, 9).0, ["new", "old"]);
        std::fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn without_a_log_there_is_nothing_and_what_cannot_be_read_is_an_error() {
        let logs = folder("none");
        assert_eq!(texts(&logs, Place::END, 9), (vec![], None));
        std::fs::create_dir(logs.join("photo-factory.log")).unwrap();
        assert!(read_back(&logs, Place::END, &mut |_| true).is_err());
        std::fs::remove_dir_all(logs).unwrap();
    }
}
