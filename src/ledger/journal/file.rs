//! The journal's file: lines are added at its end and made durable; a torn end is cut off.

#![expect(
    clippy::disallowed_methods,
    reason = "the journal is made, cut and removed here"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::error::LedgerError;
use super::line::{FORMAT, Line};

/// The journal's name in the Data folder.
pub(in super::super) const NAME: &str = "journal.jsonl";
/// The name under which a journal stays that has lines which can't be read.
pub(in super::super) const ASIDE: &str = "journal.jsonl.damaged";

/// Where a line stands in the file, without its line feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    offset: u64,
    length: u32,
}

#[derive(Default)]
pub(super) struct JournalFile {
    path: PathBuf,
    reading: bool,
    file: Option<File>,
    /// What is durable of it.
    length: u64,
    /// A write failed: beyond `length` anything may stand.
    torn: bool,
    /// It could not be opened or read: nothing is written to it before it was.
    closed: bool,
    /// Lines within that can't be read.
    unreadable: u64,
    /// Lines that wait to be written.
    pending: Vec<u8>,
}

impl JournalFile {
    pub(super) fn open(data: &Path, reading: bool) -> Result<Self, LedgerError> {
        let mut journal = Self {
            path: data.join(NAME),
            reading,
            ..Self::default()
        };
        match OpenOptions::new()
            .read(true)
            .write(!reading)
            .open(&journal.path)
        {
            Ok(file) => journal.file = Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(journal.failed("open")(error)),
        }
        if let Some(file) = &journal.file {
            let found = file.metadata().map_err(journal.failed("open"))?;
            journal.length = found.len();
            journal.torn = true;
        }
        Ok(journal)
    }

    pub(super) fn closed(data: &Path) -> Self {
        Self {
            path: data.join(NAME),
            closed: true,
            ..Self::default()
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn data(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    pub(super) fn note_unreadable(&mut self) {
        self.unreadable += 1;
    }

    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn exists(&self) -> bool {
        self.file.is_some()
    }

    /// Hands out every line, and cuts off an end that a cut tore.
    pub(super) fn read(&mut self, mut take: impl FnMut(Line, Span)) -> Result<(), LedgerError> {
        self.pending.clear();
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut reader = BufReader::new(At { file, offset: 0 });
        let (mut offset, mut whole, mut unreadable) = (0, 0, 0_u64);
        let mut bytes = Vec::new();
        while offset < self.length {
            bytes.clear();
            let read = reader
                .read_until(b'\n', &mut bytes)
                .map_err(self.failed("read"))?;
            if read == 0 {
                break;
            }
            let span = Span {
                offset,
                length: u32::try_from(read - 1).unwrap_or(u32::MAX),
            };
            offset += read as u64;
            let Some(text) = bytes.strip_suffix(b"\n") else {
                break;
            };
            whole = offset;
            match Line::decode(text) {
                Some(Line::Begin { format }) if format > FORMAT => {
                    return Err(LedgerError::NewerJournal {
                        path: self.path.clone(),
                    });
                }
                Some(line) => take(line, span),
                None => unreadable += 1,
            }
        }
        if unreadable > self.unreadable {
            log::error!(
                "{unreadable} lines of the journal {} can't be read; the photos they name stand in Originals, and `photo-factory rebuild` finds them",
                self.path.display()
            );
        }
        self.unreadable = self.unreadable.max(unreadable);
        self.length = whole;
        if !self.reading {
            self.mend().map_err(self.failed("put right"))?;
        }
        Ok(())
    }

    /// Adds a line to those that wait to be written; where it will stand.
    pub(super) fn add(&mut self, line: &Line) -> Span {
        if self.length == 0 && self.pending.is_empty() {
            self.pending = Line::Begin { format: FORMAT }.encode();
        }
        let bytes = line.encode();
        let span = Span {
            offset: self.length + self.pending.len() as u64,
            length: u32::try_from(bytes.len() - 1).unwrap_or(u32::MAX),
        };
        self.pending.extend_from_slice(&bytes);
        span
    }

    /// Writes what waits, durable.
    pub(super) fn write(&mut self) -> Result<(), LedgerError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let written = self.mend().and_then(|()| {
            self.torn = true;
            let file = match &self.file {
                Some(file) => file,
                None => self.file.insert(create(&self.path)?),
            };
            file.write_all_at(&pending, self.length)?;
            file.sync_all()?;
            if self.length == 0 {
                sync_folder(&self.path)?;
            }
            Ok(())
        });
        written.map_err(self.failed("write"))?;
        self.length += pending.len() as u64;
        self.torn = false;
        Ok(())
    }

    /// Cuts off what a failed write may have left, and makes sure that the file is still the one under its name: what is
    /// written to a file without a name is lost with it.
    fn mend(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let opened = file.metadata()?;
        let named = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.make_again(),
            named => named?,
        };
        if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
            return Err(io::Error::other(
                "it was moved or replaced while in use; restart photo-factory",
            ));
        }
        if self.torn {
            file.set_len(self.length)?;
            file.sync_all()?;
            sync_folder(&self.path)?;
            self.torn = false;
        }
        Ok(())
    }

    /// The file lost its name; what is durable of it is still ours to read: it goes into a new one.
    fn make_again(&mut self) -> io::Result<()> {
        let Some(old) = &self.file else {
            return Ok(());
        };
        let new = create(&self.path)?;
        let copied = copy(old, &new, self.length)
            .and_then(|()| new.sync_all())
            .and_then(|()| sync_folder(&self.path));
        if let Err(error) = copied {
            // Half of it must not be taken for all.
            fs::remove_file(&self.path)?;
            return Err(error);
        }
        log::warn!(
            "the journal {} was moved or removed while in use, and is written anew: leave it where it is, its photos go into the ledger by it",
            self.path.display()
        );
        self.file = Some(new);
        self.torn = false;
        Ok(())
    }

    /// The line that stands there.
    pub(super) fn line(&self, span: Span) -> Option<Line> {
        let length = usize::try_from(span.length).ok()?;
        if let Some(waits) = span.offset.checked_sub(self.length) {
            let start = usize::try_from(waits).ok()?;
            return Line::decode(self.pending.get(start..start + length)?);
        }
        let mut bytes = vec![0; length];
        self.file
            .as_ref()?
            .read_exact_at(&mut bytes, span.offset)
            .ok()?;
        Line::decode(&bytes)
    }

    /// Removes the file; one that could not be read as a whole is put aside.
    pub(super) fn remove(&mut self) -> Result<(), LedgerError> {
        let removed = if self.unreadable > 0 {
            fs::rename(&self.path, self.path.with_file_name(ASIDE))
        } else {
            fs::remove_file(&self.path)
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("remove")(error));
            }
            _ => {}
        }
        self.file = None;
        self.length = 0;
        self.torn = false;
        self.unreadable = 0;
        sync_folder(&self.path).map_err(self.failed("remove"))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> LedgerError + use<> {
        let path = self.path.clone();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LedgerError::Full { path },
            _ => LedgerError::Journal {
                path,
                action,
                source,
            },
        }
    }
}

/// Reads a file from its beginning, whatever its own position.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

fn copy(from: &File, to: &File, length: u64) -> io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    let mut at = 0;
    while at < length {
        let most = usize::try_from(length - at).unwrap_or(usize::MAX);
        let part = bytes.len().min(most);
        from.read_exact_at(&mut bytes[..part], at)?;
        to.write_all_at(&bytes[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)
}

/// Makes names in the Data folder last, and its own name.
fn sync_folder(path: &Path) -> io::Result<()> {
    let data = path.parent().unwrap_or(Path::new("."));
    File::open(data)?.sync_all()?;
    match data.canonicalize()?.parent().map(File::open) {
        Some(Ok(root)) => root.sync_all(),
        Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}
