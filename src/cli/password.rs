//! `password`: shows, makes, sets or removes the page's password, and the token of programs that read it.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use argh::{ArgsInfo, FromArgs};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::config::Config;
use crate::dashboard::access::keys::{KeyError, Keys};

/// Show the page's password that was made at the first start, once; or make or set another.
#[derive(ArgsInfo, FromArgs, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
#[argh(subcommand, name = "password")]
pub struct Password {
    /// make a new password and print it
    #[argh(switch)]
    new: bool,
    /// set one that you choose: it is read from standard input
    #[argh(switch)]
    set: bool,
    /// remove it; only while the page is served to this machine alone
    #[argh(switch)]
    remove: bool,
    /// make a token with which programs may read (Home Assistant, Prometheus), and print it
    #[argh(switch)]
    token: bool,
    /// remove the token
    #[argh(switch)]
    no_token: bool,
}

/// Why nothing was shown or changed.
#[derive(Debug)]
pub enum PasswordError {
    /// More than one thing was asked for.
    Several,
    /// The keys can't be read or changed.
    Keys(KeyError),
    /// The password can't be read from standard input.
    Reading(io::Error),
    /// It was typed differently the second time.
    Differ,
    /// It can't be written to standard output.
    Showing(io::Error),
    /// Others can reach the page: without a password nobody could sign in.
    Needed(std::net::SocketAddr),
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Several => {
                f.write_str("--new, --set, --remove, --token and --no-token: only one at a time")
            }
            Self::Keys(error) => error.fmt(f),
            Self::Reading(error) => write!(f, "reading the password: {error}"),
            Self::Differ => f.write_str("the two are not the same; nothing was changed"),
            Self::Showing(error) => write!(
                f,
                "showing the password: {error}; it is still kept, type this again"
            ),
            Self::Needed(listen) => write!(
                f,
                "the page listens on {listen}, where others can reach it, so it needs a password; to do without, set [dashboard] \
                 listen to 127.0.0.1:{} first",
                listen.port()
            ),
        }
    }
}

impl std::error::Error for PasswordError {}

impl From<KeyError> for PasswordError {
    fn from(error: KeyError) -> Self {
        Self::Keys(error)
    }
}

/// Carries it out. A running appliance sees the change by itself.
pub(super) fn password(asked: &Password, config: &Config) -> Result<(), PasswordError> {
    let keys = Keys::new(&config.data);
    let switches = [
        asked.new,
        asked.set,
        asked.remove,
        asked.token,
        asked.no_token,
    ];
    if switches.iter().filter(|&&is_set| is_set).count() > 1 {
        return Err(PasswordError::Several);
    }
    if asked.new {
        let made = keys.make_password()?;
        shown(&format!("The page's password is now: {made}\n"))?;
        say!("Whoever was signed in has to sign in again.");
    } else if asked.set {
        keys.set_password(&typed()?)?;
        say!("The page's password is set. Whoever was signed in has to sign in again.");
    } else if asked.remove {
        if !config.listen.ip().is_loopback() {
            return Err(PasswordError::Needed(config.listen));
        }
        let was_there = keys.remove_password()?;
        say!(
            "{}",
            if was_there {
                "The password is removed: everybody on this machine can look at the page."
            } else {
                "There is no password."
            }
        );
    } else if asked.token {
        let made = keys.make_token()?;
        shown(&format!("{made}\n"))?;
        say!(
            "With this token a program may read, and nothing else. It sends: Authorization: Bearer TOKEN"
        );
        say!("It is shown this once. Another one takes its place; --no-token removes it.");
    } else if asked.no_token {
        let was_there = keys.remove_token()?;
        say!(
            "{}",
            if was_there {
                "The token is removed."
            } else {
                "There is no token."
            }
        );
    } else {
        show(&keys, config)?;
    }
    Ok(())
}

/// The first password, once; else how things stand.
fn show(keys: &Keys, config: &Config) -> Result<(), PasswordError> {
    const CHANGE: &str =
        "`photo-factory password --new` makes another, `--set` takes one that you choose.";
    if let Some(first) = keys.first()? {
        shown(&format!("The page's password: {first}\n"))?;
        keys.forget_first()?;
        say!("Keep it: it is not shown again. {CHANGE}");
    } else if keys.password()?.is_some() {
        say!("A password is set, and can't be shown: only a hash of it is kept. {CHANGE}");
    } else if config.listen.ip().is_loopback() {
        say!("No password is set: the page is only served to this machine. {CHANGE}");
    } else {
        say!("No password is set; the next start of Photo Factory makes one. {CHANGE}");
    }
    Ok(())
}

/// What must not get lost before somebody has seen it.
fn shown(line: &str) -> Result<(), PasswordError> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .map_err(PasswordError::Showing)
}

/// A password from standard input: from a terminal twice, and not seen while it is typed.
pub(super) fn typed() -> Result<String, PasswordError> {
    if !io::stdin().is_terminal() {
        return line().map_err(PasswordError::Reading);
    }
    let first = unseen("The page's new password").map_err(PasswordError::Reading)?;
    let second = unseen("The same again").map_err(PasswordError::Reading)?;
    if first == second {
        Ok(first)
    } else {
        Err(PasswordError::Differ)
    }
}

/// Asks on the terminal for what nobody is to see.
pub(super) fn unseen(what: &str) -> io::Result<String> {
    let _unseen = Unseen::new()?;
    eprint!("{what}: ");
    let line = line();
    eprintln!();
    line
}

fn line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

/// The terminal shows nothing of what is typed, until this is dropped.
struct Unseen(Termios);

impl Unseen {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &self.0) {
            log::warn!("the terminal shows nothing of what is typed: type `stty echo`: {error}");
        }
    }
}
