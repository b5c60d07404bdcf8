//! Real files from many cameras, and files made to do harm. Skipped where the corpus does not lie beside the checkout.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use crate::factory::{Factory, PATIENCE, ended, files_below, hash_of, output_of, program, text};

/// The corpus, or `None` and a line that says so.
fn corpus(test: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let folder = std::env::var_os("PHOTO_FACTORY_CORPUS").map_or(beside, PathBuf::from);
    if folder.join("manifest.tsv").exists() {
        return Some(folder);
    }
    println!(
        "skipped: {test} needs the corpus, which is not at {}",
        folder.display()
    );
    None
}

/// The manifest's rows below a folder of the corpus, by column.
fn manifest(corpus: &Path, below: &str) -> Vec<BTreeMap<String, String>> {
    let table = fs::read_to_string(corpus.join("manifest.tsv")).unwrap();
    let mut lines = table.lines().map(|line| line.split('\t'));
    let header: Vec<&str> = lines.next().unwrap().collect();
    lines
        .map(|cells| {
            header
                .iter()
                .map(|&name| name.to_owned())
                .zip(cells.map(str::to_owned))
                .collect()
        })
        .filter(|row: &BTreeMap<String, String>| row["path"].starts_with(below))
        .collect()
}

/// What `inspect --json` says of each file; every file is its own argument, a hundred to a run.
fn inspect(files: &[PathBuf]) -> BTreeMap<PathBuf, Value> {
    let mut said = BTreeMap::new();
    for some in files.chunks(100) {
        let mut command = Command::new(program());
        command
            .args(["inspect", "--json"])
            .args(some)
            .env("TZ", "UTC")
            .current_dir(env!("CARGO_TARGET_TMPDIR"));
        let output = output_of(&mut command);
        assert_ne!(
            output.status.code(),
            Some(1),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for line in crate::factory::json_lines(&output) {
            said.insert(PathBuf::from(text(&line, "path")), line);
        }
    }
    said
}

/// Counts what is right and remembers every miss.
#[derive(Default)]
struct Score {
    right: usize,
    misses: Vec<String>,
}

impl Score {
    fn count(&mut self, is_right: bool, miss: impl FnOnce() -> String) {
        if is_right {
            self.right += 1;
        } else {
            self.misses.push(miss());
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "hundreds of files")]
    fn assert_at_least(&self, what: &str, share: f64) {
        let all = self.right + self.misses.len();
        println!("{what}: {} of {all} right", self.right);
        for miss in &self.misses {
            println!("  {miss}");
        }
        assert!(all > 20, "only {all} {what} in the corpus");
        assert!(
            self.right as f64 >= share * all as f64,
            "{what}: {} of {all} right",
            self.right
        );
    }
}

#[test]
fn dates_offsets_and_places_of_real_files_are_right() {
    let Some(corpus) = corpus("dates of real files") else {
        return;
    };
    let corpus = corpus.canonicalize().unwrap();
    let rows = manifest(&corpus, "good/");
    let files: Vec<PathBuf> = rows.iter().map(|row| corpus.join(&row["path"])).collect();
    let said = inspect(&files);
    let (mut dates, mut offsets, mut places, mut guesses) = (
        Score::default(),
        Score::default(),
        Score::default(),
        Score::default(),
    );
    for row in &rows {
        let path = &row["path"];
        let Some(found) = said.get(&corpus.join(path)) else {
            panic!("inspect said nothing of {path}");
        };
        let field = |name: &str| found[name].as_str().unwrap_or_default();
        let decision = text(found, "decision");
        let belongs_elsewhere = matches!(decision, "not_media" | "temporary");
        let expected = row["expected_local_date"].replace(' ', "T");
        if expected.is_empty() {
            if !belongs_elsewhere && decision != "sidecar" {
                let from = field("captured_from");
                guesses.count(matches!(from, "file name" | "mtime"), || {
                    format!(
                        "{path}: {} from {from}, though the file says nothing",
                        field("captured_at")
                    )
                });
            }
            continue;
        }
        let at = field("captured_at");
        let to_the_second = at.split('.').next().unwrap_or_default();
        dates.count(to_the_second == expected, || {
            format!(
                "{path}: {at} from {}, expected {expected} ({}) [{decision}]",
                field("captured_from"),
                row["expected_date_tag"]
            )
        });
        let offset = row["expected_offset"].as_str();
        if !offset.is_empty() && offset != "Z" {
            offsets.count(field("captured_offset") == offset, || {
                format!(
                    "{path}: offset {}, expected {offset}",
                    found["captured_offset"]
                )
            });
        }
    }
    for row in rows.iter().filter(|row| !row["expected_lat"].is_empty()) {
        let found = &said[&corpus.join(&row["path"])];
        let is_near = |field: &str, expected: &str| {
            let expected: f64 = expected.parse().unwrap();
            found[field]
                .as_f64()
                .is_some_and(|degrees| (degrees - expected).abs() < 0.0005)
        };
        let is_null_island =
            row["expected_lat"].parse() == Ok(0.0) && row["expected_lon"].parse() == Ok(0.0);
        let is_right =
            is_near("latitude", &row["expected_lat"]) && is_near("longitude", &row["expected_lon"]);
        // A receiver without a fix writes 0,0; to leave it out is right as well.
        places.count(
            is_right || (is_null_island && found["latitude"].is_null()),
            || {
                format!(
                    "{}: {} {}, expected {} {}",
                    row["path"],
                    found["latitude"],
                    found["longitude"],
                    row["expected_lat"],
                    row["expected_lon"]
                )
            },
        );
    }
    dates.assert_at_least("dates", 0.99);
    offsets.assert_at_least("offsets", 1.0);
    places.assert_at_least("places", 0.98);
    guesses.assert_at_least("files without a date, dated by name or mtime", 1.0);
}

#[test]
fn p6_files_made_to_do_harm_cost_little_and_stop_nothing() {
    let Some(corpus) = corpus("files made to do harm") else {
        return;
    };
    let mut factory = Factory::new("malformed");
    let files = files_below(&corpus.join("malformed"));
    assert!(files.len() > 40, "{} files", files.len());
    let mut given = BTreeSet::new();
    for path in &files {
        let content = fs::read(path).unwrap();
        given.insert(hash_of(path));
        factory.put(path.strip_prefix(&corpus).unwrap(), &content);
    }
    factory.start();
    let pid = factory.pid();
    // The last word on each file: filed, or a row that says why it stays.
    let mut most = 0;
    factory.wait_until(
        "every file has been judged",
        Duration::from_secs(5 * files.len() as u64),
        || {
            most = most.max(resident_kib(pid));
            let judged = factory.filed().len();
            let left = left_rows(&factory);
            judged + left >= given.len() || judged + left >= files.len()
        },
    );
    assert!(factory.is_running());
    assert!(most < 256 * 1024, "{most} KiB resident, worker included");
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");

    let mut found: BTreeSet<String> = factory.filed().into_values().collect();
    found.extend(factory.waiting().iter().map(|path| hash_of(path)));
    assert!(
        given.is_subset(&found),
        "lost: {:?}",
        given.difference(&found).collect::<Vec<_>>()
    );
    for row in factory.rows() {
        let year: i32 = text(&row, "captured_at")
            .split('-')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1900..=2100).contains(&year), "a made-up date: {row}");
    }
}

fn left_rows(factory: &Factory) -> usize {
    let output = factory.run(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    usize::try_from(status["inbox"]["left"].as_u64().unwrap_or(0)).unwrap()
}

#[test]
fn p6_no_harmful_file_takes_more_than_five_seconds_of_computing() {
    let Some(corpus) = corpus("time per harmful file") else {
        return;
    };
    let files = files_below(&corpus.join("malformed"));
    let mut child = Command::new(program())
        .args(["inspect", "--json"])
        .args(&files)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (told, said) = channel();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|read| read > 0) {
            if told.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
    // Not time on the wall: that is the other programs' as well.
    let mut before = Duration::ZERO;
    let mut slowest = (Duration::ZERO, String::new());
    let mut lines = 0;
    loop {
        match said.recv_timeout(PATIENCE) {
            Ok(line) => {
                lines += 1;
                let used = cpu_time(child.id());
                slowest = slowest.max((used.saturating_sub(before), line));
                before = used;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                panic!("it hangs after {lines} files: {files:#?}");
            }
        }
    }
    let status = ended(&mut child, "inspect");
    assert!(matches!(status.code(), Some(0 | 2)), "{status}");
    assert_eq!(lines, files.len());
    println!("slowest: {slowest:?}");
    assert!(before > Duration::ZERO, "nothing was measured");
    assert!(slowest.0 < Duration::from_secs(5), "{slowest:?}");
}

/// The processor time of a process, of its children, and of those that have ended.
fn cpu_time(pid: u32) -> Duration {
    // Ticks of a hundredth: user and system time of its own, then of the children that it has waited for (proc(5)).
    const FIRST: usize = 13;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = rest
        .split(' ')
        .skip(FIRST - 2)
        .take(4)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    let children = children_of(pid).into_iter().map(cpu_time);
    Duration::from_millis(10 * ticks) + children.sum::<Duration>()
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let of_tasks = tasks.into_iter().flatten().flatten().map(|task| {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let ids = children.split_whitespace();
        ids.filter_map(|id| id.parse().ok()).collect::<Vec<_>>()
    });
    of_tasks.flatten().collect()
}

/// What a process and its children occupy together, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let own = fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .split(' ')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(0);
    own + children_of(pid).into_iter().map(resident_kib).sum::<u64>()
}
