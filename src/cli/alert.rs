//! `alert`: who is told when something is wrong, and whether that works.

use std::fmt;

use argh::{ArgsInfo, FromArgs};
use jiff::tz::TimeZone;

use super::Ended;
use crate::config::Config;
use crate::config::alerts::{SecretFile, Target};
use crate::courier::Courier;
use crate::monitor::alerts::message::Message;
use crate::monitor::alerts::{host_name, send};

/// Name the targets of alerts; with --test, send each a message right now, quiet hours or not.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "alert")]
pub struct Alert {
    /// send a test message
    #[argh(switch)]
    test: bool,
    /// only this target: its name, as in [alerts.NAME] (default: all)
    #[argh(positional)]
    name: Option<String>,
}

/// Why there is nobody to tell.
#[derive(Debug)]
pub enum AlertError {
    /// No target is set.
    NoTarget,
    /// None has this name; those that there are.
    Unknown(String, Vec<String>),
}

impl fmt::Display for AlertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTarget => f.write_str(
                "no alerts are set, so nobody is told when something is wrong. Write into photo-factory.toml, for example:\n\n    \
                 [alerts.phone]\n    kind = \"ntfy\"\n    url = \"https://ntfy.sh/A-TOPIC-NOBODY-GUESSES\"\n\n\
                 kind is \"ntfy\", \"webhook\" or \"email\"; the README has all settings",
            ),
            Self::Unknown(name, known) => {
                write!(f, "there is no [alerts.{name}]; there are: {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for AlertError {}

/// Carries it out.
pub(super) fn alert(alert: &Alert, config: &Config) -> Result<Ended, AlertError> {
    if config.alerts.is_empty() {
        return Err(AlertError::NoTarget);
    }
    let is_asked_for =
        |target: &&Target| alert.name.as_ref().is_none_or(|name| *name == target.name);
    let targets: Vec<_> = config.alerts.iter().filter(is_asked_for).collect();
    if let (true, Some(name)) = (targets.is_empty(), &alert.name) {
        let known = config.alerts.iter().map(|target| target.name.clone());
        return Err(AlertError::Unknown(name.clone(), known.collect()));
    }
    let courier = Courier::new(config.courier.clone());
    let mut ended = Ended::Well;
    for target in targets {
        let (kind, name) = (target.kind(), &target.name);
        if !alert.test {
            say!("{kind} {name}");
        } else if let Err(why) = test(&courier, target, &config.zone) {
            say!("{kind} {name}: not sent: it {why}");
            ended = Ended::WithProblems;
        } else {
            say!("{kind} {name}: sent");
        }
        if let Some(exposed) = target.secret().and_then(SecretFile::exposed) {
            say!("    {exposed}");
        }
    }
    if !alert.test {
        say!("`photo-factory alert --test` sends each a message.");
    }
    Ok(ended)
}

fn test(courier: &Courier, target: &Target, zone: &TimeZone) -> Result<(), String> {
    let mut round = courier.round().map_err(|why| why.to_string())?;
    send::send(&mut round, target, &Message::test(), &host_name(), zone)
}
