//! The settings file of the package: every setting there is, explained, and understood by the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use photo_factory::config::Config;

/// `key = value`, where a line is one.
pub(super) fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(" = ")?;
    let is_key = key
        .chars()
        .all(|letter| letter.is_ascii_lowercase() || letter == '_');
    is_key.then_some((key, value))
}

fn shipped() -> String {
    fs::read_to_string(super::packaging().join("photo-factory.toml")).unwrap()
}

/// Every setting that README.md explains, as `section.key`.
fn explained() -> BTreeSet<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let mut settings = BTreeSet::new();
    let mut is_alerts = false;
    for line in readme.lines() {
        is_alerts = line == "## Alerts" || is_alerts && !line.starts_with("## ");
        let Some(cell) = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split(" |").next())
        else {
            continue;
        };
        let cell = format!("`{cell}");
        if let Some((section, keys)) = cell
            .strip_prefix("`[")
            .and_then(|rest| rest.split_once("] "))
        {
            let section = section.split('.').next().unwrap();
            settings.extend(names(keys).map(|key| format!("{section}.{key}")));
        } else if is_alerts {
            settings.extend(names(&cell).map(|key| format!("alerts.{key}")));
        }
    }
    settings
}

/// The keys named in a cell: "`user`, `password_file`".
fn names(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split(',')
        .map(|key| key.trim().trim_matches('`').to_owned())
        .filter(|key| {
            key.chars()
                .all(|letter| letter.is_ascii_lowercase() || letter == '_')
        })
}

#[test]
fn the_settings_file_holds_every_setting_that_the_readme_explains_and_no_other() {
    let mut section = String::new();
    let mut held = BTreeSet::new();
    for line in shipped().lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            name.split('.').next().unwrap().clone_into(&mut section);
        } else if let Some((key, _)) = assignment(bare) {
            held.insert(format!("{section}.{key}"));
        }
    }
    let explained = explained();
    assert!(explained.len() > 40, "{explained:?}");
    assert_eq!(held, explained);
}

fn read(settings: &str) -> Config {
    // Tests run side by side.
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default().replace("::", "-");
    let root = std::env::temp_dir().join(format!("photo-factory-{}-{name}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    let file = root.join("photo-factory.toml");
    fs::write(&file, settings).unwrap();
    let read = Config::read(Some(&root), Some(&file), None);
    fs::remove_dir_all(&root).unwrap();
    read.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_settings_file_as_shipped_is_the_defaults_with_the_page_for_the_network() {
    let (shipped, default) = (read(&shipped()), read(""));
    assert_eq!(shipped.listen.to_string(), "0.0.0.0:8380");
    assert_eq!(shipped.inbox, default.inbox);
    assert_eq!(shipped.storage, default.storage);
    assert!(shipped.alerts.is_empty());
}

#[test]
fn what_stands_behind_the_number_signs_is_the_default_and_is_understood() {
    let taken: Vec<String> = shipped()
        .lines()
        .filter_map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let is_setting = assignment(bare).is_some() || bare.starts_with('[');
            // Of two ways to say a thing, the file has both; certificates and their like are no defaults, and have a form.
            let is_other_way = bare.starts_with("api_key =") || bare.starts_with("certificate =");
            (is_setting && !is_other_way).then(|| bare.to_owned())
        })
        .collect();
    let (taken, default) = (read(&taken.join("\n")), read(""));
    assert_eq!(taken.settle, default.settle);
    assert_eq!(taken.rescan, default.rescan);
    assert_eq!(taken.verify_every, default.verify_every);
    assert_eq!(taken.refresh_seconds, default.refresh_seconds);
    assert_eq!(taken.clear, default.clear);
    assert_eq!(
        taken.monitor.librarian_every,
        default.monitor.librarian_every
    );
    assert_eq!(taken.alerts.len(), 2, "{taken:?}");
}
