//! The log file: `Logs/photo-factory.log`, cut at 1 MiB, the five before it kept; how it is read is in [`reader`]. A log that cannot be written stops nothing.
#![expect(
    clippy::disallowed_methods,
    reason = "the log owns its files: it renames them when it rotates"
)]

pub mod reader;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A log of this size is rotated.
pub const ROTATE_AT: u64 = 1024 * 1024;

/// Old logs kept: `photo-factory.log.1` (the newest) to `photo-factory.log.5`.
pub const KEPT: u32 = 5;

/// A record longer than this is written in parts.
const RECORD_LIMIT: usize = 64 * 1024;

/// A writer for the logger. Every write reports success: the photos matter, the log does not.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<(File, u64)>,
    /// A logger writes a record in pieces; a record is written in one, so that none is cut by a rotation.
    record: Vec<u8>,
}

impl LogFile {
    /// The log in that folder; the file is opened, and tried again, when something is written.
    pub fn new(logs: &Path) -> Self {
        Self {
            path: logs.join("photo-factory.log"),
            file: None,
            record: Vec::new(),
        }
    }

    /// Appends one record, rotating first where it would not fit.
    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let length = u64::try_from(record.len()).unwrap_or(u64::MAX);
        let is_full = |size: u64| size > 0 && size.saturating_add(length) > ROTATE_AT;
        let (mut file, mut size) = match self.file.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        if is_full(size) {
            drop(file);
            self.rotate()?;
            (file, size) = open(&self.path)?;
        }
        file.write_all(record)?;
        self.file = Some((file, size.saturating_add(length)));
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (1..KEPT).rev() {
            move_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        move_if_there(&self.path, &self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.path.with_extension(format!("log.{number}"))
    }
}

impl Write for LogFile {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.record.extend_from_slice(piece);
        if piece.last() == Some(&b'\n') || self.record.len() > RECORD_LIMIT {
            let record = std::mem::take(&mut self.record);
            if self.append(&record).is_err() {
                // Opened anew at the next record: the folder or the disk may be back by then.
                self.file = None;
            }
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("pf-log-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_full_log_is_rotated_and_five_old_ones_are_kept() {
        let folder = folder("rotate");
        let mut log = LogFile::new(&folder);
        let mut record = vec![b'x'; 600 * 1024];
        record.push(b'\n');
        for _ in 0..9 {
            log.write_all(&record).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected: Vec<String> = std::iter::once("photo-factory.log".to_owned())
            .chain((1..=KEPT).map(|number| format!("photo-factory.log.{number}")))
            .collect();
        assert_eq!(names, expected);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_log_goes_on_where_the_last_run_ended() {
        let folder = folder("append");
        LogFile::new(&folder).write_all(b"one\n").unwrap();
        LogFile::new(&folder).write_all(b"two\n").unwrap();
        let text = std::fs::read_to_string(folder.join("photo-factory.log")).unwrap();
        assert_eq!(text, "one\ntwo\n");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_log_without_a_folder_stops_nothing_and_starts_when_the_folder_comes() {
        let folder = folder("absent");
        std::fs::remove_dir_all(&folder).unwrap();
        let mut log = LogFile::new(&folder);
        log.write_all(b"lost\n").unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        log.write_all(b"kept\n").unwrap();
        let text = std::fs::read_to_string(folder.join("photo-factory.log")).unwrap();
        assert_eq!(text, "kept\n");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
