//! The daemon's end of the metadata worker: asks, waits for a while, and starts another one when it dies.
//!
//! Exiv2 is C++ that reads untrusted bytes, so it runs in a process of its own, which holds nothing but the one
//! descriptor it was handed. It may crash, hang or lie; the cost is one file's tags.
//!
//! The worker is not tied to its parent by a death signal: that signal follows the *thread* that started the process,
//! and threads of the blocking pool come and go. It ends when the socket closes, and a CPU limit ends it inside a
//! hang.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::tags::{REPLY_LIMIT, Status, Tags};

/// How long one file may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// Attempts per file.
const ATTEMPTS: u32 = 2;
/// Files per process: Exiv2 leaks on files it refuses.
const FILES: u32 = 500;
/// So many files given up one after the other are the worker's fault, not theirs.
const IN_A_ROW: u32 = 5;
/// How long a broken worker is left alone.
const PAUSE: Duration = Duration::from_secs(60);

/// How the metadata worker is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WorkerState {
    /// A process is up.
    Running,
    /// None is up; one will be started when needed.
    Idle,
    /// Its program is not installed.
    Missing,
    /// It cannot be started, or dies on every file; why.
    Broken(String),
}

/// What became of a question.
pub(super) enum Answer {
    /// Exiv2 read the file.
    Tags(Tags),
    /// Exiv2 refused the file.
    Refused,
    /// The worker died or hung on this file; what happened.
    GaveUp(String),
    /// There is no worker; why.
    Absent(String),
}

/// One worker process at most.
pub(super) struct Worker {
    program: Option<PathBuf>,
    running: Option<Running>,
    given_up: u32,
    broken: Option<(String, Instant)>,
}

struct Running {
    child: Child,
    socket: OwnedFd,
    files: u32,
    used: Instant,
}

impl Worker {
    pub(super) fn new(program: Option<PathBuf>) -> Self {
        Self {
            program,
            running: None,
            given_up: 0,
            broken: None,
        }
    }

    pub(super) fn state(&self) -> WorkerState {
        match (&self.broken, &self.running, &self.program) {
            (Some((why, _)), ..) => WorkerState::Broken(why.clone()),
            (_, Some(_), _) => WorkerState::Running,
            (.., Some(program)) if program.is_file() => WorkerState::Idle,
            _ => WorkerState::Missing,
        }
    }

    /// The process's id, while one is up.
    pub(super) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Ends a process that was not asked for so long.
    pub(super) fn rest(&mut self, idle: Duration) {
        if self
            .running
            .as_ref()
            .is_some_and(|running| running.used.elapsed() >= idle)
        {
            self.running = None;
        }
    }

    /// Has a file read.
    pub(super) fn ask(&mut self, file: &File, size: u64) -> Answer {
        if let Some((why, since)) = &self.broken {
            if since.elapsed() < PAUSE {
                return Answer::Absent(why.clone());
            }
            self.broken = None;
            self.given_up = 0;
        }
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            let started = Instant::now();
            match self.attempt(file, size) {
                Ok((status, tags)) => {
                    self.given_up = 0;
                    return match status {
                        Status::Read => Answer::Tags(tags),
                        Status::Refused => Answer::Refused,
                    };
                }
                Err(Failure::Start(why)) => {
                    if self
                        .program
                        .as_ref()
                        .is_some_and(|program| program.is_file())
                    {
                        self.broken = Some((why.clone(), Instant::now()));
                    }
                    return Answer::Absent(why);
                }
                Err(Failure::File(why)) => {
                    log::debug!("metadata worker: {why}");
                    self.running = None;
                    failure = why;
                    // What took too long once takes too long again, and others wait.
                    if started.elapsed() >= DEADLINE {
                        break;
                    }
                }
            }
        }
        self.given_up += 1;
        if self.given_up >= IN_A_ROW {
            let why = format!(
                "the metadata worker failed on {IN_A_ROW} files one after the other ({failure})"
            );
            self.broken = Some((why, Instant::now()));
        }
        Answer::GaveUp(failure)
    }

    fn attempt(&mut self, file: &File, size: u64) -> Result<(Status, Tags), Failure> {
        if self
            .running
            .as_ref()
            .is_some_and(|running| running.files >= FILES)
        {
            self.running = None;
        }
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(start(self.program.as_ref())?),
        };
        running.files += 1;
        running.used = Instant::now();
        let packet = exchange(&running.socket, file, size, running.used + DEADLINE)?;
        Tags::decode(&packet).ok_or_else(|| Failure::File("its answer made no sense".to_owned()))
    }
}

enum Failure {
    /// No process could be started.
    Start(String),
    /// The process did not answer for this file.
    File(String),
}

fn start(program: Option<&PathBuf>) -> Result<Running, Failure> {
    let program =
        program.ok_or_else(|| Failure::Start("the metadata worker is not installed".to_owned()))?;
    let fail = |what: &str, why: &dyn std::fmt::Display| {
        Failure::Start(format!(
            "cannot start the metadata worker {}: {what}: {why}",
            program.display()
        ))
    };
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|why| fail("socket", &why))?;
    let child = Command::new(program)
        .env_clear()
        .current_dir("/")
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|why| fail("process", &why))?;
    Ok(Running {
        child,
        socket: ours,
        files: 0,
        used: Instant::now(),
    })
}

/// Sends the descriptor, waits for the answer.
fn exchange(
    socket: &OwnedFd,
    file: &File,
    size: u64,
    deadline: Instant,
) -> Result<Vec<u8>, Failure> {
    let died = |why: Errno| Failure::File(format!("it died ({why})"));
    let request = size.to_le_bytes();
    let descriptors = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(
        socket,
        &[IoSlice::new(&request)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map_err(died)?;
    let mut packet = vec![0; REPLY_LIMIT];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::File(format!(
                "it did not answer within {} s",
                DEADLINE.as_secs()
            )));
        }
        set_socket_timeout(socket, Timeout::Recv, Some(left)).map_err(died)?;
        let mut control = RecvAncillaryBuffer::default();
        match recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut packet)],
            &mut control,
            RecvFlags::empty(),
        ) {
            Ok(message) if message.bytes == 0 => return Err(Failure::File("it died".to_owned())),
            Ok(message) => {
                packet.truncate(message.bytes);
                return Ok(packet);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(why) => return Err(died(why)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may hang inside Exiv2; nothing of it is worth waiting for.
        if let Err(why) = self.child.kill().and_then(|()| self.child.wait()) {
            log::debug!("metadata worker: cannot end it: {why}");
        }
    }
}
