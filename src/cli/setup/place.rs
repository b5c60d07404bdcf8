//! The factory that is set up: other commands run on it, and systemd told of it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::super::owner;
use super::{SetupError, drop_in};
use crate::config::{self, Config};
use crate::dashboard::client::{self, Answer};
use crate::disk;

/// Where systemd runs.
const SYSTEMD: &str = "/run/systemd/system";

/// What has it take up what is new; for root.
const RESTART: &str = "systemctl daemon-reload && systemctl restart photo-factory";

/// Which factory is set up, and how the program was called.
pub(in crate::cli) struct Place<'a> {
    /// Its settings file.
    pub(in crate::cli) settings: PathBuf,
    /// Whether it is the one that the package installs.
    pub(in crate::cli) is_installed: bool,
    /// The program and its arguments.
    pub(in crate::cli) typed: &'a [String],
    /// The root and the settings file that were named.
    pub(in crate::cli) named: &'a [(&'static str, Option<PathBuf>)],
    /// What any other command for it begins with.
    pub(in crate::cli) beginning: &'a str,
}

/// Gives the unit the drop-in that it needs, or takes it away.
pub(super) fn put_drop_in(drop_in: Option<String>) -> Result<(), SetupError> {
    let path = Path::new(drop_in::PATH);
    match drop_in {
        Some(text) => {
            disk::make_folder(path.parent().unwrap_or(path))?;
            disk::replace_file_of(path, text.as_bytes(), 0o644, None)?;
            say!(
                "Written: {} (what systemd must know of these folders)",
                path.display()
            );
        }
        None if disk::remove_file(path)? => {
            say!("Removed: {} (no longer needed)", path.display());
        }
        None => {}
    }
    Ok(())
}

/// Has systemd read its files again and start the appliance with what is new.
pub(super) fn restart() -> Result<(), SetupError> {
    if !Path::new(SYSTEMD).exists() {
        say!("Systemd does not run here. Where it does, type: {RESTART}");
        return Ok(());
    }
    let ended = Command::new("sh").args(["-c", RESTART]).status();
    let ended = ended.map_err(|error| SetupError::Running(RESTART.to_owned(), error))?;
    if ended.success() {
        say!("Done: {RESTART}");
    } else {
        say!("{RESTART}: that did not work; `journalctl -u photo-factory -n 50` says why");
    }
    Ok(())
}

impl Place<'_> {
    /// Runs this program on the same factory, as its user.
    pub(super) fn run(
        &self,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<ExitStatus, SetupError> {
        let owner = if self.is_installed {
            owner::of_installed().0
        } else {
            0
        };
        let program = self.typed.first().map_or("photo-factory", String::as_str);
        let mut command = if owner == 0 {
            let mut command = Command::new(config::program().unwrap_or(program.into()));
            command.arg0(program);
            command
        } else {
            owner::as_user(owner)
        };
        if self.is_installed {
            // Nowhere else is it certain that no other factory is meant.
            command.current_dir("/");
        }
        for (option, path) in self.named {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        }
        command.args(arguments);
        let failed =
            |error| SetupError::Running(format!("{program} {}", arguments.join(" ")), error);
        let Some(input) = input else {
            return command.status().map_err(failed);
        };
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            writeln!(stdin, "{input}").map_err(failed)?;
        }
        child.wait().map_err(failed)
    }

    /// Where the page is, and what is to be typed next.
    pub(super) fn say_what_is_next(&self, config: &Config, listen: SocketAddr) {
        let scheme = if config.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let port = listen.port();
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let host = host.split('.').next().unwrap_or_default();
        if listen.ip().is_loopback() {
            say!("The page: {scheme}://{listen}/, on this machine only");
        } else {
            say!("The page: {scheme}://{host}.local:{port}/");
        }
        let program = self.beginning;
        if !listen.ip().is_loopback() {
            say!("Its password: {program} password");
        }
        if self.is_installed {
            say!("Syncthing for it: sudo systemctl enable --now syncthing@photo-factory");
            say!(
                "A Syncthing of another user delivers too, once that user is in the group: sudo usermod -aG photo-factory USER"
            );
            return;
        }
        let runs = client::ask(&config.data, "/healthz", &mut io::sink());
        if matches!(runs, Ok(Answer::Done)) {
            say!(
                "Photo Factory runs with the settings it was started with: stop it and start it again, {program} run"
            );
        } else {
            say!("Start it: {program} run");
        }
    }
}
