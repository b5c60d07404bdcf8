//! `setup`: asks where things are to be, writes the settings, makes the folders, and has `doctor` look at the result.

mod asking;
mod drop_in;
mod folders;
mod place;
mod settings;

use std::fmt;
use std::io::{self, IsTerminal, Read};
use std::net::SocketAddr;
use std::path::Path;

use argh::{ArgsInfo, FromArgs};

use super::{Ended, owner, password};
use crate::config::{Config, installed};
use crate::dashboard::access::keys::Keys;
use crate::disk::{self, DiskError};
use crate::monitor::syncthing::settings_file::search;
use crate::monitor::syncthing::usable_key;
use asking::Asking;
use folders::Folders;
pub(super) use place::Place;

/// The file beside the settings file that gets Syncthing's key.
const KEY_FILE: &str = "syncthing-api-key";

/// Bytes of a key at most.
const LONGEST_KEY: u64 = 4096;

/// The answer with which Syncthing's key is looked for in its own settings.
const FOUND: &str = "found";

/// Ask where photos, inbox and page are to be, write the settings file, make what is missing, and look at the result as doctor does.
/// What an option answers is not asked; Enter takes what is offered.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "setup")]
pub struct Setup {
    /// the folder where photos are kept
    #[argh(option)]
    storage: Option<String>,
    /// the folder where photos arrive
    #[argh(option)]
    inbox: Option<String>,
    /// the address and port of the page: 127.0.0.1:8380 is for this machine only, 0.0.0.0:8380 for the whole network
    #[argh(option)]
    listen: Option<String>,
    /// a file with Syncthing's API key, which is copied; `-` reads standard input; `found`: it is looked for in Syncthing's own settings
    #[argh(option)]
    syncthing_key_file: Option<String>,
    /// set the page's password: it is read from standard input
    #[argh(switch)]
    password_stdin: bool,
    /// make a new password for the page and print it
    #[argh(switch)]
    new_password: bool,
    /// ask nothing: what no option answers stays as it is
    #[argh(switch)]
    yes: bool,
}

/// Why nothing was set up, or not all.
#[derive(Debug)]
pub enum SetupError {
    /// Nobody answers, or an answer can't be taken: nothing was changed.
    Refused(String),
    /// A file or a folder can't be made.
    Disk(DiskError),
    /// Another program could not be run.
    Running(String, io::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "{why}; nothing was changed"),
            Self::Disk(error) => error.fmt(f),
            Self::Running(program, error) => write!(f, "running {program}: {error}"),
        }
    }
}

fn unread(error: &io::Error) -> SetupError {
    refused(format!("reading the answer: {error}"))
}

fn refused(why: impl Into<String>) -> SetupError {
    SetupError::Refused(why.into())
}

impl std::error::Error for SetupError {}

impl From<DiskError> for SetupError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// What becomes of Syncthing's key.
enum Key {
    Stays,
    Found,
    Is(String),
}

/// What becomes of the page's password.
enum Password {
    Stays,
    New,
    Is(String),
}

/// Carries it out.
pub(super) fn setup(asked: Setup, config: &Config, place: &Place<'_>) -> Result<Ended, SetupError> {
    let reads_key = asked.syncthing_key_file.as_deref() == Some("-");
    if asked.password_stdin && (asked.new_password || reads_key) {
        return Err(refused(
            "--password-stdin, --new-password and a key from standard input: only one at a time",
        ));
    }
    let asks = !asked.yes;
    if asks && !io::stdin().is_terminal() {
        return Err(refused(
            "standard input is no terminal, so nobody can answer: say --yes, and answer by options (`photo-factory setup --help`)",
        ));
    }
    let asking = Asking { asks };
    let owner = place.is_installed.then(owner::of_installed);
    let folders = Folders::ask(&asking, config, asked.storage, asked.inbox)?;
    let listen = ask_listen(&asking, config, asked.listen)?;
    let key = ask_key(&asking, config, asked.syncthing_key_file.as_deref())?;
    let password = ask_password(
        &asking,
        config,
        listen,
        asked.password_stdin,
        asked.new_password,
    )?;

    let key_file = place.settings.with_file_name(KEY_FILE);
    let changes = settings::changes(config, &folders, listen, &key, &key_file);
    let text = settings::changed(config, &place.settings, &folders, listen, &changes)?;
    let drop_in = owner.map(|_| folders.drop_in(Path::new(installed::ROOT)));
    let mut plan: Vec<String> = folders
        .missing()
        .map(|path| format!("make the folder {}", path.display()))
        .collect();
    for (section, key, value) in &changes {
        let value = value.as_deref().unwrap_or("the default");
        plan.push(format!("set [{section}] {key}: {value}"));
    }
    if let Key::Is(_) = &key {
        plan.push(format!("write Syncthing's key into {}", key_file.display()));
    }
    match &password {
        Password::Stays => {}
        Password::New => plan.push("make a new password for the page".to_owned()),
        Password::Is(_) => plan.push("set the page's password".to_owned()),
    }
    if plan.is_empty() {
        say!(
            "The settings stay as they are: {}",
            place.settings.display()
        );
    } else {
        say!(
            "To be done, with the settings file {}:",
            place.settings.display()
        );
        for step in &plan {
            say!("  {step}");
        }
        if !asking.confirms("Do that?", true)? {
            return Err(refused("as you wish"));
        }
    }

    folders.make(owner)?;
    if let Key::Is(key) = &key {
        // The group may read it where root writes it for another user.
        let of = owner.map(|owner| (0, owner.1));
        let mode = if of.is_some() { 0o640 } else { 0o600 };
        disk::replace_file_of(&key_file, format!("{key}\n").as_bytes(), mode, of)?;
    }
    if let Some(text) = text {
        settings::write(&place.settings, &text)?;
    }
    if let Some(drop_in) = drop_in {
        place::put_drop_in(drop_in)?;
    }
    match password {
        Password::Stays => {}
        Password::New => drop(place.run(&["password", "--new"], None)?),
        Password::Is(password) => drop(place.run(&["password", "--set"], Some(&password))?),
    }
    if place.is_installed {
        place::restart()?;
    }
    say!("");
    let looked = place.run(&["doctor"], None)?;
    say!("");
    place.say_what_is_next(config, listen);
    Ok(match looked.code() {
        Some(0) => Ended::Well,
        Some(2) => Ended::WithProblems,
        _ => Ended::CouldNotRun,
    })
}

fn ask_listen(
    asking: &Asking,
    config: &Config,
    flag: Option<String>,
) -> Result<SocketAddr, SetupError> {
    let read = |typed: &str| typed.parse::<SocketAddr>();
    let answer = asking.ask(
        "Where is the page to listen? 127.0.0.1:8380 is for this machine only, 0.0.0.0:8380 for the whole network, with a password.",
        &config.listen.to_string(),
        flag,
        &|typed| match read(typed) {
            Ok(_) => Ok(None),
            Err(_) => Err(format!("{typed} is no address with a port, as 0.0.0.0:8380 is")),
        },
    )?;
    Ok(read(&answer).unwrap_or(config.listen))
}

fn ask_key(asking: &Asking, config: &Config, flag: Option<&str>) -> Result<Key, SetupError> {
    let settings = &config.monitor.syncthing;
    let typed = match flag {
        Some(FOUND) => FOUND.to_owned(),
        Some(path) => read_key(path).map_err(|error| {
            refused(format!(
                "the file {path} with Syncthing's key can't be read: {error}"
            ))
        })?,
        None if asking.asks => {
            let inbox = config.inbox.canonicalize();
            let search = search(inbox.as_ref().unwrap_or(&config.inbox));
            let now = match (
                &settings.api_key,
                &settings.api_key_file,
                search.best(&config.inbox),
            ) {
                (Some(_), ..) => "it stands in the settings file".to_owned(),
                (None, Some(file), _) => format!("it is in {}", file.display()),
                (None, None, Some(found)) => format!("it is found in {}", found.path.display()),
                (None, None, None) => {
                    "there is none, and no Syncthing was found here yet".to_owned()
                }
            };
            eprintln!(
                "\nSyncthing's API key (its page, Actions, Settings): {now}. Enter leaves that so; `{FOUND}`: look for it in Syncthing's own settings."
            );
            password::unseen("The key, which is not shown").map_err(|error| unread(&error))?
        }
        None => return Ok(Key::Stays),
    };
    match typed.trim() {
        "" if flag.is_none() => Ok(Key::Stays),
        FOUND => Ok(Key::Found),
        typed => usable_key(typed).map(Key::Is).ok_or_else(|| {
            SetupError::Refused(
                "a key of Syncthing has letters, digits and signs, and no blanks".to_owned(),
            )
        }),
    }
}

fn read_key(path: &str) -> io::Result<String> {
    let mut text = String::new();
    if path == "-" {
        io::stdin().take(LONGEST_KEY).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?
            .take(LONGEST_KEY)
            .read_to_string(&mut text)?;
    }
    Ok(text)
}

fn ask_password(
    asking: &Asking,
    config: &Config,
    listen: SocketAddr,
    is_given: bool,
    is_new: bool,
) -> Result<Password, SetupError> {
    let typed = || {
        let typed = password::typed().map_err(|error| refused(error.to_string()))?;
        Keys::suits(&typed).map_err(|error| refused(error.to_string()))?;
        Ok(Password::Is(typed))
    };
    if is_new {
        return Ok(Password::New);
    }
    if is_given {
        return typed();
    }
    if !asking.asks {
        return Ok(Password::Stays);
    }
    let now = match Keys::new(&config.data).password() {
        Ok(Some(_)) => "one is set",
        _ if listen.ip().is_loopback() => "none is set, and none is needed on this machine",
        _ => "none is set; the next start makes one",
    };
    let answer = asking.ask(
        &format!(
            "The page's password: {now}. `new` makes one and shows it, `type` lets you type one."
        ),
        "as it is",
        None,
        &|typed| match typed {
            "as it is" | "new" | "type" => Ok(None),
            _ => Err("type `new` or `type`, or only Enter".to_owned()),
        },
    )?;
    match answer.as_str() {
        "new" => Ok(Password::New),
        "type" => typed(),
        _ => Ok(Password::Stays),
    }
}
