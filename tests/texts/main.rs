//! The texts of the package say what the program says: man pages and completions are made from the text of `--help`, the settings
//! file holds every setting, and its man page is made from it. `PHOTO_FACTORY_SNAPSHOTS=1` writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a file this test cannot read is a failure; it writes them anew where the environment says so"
)]

mod man;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

use argh_complete::Generator;
use photo_factory::cli;

/// The man page of the command in section 1, and of the settings file in section 5.
const MAN: [&str; 2] = ["man/photo-factory.1", "man/photo-factory.toml.5"];

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

/// Holds a file of packaging/ to the text made now.
fn hold(name: &str, made: &str) {
    let file = packaging().join(name);
    if std::env::var_os("PHOTO_FACTORY_SNAPSHOTS").is_some() {
        fs::write(&file, made).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == made,
        "{} is not what the program says any more: look at what changed, and write it anew with PHOTO_FACTORY_SNAPSHOTS=1",
        file.display()
    );
}

#[test]
fn the_man_page_of_the_command_says_what_help_says() {
    let page = man::of_command(&cli::described());
    assert!(page.contains(".SS ingest"), "{page}");
    hold(MAN[0], &page);
}

#[test]
fn the_man_page_of_the_settings_says_what_the_settings_file_says() {
    let settings = fs::read_to_string(packaging().join("photo-factory.toml")).unwrap();
    hold(MAN[1], &man::of_settings(&settings));
}

#[test]
fn shells_complete_the_commands_there_are() {
    let described = cli::described();
    let name = "photo-factory";
    let completions = [
        (
            "photo-factory.bash",
            argh_complete::bash::Bash::generate(name, &described),
        ),
        (
            "_photo-factory",
            argh_complete::zsh::Zsh::generate(name, &described),
        ),
        (
            "photo-factory.fish",
            argh_complete::fish::Fish::generate(name, &described),
        ),
    ];
    for (file, made) in completions {
        assert!(
            made.contains("photo-factory") && made.contains("ingest"),
            "{made}"
        );
        hold(&format!("completions/{file}"), &made);
    }
}
