//! The command line: one function per command; the only room that prints.

#![expect(clippy::print_stderr, reason = "this is the room that prints")]

/// `println!` for a stdout that may be closed (`| head`): the work goes on, and ends with the exit code it has anyway.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::say(format_args!($($text)*))
    };
}

pub mod alert;
pub mod doctor;
pub mod export;
pub mod ingest;
pub mod inspect;
mod owner;
pub mod password;
mod progress;
pub mod rebuild;
pub mod setup;
pub mod status;
pub mod verify;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

use argh::{ArgsInfo, CommandInfoWithArgs, FromArgs};
use simplelog::{CombinedLogger, ConfigBuilder, LevelFilter, SharedLogger, WriteLogger};

use crate::appliance;
use crate::config::{self, Config, ConfigError, FILE_NAME, installed};
use crate::dashboard::access::keys::Keys;
use crate::log_file::LogFile;
use doctor::Called;

/// Files the photos that phones drop into an inbox, by day, and never loses one.
///
/// Exit codes: 0 all done; 1 could not run; 2 finished, and some files have problems (each is named).
#[derive(ArgsInfo, FromArgs, Debug)]
struct Arguments {
    /// the factory's root, with Photos_Inbox, Storage and Data in it (default: the installed factory, else the current folder)
    #[argh(option)]
    root: Option<PathBuf>,
    /// the settings file (default: photo-factory.toml in the root, which need not exist)
    #[argh(option)]
    config: Option<PathBuf>,
    /// say more in the log (stderr)
    #[argh(switch, short = 'v')]
    verbose: bool,
    #[argh(subcommand)]
    command: Command,
}

#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand)]
enum Command {
    Run(Run),
    Ingest(ingest::Ingest),
    Inspect(inspect::Inspect),
    Status(Status),
    Export(Export),
    Verify(verify::Verify),
    Rebuild(rebuild::Rebuild),
    Doctor(doctor::Doctor),
    Alert(alert::Alert),
    Password(password::Password),
    Setup(setup::Setup),
}

impl Command {
    /// Whether it may make or change anything below the root.
    fn writes(&self) -> bool {
        match self {
            Self::Run(_) | Self::Rebuild(_) | Self::Password(_) | Self::Setup(_) => true,
            Self::Ingest(ingest) => ingest.writes(),
            Self::Verify(verify) => verify.writes(),
            Self::Doctor(doctor) => doctor.writes(),
            Self::Inspect(_) | Self::Status(_) | Self::Export(_) | Self::Alert(_) => false,
        }
    }
}

/// Run the appliance: take the inbox and serve the page until SIGTERM or SIGINT.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "run")]
struct Run {
    /// where the page listens (default: 127.0.0.1:8380; port 0 takes a free one)
    #[argh(option)]
    listen: Option<SocketAddr>,
}

/// Tell how things stand: services, totals, problems.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "status")]
struct Status {
    /// as JSON, the same as the page's /api/v1/status
    #[argh(switch)]
    json: bool,
    /// say nothing, and end with 0 while the appliance runs and its page answers, else with 1
    #[argh(switch)]
    check: bool,
}

/// Write out the ledger: one row for every file in Originals.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "export")]
struct Export {
    /// as CSV instead of JSON lines
    #[argh(switch)]
    csv: bool,
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// All done: exit code 0.
    Well,
    /// It could not run: exit code 1.
    CouldNotRun,
    /// It finished, and some files have problems: exit code 2.
    WithProblems,
}

/// The only place that turns an outcome into an exit code.
impl From<Ended> for process::ExitCode {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Well => Self::SUCCESS,
            Ended::CouldNotRun => Self::from(1),
            Ended::WithProblems => Self::from(2),
        }
    }
}

/// What was typed, the program's name first.
pub fn arguments() -> Vec<String> {
    std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect()
}

/// The command line as `--help` tells it, for man pages and shells.
pub fn described() -> CommandInfoWithArgs {
    Arguments::get_args_info()
}

/// Runs the command that `arguments` (program name first) ask for.
pub fn run(arguments: &[String]) -> Ended {
    understood(arguments, carry_out)
}

/// The same for `setup`, in a program of its own: what is done once in years is no part of what runs all the time.
pub fn run_setup(arguments: &[String]) -> Ended {
    understood(arguments, carry_out_setup)
}

type CarryOut = fn(Arguments, &[String]) -> Result<Ended, Box<dyn std::error::Error>>;

fn understood(arguments: &[String], carry_out: CarryOut) -> Ended {
    let typed = arguments;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (program, words) = words
        .split_first()
        .map_or(("photo-factory", &[][..]), |(_, words)| {
            ("photo-factory", words)
        });
    if words == ["--version"] {
        say!("photo-factory {}", env!("CARGO_PKG_VERSION"));
        return Ended::Well;
    }
    let arguments = match Arguments::from_args(&[program], words) {
        Ok(arguments) => arguments,
        Err(exit) if exit.status.is_ok() => {
            say!("{}", exit.output.trim_end());
            return Ended::Well;
        }
        Err(exit) => {
            eprintln!("{}\nSee `photo-factory --help`.", exit.output.trim_end());
            return Ended::CouldNotRun;
        }
    };
    match carry_out(arguments, typed) {
        Ok(ended) => ended,
        Err(error) => {
            eprintln!("photo-factory: {error}");
            Ended::CouldNotRun
        }
    }
}

/// Whether the command is about the factory that the package installs. What systemd types names its root.
fn is_about_installed(arguments: &Arguments) -> bool {
    let is_named = arguments.root.is_some() || arguments.config.is_some();
    let here = std::env::current_dir().unwrap_or_default();
    // Settings that may not be looked at are there; a folder that may not, which root left to the factory's user, is no factory of that user.
    let is_settings = |path: &Path| path == Path::new(installed::SETTINGS);
    let exists = |path: &Path| path.try_exists().unwrap_or(is_settings(path));
    !is_named && !matches!(arguments.command, Command::Run(_)) && installed::is_meant(&here, exists)
}

/// The factory that a command is about.
struct Factory {
    is_installed: bool,
    /// The root and the settings file that were typed.
    named: [(&'static str, Option<PathBuf>); 2],
    called: Called,
    config: Result<Config, ConfigError>,
}

impl Factory {
    /// Whether who types this may do so here is looked at first.
    fn of(arguments: &mut Arguments, typed: &[String]) -> Result<Self, Box<dyn std::error::Error>> {
        let is_installed = is_about_installed(arguments);
        let named = [
            ("--root", arguments.root.clone()),
            ("--config", arguments.config.clone()),
        ];
        let called = Called::new(typed, &named, is_installed);
        if is_installed {
            let is_setup = matches!(arguments.command, Command::Setup(_));
            let writes = arguments.command.writes();
            let is_theirs = writes || matches!(arguments.command, Command::Doctor(_));
            owner::goes_on(is_theirs && !is_setup, writes, typed)?;
            arguments.root = Some(installed::ROOT.into());
            arguments.config = Some(installed::SETTINGS.into());
        }
        let listen = match &arguments.command {
            Command::Run(run) => run.listen,
            _ => None,
        };
        let config = Config::read(
            arguments.root.as_deref(),
            arguments.config.as_deref(),
            listen,
        );
        if let (Ok(config), true) = (&config, arguments.command.writes() && !is_installed) {
            owner::is_respected(config, typed)?;
        }
        Ok(Self {
            is_installed,
            named,
            called,
            config,
        })
    }
}

fn carry_out_setup(
    mut arguments: Arguments,
    typed: &[String],
) -> Result<Ended, Box<dyn std::error::Error>> {
    let factory = Factory::of(&mut arguments, typed)?;
    log_to(arguments.verbose, None);
    let config = factory.config?;
    let settings = arguments
        .config
        .unwrap_or_else(|| config.root.join(FILE_NAME));
    let place = setup::Place {
        // Its neighbour, the file with Syncthing's key, is named in it, and relative paths in it are below the root.
        settings: settings.canonicalize().unwrap_or(settings),
        is_installed: factory.is_installed,
        typed,
        named: &factory.named,
        beginning: &factory.called.beginning,
    };
    match arguments.command {
        Command::Setup(asked) => Ok(setup::setup(asked, &config, &place)?),
        _ => Err("this program does `setup` only: type photo-factory instead".into()),
    }
}

fn carry_out(
    mut arguments: Arguments,
    typed: &[String],
) -> Result<Ended, Box<dyn std::error::Error>> {
    if let Command::Setup(_) = arguments.command {
        return Err(handed_over(typed).into());
    }
    let Factory { called, config, .. } = Factory::of(&mut arguments, typed)?;
    if let Command::Doctor(doctor) = &arguments.command {
        log_to(arguments.verbose, None);
        return doctor::doctor(doctor, config, &called);
    }
    let config = config?;
    match arguments.command {
        Command::Run(_) => {
            log_to(arguments.verbose, Some(&config));
            let keys = Keys::new(&config.data);
            appliance::run(config, |url| {
                say!("Photo Factory is running: {url} shows what it does; stop it with Ctrl-C");
                if let Ok(Some(_)) = keys.first() {
                    say!("The page asks for a password: `photo-factory password` shows it");
                }
            })?;
            Ok(Ended::Well)
        }
        Command::Ingest(ingest) => {
            log_to(arguments.verbose, None);
            Ok(ingest::ingest(&ingest, config)?)
        }
        Command::Inspect(inspect) => {
            log_to(arguments.verbose, None);
            Ok(inspect::inspect(&inspect, &config)?)
        }
        Command::Status(status) => {
            log_to(arguments.verbose, None);
            if status.check {
                return Ok(status::check(&config));
            }
            let mut out = io::stdout().lock();
            status::status(&config, status.json, appliance::now(), &mut out)?;
            Ok(Ended::Well)
        }
        Command::Verify(verify) => {
            log_to(arguments.verbose, None);
            Ok(verify::verify(&verify, &config, appliance::now())?)
        }
        Command::Rebuild(rebuild) => {
            log_to(arguments.verbose, None);
            Ok(rebuild::rebuild(&rebuild, &config)?)
        }
        Command::Alert(alert) => {
            log_to(arguments.verbose, None);
            Ok(alert::alert(&alert, &config)?)
        }
        Command::Password(asked) => {
            log_to(arguments.verbose, None);
            password::password(&asked, &config)?;
            Ok(Ended::Well)
        }
        Command::Export(export) => {
            log_to(arguments.verbose, None);
            export::export(&config.data, export.csv, &mut io::stdout().lock())?;
            Ok(Ended::Well)
        }
        // Carried out above, without settings.
        Command::Doctor(_) | Command::Setup(_) => Ok(Ended::Well),
    }
}

/// Goes on as the program that sets up; returns why it can't.
fn handed_over(typed: &[String]) -> String {
    const NAME: &str = "photo-factory-setup";
    let Some(program) = config::find_worker(NAME) else {
        return format!(
            "{NAME} is missing: install the package again, or build it with the others"
        );
    };
    let (name, words) = typed
        .split_first()
        .map_or(("photo-factory", typed), |(name, words)| (name, words));
    let error = process::Command::new(&program)
        .arg0(name)
        .args(words)
        .exec();
    format!("{}: {error}", program.display())
}

/// The log goes to stderr, and to Logs/ where the appliance runs.
fn log_to(verbose: bool, appliance: Option<&Config>) {
    let level = match (verbose, appliance) {
        (true, _) => LevelFilter::Debug,
        (false, Some(_)) => LevelFilter::Info,
        (false, None) => LevelFilter::Warn,
    };
    let mut form = ConfigBuilder::new();
    form.set_time_format_rfc3339()
        .add_filter_allow_str("photo_factory");
    let mut loggers: Vec<Box<dyn SharedLogger>> =
        vec![WriteLogger::new(level, form.build(), io::stderr())];
    if let Some(config) = appliance {
        // The page tells by the module which service a record is of.
        form.set_target_level(LevelFilter::Error)
            .set_thread_level(LevelFilter::Off);
        let file = LogFile::new(&config.logs);
        loggers.push(WriteLogger::new(level, form.build(), file));
    }
    // Set once per process: a second call, in a test, keeps the first.
    CombinedLogger::init(loggers).unwrap_or_default();
}

fn say(line: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    // Nobody reads it any more, or nobody can be told that it can't be written.
    writeln!(out, "{line}").unwrap_or_default();
}

/// Whether progress may be drawn: stderr is a terminal.
fn draws_progress() -> bool {
    io::stderr().is_terminal()
}
