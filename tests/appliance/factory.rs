//! A factory in a folder of its own: fills its inbox, runs the real binary, looks at what it did, takes it down.

#[path = "../fixtures/programs.rs"]
pub(crate) mod programs;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The program that was built with the tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_photo-factory");

/// The program that all tests run: `PHOTO_FACTORY_UNDER_TEST`, else the one that was built with the tests.
pub(crate) fn program() -> OsString {
    programs::program(PROGRAM).into()
}

/// Lays a copy of the program at `to`. Another process writes it: a file that this one has open for writing while a thread
/// starts a child could not be run as long as that child lives.
pub(crate) fn copy_program(to: &Path) {
    let copied = output_of(Command::new("cp").arg("--").arg(program()).arg(to));
    assert!(copied.status.success(), "{copied:?}");
}

/// How long anything that should happen may take on a busy machine: who waits in vain has found a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Fast enough for tests, and still every rule is at work.
const SETTINGS: &str = "[inbox]\nsettle_seconds = 1\nrescan_seconds = 1\n";

/// One factory; dropped, it stops the program it started and removes its folder.
pub(crate) struct Factory {
    root: PathBuf,
    daemon: Option<Daemon>,
}

struct Daemon {
    child: Child,
    address: String,
}

/// What `ingest --json` said.
pub(crate) struct Ingested {
    /// The exit code.
    pub(crate) code: i32,
    /// One line for each file.
    pub(crate) files: Vec<Value>,
    /// The last line.
    pub(crate) summary: Value,
}

impl Ingested {
    /// A number of the summary.
    pub(crate) fn count(&self, field: &str) -> u64 {
        self.summary[field]
            .as_u64()
            .unwrap_or_else(|| panic!("no {field} in {}", self.summary))
    }
}

impl Factory {
    /// An empty factory on the disk that the build uses.
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = format!("{name}-{}-{number}", std::process::id());
        Self::in_folder(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder))
    }

    /// An empty factory in this folder.
    pub(crate) fn in_folder(root: &Path) -> Self {
        if root.exists() {
            fs::remove_dir_all(root).unwrap();
        }
        fs::create_dir_all(root.join("Photos_Inbox")).unwrap();
        let factory = Self {
            root: root.to_owned(),
            daemon: None,
        };
        factory.configure("");
        factory
    }

    /// Adds settings to those all tests share.
    pub(crate) fn configure(&self, more: &str) {
        fs::write(
            self.root.join("photo-factory.toml"),
            format!("{SETTINGS}{more}"),
        )
        .unwrap();
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn inbox(&self) -> PathBuf {
        self.root.join("Photos_Inbox")
    }

    pub(crate) fn storage(&self) -> PathBuf {
        self.root.join("Storage")
    }

    pub(crate) fn originals(&self) -> PathBuf {
        self.root.join("Storage/Originals")
    }

    /// Lays a finished file into the inbox, an hour old.
    pub(crate) fn put(&self, name: impl AsRef<Path>, content: &[u8]) -> PathBuf {
        self.put_at(name, content, SystemTime::now() - Duration::from_secs(3600))
    }

    /// Lays a finished file with this modification time into the inbox.
    pub(crate) fn put_at(
        &self,
        name: impl AsRef<Path>,
        content: &[u8],
        mtime: SystemTime,
    ) -> PathBuf {
        let path = self.inbox().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        laying_out(|| {
            let mut file = File::create(&path).unwrap();
            file.write_all(content).unwrap();
            file.set_modified(mtime).unwrap();
        });
        path
    }

    /// A command of the program on this factory, ready to be run.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--root").arg(&self.root);
        command.env("TZ", "UTC").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        output_of(self.command().args(arguments))
    }

    /// One pass over the inbox.
    pub(crate) fn ingest(&self) -> Ingested {
        self.ingest_with(&[])
    }

    /// One pass with more arguments.
    pub(crate) fn ingest_with(&self, arguments: &[&str]) -> Ingested {
        let output = output_of(self.command().args(["ingest", "--json"]).args(arguments));
        let mut files = json_lines(&output);
        let summary = files
            .pop()
            .map_or(Value::Null, |last| last["summary"].clone());
        assert!(
            summary.is_object(),
            "no summary from ingest ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ingested {
            code: output.status.code().unwrap(),
            files,
            summary,
        }
    }

    /// Every row of the ledger.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let output = self.run(&["export"]);
        assert!(
            output.status.success(),
            "export: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        json_lines(&output)
    }

    /// What stands in Originals: path relative to Storage, and SHA-256.
    pub(crate) fn filed(&self) -> BTreeMap<PathBuf, String> {
        files_below(&self.originals())
            .into_iter()
            .filter_map(|path| {
                // It may be gone by now: a name of ours that was taken back, or a disk.
                let content = match fs::read(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
                    read => read.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
                };
                let name = path.strip_prefix(self.storage()).unwrap().to_owned();
                Some((name, hash(&content)))
            })
            .collect()
    }

    /// What lies in the inbox.
    pub(crate) fn waiting(&self) -> Vec<PathBuf> {
        files_below(&self.inbox())
    }

    /// Every row names a file that has the bytes the row says, and no file is without a row.
    pub(crate) fn assert_ledger_and_originals_agree(&self) {
        let rows: BTreeMap<PathBuf, String> = self
            .rows()
            .iter()
            .map(|row| {
                (
                    PathBuf::from(text(row, "final_path")),
                    text(row, "file_hash").to_owned(),
                )
            })
            .collect();
        assert_eq!(rows, self.filed(), "left: the ledger; right: Originals");
    }

    /// The command that runs the appliance on a free port.
    pub(crate) fn run_command(&self) -> Command {
        let mut command = self.command();
        command.args(["run", "--listen", "127.0.0.1:0"]);
        command
    }

    /// Starts the appliance on a free port and waits for its line.
    pub(crate) fn start(&mut self) {
        self.start_command(self.run_command());
    }

    /// Starts the appliance by a command of the caller's making.
    pub(crate) fn start_command(&mut self, command: Command) {
        self.try_start(command)
            .unwrap_or_else(|said| panic!("it did not start: {said}"));
    }

    /// The same where it may not start; then what it said.
    pub(crate) fn try_start(&mut self, mut command: Command) -> Result<(), String> {
        assert!(self.daemon.is_none(), "it runs already");
        let log = File::create(self.root.join("stderr.txt")).unwrap();
        let mut child = started(command.stdout(Stdio::piped()).stderr(log)).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (told, said) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) && !line.contains("://") {}
            drop(told.send(line));
        });
        let line = said.recv_timeout(PATIENCE);
        let address = line.as_ref().ok().and_then(|line| {
            let (_, rest) = line.split_once("://")?;
            rest.split(['/', ' ', '\n']).next()
        });
        let Some(address) = address.map(str::to_owned) else {
            if line.is_err() {
                drop(child.kill());
            }
            let status = ended(&mut child, "what does not start");
            let log = fs::read_to_string(self.root.join("stderr.txt")).unwrap();
            return Err(format!("({status}) {line:?}\n{log}"));
        };
        self.daemon = Some(Daemon { child, address });
        Ok(())
    }

    /// The page's address and port.
    pub(crate) fn address(&self) -> &str {
        &self.daemon.as_ref().expect("it runs").address
    }

    /// The daemon's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").child.id()
    }

    /// Whether the daemon is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        let daemon = self.daemon.as_mut().expect("it was started");
        daemon.child.try_wait().unwrap().is_none()
    }

    /// Asks it to stop and waits; gives how it ended and how long that took.
    pub(crate) fn stop(&mut self) -> (ExitStatus, Duration) {
        let mut daemon = self.daemon.take().expect("it runs");
        let asked = Instant::now();
        signal(&daemon.child, Signal::TERM);
        if !wait_until(PATIENCE, || daemon.child.try_wait().unwrap().is_some()) {
            drop(daemon.child.kill());
            panic!("it does not stop; {}", self.end_of_log());
        }
        (daemon.child.wait().unwrap(), asked.elapsed())
    }

    /// Hands the daemon's process to the caller, who sees to its end.
    pub(crate) fn take_child(&mut self) -> Child {
        self.daemon.take().expect("it runs").child
    }

    /// Ends it as a power cut would: at once, between any two instructions.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.child.kill().unwrap();
        ended(&mut daemon.child, "a daemon that was killed");
    }

    /// The page's JSON.
    pub(crate) fn status(&self) -> Value {
        let (code, body) = http(self.address(), "GET", "/api/v1/status", &[]);
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Waits until nothing is left in the inbox.
    pub(crate) fn wait_until_the_inbox_is_empty(&self) {
        self.wait_until("the inbox is empty", PATIENCE, || self.waiting().is_empty());
    }

    /// Looks again and again until it is so; fails with the log when it does not come.
    pub(crate) fn wait_until(&self, what: &str, patience: Duration, is_so: impl FnMut() -> bool) {
        assert!(
            wait_until(patience, is_so),
            "waited {patience:?} in vain until {what}; in the inbox: {:?}\n{}",
            self.waiting(),
            self.end_of_log()
        );
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.root.join("stderr.txt")).unwrap_or_default();
        let end: Vec<_> = log.lines().rev().take(30).collect();
        format!("its log, last line first:\n{}", end.join("\n"))
    }
}

impl Drop for Factory {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            drop(daemon.child.kill());
            drop(daemon.child.wait());
        }
        if !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.root));
        }
    }
}

/// Runs a command to its end, which must come.
pub(crate) fn output_of(command: &mut Command) -> Output {
    output_within(PATIENCE, command)
}

/// The same for a command that has much to do.
pub(crate) fn output_within(patience: Duration, command: &mut Command) -> Output {
    Beside::start(command).output_within(patience)
}

/// Held by whoever starts a child, and shared by whoever lays out files. Between its making and its program a child holds all
/// that this process has open, also for writing: a program that another thread starts meanwhile would find such a file being
/// written, and rightly leave it alone.
static STARTING: RwLock<()> = RwLock::new(());

/// Lays out files while no child is being made.
pub(crate) fn laying_out<T>(work: impl FnOnce() -> T) -> T {
    let _nobody_starts = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// Starts a child while nobody lays out files.
fn started(command: &mut Command) -> std::io::Result<Child> {
    let _nobody_lays_out = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// A command at work beside us; dropped, it is ended.
pub(crate) struct Beside {
    child: Child,
    shown: String,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

impl Beside {
    /// Starts it. What it says is read all the while, so that no full pipe stops it.
    pub(crate) fn start(command: &mut Command) -> Self {
        let shown = format!("{command:?}");
        // A group of its own: who ends strace must end what it traces, which holds the pipes as well.
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = started(command).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let stdout = read_beside(child.stdout.take().unwrap());
        let stderr = read_beside(child.stderr.take().unwrap());
        Self {
            child,
            shown,
            stdout,
            stderr,
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn signal(&self, what: Signal) {
        signal(&self.child, what);
    }

    /// Waits for its end.
    pub(crate) fn output(self) -> Output {
        self.output_within(PATIENCE)
    }

    fn output_within(mut self, patience: Duration) -> Output {
        let has_ended = wait_until(patience, || self.has_ended());
        self.end();
        let status = self.child.wait().unwrap();
        let said = |pipe: &Receiver<Vec<u8>>| {
            let all = pipe.recv_timeout(PATIENCE);
            all.unwrap_or_else(|_| panic!("{} left its pipe to a process that lives", self.shown))
        };
        let (stdout, stderr) = (said(&self.stdout), said(&self.stderr));
        let output = Output {
            status,
            stdout,
            stderr,
        };
        if !has_ended {
            let end = |said: &[u8]| {
                let said = String::from_utf8_lossy(said).into_owned();
                let end: Vec<_> = said.lines().rev().take(5).map(str::to_owned).collect();
                end
            };
            panic!(
                "{} did not end in {patience:?}; its last lines: {:#?}, {:#?}",
                self.shown,
                end(&output.stdout),
                end(&output.stderr)
            );
        }
        output
    }

    /// Ends what is left of its group.
    fn end(&self) {
        let group = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        // Where all have ended, none is left.
        kill_process_group(group, Signal::KILL).unwrap_or_default();
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.end();
        drop(self.child.wait());
    }
}

fn read_beside(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (all, received) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(pipe.read_to_end(&mut bytes));
        drop(all.send(bytes));
    });
    received
}

/// Waits for the end of a process, which must come.
pub(crate) fn ended(child: &mut Child, what: &str) -> ExitStatus {
    if !wait_until(PATIENCE, || child.try_wait().unwrap().is_some()) {
        drop(child.kill());
        panic!("{what} did not end in {PATIENCE:?}");
    }
    child.wait().unwrap()
}

/// Whether SIGKILL ended it; a program under strace, too.
pub(crate) fn was_killed(output: &Output) -> bool {
    output.status.signal() == Some(9) || output.status.code() == Some(128 + 9)
}

/// Looks every few milliseconds until it is so, or patience ends.
pub(crate) fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + patience;
    // What comes at once is not waited for longer than it takes: thousands of commands are run by some tests.
    let mut pause = Duration::from_millis(1);
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(20));
    }
}

/// Sends a signal to a process that we started.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Every regular file below a folder that is no dotfile; none where there is no folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    walk(folder, false)
}

/// Every regular file below a folder, dotfiles and what is in dot-folders as well.
pub(crate) fn all_files_below(folder: &Path) -> Vec<PathBuf> {
    walk(folder, true)
}

fn walk(folder: &Path, with_hidden: bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if !with_hidden && entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // The entry may be gone by now: the program works in the same folders.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// SHA-256 of a file, in hex.
pub(crate) fn hash_of(path: &Path) -> String {
    hash(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// SHA-256 in hex.
pub(crate) fn hash(content: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(content)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}

/// A text field of a JSON object.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {object}"))
}

/// The lines a command printed, as JSON.
pub(crate) fn json_lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// One HTTP exchange: status and body.
pub(crate) fn http(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, String) {
    try_http(address, method, path, headers)
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// The same where nobody may be listening yet.
pub(crate) fn try_http(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n"
    )?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let code = answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or(std::io::ErrorKind::InvalidData)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((code, body.to_owned()))
}

/// Whether a program is installed; says so when a test is skipped for the lack of it.
pub(crate) fn installed(program: &str, test: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if !found {
        println!("skipped: {test} needs {program}, which is not installed");
    }
    found
}

/// Whether we may mount here, tried once; says so when a test is skipped because we may not.
pub(crate) fn may_mount(test: &str) -> bool {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    if !installed("mount", test) || !installed("umount", test) {
        return false;
    }
    let tried = TRIED.get_or_init(|| try_mount(&["-t", "tmpfs", "none"]));
    if let Err(why) = tried {
        println!("skipped: {test} needs the right to mount: {why}");
    }
    tried.is_ok()
}

/// Whether these arguments of `mount` work; else why not.
pub(crate) fn try_mount(arguments: &[&str]) -> Result<(), String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("may-mount-{}-{number}", std::process::id());
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir(&at).unwrap();
    let mounted = output_of(Command::new("mount").args(arguments).arg(&at));
    if mounted.status.success() {
        output_of(Command::new("umount").arg("--lazy").arg(&at));
    }
    fs::remove_dir(&at).unwrap();
    if mounted.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
}

/// Another user than the one who runs the tests: `nobody`.
pub(crate) const NOBODY: u32 = 65_534;

/// The program on a factory's root, run by [`NOBODY`]; `None`, said, where that can't be done.
pub(crate) fn as_nobody(factory: &Factory, test: &str) -> Option<Command> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {test} needs root, to run the program as another user");
        return None;
    }
    if !installed("setpriv", test) {
        return None;
    }
    // The second time it stands there already.
    if !factory.root().join("program").exists() {
        copy_program(&factory.root().join("program"));
    }
    let id = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(factory.root().join("program"))
        .arg("--root")
        .arg(factory.root())
        .env("TZ", "UTC");
    Some(command)
}
