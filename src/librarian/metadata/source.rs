//! A file as the readers see it: bounded reads at a position, never a shared cursor.
//!
//! Every reader takes numbers from untrusted files. The bounds live here, once: no read returns more than
//! [`LONGEST`] bytes, and after [`READS`] reads or [`BYTES`] bytes a source gives nothing more, so that no file,
//! however made, keeps a reader busy.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The longest single read.
pub(super) const LONGEST: usize = 2 << 20;
/// Reads that go to the file, before a source dries up.
const READS: u32 = 20_000;
/// Bytes read, before a source dries up.
const BYTES: u64 = 64 << 20;
/// Small reads are served from a window of this size: headers lie close together.
const WINDOW: usize = 4096;

/// Where the bytes are.
enum Held<'a> {
    File(&'a File),
    Memory(&'a [u8]),
}

/// One file under examination, or a block out of one.
pub(super) struct Source<'a> {
    held: Held<'a>,
    size: u64,
    reads: Cell<u32>,
    bytes: Cell<u64>,
    window: RefCell<(u64, Vec<u8>)>,
    failure: RefCell<Option<io::Error>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a File, size: u64) -> Self {
        Self::of(Held::File(file), size)
    }

    pub(super) fn of_bytes(bytes: &'a [u8]) -> Self {
        Self::of(Held::Memory(bytes), bytes.len() as u64)
    }

    fn of(held: Held<'a>, size: u64) -> Self {
        Self {
            held,
            size,
            reads: Cell::new(0),
            bytes: Cell::new(0),
            window: RefCell::new((0, Vec::new())),
            failure: RefCell::new(None),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The first I/O error met, if any: the medium's fault, not the format's.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.borrow().as_ref().map(ToString::to_string)
    }

    /// Up to `len` bytes at `at`; fewer where the file, the budget or the medium ends.
    pub(super) fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = len.min(left).min(LONGEST);
        if len == 0 {
            return Vec::new();
        }
        if len > WINDOW / 2 {
            return self.fetch(at, len);
        }
        let held = |window: &(u64, Vec<u8>)| {
            let skip = usize::try_from(at.checked_sub(window.0)?).ok()?;
            window
                .1
                .get(skip..skip.checked_add(len)?)
                .map(<[u8]>::to_vec)
        };
        if let Some(bytes) = held(&self.window.borrow()) {
            return bytes;
        }
        let fresh = self.fetch(at, WINDOW.min(left));
        let bytes = fresh.get(..len).unwrap_or(&fresh).to_vec();
        *self.window.borrow_mut() = (at, fresh);
        bytes
    }

    /// Exactly `len` bytes at `at`, or nothing.
    pub(super) fn exactly(&self, at: u64, len: usize) -> Option<Vec<u8>> {
        let bytes = self.read(at, len);
        (bytes.len() == len).then_some(bytes)
    }

    fn fetch(&self, at: u64, len: usize) -> Vec<u8> {
        if self.reads.get() >= READS || self.bytes.get() >= BYTES {
            return Vec::new();
        }
        self.reads.set(self.reads.get() + 1);
        let file = match self.held {
            Held::File(file) => file,
            Held::Memory(bytes) => {
                let rest = usize::try_from(at)
                    .ok()
                    .and_then(|at| bytes.get(at..))
                    .unwrap_or_default();
                let found = rest.get(..len).unwrap_or(rest);
                self.bytes.set(self.bytes.get() + found.len() as u64);
                return found.to_vec();
            }
        };
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure.borrow_mut().get_or_insert(error);
                    break;
                }
            }
        }
        bytes.truncate(filled);
        self.bytes.set(self.bytes.get() + filled as u64);
        bytes
    }
}

/// `N` bytes of `bytes` at `at`.
pub(in crate::librarian) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A big-endian 16-bit number at `at`.
pub(in crate::librarian) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// A big-endian 32-bit number at `at`.
pub(in crate::librarian) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// A big-endian 64-bit number at `at`.
pub(in crate::librarian) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

/// A little-endian 16-bit number at `at`.
pub(in crate::librarian) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// A little-endian 32-bit number at `at`.
pub(in crate::librarian) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// A little-endian 64-bit number at `at`.
pub(in crate::librarian) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Where `needle` begins in `haystack`.
pub(in crate::librarian) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Text up to the first NUL, without blanks around it; `None` where nothing is left.
pub(in crate::librarian) fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..end)?).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
