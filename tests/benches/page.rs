//! What the page costs with many photos and 60 days of history: how long each of its routes takes, what it adds to the memory, and
//! how many requests a second it answers beside nginx, which serves the same bytes from a file.
//!
//! `cargo bench --bench page -- [ROWS]`: 100,000 rows if not said otherwise. `wrk` and `nginx` are used where they are installed.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]
#![expect(
    clippy::disallowed_methods,
    reason = "what is measured is made and removed here, and as of today"
)]

#[allow(dead_code, reason = "the ledger's benchmark uses all of it")]
mod rows;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use photo_factory::config::Config;
use photo_factory::dashboard::request::Method;
use photo_factory::dashboard::routes::{ROUTES, Who};
use photo_factory::ledger::Ledger;
use photo_factory::monitor::{Monitor, Report, Service, Settings, Status};

const BATCH: u64 = 256;

/// Requests for each route.
const ASKED: usize = 300;

/// Of these one in a hundred may take longer.
const AIM: Duration = Duration::from_millis(20);

const DAYS: i64 = 60;

fn main() {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    let rows: u64 = words.next().map_or(100_000, |word| word.parse().unwrap());
    let root =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-page-{}", std::process::id()));
    fs::create_dir_all(root.join("Data")).unwrap();
    fs::create_dir_all(root.join("Storage/Originals")).unwrap();
    let ledger = Ledger::open(&root.join("Data")).unwrap();
    let mut number = 0;
    while number < rows {
        rows::file_batch(&ledger, number, BATCH.min(rows - number));
        number += BATCH;
    }
    drop(ledger);
    let beats = history(&root);
    println!("{rows} photos, {beats} heartbeats of {DAYS} days");

    let page = Page::start(&root);
    let before = page.memory("VmRSS");
    for target in targets() {
        page.time(&target);
    }
    println!(
        "memory: {:.1} MiB before the first page, {:.1} MiB after the last, at most {:.1} MiB",
        before,
        page.memory("VmRSS"),
        page.memory("VmHWM")
    );
    page.load(&root);
    drop(page);
    fs::remove_dir_all(&root).unwrap();
}

/// Every route for the network, its `{}` filled in, and the photos picked in every way.
fn targets() -> Vec<String> {
    let shown = ROUTES
        .iter()
        .filter(|route| route.method == Method::Get && route.who != Who::Socket);
    let mut targets: Vec<String> = shown
        .map(|route| match route.path.split_once("{}") {
            Some((before, _)) if before.contains("services") => format!("{before}librarian"),
            Some((before, _)) if before.contains("badge") => format!("{before}librarian.svg"),
            Some((before, _)) => format!("{before}1000"),
            None => route.path.to_owned(),
        })
        .collect();
    let picked = [
        "day=1993-05-05",
        "year=1992",
        "camera=samsung+Galaxy+S21+5G",
        "camera=none+such",
        "kind=heic",
        "kind=png",
        "flag=guessed",
        "flag=not_backed_up",
        "text=IMG_1990",
        "text=nothing+has+this+name",
        "after=1047000000-5000",
    ];
    targets.extend(picked.iter().map(|query| format!("/photos?{query}")));
    targets.extend(picked.iter().map(|query| format!("/api/v1/photos?{query}")));
    targets
}

/// Heartbeats up to now, as the appliance makes them.
fn history(root: &Path) -> usize {
    let config = Config::read(Some(root), None, None).unwrap();
    let settings = Settings {
        commit_every: Duration::MAX,
        ..Settings::of(&config)
    };
    let roster = settings.roster.clone();
    let begin = Timestamp::now() - SignedDuration::from_hours(24 * DAYS);
    let monitor = Monitor::open(&config.data, settings, begin, || Some(true));
    let mut beats = 0;
    for minute in 0..DAYS * 24 * 60 {
        let now = begin + SignedDuration::from_mins(minute);
        let due = roster
            .iter()
            .filter(|watched| minute % 5 == 0 || watched.service == Service::LIBRARIAN);
        for watched in due {
            let mut report = Report::from(Status::Up);
            report.response = Some(Duration::from_millis(
                u64::try_from(3 + minute % 40).unwrap(),
            ));
            monitor.beat(&watched.service, report, now);
            beats += 1;
        }
        if minute % 60 == 59 {
            monitor.flush(now);
        }
    }
    beats
}

struct Page {
    child: Child,
    address: String,
}

impl Page {
    fn start(root: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_photo-factory"))
            .arg("--root")
            .arg(root)
            .args(["run", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split("http://").nth(1).unwrap();
        let address = address.split('/').next().unwrap().to_owned();
        Self { child, address }
    }

    /// The answer's bytes.
    fn ask(&self, target: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.address
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    fn time(&self, target: &str) {
        let mut times = Vec::with_capacity(ASKED);
        let mut bytes = 0;
        for _ in 0..ASKED {
            let asked = Instant::now();
            let answer = self.ask(target);
            times.push(asked.elapsed());
            assert!(
                answer.starts_with(b"HTTP/1.1 200"),
                "{target}: {}",
                String::from_utf8_lossy(&answer)
            );
            bytes = answer.len();
        }
        times.sort_unstable();
        let at = |share: usize| times[ASKED * share / 100];
        let late = if at(99) > AIM {
            "  MORE THAN 20 ms"
        } else {
            ""
        };
        println!(
            "{target:<45} {bytes:>7} bytes, p50 {:>6.2} ms, p99 {:>6.2} ms{late}",
            millis(at(50)),
            millis(at(99))
        );
    }

    /// In MiB.
    fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes / 1024.0
    }

    /// Sixteen at a time, beside nginx with the same bytes.
    fn load(&self, root: &Path) {
        if !is_there("wrk") {
            println!("skipped: requests a second need wrk");
            return;
        }
        for target in ["/", "/photos", "/api/v1/status"] {
            let own = requests_a_second(&format!("http://{}{target}", self.address));
            let answer = self.ask(target);
            let head = answer
                .windows(4)
                .position(|end| end == b"\r\n\r\n")
                .unwrap();
            let nginx = is_there("nginx").then(|| nginx(root, &answer[head + 4..]));
            match nginx {
                Some(nginx) => println!(
                    "{target}: {own:.0} requests a second; nginx, from a file: {nginx:.0}; {:.2} of it",
                    own / nginx
                ),
                None => println!(
                    "{target}: {own:.0} requests a second; skipped: nginx is not installed"
                ),
            }
        }
        println!(
            "memory after it: {:.1} MiB, at most {:.1} MiB",
            self.memory("VmRSS"),
            self.memory("VmHWM")
        );
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        drop(self.child.wait());
    }
}

fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

fn requests_a_second(url: &str) -> f64 {
    let output = Command::new("wrk")
        .args(["-t2", "-c16", "-d5s", url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    assert!(!said.contains("Non-2xx"), "{said}");
    line.unwrap().trim().parse().unwrap()
}

/// nginx on loopback, with these bytes as a file; as we do, it closes each connection.
fn nginx(root: &Path, bytes: &[u8]) -> f64 {
    let folder = root.join("nginx");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("page"), bytes).unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let place = folder.display();
    let settings = format!(
        "daemon off; worker_processes 1; pid {place}/pid; error_log {place}/errors;\n\
         events {{}}\n\
         http {{ access_log off; keepalive_timeout 0; default_type text/html; client_body_temp_path {place}/b; proxy_temp_path {place}/p;\n\
         fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n\
         server {{ listen 127.0.0.1:{port}; root {place}; }} }}\n"
    );
    fs::write(folder.join("settings"), settings).unwrap();
    let mut server = Command::new("nginx")
        .arg("-c")
        .arg(folder.join("settings"))
        .spawn()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    while TcpStream::connect(&address).is_err() {
        assert!(server.try_wait().unwrap().is_none(), "nginx ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    let requests = requests_a_second(&format!("http://{address}/page"));
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    server.wait().unwrap();
    requests
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
