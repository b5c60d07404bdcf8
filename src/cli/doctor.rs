//! `doctor`: one line for each check that is fine, a block for each finding.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde_json::json;

use super::Ended;
use crate::appliance::now;
use crate::asset::quoted;
use crate::config::{Config, ConfigError};
use crate::doctor::{self, Check, Level};

/// Look at everything that the appliance needs, and say what to do about what is not as it should be. Looking changes nothing.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "doctor")]
pub struct Doctor {
    /// one JSON object
    #[argh(switch)]
    json: bool,
    /// you changed the disk of Storage on purpose: use what is there now, with or without photos on it
    #[argh(switch)]
    accept_storage: bool,
}

impl Doctor {
    pub(super) fn writes(&self) -> bool {
        self.accept_storage
    }
}

/// The program's commands that a check may tell to type.
const COMMANDS: [&str; 11] = [
    "run", "ingest", "inspect", "status", "export", "verify", "rebuild", "doctor", "alert",
    "password", "setup",
];

/// How the program was called: what it tells to type begins with that, so that it can be pasted.
pub(super) struct Called {
    program: String,
    /// The program, and the root and settings file that were named.
    pub(super) beginning: String,
    is_installed: bool,
}

impl Called {
    /// `typed`: the program and its arguments; `named`: what was named before the command; `is_installed`: it is about the factory
    /// that the package installs, which has a user of its own.
    pub(super) fn new(
        typed: &[String],
        named: &[(&str, Option<PathBuf>)],
        is_installed: bool,
    ) -> Self {
        let program = typed.first().map_or("photo-factory", String::as_str);
        let program = quoted(program);
        let mut beginning = if is_installed {
            "sudo photo-factory".to_owned()
        } else {
            program.clone()
        };
        for (option, path) in named {
            if let Some(path) = path {
                let path = quoted(&path.to_string_lossy());
                beginning.extend([" ", option, " ", &path]);
            }
        }
        Self {
            program,
            beginning,
            is_installed,
        }
    }

    /// A text with each `photo-factory COMMAND` in it as it is to be typed here.
    fn put_into(&self, text: &str) -> String {
        const NAME: &str = "photo-factory ";
        const SUDO: &str = "sudo ";
        let text = text.replace(
            "$(which photo-factory)",
            &format!("$(which {})", self.program),
        );
        let mut parts = text.split(NAME);
        let mut put = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let word = part.split(|c: char| !c.is_ascii_alphabetic()).next();
            let word = word.filter(|word| COMMANDS.contains(word));
            if self.is_installed && put.ends_with(SUDO) && word.is_some() {
                put.truncate(put.len() - SUDO.len());
            }
            match (word, part.strip_prefix("run")) {
                (Some("run"), Some(rest)) if self.is_installed => {
                    put.extend(["sudo systemctl restart photo-factory", rest]);
                    continue;
                }
                (Some(_), _) => put.extend([&self.beginning, " "]),
                (None, _) => put.push_str(NAME),
            }
            put.push_str(part);
        }
        put
    }

    fn put_into_all_of(&self, check: &mut Check) {
        let steps = check.steps.iter_mut();
        for text in steps.chain([&mut check.what, &mut check.why]) {
            *text = self.put_into(text);
        }
    }
}

/// Carries out the command. Settings that can't be used are a finding like any other; a root that isn't there is an error.
pub(super) fn doctor(
    asked: &Doctor,
    config: Result<Config, ConfigError>,
    called: &Called,
) -> Result<Ended, Box<dyn std::error::Error>> {
    if asked.accept_storage {
        let said = doctor::accept_storage(&config?)?;
        if asked.json {
            say!("{:#}", json!({"accepted": said}));
        } else {
            say!("{said}");
        }
        return Ok(Ended::Well);
    }
    let mut checks = match config {
        Ok(config) => doctor::examine(&config, now()),
        Err(error @ ConfigError::Root(..)) => return Err(error.into()),
        Err(error) => vec![doctor::of_settings(&error)],
    };
    for check in &mut checks {
        called.put_into_all_of(check);
    }
    let findings = checks
        .iter()
        .filter(|check| check.level == Level::Finding)
        .count();
    if asked.json {
        let told: Vec<_> = checks.iter().map(Check::json).collect();
        say!("{:#}", json!({"findings": findings, "checks": told}));
    } else {
        checks.iter().for_each(tell);
        say!("");
        match findings {
            0 => say!(
                "All is well: {} checks, nothing to put right.",
                checks.len()
            ),
            1 => say!("1 finding: see above, marked !!"),
            _ => say!("{findings} findings: see above, marked !!"),
        }
    }
    Ok(if findings == 0 {
        Ended::Well
    } else {
        Ended::WithProblems
    })
}

fn tell(check: &Check) {
    let mark = match check.level {
        Level::Well => "ok",
        Level::Note => "note",
        Level::Finding => "!!",
    };
    say!("{mark:<5} {:<12} {}", check.name, shown(&check.what));
    if !check.why.is_empty() {
        say!("      {:<12} why: {}", "", shown(&check.why));
    }
    for step in &check.steps {
        say!("      {:<12} do:  {}", "", shown(step));
    }
}

/// Control characters in names must not steer the terminal.
fn shown(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                '?'
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_typed_begins_as_the_program_was_called() {
        let typed = ["./my build/photo-factory".to_owned()];
        let called = Called::new(
            &typed,
            &[
                ("--root", Some(PathBuf::from("/srv/photos"))),
                ("--config", None),
            ],
            false,
        );
        let there = "'./my build/photo-factory' --root /srv/photos";
        for (text, expected) in [
            ("photo-factory run", format!("{there} run")),
            (
                "or: `photo-factory rebuild` (stopped)",
                format!("or: `{there} rebuild` (stopped)"),
            ),
            (
                "photo-factory doctor, photo-factory ingest",
                format!("{there} doctor, {there} ingest"),
            ),
            (
                "the worker photo-factory-exif starts",
                "the worker photo-factory-exif starts".to_owned(),
            ),
            (
                "another photo-factory has it open",
                "another photo-factory has it open".to_owned(),
            ),
            (
                "sudo setcap cap_lease+ep $(which photo-factory)",
                "sudo setcap cap_lease+ep $(which './my build/photo-factory')".to_owned(),
            ),
        ] {
            assert_eq!(called.put_into(text), expected);
        }
        assert_eq!(
            Called::new(&["photo-factory".to_owned()], &[], false).put_into("photo-factory run"),
            "photo-factory run"
        );
    }

    #[test]
    fn what_is_to_be_typed_about_the_installed_factory_is_for_root() {
        let called = Called::new(&["/usr/bin/photo-factory".to_owned()], &[], true);
        for (text, expected) in [
            (
                "photo-factory password # shows it",
                "sudo photo-factory password # shows it",
            ),
            ("sudo photo-factory doctor", "sudo photo-factory doctor"),
            (
                "`photo-factory run` makes it",
                "`sudo systemctl restart photo-factory` makes it",
            ),
            (
                "another photo-factory has it open",
                "another photo-factory has it open",
            ),
        ] {
            assert_eq!(called.put_into(text), expected);
        }
    }
}
