//! The front: `photo-factory-courier tls`, which speaks TLS with browsers and brings us what they say. TLS is large and reads what
//! strangers send, so it has a process of its own; the listening socket stays with us, and it gets a copy.
//!
//! It is started again when it ends by itself, and when the certificate's files have changed.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::door::FRONT_SOCKET;
use super::site::Site;
use crate::config::{Config, Tls};
use crate::monitor::Monitor;
use crate::monitor::event::Kind;

/// It reads two small files before it says that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The same when it is started again: the end of the appliance waits for it, and has 4 seconds.
const READY_AGAIN_WITHIN: Duration = Duration::from_secs(2);

/// How often it is seen whether it lives, and whether there is a new certificate.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// It is started again after this; after each further failure in a row after twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The running front. Dropping it ends it.
#[derive(Debug)]
pub struct Front {
    /// Set to end the thread.
    halt: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a front is started with.
struct Plan {
    program: PathBuf,
    data: PathBuf,
    tls: Tls,
    listener: TcpListener,
    monitor: Arc<Monitor>,
    now: fn() -> Timestamp,
    halt: Arc<AtomicBool>,
}

/// A process, which ends with this.
struct Running {
    child: Child,
    /// The process ends when this is closed, so also when we are killed.
    _lifeline: UnixStream,
    files: Files,
}

/// By what the certificate's files are known to be the same.
type Files = [Option<(u64, i64, u64)>; 2];

impl Front {
    /// Starts it. `Err` says why there can be none, and what to do.
    pub(super) fn start(site: &Site, tls: &Tls, listener: TcpListener) -> Result<Self, String> {
        let halt = Arc::new(AtomicBool::new(false));
        let plan = Plan {
            program: program(&site.config)?,
            data: site.config.data.clone(),
            tls: tls.clone(),
            listener,
            monitor: Arc::clone(&site.monitor),
            now: site.now,
            halt: Arc::clone(&halt),
        };
        let first = plan.started(READY_WITHIN)?;
        let thread = thread::Builder::new()
            .name("tls".to_owned())
            .spawn(move || plan.tend(first));
        Ok(Self {
            halt,
            thread: Some(thread.map_err(|error| error.to_string())?),
        })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.halt.store(true, Ordering::SeqCst);
        if let Some(handle) = self.thread.take() {
            handle.thread().unpark();
            if handle.join().is_err() {
                log::error!("the thread that tends TLS ended in an internal error");
            }
        }
    }
}

impl Plan {
    /// Keeps one running, with the certificate that is there, until it is to stop.
    fn tend(&self, first: Running) {
        let mut running = Some(first);
        let mut pause = FIRST_PAUSE;
        loop {
            let wait = if running.is_some() {
                LOOKED_AT_EVERY
            } else {
                pause
            };
            if !self.rest(wait) {
                break;
            }
            if let Some(front) = &mut running {
                match front.child.try_wait() {
                    Ok(None) if front.files == files(&self.tls) => {
                        pause = FIRST_PAUSE;
                        continue;
                    }
                    Ok(None) => log::info!("the page's certificate has changed"),
                    ended => {
                        self.tell(Some(&format!("its process ended ({ended:?})")));
                        running = None;
                        continue;
                    }
                }
            }
            match self.started(READY_AGAIN_WITHIN) {
                Ok(front) => {
                    running = Some(front);
                    self.tell(None);
                }
                Err(why) => {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    self.tell(Some(&why));
                    // With the old certificate it is still reached; the new one is not tried again until it changes.
                    if let Some(front) = &mut running {
                        front.files = files(&self.tls);
                    }
                }
            }
        }
    }

    /// Sleeps. `false`: it is to stop.
    fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.halt.load(Ordering::SeqCst) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::park_timeout(left);
        }
        false
    }

    /// What is the matter with TLS, in the log and among what happened.
    fn tell(&self, trouble: Option<&str>) {
        let text = trouble.map(|why| format!("the page by TLS: {why}"));
        if let Some(text) = &text {
            log::error!("{text}");
        }
        let closing = "the page is reached by TLS again";
        let now = (self.now)();
        self.monitor.condition(
            Kind::Service,
            "dashboard/tls",
            text.as_deref(),
            closing,
            now,
        );
    }

    /// A process that serves, or why there is none.
    fn started(&self, within: Duration) -> Result<Running, String> {
        let files = files(&self.tls);
        let failed = |error: std::io::Error| {
            format!(
                "{} can't be started: {error}; install photo-factory again",
                self.program.display()
            )
        };
        let listener = self.listener.try_clone().map_err(failed)?;
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let child = command(&self.program, &self.tls)
            .arg(FRONT_SOCKET)
            .current_dir(&self.data)
            .stdin(OwnedFd::from(listener))
            .stdout(OwnedFd::from(theirs))
            .spawn()
            .map_err(failed)?;
        let running = Running {
            child,
            _lifeline: ours.try_clone().map_err(failed)?,
            files,
        };
        ours.set_read_timeout(Some(within)).map_err(failed)?;
        said(&mut BufReader::new(&ours)).map(|()| running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            log::debug!("the process of TLS: cannot end it: {error}");
        }
    }
}

/// Whether the certificate and its key can be served with; `Err` says why not, and what to do.
pub fn check(config: &Config, tls: &Tls) -> Result<(), String> {
    let output = command(&program(config)?, tls)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("photo-factory-courier can't be started: {error}"))?;
    said(&mut &*output.stdout)
}

fn program(config: &Config) -> Result<PathBuf, String> {
    let missing = "photo-factory-courier is not installed: put it beside the program photo-factory";
    config.courier.clone().ok_or_else(|| missing.to_owned())
}

fn command(program: &Path, tls: &Tls) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .arg("tls")
        .arg(&tls.certificate)
        .arg(&tls.key)
        .stderr(Stdio::null());
    command
}

/// Its first line: `ready`, or why it can't be.
fn said(output: &mut dyn BufRead) -> Result<(), String> {
    let mut line = String::new();
    let read = output.read_line(&mut line);
    match (line.trim(), read) {
        ("ready", _) => Ok(()),
        ("", Ok(_)) => Err("its process ended without a word".to_owned()),
        ("", Err(error)) => Err(format!("its process says nothing: {error}")),
        (why, _) => Err(why.to_owned()),
    }
}

fn files(tls: &Tls) -> Files {
    [&tls.certificate, &tls.key].map(|path| {
        let seen = std::fs::metadata(path).ok()?;
        Some((seen.ino(), seen.mtime(), seen.size()))
    })
}
