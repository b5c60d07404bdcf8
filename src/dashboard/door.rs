//! The private sockets in the data folder: where they are, and how they are listened on.
#![expect(
    clippy::disallowed_methods,
    reason = "a socket left by an earlier run is in the way of the new one; it is no file of the owner's"
)]

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::http::ServeError;

/// For commands, and for what the gate hands on.
pub const SOCKET: &str = "photo-factory.sock";

/// For the process that speaks TLS.
pub const FRONT_SOCKET: &str = "photo-factory-tls.sock";

/// Where the socket is, under a name short enough for a socket's address (108 bytes), however long the data folder's is.
#[derive(Debug)]
pub(super) struct Door {
    shown: PathBuf,
    path: PathBuf,
    /// Keeps `/proc/self/fd/N` alive.
    _folder: Option<File>,
}

impl Door {
    /// A socket's address holds 108 bytes with the closing zero.
    const LONGEST: usize = 100;

    pub(super) fn new(data: &Path, name: &str) -> Result<Self, ServeError> {
        let shown = data.join(name);
        if shown.as_os_str().len() <= Self::LONGEST {
            let path = shown.clone();
            return Ok(Self {
                shown,
                path,
                _folder: None,
            });
        }
        let folder = File::open(data).map_err(|error| ServeError::Socket(shown.clone(), error))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Self {
            shown,
            path,
            _folder: Some(folder),
        })
    }

    /// The path to connect to.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Listens. The mode is set before anyone can connect: a socket that is bound and does not listen refuses.
    pub(super) fn open(&self) -> Result<UnixListener, ServeError> {
        if UnixStream::connect(&self.path).is_ok() {
            return Err(ServeError::AlreadyServed(self.shown.clone()));
        }
        self.listen()
            .map_err(|error| ServeError::Socket(self.shown.clone(), error))
    }

    fn listen(&self) -> io::Result<UnixListener> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket: OwnedFd = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&self.path)?)?;
        std::fs::set_permissions(&self.path, Permissions::from_mode(0o600))?;
        rustix::net::listen(&socket, 64)?;
        Ok(UnixListener::from(socket))
    }
}
