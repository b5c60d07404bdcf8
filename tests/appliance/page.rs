//! The page, asked by a browser and by hand, while photos arrive.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::factory::{Factory, PATIENCE, http, installed, output_of, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::{self, Load};

#[test]
fn a_browser_shows_the_page_while_photos_arrive() {
    if !installed("chromium", "the page in a browser") {
        return;
    }
    let mut factory = Factory::new("browser");
    factory.start();
    let mut pictures = Load::new(6);
    for number in 0..30 {
        let exif = Exif::taken(&format!("2024:02:29 12:00:{number:02}"));
        factory.put(
            format!("IMG_{number:04}.JPG"),
            &pictures.next(&exif, 50_000),
        );
    }
    factory.put("<b>not a photo</b>.txt", b"text");
    let early = browse(&factory, &["--dump-dom"]);
    assert!(early.contains("Photo Factory"), "{early}");
    factory.wait_until("only the text is left", PATIENCE, || {
        factory.waiting().len() == 1
    });
    let mut page = String::new();
    factory.wait_until("the page shows the photos", PATIENCE, || {
        page = http(factory.address(), "GET", "/", &[]).1;
        page.contains("IMG_0029.JPG") && page.contains("not a photo")
    });
    let dom = browse(&factory, &["--dump-dom"]);
    assert!(dom.contains("IMG_0029.JPG"), "{dom}");
    assert!(
        !dom.contains("<b>not a photo"),
        "a file's name became markup"
    );

    let picture = factory.root().join("page.png");
    browse(
        &factory,
        &[
            &format!("--screenshot={}", picture.display()),
            "--window-size=1280,900",
        ],
    );
    let size = fs::metadata(&picture).unwrap().len();
    assert!(size > 10_000, "an empty page: {size} bytes");
}

#[test]
fn what_the_services_log_is_on_the_page_under_their_names() {
    let mut factory = Factory::new("logs");
    factory.put(
        "one.jpg",
        &jpeg::small(1, &Exif::taken("2024:02:29 12:00:00")),
    );
    factory.start();
    let lines = |query: &str| {
        http(
            factory.address(),
            "GET",
            &format!("/api/v1/logs{query}"),
            &[],
        )
        .1
    };
    factory.wait_until("the librarian's lines are there", PATIENCE, || {
        lines("?service=librarian&text=ONE.JPG").contains("is filed as")
    });
    let others = lines("?service=syncthing");
    assert!(!others.contains("one.jpg"), "{others}");
    let bad = lines("?level=error");
    assert!(bad.contains("\"lines\": []"), "{bad}");
}

fn browse(factory: &Factory, arguments: &[&str]) -> String {
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .arg(format!(
            "--user-data-dir={}",
            factory.root().join("chromium").display()
        ))
        .args(["--timeout=120000", "--virtual-time-budget=2000"])
        .args(arguments)
        .arg(format!("http://{}/", factory.address()));
    let output = output_of(&mut command);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn p9_the_page_is_small_asks_nobody_else_and_answers_to_its_own_names_only() {
    let mut factory = Factory::new("page");
    let mut pictures = Load::new(6);
    for number in 0..60 {
        let exif = Exif::taken(&format!("2024:02:29 12:00:{number:02}"));
        factory.put(
            format!("a rather long folder name/IMG_{number:04}.JPG"),
            &pictures.next(&exif, 9000),
        );
    }
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    let address = factory.address();
    let (code, page) = http(address, "GET", "/", &[]);
    assert_eq!(code, 200);
    assert!(page.len() < 60 * 1024, "{} bytes", page.len());
    for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(
            !page.contains(outside),
            "the page asks someone else: {outside}"
        );
    }
    assert_eq!(http(address, "GET", "/healthz", &[]).0, 200);
    assert_eq!(http(address, "GET", "/no-such-page", &[]).0, 404);
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(http(address, "POST", "/", &[form]).0, 405);
    assert_eq!(
        http(address, "GET", "/export", &[]).0,
        404,
        "the whole ledger is for commands only"
    );

    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    assert!(answer.starts_with("HTTP/1.1 4"), "DNS rebinding: {answer}");
}

#[test]
fn status_says_the_same_running_and_stopped() {
    let mut factory = Factory::new("status");
    factory.put(
        "a.jpg",
        &jpeg::small(1, &Exif::taken("2021:02:03 04:05:06")),
    );
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    factory.wait_until("the total is one", PATIENCE, || {
        factory.status()["photos"]["total"] == 1
    });
    let running = factory.run(&["status"]);
    assert!(running.status.success());
    let exported = factory.run(&["export"]).stdout;
    factory.stop();
    let stopped = factory.run(&["status", "--json"]);
    assert!(stopped.status.success());
    let stopped: serde_json::Value = serde_json::from_slice(&stopped.stdout).unwrap();
    assert_eq!(stopped["photos"]["total"], 1, "{stopped}");
    assert_eq!(factory.run(&["export"]).stdout, exported);

    let csv = String::from_utf8(factory.run(&["export", "--csv"]).stdout).unwrap();
    let mut lines = csv.lines();
    let header = lines.next().unwrap();
    assert!(
        header
            .starts_with("id,file_hash,size,original_name,inbox_path,final_path,kind,captured_at"),
        "{header}"
    );
    assert_eq!(lines.count(), 1);
    let row = &factory.rows()[0];
    assert!(csv.contains(text(row, "file_hash")));
}

#[test]
fn an_empty_folder_becomes_a_factory_by_running_it() {
    let mut factory = Factory::new("empty");
    fs::remove_dir(factory.inbox()).unwrap();
    fs::remove_file(factory.root().join("photo-factory.toml")).unwrap();
    factory.start();
    assert_eq!(http(factory.address(), "GET", "/", &[]).0, 200);
    // The page is there before all else is: a disk that hangs must not keep it away.
    for made in [
        "Photos_Inbox",
        "Storage/Originals",
        "Data/ledger.redb",
        "Logs/photo-factory.log",
    ] {
        factory.wait_until(&format!("{made} is made"), PATIENCE, || {
            factory.root().join(made).exists()
        });
    }
}
