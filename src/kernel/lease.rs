//! A read lease: the kernel's word that nobody has a file open for writing, and its delay of whoever wants to.
//!
//! See `fcntl(2)`, "Leases": a lease can be had on files that our user owns (or with `CAP_LEASE`), on local file systems.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `F_SETSIG` of `asm-generic/fcntl.h`, the same on every Linux we build for; the libc crate does not have it.
const F_SETSIG: libc::c_int = 10;

/// What the kernel says when asked for a lease.
#[derive(Debug)]
pub enum Asked<'a> {
    /// Nobody writes the file, and whoever opens it for writing now waits for us.
    Leased(Lease<'a>),
    /// Somebody has the file open for writing.
    BeingWritten,
    /// The kernel can't tell: not our file, or a file system without leases.
    Unknown,
}

/// A held read lease; dropping it lets waiting writers go on.
#[derive(Debug)]
pub struct Lease<'a>(&'a File);

/// Asks for a read lease on `file`, which must be open for reading only.
pub fn ask(file: &File) -> Asked<'_> {
    // A writer's open sends the holder a signal. SIGIO, the default, would end the process; SIGURG is ignored unless
    // handled. We ask `still_held` instead of listening.
    if set(file, F_SETSIG, libc::SIGURG).is_err() {
        return Asked::Unknown;
    }
    match set(file, libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(_) => Asked::Leased(Lease(file)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Asked::BeingWritten,
        Err(_) => Asked::Unknown,
    }
}

/// Whether a read lease stands on this open file and nobody waits to write.
pub fn still_held(file: &File) -> bool {
    // While a writer waits, F_GETLEASE answers what it waits for: F_UNLCK.
    matches!(set(file, libc::F_GETLEASE, 0), Ok(kind) if kind == libc::F_RDLCK)
}

impl Lease<'_> {
    /// Keeps the lease beyond this value, until [`give_back`] or until the file is closed.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        give_back(self.0);
    }
}

/// Gives the lease on this open file back, if there is one.
pub fn give_back(file: &File) {
    // It fails only where there is no lease to give back.
    drop(set(file, libc::F_SETLEASE, libc::F_UNLCK));
}

fn set(file: &File, command: libc::c_int, argument: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and all three commands take a plain integer.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test makes and removes its file"
    )]
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_file_open_for_writing_is_being_written_and_is_leased_once_closed() {
        let path = std::env::temp_dir().join(format!("lease-{}", std::process::id()));
        let writer = File::create(&path).expect("a temporary file");
        let reader = File::open(&path).expect("the same file");
        assert!(matches!(ask(&reader), Asked::BeingWritten));
        drop(writer);
        match ask(&reader) {
            Asked::Leased(lease) => lease.keep(),
            other => panic!("no lease: {other:?}"),
        }
        assert!(still_held(&reader));
        // O_NONBLOCK: the opener is refused instead of being made to wait, and the lease is known to be wanted.
        use std::os::unix::fs::OpenOptionsExt;
        let refused = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path);
        assert_eq!(
            refused.expect_err("must wait").kind(),
            io::ErrorKind::WouldBlock
        );
        assert!(!still_held(&reader));
        give_back(&reader);
        OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("free again");
        std::fs::remove_file(&path).expect("removed");
    }
}
