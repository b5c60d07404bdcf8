//! How a command asks the running appliance: one request over the socket in the data folder.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::door::{Door, SOCKET};

/// The appliance answers in milliseconds; this is for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a line of the head at most.
const LINE_LIMIT: u64 = 16 * 1024;

/// What became of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It was answered, whole.
    Done,
    /// Nobody listens: nothing runs.
    NotRunning,
}

/// Why a question was not answered.
#[derive(Debug)]
pub enum AskError {
    /// The connection failed or fell silent.
    Asking(io::Error),
    /// The answer is not one of ours, or says no.
    Refused(String),
    /// The answer ended before its end.
    Incomplete,
    /// What was answered could not be written.
    Writing(io::Error),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking(error) => write!(
                f,
                "asking the running Photo Factory: {error}; look into its log, or stop it and try again"
            ),
            Self::Refused(status) => write!(
                f,
                "the running Photo Factory answered \"{status}\"; is it another version? Restart it and try again"
            ),
            Self::Incomplete => write!(
                f,
                "the answer of the running Photo Factory ended early: what was written is not whole; run it again"
            ),
            Self::Writing(error) => write!(f, "writing the answer: {error}"),
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Asking(error) | Self::Writing(error) => Some(error),
            Self::Refused(_) | Self::Incomplete => None,
        }
    }
}

/// Asks for a route and writes the answer's content to `sink`, as it comes.
pub fn ask(data: &Path, route: &str, sink: &mut dyn Write) -> Result<Answer, AskError> {
    let Ok(door) = Door::new(data, SOCKET) else {
        return Ok(Answer::NotRunning);
    };
    let mut stream = match UnixStream::connect(door.path()) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(Answer::NotRunning);
        }
        Err(error) => return Err(AskError::Asking(error)),
    };
    let request = format!("GET {route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .map_err(AskError::Asking)?;
    let mut reader = BufReader::new(stream);
    let status = line(&mut reader)?;
    if status.split(' ').nth(1) != Some("200") {
        return Err(AskError::Refused(status));
    }
    let mut length = None;
    let mut is_chunked = false;
    loop {
        let header = line(&mut reader)?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
        is_chunked |= header == "transfer-encoding: chunked";
    }
    if is_chunked {
        loop {
            let size = line(&mut reader)?;
            let size = u64::from_str_radix(&size, 16).map_err(|_number| AskError::Incomplete)?;
            if size == 0 {
                return Ok(Answer::Done);
            }
            copy(&mut reader, size, sink)?;
            line(&mut reader)?;
        }
    }
    copy(&mut reader, length.ok_or(AskError::Incomplete)?, sink)?;
    Ok(Answer::Done)
}

fn line(reader: &mut BufReader<UnixStream>) -> Result<String, AskError> {
    let mut line = String::new();
    reader
        .take(LINE_LIMIT)
        .read_line(&mut line)
        .map_err(AskError::Asking)?;
    let Some(line) = line.strip_suffix("\r\n") else {
        return Err(AskError::Incomplete);
    };
    Ok(line.to_owned())
}

fn copy(
    reader: &mut BufReader<UnixStream>,
    length: u64,
    sink: &mut dyn Write,
) -> Result<(), AskError> {
    let mut left = length;
    while left > 0 {
        let piece = reader.fill_buf().map_err(AskError::Asking)?;
        let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Err(AskError::Incomplete);
        }
        sink.write_all(&piece[..count]).map_err(AskError::Writing)?;
        reader.consume(count);
        left -= count as u64;
    }
    Ok(())
}
