//! The service monitor: every check and every heartbeat of the system that this one replaces, both views of them, a history that
//! never stops anything, events, metrics.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::factory::{Factory, PATIENCE, files_below, http, installed, may_mount, output_of};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;
use crate::storage::{Mounted, can_mount};

/// Every beat comes within a second or two.
const QUICK: &str = "[monitor]\nlibrarian_seconds = 1\nservices_seconds = 1\ncommit_seconds = 1\n";

fn photo(seed: u64) -> Vec<u8> {
    jpeg::small(seed, &Exif::taken("2023:04:05 06:07:08"))
}

fn row(status: &Value, name: &str) -> Value {
    let rows = status["services"].as_array().unwrap().iter();
    let row = rows.clone().find(|row| row["service_name"] == name);
    row.unwrap_or_else(|| panic!("no {name} in {status:#}"))
        .clone()
}

fn status_of(factory: &Factory, name: &str) -> String {
    let row = row(&factory.status(), name);
    row["status"].as_str().unwrap().to_owned()
}

fn events(factory: &Factory) -> Vec<(String, String)> {
    let status = factory.status();
    let events = status["events"].as_array().unwrap().iter();
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    events
        .map(|event| (text(event, "turn"), text(event, "text")))
        .collect()
}

#[test]
fn each_service_of_the_original_reports_and_its_check_asks_it_for_real() {
    let mut factory = Factory::new("all-services");
    factory.configure(QUICK);
    factory.start();
    for name in ["librarian", "dashboard", "service-monitor", "factory-db"] {
        factory.wait_until(&format!("{name} is up"), PATIENCE, || {
            status_of(&factory, name) == "up"
        });
    }
    factory.wait_until("Syncthing was looked for", PATIENCE, || {
        status_of(&factory, "syncthing") == "unknown"
    });
    let status = factory.status();
    // `pg_isready` was a question to the database; HTTP was asked of the page.
    for asked in ["factory-db", "dashboard"] {
        assert!(row(&status, asked)["response_ms"].is_u64(), "{status:#}");
    }
    assert_eq!(row(&status, "librarian")["queue_depth"], 0);
    assert_eq!(
        row(&status, "librarian")["current_task"],
        "watching the inbox"
    );
    assert_eq!(row(&status, "librarian")["live"][0]["state"], "runs");
    let first = row(&status, "librarian")["last_heartbeat"].clone();
    factory.wait_until("it beats again", PATIENCE, || {
        row(&factory.status(), "librarian")["last_heartbeat"] != first
    });
}

#[test]
fn a_ledger_that_goes_is_seen_by_its_probe_told_as_an_event_and_its_return_as_well() {
    let mut factory = Factory::new("ledger-goes");
    factory.configure(QUICK);
    factory.put("one.jpg", &photo(1));
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    let ledger = factory.root().join("Data/ledger.redb");
    let aside = factory.root().join("ledger-aside");
    fs::rename(&ledger, &aside).unwrap();
    factory.wait_until("the ledger is down", PATIENCE, || {
        status_of(&factory, "factory-db") == "down"
    });
    factory.wait_until("the librarian works with a limit", PATIENCE, || {
        status_of(&factory, "librarian") == "degraded"
    });
    let began = |factory: &Factory| {
        let events = events(factory);
        let is_it = |(turn, text): &(String, String)| {
            turn == "opened" && text.starts_with("factory-db is down")
        };
        events.iter().filter(|event| is_it(event)).count()
    };
    assert_eq!(began(&factory), 1, "{:?}", events(&factory));
    fs::rename(&aside, &ledger).unwrap();
    factory.wait_until("the ledger is back", PATIENCE, || {
        status_of(&factory, "factory-db") == "up"
    });
    let over = ("closed".to_owned(), "factory-db works again".to_owned());
    assert!(events(&factory).contains(&over), "{:?}", events(&factory));
}

#[test]
fn the_history_lives_through_a_stop_and_a_kill_and_the_time_between_is_unknown_and_not_down() {
    let mut factory = Factory::new("history-lives");
    factory.configure(QUICK);
    factory.start();
    let up_seconds = |factory: &Factory| {
        let status = factory.status();
        let days = status["days"].as_array().unwrap().iter();
        let of_librarian = days.filter(|day| day["service_name"] == "librarian");
        of_librarian
            .map(|day| day["up_seconds"].as_u64().unwrap())
            .sum::<u64>()
    };
    factory.wait_until("some seconds are accounted for", PATIENCE, || {
        up_seconds(&factory) >= 3
    });
    factory.kill();
    factory.start();
    // A second may not have been committed.
    assert!(up_seconds(&factory) >= 2);
    let status = factory.status();
    let down: u64 = status["days"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| day["down_seconds"].as_u64().unwrap())
        .sum();
    assert_eq!(down, 0, "{:#}", status["days"]);
    factory.stop();
    let output = factory.run(&["status", "--json"]);
    let offline: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row(&offline, "librarian")["status"], "stopped");
}

/// Starts with a history that is spoilt like this, and sees that it is said and that a photo is filed all the same.
fn goes_on_with(name: &str, spoil: impl FnOnce(&Path)) {
    let mut factory = Factory::new(name);
    factory.configure(QUICK);
    factory.start();
    factory.wait_until("the history is there", PATIENCE, || {
        status_of(&factory, "factory-db") == "up"
    });
    factory.stop();
    spoil(&factory.root().join("Data/history.redb"));
    factory.put("one.jpg", &photo(1));
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    factory.wait_until("it is said", PATIENCE, || {
        let notices = factory.status()["notices"].to_string();
        notices.contains("The history of the services was damaged")
    });
    assert_eq!(status_of(&factory, "librarian"), "up");
    let kept = files_below(&factory.root().join("Data"));
    assert!(
        kept.iter()
            .any(|file| file.to_string_lossy().contains("damaged-1")),
        "{kept:?}"
    );
}

#[test]
fn a_history_that_is_cut_off_stops_nothing_and_the_page_says_so() {
    goes_on_with("history-cut", |file| {
        let half = fs::metadata(file).unwrap().len() / 2;
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_len(half).unwrap();
    });
}

#[test]
fn a_history_with_flipped_bytes_stops_nothing_and_the_page_says_so() {
    goes_on_with("history-flipped", |file| {
        let mut bytes = fs::read(file).unwrap();
        for byte in &mut bytes {
            *byte ^= 0x5A;
        }
        fs::write(file, bytes).unwrap();
    });
}

/// Starts where the history can't be written, and sees that it is said, that a photo is filed all the same, and that the
/// history goes on when `mend` has been done.
fn goes_on_in_memory(factory: &mut Factory, mend: impl FnOnce()) {
    factory.put("one.jpg", &photo(1));
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    let is_said = |factory: &Factory| {
        let notices = factory.status()["notices"].to_string();
        notices.contains("The history of the services cannot be written")
    };
    factory.wait_until("it is said", PATIENCE, || is_said(factory));
    assert_eq!(status_of(factory, "librarian"), "up");
    let beat = || row(&factory.status(), "librarian")["last_heartbeat"].clone();
    let first = beat();
    factory.wait_until("it beats on", PATIENCE, || beat() != first);
    mend();
    factory.wait_until("it is written again", PATIENCE, || !is_said(factory));
}

#[test]
fn a_history_that_can_t_be_written_goes_on_in_memory_and_the_page_says_so() {
    let test = "a read-only history";
    if !may_mount(test) {
        return;
    }
    let mut factory = Factory::new("history-read-only");
    factory.configure(QUICK);
    factory.start();
    factory.stop();
    let elsewhere = factory.root().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let history = factory.root().join("Data/history.redb");
    fs::rename(&history, elsewhere.join("history.redb")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("history.redb"), &history).unwrap();
    let closed = Mounted::read_only(&elsewhere);
    goes_on_in_memory(&mut factory, || drop(closed));
}

#[test]
fn a_history_on_a_full_disk_goes_on_in_memory_and_the_page_says_so() {
    let test = "a history on a full disk";
    if !may_mount(test) {
        return;
    }
    let mut factory = Factory::new("history-full");
    factory.configure(QUICK);
    factory.start();
    factory.stop();
    let elsewhere = factory.root().join("elsewhere");
    let disk = Mounted::tmpfs("size=4m", &elsewhere);
    let history = factory.root().join("Data/history.redb");
    // Its holes stay holes: they have no room any more once the filler has it.
    let copied = output_of(
        Command::new("cp")
            .arg("--sparse=always")
            .arg(&history)
            .arg(elsewhere.join("history.redb")),
    );
    assert!(copied.status.success());
    fs::remove_file(&history).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("history.redb"), &history).unwrap();
    let filler = elsewhere.join("filler");
    fs::write(&filler, vec![1; 5 << 20]).unwrap_err();
    goes_on_in_memory(&mut factory, || fs::remove_file(&filler).unwrap());
    factory.stop();
    drop(disk);
}

#[test]
fn a_page_of_the_owner_s_choosing_is_asked_and_its_end_is_seen() {
    let mut factory = Factory::new("owner-s-page");
    let mut other = Factory::new("other-appliance");
    other.start();
    let address = other.address().to_owned();
    factory.configure(&format!(
        "{QUICK}[probes.other]\nurl = \"http://{address}/healthz\"\ncontains = \"ok\"\n"
    ));
    factory.start();
    factory.wait_until("it answers", PATIENCE, || {
        status_of(&factory, "other") == "up"
    });
    assert!(row(&factory.status(), "other")["response_ms"].is_u64());
    other.stop();
    factory.wait_until("it is down", PATIENCE, || {
        status_of(&factory, "other") == "down"
    });
    assert_eq!(factory.status()["status"], "attention");
}

#[test]
fn the_board_and_the_phones_are_on_the_page() {
    let mut factory = Factory::new("board");
    factory.configure(QUICK);
    factory.put("Anna/DCIM/one.jpg", &photo(1));
    factory.put("Ben/two.jpg", &photo(2));
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    factory.wait_until("the board was looked at twice", PATIENCE, || {
        factory.status()["board"]["own_written_bytes_per_hour"].is_u64()
    });
    let status = factory.status();
    let board = &status["board"];
    assert!(board["memory"]["own_bytes"].as_u64().unwrap() > 0);
    assert!(board["uptime_seconds"].as_u64().unwrap() > 0);
    assert!(board["load"].is_array());
    assert!(board["disks"][0]["free_bytes"].as_u64().unwrap() > 0);
    let phones: Vec<&str> = status["phones"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phone| phone["name"].as_str().unwrap())
        .collect();
    assert_eq!(phones, ["Anna", "Ben"]);
}

#[test]
fn a_librarian_that_hangs_stops_beating_and_is_told_as_stuck_while_the_page_goes_on() {
    let test = "a librarian that hangs";
    if !can_mount(test) {
        return;
    }
    let mut factory = Factory::new("hangs");
    factory.configure(QUICK);
    let image = factory.root().with_extension("hangs.ext4");
    let disk = Mounted::ext4(&image, &factory.storage());
    factory.put("one.jpg", &photo(1));
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    disk.freeze();
    factory.put("two.jpg", &photo(2));
    factory.wait_until("it is stuck", PATIENCE, || {
        status_of(&factory, "librarian") == "stuck"
    });
    let stuck = row(&factory.status(), "librarian");
    assert!(stuck["since"].is_string(), "{stuck:#}");
    assert_eq!(factory.status()["status"], "trouble");
    disk.thaw();
    factory.wait_until("it works again", PATIENCE, || {
        status_of(&factory, "librarian") == "up"
    });
    factory.wait_until_the_inbox_is_empty();
    let texts: Vec<String> = events(&factory).into_iter().map(|(_, text)| text).collect();
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with("librarian is stuck")),
        "{texts:?}"
    );
    factory.stop();
    drop(disk);
    fs::remove_file(image).unwrap();
}

/// Where packaging/test.sh puts programs that it borrows from a package without installing it.
fn promtool(test: &str) -> Option<std::path::PathBuf> {
    let borrowed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/promtool");
    if borrowed.is_file() {
        return Some(borrowed);
    }
    installed("promtool", test).then(|| "promtool".into())
}

#[test]
fn prometheus_own_tool_finds_nothing_to_complain_of_in_the_metrics() {
    let Some(promtool) = promtool("the metrics") else {
        return;
    };
    let mut factory = Factory::new("metrics");
    factory.configure(QUICK);
    factory.put("Anna \"the\\first\"/one.jpg", &photo(1));
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    factory.wait_until("the board was looked at", PATIENCE, || {
        factory.status()["board"].is_object()
    });
    let (code, metrics) = http(factory.address(), "GET", "/metrics", &[]);
    assert_eq!(code, 200);
    for name in [
        "photo_factory_photos 1",
        "photo_factory_filed_total 1",
        "photo_factory_service_up{service=\"librarian\"} 1",
        "photo_factory_disk_free_bytes{disk=",
        "photo_factory_phone_last_photo_time_seconds{phone=\"1\"}",
    ] {
        assert!(metrics.contains(name), "{name} is missing: {metrics}");
    }
    assert!(!metrics.contains("Anna"), "names are nobody's business");
    let file = factory.root().join("metrics.txt");
    fs::write(&file, &metrics).unwrap();
    let checked = output_of(
        Command::new(promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::from(fs::File::open(&file).unwrap())),
    );
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{told}");
    assert_eq!(told, "", "it has nothing to remark");
}
