//! The page of what runs here: every setting, and no secret.

use super::*;
use crate::config::Config;
use crate::dashboard::pages::about::{AboutView, Setting, page};
use crate::dashboard::settings::in_force;

/// Settings read from a file in a folder of its own.
fn config(data: &Path, text: &str) -> Config {
    std::fs::write(data.join("photo-factory.toml"), text).unwrap();
    Config::read(Some(data), None, None).unwrap()
}

fn view() -> AboutView {
    let setting = |name: &str, value: &str, is_default| Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        is_default,
    };
    AboutView {
        paths: vec![("Inbox", "/srv/photos/Photos_Inbox".to_owned())],
        settings: vec![
            setting("[inbox] clear", "safe", false),
            setting("[verify] days", "30", true),
        ],
        files: Some(12_345),
        started_at: Some(now()),
    }
}

#[test]
fn every_setting_of_the_manual_is_shown() {
    let data = Data::new();
    let shown = in_force(&config(&data.0, ""));
    let manual = include_str!("../../../README.md");
    let mut seen = 0;
    for row in manual.lines().filter(|line| line.starts_with("| `[")) {
        let first = row.split('|').nth(1).unwrap();
        let mut names = first.split('`').filter(|name| name.trim().len() > 1);
        let (section, key) = names.next().unwrap().split_once(' ').unwrap();
        // Of the owner's naming: there are none without a file.
        if section.contains("NAME") {
            continue;
        }
        for key in std::iter::once(key).chain(names.filter(|name| !name.starts_with(','))) {
            let name = format!("{section} {key}");
            assert!(shown.iter().any(|(known, _)| *known == name), "{name}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} settings in the manual's table");
}

#[test]
fn what_the_file_changes_is_told_from_the_defaults() {
    let data = Data::new();
    let defaults = in_force(&Config::defaults(&data.0.canonicalize().unwrap()).unwrap());
    assert_eq!(in_force(&config(&data.0, "")), defaults);
    let changed = in_force(&config(
        &data.0,
        "[inbox]\nclear = \"safe\"\n[verify]\ndays = 30\n[monitor]\nquiet_phone_days = 0\n",
    ));
    let changed = changed.iter().filter(|set| !defaults.contains(set));
    let changed: Vec<_> = changed.map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        changed,
        [
            ("[inbox] clear", "safe"),
            ("[monitor] quiet_phone_days", "0: switched off")
        ]
    );
}

#[test]
fn no_key_and_no_password_is_shown() {
    let data = Data::new();
    let config = config(
        &data.0,
        "[syncthing]\nurl = \"http://me:s3cret@localhost:8384\"\napi_key = \"s3cret\"\n\
         [monitor]\ndocker = \"http://me:s3cret@proxy:2375\"\n\
         [probes.router]\nurl = \"http://me:s3cret@router/\"\ncontains = \"s3cret\"\n\
         [alerts.hook]\nkind = \"webhook\"\nurl = \"https://hooks.example/s3cret\"\n",
    );
    let shown = in_force(&config);
    assert!(!format!("{shown:?}").contains("s3cret"), "{shown:?}");
    for (name, value) in [
        ("[syncthing] url", "http://localhost:8384"),
        ("[syncthing] api_key", "set, not shown"),
        ("[monitor] docker", "http://proxy:2375"),
        ("[probes.router]", "set, not shown"),
        ("[alerts.hook]", "set, not shown"),
    ] {
        let pair = (name.to_owned(), value.to_owned());
        assert!(shown.contains(&pair), "{name} is not {value} in {shown:?}");
    }
}

#[test]
fn the_page_says_what_was_changed_and_where_things_are() {
    let html = page(&view(), &frame("/about")).into_string();
    let text = sound(&html);
    for said in ["GPL-3.0-or-later", "changed", "default"] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    is_as_kept("about", &html.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[test]
fn a_ledger_that_cannot_be_read_is_said() {
    let view = AboutView {
        files: None,
        started_at: None,
        ..view()
    };
    let text = sound(&page(&view, &frame("/about")).into_string());
    assert!(text.contains("the ledger can't be read"), "{text}");
    assert!(view.json()["files"].is_null());
}

#[test]
fn the_longest_and_most_hostile_settings_stay_small_text() {
    let hostile = EVIL.repeat(50);
    let setting = Setting {
        name: hostile.clone(),
        value: hostile.clone(),
        is_default: false,
    };
    let view = AboutView {
        paths: vec![("Root", hostile); 5],
        settings: vec![setting; 80],
        ..view()
    };
    sound(&page(&view, &frame("/about")).into_string());
}
