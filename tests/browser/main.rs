//! Every page in a real browser: narrow and wide, light and dark, with script and without; no error on its console, no request to
//! anybody else, nothing that a reader with other senses could not use.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests make and change files, and fail by panicking"
)]

#[path = "../appliance/factory.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod factory;
#[path = "../fixtures/mod.rs"]
mod fixtures;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use factory::{Factory, installed, output_within};
use fixtures::exif::Exif;
use fixtures::jpeg::{self, Load};
use photo_factory::dashboard::request::Method;
use photo_factory::dashboard::routes::{Form, ROUTES};
use serde_json::json;

/// All pages, in a browser that starts once.
const LOOKING: Duration = Duration::from_secs(600);

/// Where `packaging/test.sh` puts what the browser is driven by.
fn tools() -> Option<PathBuf> {
    let program = PathBuf::from(factory::program());
    let target = program.parent()?.parent()?;
    let tools = target.join("tools/browser");
    tools
        .join("node_modules/playwright-core")
        .is_dir()
        .then_some(tools)
}

/// The pages that are looked at: every one of the table, its `{}` filled in.
fn pages() -> Vec<String> {
    let pages = ROUTES
        .iter()
        .filter(|route| route.form == Form::Page && route.method == Method::Get);
    pages
        .map(|page| match page.path {
            "/photos/{}" => "/photos/1".to_owned(),
            "/services/{}" => "/services/librarian".to_owned(),
            path => {
                assert!(
                    !path.contains("{}"),
                    "say here what {path} is looked at with"
                );
                path.to_owned()
            }
        })
        .collect()
}

#[test]
fn every_page_is_well_in_a_browser_and_photos_are_seen_to_arrive() {
    const NAME: &str = "every_page_is_well_in_a_browser";
    if !installed("chromium", NAME) || !installed("node", NAME) {
        return;
    }
    let Some(tools) = tools() else {
        println!(
            "skipped: {NAME} needs playwright-core and axe-core (packaging/test.sh installs them)"
        );
        return;
    };
    let mut factory = Factory::new("looked-at");
    let mut pictures = Load::new(6);
    for number in 0..40 {
        let exif = Exif::taken(&format!(
            "2024:{:02}:{:02} 12:00:00",
            1 + number % 12,
            1 + number % 28
        ));
        factory.put(
            format!("phone/IMG_{number:04}.JPG"),
            &pictures.next(&exif, 20_000),
        );
    }
    factory.put("phone/<b>not & a \"photo\".txt", b"text");
    factory.put(
        "phone/a very long name that never seems to come to its end, whatever is done.jpg",
        b"",
    );
    factory.start();
    factory.wait_until("all photos are filed", LOOKING, || {
        factory.status()["photos"]["total"] == 40 && factory.waiting().len() == 2
    });
    let coming = factory.root().join("coming.jpg");
    fs::write(
        &coming,
        jpeg::small(77, &Exif::taken("2025:05:05 05:05:05")),
    )
    .unwrap();
    let shots = tools.join("shots");
    fs::create_dir_all(&shots).unwrap();
    let orders = json!({
        "base": format!("http://{}", factory.address()),
        "chromium": chromium(),
        "paths": pages(),
        "tools": tools,
        "shots": shots,
        "arrival": { "from": coming, "to": factory.inbox().join("phone/ARRIVED.JPG") },
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/look.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(orders.to_string());
    let output = output_within(LOOKING, &mut node);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    // Six views of each page, and the arrival.
    let expected = format!("looked at {}", pages().len() * 6 + 1);
    assert_eq!(said.trim(), expected, "{errors}");
}

fn chromium() -> PathBuf {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join("chromium"))
        .find(|program| program.is_file());
    found.unwrap()
}
