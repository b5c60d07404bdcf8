//! Runs the program under `ptrace(2)` and breaks it at an exact call: its n-th change to a file, counted over all threads.
//!
//! strace counts for each thread and call name; one count over everything is what lets a run be broken before each of its
//! changes, one after the other, with none left out.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A run that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is looked whether a program is done.
const LOOK: Duration = Duration::from_millis(20);

/// Which calls are counted, and broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Calls {
    /// All that change a file, a name or their durability.
    Changes,
    /// All that look at files and folders.
    Looks,
    /// All that open one, for whatever.
    Opens,
    /// All that make something durable.
    Syncs,
    /// All of this name.
    Named(&'static str),
}

/// What is done to the program.
#[derive(Clone, Copy)]
pub(crate) enum Fault<'a> {
    /// Nothing: the calls are counted.
    None,
    /// It is killed before this call (the first is 1).
    Kill(usize),
    /// This call fails.
    Once(usize, Errno),
    /// This call fails, and all later ones for which that error makes sense.
    From(usize, Errno),
    /// Before this call, this is done; the program then goes on.
    Before(usize, &'a (dyn Fn(&Path) + Sync)),
}

impl fmt::Debug for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::None => write!(f, "no fault"),
            Fault::Kill(at) => write!(f, "killed before call {at}"),
            Fault::Once(at, errno) => write!(f, "{errno} once, at call {at}"),
            Fault::From(at, errno) => write!(f, "{errno} from call {at} on"),
            Fault::Before(at, _) => write!(f, "something done before call {at}"),
        }
    }
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Traced {
    /// The exit code, where it ended by itself.
    pub(crate) code: Option<i32>,
    /// The calls that were counted, in order, as far as it came.
    pub(crate) calls: Vec<String>,
    /// How often the fault fired.
    pub(crate) fired: usize,
    /// What it said, on stdout and stderr.
    pub(crate) said: String,
    /// It was ended because it hung.
    pub(crate) hung: bool,
}

/// A call that was stopped at its entry.
struct Call {
    name: &'static str,
    shown: String,
}

const O_CHANGES: u64 = (libc::O_CREAT | libc::O_TRUNC) as u64;
const FICLONE: u64 = 0x4004_9409;

/// Runs `command` on files below `root` to its end and breaks it by `fault`.
pub(crate) fn run(command: &Command, root: &Path, counted: Calls, fault: Fault<'_>) -> Traced {
    run_until(command, root, counted, fault, |_| false)
}

/// The same with a program that works for ever: it is asked to stop as soon as `is_done`, given what it has said, says so.
pub(crate) fn run_until(
    command: &Command,
    root: &Path,
    counted: Calls,
    fault: Fault<'_>,
    is_done: impl Fn(&str) -> bool + Send,
) -> Traced {
    // Not on the disk that is broken.
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("said-{}-{number}.txt", std::process::id());
    let said = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let out = fs::File::create(&said).unwrap();
    // It waits to be seized, then becomes the program.
    let mut waiting = Command::new("/bin/sh");
    waiting
        .args(["-c", "read _; exec \"$@\" </dev/null", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(
            command
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .stdin(Stdio::piped())
        .stderr(out.try_clone().unwrap())
        .stdout(out);
    let mut child = waiting.spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n").unwrap();

    let hung = AtomicBool::new(false);
    let (ended, watched) = channel::<()>();
    let mut tracer = Tracer {
        pid,
        root: root.to_owned(),
        counted,
        fault,
        calls: Vec::new(),
        fired: 0,
        refused: HashMap::new(),
    };
    let code = std::thread::scope(|scope| {
        let (hung, said) = (&hung, &said);
        let is_done = move || is_done(&fs::read_to_string(said).unwrap_or_default());
        scope.spawn(move || watch(pid, &watched, is_done, hung));
        let code = tracer.follow();
        drop(ended);
        code
    });
    // The tracer has seen its end already.
    drop(child.wait());
    let traced = Traced {
        code,
        calls: tracer.calls,
        fired: tracer.fired,
        said: String::from_utf8_lossy(&fs::read(&said).unwrap()).into_owned(),
        hung: hung.into_inner(),
    };
    fs::remove_file(said).unwrap();
    traced
}

/// Asks the program to stop when it is done, and ends it when it hangs.
fn watch(pid: Pid, ended: &Receiver<()>, is_done: impl Fn() -> bool, hung: &AtomicBool) {
    let until = Instant::now() + PATIENCE;
    let mut asked = false;
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if !asked && is_done() {
            asked = true;
            kill(pid, Signal::SIGTERM).unwrap_or_default();
        }
        if Instant::now() > until {
            hung.store(true, Ordering::Relaxed);
            kill(pid, Signal::SIGKILL).unwrap_or_default();
            return;
        }
    }
}

struct Tracer<'a> {
    pid: Pid,
    root: PathBuf,
    counted: Calls,
    fault: Fault<'a>,
    calls: Vec<String>,
    fired: usize,
    /// Threads whose call was refused, until it returns.
    refused: HashMap<Pid, Errno>,
}

impl Tracer<'_> {
    /// Follows all threads to the end of the program. Returns its exit code, or none if a signal ended it.
    fn follow(&mut self) -> Option<i32> {
        let mut code = None;
        loop {
            // Only what this thread started or seized: others run their own.
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::PtraceSyscall(thread)) => self.at_call(thread),
                Ok(WaitStatus::PtraceEvent(thread, ..)) => go_on(thread, None),
                Ok(WaitStatus::Stopped(thread, signal)) => go_on(thread, Some(signal)),
                Ok(WaitStatus::Exited(thread, status)) if thread == self.pid => code = Some(status),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return code,
                Err(error) => panic!("waitpid: {error}"),
            }
        }
    }

    fn at_call(&mut self, thread: Pid) {
        const ENTRY: u8 = 1;
        let Ok(info) = ptrace::syscall_info(thread) else {
            // It was killed meanwhile.
            return;
        };
        if info.op == ENTRY {
            if let Some(call) = self.counted_call(thread) {
                self.calls.push(call.shown);
                match self.fault {
                    Fault::Kill(at) if at == self.calls.len() => {
                        self.fired += 1;
                        // Stopped at its entry, the call is not begun any more.
                        kill(self.pid, Signal::SIGKILL).unwrap_or_default();
                        return;
                    }
                    Fault::Before(at, what) if at == self.calls.len() => {
                        self.fired += 1;
                        what(&self.root);
                    }
                    Fault::Once(at, errno) if at == self.calls.len() => {
                        self.refuse(thread, errno);
                    }
                    Fault::From(at, errno)
                        if at <= self.calls.len() && makes_sense(errno, call.name) =>
                    {
                        self.refuse(thread, errno);
                    }
                    _ => {}
                }
            }
        } else if let Some(errno) = self.refused.remove(&thread) {
            answer(thread, errno);
        }
        go_on(thread, None);
    }

    fn refuse(&mut self, thread: Pid, errno: Errno) {
        self.fired += 1;
        skip(thread);
        self.refused.insert(thread, errno);
    }

    /// The call this thread is about to make, if it is one that counts.
    fn counted_call(&self, thread: Pid) -> Option<Call> {
        let line = fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
        let mut words = line.split_whitespace();
        let number: i64 = words.next()?.parse().ok()?;
        let mut arguments = [0; 6];
        for (argument, word) in arguments.iter_mut().zip(words) {
            *argument = u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()?;
        }
        let (name, kind) = told(number, &arguments)?;
        let shown = match kind {
            Kind::File(at) => descriptor(thread, arguments[at])?,
            Kind::Name(at) => path(thread, arguments[at], arguments[at + 1]),
            Kind::Plain(at) => text(thread, arguments[at]),
        };
        let is_open = name.starts_with("open");
        let opens_to_change = is_open && {
            let flags = arguments[if name == "open" { 1 } else { 2 }];
            flags & O_CHANGES != 0
        };
        let looks = matches!(
            name,
            "pread64" | "read" | "getdents64" | "statx" | "newfstatat"
        ) || (is_open && !opens_to_change);
        let is_counted = match self.counted {
            Calls::Changes => !looks,
            Calls::Looks => looks,
            Calls::Opens => is_open,
            Calls::Syncs => name.contains("sync"),
            Calls::Named(one) => name == one,
        };
        let is_here = shown.starts_with(&self.root);
        (is_counted && is_here).then(|| {
            let shown = shown.strip_prefix(&self.root).unwrap_or(&shown);
            Call {
                name,
                shown: format!("{name} {}", shown.display()),
            }
        })
    }
}

/// Where a call's arguments say what it works on.
enum Kind {
    /// An open file.
    File(usize),
    /// A folder's descriptor and a name in it.
    Name(usize),
    /// A path.
    Plain(usize),
}

/// The name of a call that changes or reads files, and where to look for the file.
fn told(number: i64, arguments: &[u64; 6]) -> Option<(&'static str, Kind)> {
    Some(match number {
        libc::SYS_write => ("write", Kind::File(0)),
        libc::SYS_pwrite64 => ("pwrite64", Kind::File(0)),
        libc::SYS_writev => ("writev", Kind::File(0)),
        libc::SYS_pwritev => ("pwritev", Kind::File(0)),
        libc::SYS_ftruncate => ("ftruncate", Kind::File(0)),
        libc::SYS_fallocate => ("fallocate", Kind::File(0)),
        libc::SYS_fsync => ("fsync", Kind::File(0)),
        libc::SYS_fdatasync => ("fdatasync", Kind::File(0)),
        libc::SYS_syncfs => ("syncfs", Kind::File(0)),
        libc::SYS_fchmod => ("fchmod", Kind::File(0)),
        libc::SYS_sendfile => ("sendfile", Kind::File(0)),
        libc::SYS_copy_file_range => ("copy_file_range", Kind::File(2)),
        libc::SYS_ioctl if arguments[1] == FICLONE => ("ioctl", Kind::File(0)),
        libc::SYS_utimensat if arguments[1] == 0 => ("utimensat", Kind::File(0)),
        libc::SYS_utimensat => ("utimensat", Kind::Name(0)),
        libc::SYS_pread64 => ("pread64", Kind::File(0)),
        libc::SYS_read => ("read", Kind::File(0)),
        libc::SYS_getdents64 => ("getdents64", Kind::File(0)),
        libc::SYS_statx => ("statx", Kind::Name(0)),
        libc::SYS_openat => ("openat", Kind::Name(0)),
        libc::SYS_mkdirat => ("mkdirat", Kind::Name(0)),
        libc::SYS_unlinkat => ("unlinkat", Kind::Name(0)),
        // What they make is named last.
        libc::SYS_linkat => ("linkat", Kind::Name(2)),
        libc::SYS_renameat2 => ("renameat2", Kind::Name(2)),
        libc::SYS_symlinkat => ("symlinkat", Kind::Name(1)),
        libc::SYS_fchmodat => ("fchmodat", Kind::Name(0)),
        other => return told_of_old(other),
    })
}

/// The calls that newer machines no longer have.
#[cfg(target_arch = "x86_64")]
fn told_of_old(number: i64) -> Option<(&'static str, Kind)> {
    Some(match number {
        libc::SYS_open => ("open", Kind::Plain(0)),
        libc::SYS_newfstatat => ("newfstatat", Kind::Name(0)),
        libc::SYS_mkdir => ("mkdir", Kind::Plain(0)),
        libc::SYS_rmdir => ("rmdir", Kind::Plain(0)),
        libc::SYS_unlink => ("unlink", Kind::Plain(0)),
        libc::SYS_rename => ("rename", Kind::Plain(1)),
        libc::SYS_renameat => ("renameat", Kind::Name(2)),
        libc::SYS_link => ("link", Kind::Plain(1)),
        libc::SYS_chmod => ("chmod", Kind::Plain(0)),
        _ => return None,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn told_of_old(number: i64) -> Option<(&'static str, Kind)> {
    (number == libc::SYS_renameat).then_some(("renameat", Kind::Name(2)))
}

/// Where an open file of this thread lies.
fn descriptor(thread: Pid, descriptor: u64) -> Option<PathBuf> {
    let descriptor = descriptor as i32;
    let link = if descriptor == libc::AT_FDCWD {
        format!("/proc/{thread}/cwd")
    } else {
        format!("/proc/{thread}/fd/{descriptor}")
    };
    fs::read_link(link).ok()
}

fn path(thread: Pid, folder: u64, name: u64) -> PathBuf {
    let name = text(thread, name);
    if name.is_absolute() {
        return name;
    }
    let folder = descriptor(thread, folder).unwrap_or_default();
    if name.as_os_str().is_empty() {
        return folder;
    }
    folder.join(name)
}

/// The text at an address of this thread.
fn text(thread: Pid, address: u64) -> PathBuf {
    let mut bytes = Vec::new();
    if let Ok(memory) = fs::File::open(format!("/proc/{thread}/mem")) {
        let mut piece = [0; 64];
        while !bytes.contains(&0) {
            match memory.read_at(&mut piece, address + bytes.len() as u64) {
                Ok(0) | Err(_) => break,
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
            }
        }
    }
    let end = bytes.iter().position(|&byte| byte == 0);
    bytes.truncate(end.unwrap_or(bytes.len()));
    OsString::from_vec(bytes).into()
}

/// Whether a disk that is in the state this error tells of would answer this call with it.
pub(crate) fn makes_sense(errno: Errno, call: &str) -> bool {
    let makes_names = ["open", "mkdir", "link", "rename"]
        .iter()
        .any(|start| call.starts_with(start));
    match errno {
        Errno::ENOSPC | Errno::EDQUOT => {
            makes_names
                || call.contains("write")
                || call.contains("sync")
                || ["ftruncate", "fallocate", "copy_file_range", "sendfile"].contains(&call)
        }
        Errno::EROFS => makes_names || call.starts_with("unlink") || call.starts_with("fchmod"),
        Errno::EACCES => makes_names || call.starts_with("unlink") || call == "statx",
        Errno::EMFILE => call.starts_with("open"),
        _ => true,
    }
}

/// Goes on to the next call. A thread that was killed meanwhile has none.
fn go_on(thread: Pid, signal: Option<Signal>) {
    ptrace::syscall(thread, signal).unwrap_or_default();
}

/// Whether single calls can be refused on this machine.
pub(crate) const CAN_REFUSE: bool = cfg!(target_arch = "x86_64");

/// Makes the kernel skip the call at whose entry this thread is stopped.
#[cfg(target_arch = "x86_64")]
fn skip(thread: Pid) {
    if let Ok(mut registers) = ptrace::getregs(thread) {
        registers.orig_rax = u64::MAX;
        ptrace::setregs(thread, registers).unwrap_or_default();
    }
}

/// Makes the skipped call return this error.
#[cfg(target_arch = "x86_64")]
fn answer(thread: Pid, errno: Errno) {
    if let Ok(mut registers) = ptrace::getregs(thread) {
        registers.rax = i64::from(-(errno as i32)).cast_unsigned();
        ptrace::setregs(thread, registers).unwrap_or_default();
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn skip(_: Pid) {}

#[cfg(not(target_arch = "x86_64"))]
fn answer(_: Pid, _: Errno) {}
