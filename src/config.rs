//! What was typed -> what is usable: the settings file and the command line, with defaults for everything.

pub mod alerts;
pub mod edit;
pub mod installed;
mod monitor;
mod section;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use monitor::{MonitorSettings, ProbeSettings, SyncthingSettings};
use section::{Section, Wrong};

/// The settings file's name in the root.
pub const FILE_NAME: &str = "photo-factory.toml";

/// Every original is read again within this time, where the settings say nothing else.
const VERIFY_EVERY: Duration = Duration::from_secs(30 * 86_400);

/// When an inbox name is cleared once its photo is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Clear {
    /// Always.
    #[default]
    Always,
    /// Only while Syncthing's settings are known to keep the phone's copies.
    Safe,
    /// Never: the photo stays in the inbox as well, and is remembered.
    Never,
}

/// Whether the inbox is polled instead of watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Poll {
    /// On network file systems, which send no events for what other machines do.
    Auto,
    /// As set.
    Set(bool),
}

/// What is kept free on the disk of Storage: a share of it, but at most so many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserve {
    /// The share, in millionths of the disk.
    pub millionths: u32,
    /// Bytes at most.
    pub most: u64,
}

impl Default for Reserve {
    /// 2 % of the disk, but at most 1 GiB.
    fn default() -> Self {
        Self {
            millionths: 20_000,
            most: 1 << 30,
        }
    }
}

/// A certificate with those that vouch for it, and its private key: PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// The certificates.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Everything the program needs to know, made usable: paths are absolute, times are durations.
#[derive(Clone, Debug)]
pub struct Config {
    /// The factory's root.
    pub root: PathBuf,
    /// Where photos arrive.
    pub inbox: PathBuf,
    /// Where they are kept.
    pub storage: PathBuf,
    /// What is kept free on the disk where they are kept.
    pub reserve: Reserve,
    /// Ledger, history, socket.
    pub data: PathBuf,
    /// Log files.
    pub logs: PathBuf,
    /// How long a file must be quiet before it is taken.
    pub settle: Duration,
    /// How often the whole inbox is looked through.
    pub rescan: Duration,
    /// When an inbox name is cleared.
    pub clear: Clear,
    /// Whether the inbox is polled.
    pub poll: Poll,
    /// Names that are left alone besides the built-in ones; `*` stands for anything.
    pub ignore: Vec<String>,
    /// Where the page listens.
    pub listen: SocketAddr,
    /// Host names by which the page may be called, besides addresses, `localhost` and `*.local`.
    pub hosts: Vec<String>,
    /// What the page is served with by TLS; `None`: without.
    pub tls: Option<Tls>,
    /// How often the page refreshes where its reader has not chosen; 0: not.
    pub refresh_seconds: u32,
    /// Within which time the appliance verifies every original by itself; `None`: it does not.
    pub verify_every: Option<Duration>,
    /// How fast it reads for that, in MB/s.
    pub verify_limit: f64,
    /// How the services are watched.
    pub monitor: MonitorSettings,
    /// The appliance's time zone.
    pub zone: TimeZone,
    /// The metadata worker, where one was found.
    pub worker: Option<PathBuf>,
    /// Where alerts go.
    pub alerts: Vec<alerts::Target>,
    /// The courier, where one was found.
    pub courier: Option<PathBuf>,
}

/// What is wrong with what was typed, and what to do.
#[derive(Debug)]
pub enum ConfigError {
    /// The root or the current folder can't be used.
    Root(PathBuf, io::Error),
    /// The settings file can't be read.
    Unreadable(PathBuf, io::Error),
    /// A line of the settings file is wrong.
    Wrong {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to do.
        what: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(path, source) if source.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "the root {} can't be used: {source}; type the same with sudo, or name another with --root",
                path.display()
            ),
            Self::Root(path, source) => write!(
                f,
                "the root {} can't be used: {source}; make that folder, or name another with --root",
                path.display()
            ),
            Self::Unreadable(path, source) => write!(
                f,
                "the settings file {} can't be read: {source}; check its name and permissions, or leave out --config",
                path.display()
            ),
            Self::Wrong { file, line, what } => {
                write!(f, "{}, line {line}: {what}", file.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// The settings file as typed.
struct Typed {
    inbox: TypedInbox,
    storage: TypedStorage,
    dashboard: TypedDashboard,
    verify: TypedVerify,
    monitor: MonitorSettings,
    alerts: Vec<alerts::Target>,
}

struct TypedInbox {
    path: PathBuf,
    settle: Duration,
    rescan: Duration,
    clear: Clear,
    poll: Poll,
    ignore: Vec<String>,
}

struct TypedStorage {
    path: PathBuf,
    reserve: Reserve,
}

enum TypedReserve {
    Bytes(u64),
    Words(String),
}

impl TypedReserve {
    /// Bytes, `"2%"`, or a number with a unit: `"500 MB"`, `"1 GiB"`.
    fn usable(&self) -> Option<Reserve> {
        const WHOLE: u32 = 1_000_000;
        let bytes = |most| Reserve {
            millionths: WHOLE,
            most,
        };
        let words = match self {
            Self::Bytes(most) => return Some(bytes(*most)),
            Self::Words(words) => words.trim(),
        };
        let is_unit = |character: char| !character.is_ascii_digit() && character != '.';
        let (number, unit) = words.split_at(words.find(is_unit).unwrap_or(words.len()));
        // In thousandths, so that "1.5 GB" needs no floating point.
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let thousandths = format!("{part:0<3}");
        let part = thousandths.get(..3)?.parse::<u64>().ok()?;
        let number = whole
            .parse::<u64>()
            .ok()?
            .checked_mul(1000)?
            .checked_add(part)?;
        let times = match unit.trim().to_ascii_lowercase().as_str() {
            "%" => {
                let millionths = u32::try_from(number.checked_mul(10)?).ok()?;
                return (millionths < WHOLE).then_some(Reserve {
                    millionths,
                    most: if millionths == 0 { 0 } else { u64::MAX },
                });
            }
            "" | "b" => 1,
            "kb" => 1000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            _ => return None,
        };
        Some(bytes(number.checked_mul(times)? / 1000))
    }
}

struct TypedDashboard {
    listen: Option<SocketAddr>,
    hosts: Vec<String>,
    tls: Option<Tls>,
    refresh_seconds: u32,
}

struct TypedVerify {
    every: Option<Duration>,
    limit: f64,
}

impl Typed {
    fn read(root: &Path, mut file: Section<'_>) -> Result<Self, Wrong> {
        let typed = Self {
            inbox: TypedInbox::read(file.section("inbox")?)?,
            storage: TypedStorage::read(file.section("storage")?)?,
            dashboard: TypedDashboard::read(root, file.section("dashboard")?)?,
            verify: TypedVerify::read(file.section("verify")?)?,
            monitor: MonitorSettings::read(root, &mut file)?,
            alerts: alerts::read(root, file.named("alerts")?)?,
        };
        file.finish()?;
        Ok(typed)
    }
}

impl TypedInbox {
    fn read(mut section: Section<'_>) -> Result<Self, Wrong> {
        let typed = Self {
            path: section.path("path")?.unwrap_or("Photos_Inbox".into()),
            settle: seconds(&mut section, "settle_seconds", 3.0, 0.0)?,
            rescan: seconds(&mut section, "rescan_seconds", 300.0, 1.0)?,
            clear: match section.text("clear")?.as_deref() {
                None | Some("always") => Clear::Always,
                Some("safe") => Clear::Safe,
                Some("never") => Clear::Never,
                Some(_) => {
                    return Err(section.wrong("clear is \"always\", \"safe\" or \"never\""));
                }
            },
            poll: match section.value("poll").map(Spanned::get_ref) {
                None => Poll::Auto,
                Some(DeValue::Boolean(poll)) => Poll::Set(*poll),
                Some(value) if value.as_str() == Some("auto") => Poll::Auto,
                Some(_) => return Err(section.wrong("poll is \"auto\", true or false")),
            },
            ignore: section.texts("ignore")?,
        };
        section.finish()?;
        Ok(typed)
    }
}

/// A number of seconds, 0 or more; fewer than the least count as that.
fn seconds(
    section: &mut Section<'_>,
    key: &'static str,
    default: f64,
    least: f64,
) -> Result<Duration, Wrong> {
    let seconds = section.number(key)?.unwrap_or(default);
    Duration::try_from_secs_f64(seconds.max(least))
        .ok()
        .filter(|_| seconds >= 0.0)
        .ok_or_else(|| section.wrong(&format!("{key} is a number of seconds, {least} or more")))
}

impl TypedStorage {
    fn read(mut section: Section<'_>) -> Result<Self, Wrong> {
        let path = section.path("path")?.unwrap_or("Storage".into());
        let reserve = match section.value("reserve").map(Spanned::get_ref) {
            None => Some(Reserve::default()),
            Some(value) => typed_reserve(value).and_then(|typed| typed.usable()),
        };
        let reserve = reserve.ok_or_else(|| {
            section.wrong("reserve is what is kept free on the disk: \"2%\", \"500 MB\", \"1 GiB\", or a number of bytes")
        })?;
        section.finish()?;
        Ok(Self { path, reserve })
    }
}

fn typed_reserve(value: &DeValue<'_>) -> Option<TypedReserve> {
    match value {
        DeValue::String(words) => Some(TypedReserve::Words(words.to_string())),
        value => section::whole(value).map(TypedReserve::Bytes),
    }
}

impl TypedDashboard {
    fn read(root: &Path, mut section: Section<'_>) -> Result<Self, Wrong> {
        let listen = section.text("listen")?.map(|typed| {
            typed.parse().map_err(|_address| {
                section.wrong("listen is an address and a port: \"127.0.0.1:8380\"")
            })
        });
        let typed = Self {
            listen: listen.transpose()?,
            hosts: section.texts("hosts")?,
            tls: match (section.path("tls_cert")?, section.path("tls_key")?) {
                (None, None) => None,
                (Some(certificate), Some(key)) => Some(Tls {
                    certificate: root.join(certificate),
                    key: root.join(key),
                }),
                _ => {
                    return Err(section
                        .wrong("tls_cert and tls_key belong together: name both files, or none"));
                }
            },
            refresh_seconds: section.whole("refresh_seconds")?.unwrap_or(10),
        };
        section.finish()?;
        Ok(typed)
    }
}

impl TypedVerify {
    fn read(mut section: Section<'_>) -> Result<Self, Wrong> {
        let every = match section.number("days")? {
            None => Some(VERIFY_EVERY),
            Some(0.0) => None,
            Some(days) => Some(
                Duration::try_from_secs_f64(days * 86_400.0)
                    .ok()
                    .filter(|every| !every.is_zero())
                    .ok_or_else(|| {
                        section.wrong("days is a number of days, or 0 to switch it off")
                    })?,
            ),
        };
        let limit = section.number("limit")?.unwrap_or(4.0);
        if !(limit.is_finite() && limit > 0.0) {
            return Err(section.wrong("limit is a number of MB per second, above 0"));
        }
        section.finish()?;
        Ok(Self { every, limit })
    }
}

impl Config {
    /// Reads the settings: `root` (default: the current folder), then `file` (default: `photo-factory.toml` in the root,
    /// which need not exist), then `listen` from the command line over both.
    pub fn read(
        root: Option<&Path>,
        file: Option<&Path>,
        listen: Option<SocketAddr>,
    ) -> Result<Self, ConfigError> {
        let asked = root.unwrap_or(Path::new("."));
        let root = asked
            .canonicalize()
            .map_err(|source| ConfigError::Root(asked.to_owned(), source))?;
        if !root.is_dir() {
            return Err(ConfigError::Root(root, io::ErrorKind::NotADirectory.into()));
        }
        let named = file.map(Path::to_owned);
        let path = named.clone().unwrap_or_else(|| root.join(FILE_NAME));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
                String::new()
            }
            Err(source) => return Err(ConfigError::Unreadable(path, source)),
        };
        let mut config = Self::of_text(&root, &text, &path)?;
        config.listen = listen.unwrap_or(config.listen);
        Ok(config)
    }

    /// What would be in force for this root if the settings file at `path` had this text.
    pub fn of_text(root: &Path, text: &str, path: &Path) -> Result<Self, ConfigError> {
        let typed = parse(text, root, path)?;
        Ok(Self::usable(root.to_owned(), typed))
    }

    /// What would be in force for this root without a settings file and a command line.
    pub fn defaults(root: &Path) -> Result<Self, ConfigError> {
        Self::of_text(root, "", Path::new(FILE_NAME))
    }

    fn usable(root: PathBuf, typed: Typed) -> Self {
        let listen = typed
            .dashboard
            .listen
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8380)));
        Self {
            reserve: typed.storage.reserve,
            monitor: typed.monitor,
            alerts: typed.alerts,
            inbox: root.join(typed.inbox.path),
            storage: root.join(typed.storage.path),
            data: root.join("Data"),
            logs: root.join("Logs"),
            root,
            settle: typed.inbox.settle,
            rescan: typed.inbox.rescan,
            clear: typed.inbox.clear,
            poll: typed.inbox.poll,
            ignore: typed.inbox.ignore,
            listen,
            hosts: typed.dashboard.hosts,
            tls: typed.dashboard.tls,
            refresh_seconds: typed.dashboard.refresh_seconds,
            verify_every: typed.verify.every,
            verify_limit: typed.verify.limit,
            zone: TimeZone::system(),
            worker: find_worker("photo-factory-exif"),
            courier: find_worker("photo-factory-courier"),
        }
    }
}

fn parse(text: &str, root: &Path, file: &Path) -> Result<Typed, ConfigError> {
    let line_of = |at: usize| text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
    let wrong = |Wrong { at, what }| ConfigError::Wrong {
        file: file.to_owned(),
        line: line_of(at),
        what,
    };
    let table = DeTable::parse(text).map_err(|error| {
        let what = format!(
            "{}; correct it, or delete the line to get the default",
            error.message()
        );
        let at = error.span().map_or(0, |span| span.start);
        wrong(Wrong { at, what })
    })?;
    Typed::read(root, Section::root(table.get_ref())).map_err(wrong)
}

/// The home of this process's user.
pub fn home() -> Option<PathBuf> {
    folder_named("HOME")
}

/// The folders of Syncthing that this process's environment names.
pub fn syncthing_folders() -> Vec<PathBuf> {
    let named = ["XDG_STATE_HOME", "XDG_CONFIG_HOME"].into_iter();
    named
        .filter_map(folder_named)
        .map(|folder| folder.join("syncthing"))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "the environment is read here")]
fn folder_named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// The program itself, also for the one that sets it up: beside that (a build folder), or where the package installs it.
pub fn program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    if program.file_name()? != "photo-factory-setup" {
        return Some(program);
    }
    let folder = program.parent()?;
    [folder.to_owned(), folder.join("../../bin")]
        .into_iter()
        .map(|folder| folder.join("photo-factory"))
        .find(|path| path.is_file())
}

/// A worker: beside the program (a build folder), or where the package installs it.
pub fn find_worker(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    [
        folder.join(name),
        folder.join("../libexec/photo-factory").join(name),
    ]
    .into_iter()
    .find(|path| path.is_file())
}

#[cfg(test)]
mod tests;
