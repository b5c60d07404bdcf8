//! Units of systemd, by asking `systemctl`: no right is needed for that, and no library.
//!
//! See systemctl(1), `show`: one block of `Name=value` lines for each unit, blank lines between them.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::service::{Live, Status};

/// systemd answers in milliseconds.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often it is looked whether the answer is there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Bytes of an answer at most.
const ANSWER_LIMIT: u64 = 256 * 1024;

/// Units that are looked at without being asked for.
const OURS: [&str; 3] = [
    "photo-factory.service",
    "syncthing.service",
    "syncthing@*.service",
];

/// What systemd says of a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unit {
    /// `syncthing@pi.service`.
    pub name: String,
    /// `active`, `inactive`, `failed`, `activating`, …; `not-found` where there is no such unit.
    pub active: String,
    /// `running`, `dead`, `auto-restart`, …
    pub sub: String,
    /// How often systemd has restarted it by itself.
    pub restarts: u32,
}

impl Unit {
    /// What that means for the service.
    pub fn live(&self) -> Live {
        let Self {
            name, active, sub, ..
        } = self;
        let status = match active.as_str() {
            "active" | "reloading" => Status::Up,
            "activating" if sub == "auto-restart" => Status::Down(format!(
                "systemd restarts it again and again: journalctl -u {name} says why"
            )),
            "activating" | "deactivating" => Status::Degraded(format!("it is {active}")),
            "failed" => Status::Down(format!("it failed: journalctl -u {name} says why")),
            "not-found" => Status::Unknown(format!("there is no unit {name}")),
            _ => Status::Stopped,
        };
        let restarts = match self.restarts {
            0 => String::new(),
            times => format!(", restarted {times} times"),
        };
        Live {
            source: format!("systemd {name}"),
            state: format!("{active} ({sub}){restarts}"),
            status,
        }
    }
}

/// Whether this machine is run by systemd.
pub fn is_here() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Asks for our own units and those wanted, those that exist. `Err`: why systemd did not answer.
pub fn units(wanted: &[String]) -> Result<Vec<Unit>, String> {
    let names = OURS.into_iter().chain(wanted.iter().map(String::as_str));
    let mut command = Command::new("systemctl");
    command
        .args([
            "show",
            "--no-pager",
            "--property=Id,LoadState,ActiveState,SubState,NRestarts",
            "--",
        ])
        .args(names);
    let mut units = parsed(&said(&mut command, DEADLINE)?);
    units.retain(|unit| unit.active != "not-found" || wanted.contains(&unit.name));
    Ok(units)
}

fn said(command: &mut Command, deadline: Duration) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("systemctl can't be run: {error}"))?;
    let begun = Instant::now();
    let mut answer = String::new();
    let stdout = child.stdout.take();
    // A reader of its own: a long answer must not fill the pipe and stop whoever writes it.
    let read = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stdout) = stdout {
            drop(stdout.take(ANSWER_LIMIT).read_to_end(&mut text));
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                answer.push_str(&read.join().unwrap_or_default());
                // It says no where one of the units does not exist, and tells of the others all the same.
                if answer.is_empty() && !status.success() {
                    return Err(format!("systemctl ended with {status}"));
                }
                return Ok(answer);
            }
            Ok(None) if begun.elapsed() < deadline => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                drop(child.kill());
                drop(child.wait());
                return Err(format!(
                    "systemd did not answer within {} s",
                    deadline.as_secs()
                ));
            }
            Err(error) => return Err(format!("waiting for systemctl: {error}")),
        }
    }
}

fn parsed(text: &str) -> Vec<Unit> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    let unit = |block: &str| {
        let of = |name: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        let is_missing = of("LoadState") == Some("not-found");
        Some(Unit {
            name: of("Id")?.to_owned(),
            active: if is_missing {
                "not-found".to_owned()
            } else {
                of("ActiveState")?.to_owned()
            },
            sub: of("SubState").unwrap_or("?").to_owned(),
            restarts: of("NRestarts")
                .and_then(|times| times.parse().ok())
                .unwrap_or_default(),
        })
    };
    blocks.filter_map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Id=photo-factory.service\nLoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0\n\n\
        Id=syncthing@pi.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\nNRestarts=7\n\n\
        NRestarts=0\nId=backup.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n";

    #[test]
    fn each_unit_is_told_with_what_its_state_means() {
        let units = parsed(SAID);
        let told: Vec<_> = units.iter().map(Unit::live).collect();
        assert_eq!(told[0].status, Status::Up);
        assert_eq!(told[0].state, "active (running)");
        assert!(told[1].status.is_failure(), "{told:?}");
        assert!(told[1].state.contains("restarted 7 times"));
        assert!(matches!(told[2].status, Status::Unknown(_)));
        assert_eq!(parsed(""), []);
    }

    #[test]
    fn a_systemctl_that_is_missing_or_hangs_is_an_error_and_not_the_end() {
        assert!(said(&mut Command::new("no-such-program"), DEADLINE).is_err());
        let mut hangs = Command::new("sleep");
        let error = said(hangs.arg("60"), Duration::from_millis(50));
        assert!(error.is_err_and(|why| why.contains("did not answer")));
        let mut says = Command::new("printf");
        assert_eq!(said(says.arg(SAID), DEADLINE).as_deref(), Ok(SAID));
    }
}
