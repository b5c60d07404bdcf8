//! Messages to others and their answers, by a process of its own: the courier.
//!
//! HTTP, TLS and mail are large, and read what strangers answer. They stay out of the daemon: `photo-factory-courier` is started
//! for a [`Round`], is asked one thing after the other, and ends with it. It may crash, hang or talk nonsense; the cost is one
//! answer.
//!
//! Both ends speak lines of JSON ([`message`]) through a pair of sockets. What is secret (headers, passwords, bodies) goes
//! through that pair only: never as an argument, through the environment, into a log or an error.

pub mod message;

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use message::{Answer, Failed, Mail, Method, Request, Security, Trust};
use message::{Question, Reply};

/// How much longer than its deadline a question may take: the courier's own end of it comes first, and tells more.
const GRACE: Duration = Duration::from_secs(2);
/// A courier that was not asked for so long is not asked again: it ends by itself after [`message::IDLE`].
const STALE: Duration = Duration::from_secs(20);
/// Bytes of an answer's line beside its body.
const LINE_ROOM: usize = 64 << 10;
/// Bytes that one byte of a body takes in the line at most: `\u0000`.
const ESCAPED: usize = 6;

/// Sends messages by `photo-factory-courier`.
#[derive(Clone, Debug)]
pub struct Courier {
    program: Option<PathBuf>,
}

impl Courier {
    /// By this program; `None`: it is not installed, which every round then says.
    pub fn new(program: Option<PathBuf>) -> Self {
        Self { program }
    }

    /// Starts a process for some questions one after the other. [`Failed::Absent`] where it cannot be started.
    pub fn round(&self) -> Result<Round, Failed> {
        let program = self.program.clone().ok_or_else(|| {
            Failed::Absent(
                "photo-factory-courier is not installed: put it beside the program photo-factory"
                    .to_owned(),
            )
        })?;
        let running = Some(start(&program)?);
        Ok(Round { program, running })
    }
}

/// Some questions, one after the other, to one process. Blocks; the process ends when this is dropped.
#[derive(Debug)]
pub struct Round {
    program: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    socket: UnixStream,
    used: Instant,
}

impl Round {
    /// Asks by HTTP, and waits for the answer: at most for the request's deadline and two seconds.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, Failed> {
        let question = Question::Ask(request.clone());
        match self.exchange(&question, request.deadline, request.answer_limit)? {
            Reply::Answered(answer) if answer.body.len() <= request.answer_limit => Ok(answer),
            Reply::Failed(failed) => Err(failed),
            Reply::Answered(_) | Reply::Sent => Err(self.ended("it answered another question")),
        }
    }

    /// Hands a mail to its server, and waits until that has taken it: at most for the mail's deadline and two seconds.
    pub fn send(&mut self, mail: &Mail) -> Result<(), Failed> {
        match self.exchange(&Question::Send(mail.clone()), mail.deadline, 0)? {
            Reply::Sent => Ok(()),
            Reply::Failed(failed) => Err(failed),
            Reply::Answered(_) => Err(self.ended("it answered another question")),
        }
    }

    fn exchange(
        &mut self,
        question: &Question,
        deadline: Duration,
        body_limit: usize,
    ) -> Result<Reply, Failed> {
        let until = Instant::now() + deadline + GRACE;
        let line_limit = body_limit.saturating_mul(ESCAPED).saturating_add(LINE_ROOM);
        if (self.running.as_ref()).is_some_and(|running| running.used.elapsed() >= STALE) {
            self.running = None;
        }
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(start(&self.program)?),
        };
        let answered = running.exchange(question, until, line_limit);
        running.used = Instant::now();
        match answered {
            Ok(line) => match serde_json::from_slice(&line) {
                Ok(reply) => Ok(reply),
                // Why not may quote a body.
                Err(_) => Err(self.ended("its answer made no sense")),
            },
            Err(why) if why.kind() == io::ErrorKind::TimedOut => {
                self.running = None;
                Err(Failed::TimedOut)
            }
            Err(why) => Err(self.ended(&why.to_string())),
        }
    }

    /// A process that broke is not asked again.
    fn ended(&mut self, why: &str) -> Failed {
        self.running = None;
        Failed::Broken(why.to_owned())
    }
}

impl Running {
    /// One line there, one line back, without its end.
    fn exchange(
        &mut self,
        question: &Question,
        until: Instant,
        limit: usize,
    ) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        self.write(&line, until)?;
        self.read_line(until, limit)
    }

    fn write(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(Some(left(until)?))?;
            match self.socket.write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(why) => passed_over(why)?,
            }
        }
        Ok(())
    }

    fn read_line(&mut self, until: Instant, limit: usize) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut part = vec![0; 16 << 10];
        loop {
            self.socket.set_read_timeout(Some(left(until)?))?;
            let got = match self.socket.read(&mut part) {
                Ok(0) => return Err(io::Error::other("it died")),
                Ok(got) => part.get(..got).unwrap_or_default(),
                Err(why) => {
                    passed_over(why)?;
                    continue;
                }
            };
            line.extend_from_slice(got);
            if line.len() > limit {
                return Err(io::Error::other("its answer has no end"));
            }
            if line.last() == Some(&b'\n') {
                line.pop();
                return Ok(line);
            }
        }
    }
}

/// What a socket's own timeout or a signal interrupts goes on while there is time.
fn passed_over(why: io::Error) -> io::Result<()> {
    match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            Err(io::Error::other("it died"))
        }
        _ => Err(why),
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

fn start(program: &Path) -> Result<Running, Failed> {
    let fail = |why: io::Error| {
        Failed::Absent(format!(
            "the program {} can't be started: {why}; install photo-factory again",
            program.display()
        ))
    };
    let (ours, theirs) = UnixStream::pair().map_err(fail)?;
    let theirs = OwnedFd::from(theirs);
    let output = theirs.try_clone().map_err(fail)?;
    let child = Command::new(program)
        .env_clear()
        .current_dir("/")
        .stdin(theirs)
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .map_err(fail)?;
    Ok(Running {
        child,
        socket: ours,
        used: Instant::now(),
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may wait for a server; nothing of it is worth waiting for.
        if let Err(why) = self.child.kill().and_then(|()| self.child.wait()) {
            log::debug!("courier: cannot end it: {why}");
        }
    }
}
