//! A factory in a folder of its own: fills its inbox, runs the real binary, looks at what it did, takes it down.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_photo-factory");

/// How long anything that should happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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
        let mut file = File::create(&path).unwrap();
        file.write_all(content).unwrap();
        file.set_modified(mtime).unwrap();
        path
    }

    /// A command of the program on this factory, ready to be run.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
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
            .map(|path| {
                (
                    path.strip_prefix(self.storage()).unwrap().to_owned(),
                    hash_of(&path),
                )
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

    /// Starts the appliance on a free port and waits for its line.
    pub(crate) fn start(&mut self) {
        let mut command = self.command();
        command.args(["run", "--listen", "127.0.0.1:0"]);
        self.start_command(command);
    }

    /// Starts the appliance by a command of the caller's making.
    pub(crate) fn start_command(&mut self, mut command: Command) {
        assert!(self.daemon.is_none(), "it runs already");
        let log = File::create(self.root.join("stderr.txt")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while lines.read_line(&mut line).unwrap() > 0 && !line.contains("http://") {}
        let address = line
            .split_once("http://")
            .and_then(|(_, rest)| rest.split(['/', ' ', '\n']).next())
            .map(str::to_owned);
        let Some(address) = address else {
            let status = child.wait().unwrap();
            let log = fs::read_to_string(self.root.join("stderr.txt")).unwrap();
            panic!("it did not start ({status}): {line}\n{log}");
        };
        self.daemon = Some(Daemon { child, address });
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
        (daemon.child.wait().unwrap(), asked.elapsed())
    }

    /// Ends it as a power cut would: at once, between any two instructions.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
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
        if !wait_until(patience, is_so) {
            let log = fs::read_to_string(self.root.join("stderr.txt")).unwrap_or_default();
            let end: Vec<_> = log.lines().rev().take(30).collect();
            panic!(
                "waited {patience:?} in vain until {what}; in the inbox: {:?}\nits log, last line first:\n{}",
                self.waiting(),
                end.join("\n")
            );
        }
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
fn output_of(command: &mut Command) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let reader = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(pipe.read_to_end(&mut bytes));
            bytes
        })
    };
    let stdout = reader(Box::new(child.stdout.take().unwrap()));
    let stderr = reader(Box::new(child.stderr.take().unwrap()));
    let ended = wait_until(2 * PATIENCE, || child.try_wait().unwrap().is_some());
    if !ended {
        drop(child.kill());
    }
    let status = child.wait().unwrap();
    let output = Output {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    };
    if !ended {
        let said = String::from_utf8_lossy(&output.stdout);
        let end: Vec<_> = said.lines().rev().take(5).collect();
        panic!("{command:?} did not end; its last lines: {end:#?}");
    }
    output
}

/// Looks every few milliseconds until it is so, or patience ends.
pub(crate) fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + patience;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to a process that we started.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Every regular file below a folder that is no dotfile; none where there is no folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            // The entry may be gone by now: the program works in the same folders.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !hidden => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && !hidden => files.push(entry.path()),
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
