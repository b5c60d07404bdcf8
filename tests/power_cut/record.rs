//! Records what a run changes: strace's account of its system calls, turned into effects on a disk in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use crate::disk::{Call, Content, Disk, Effect, Inode, ROOT, shown};
use crate::factory::output_of;

/// Everything that changes files, that opens them, and that makes threads; a call that none of our programs makes is named
/// all the same, so that it is met here on the day one does.
const TRACED: &str = "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,link,linkat,symlink,\
    symlinkat,unlink,unlinkat,rmdir,write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate,copy_file_range,\
    sendfile,splice,ioctl,chmod,fchmod,fchmodat,fchown,utimensat,setxattr,fsetxattr,fsync,fdatasync,sync,syncfs,\
    sync_file_range,dup,dup2,dup3,fcntl,mmap,clone,clone3,fork,vfork";

/// A disk, and all the calls that brought it to where it is.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// What stood there, durably, before the first call.
    pub(crate) before: Disk,
    pub(crate) calls: Vec<Call>,
}

/// A record that is still being made.
pub(crate) struct Recorder {
    root: PathBuf,
    now: Disk,
    record: Record,
}

/// An open file of the process that is traced.
#[derive(Clone, Copy, Debug)]
struct Open {
    inode: Inode,
    appends: bool,
    position: usize,
}

impl Record {
    /// Whether an inode is, lies below, or comes to lie below a folder of the root.
    pub(crate) fn is_below(&self, top: &str, inode: Inode) -> bool {
        let added = |effect: &Effect| match effect {
            Effect::Add {
                folder,
                inode: of,
                name,
            } if *of == inode => Some((*folder, name.clone())),
            _ => None,
        };
        let before = self.before.folders.iter().flat_map(|(folder, names)| {
            let leads = names.iter().filter(|(_, of)| **of == inode);
            leads.map(|(name, _)| (*folder, name.clone()))
        });
        let during = self
            .calls
            .iter()
            .flat_map(|call| &call.effects)
            .filter_map(added);
        before.chain(during).any(|(folder, name)| {
            if folder == ROOT {
                name == top
            } else {
                self.is_below(top, folder)
            }
        })
    }
}

impl Recorder {
    /// Begins with what stands in this folder.
    pub(crate) fn new(root: &Path) -> Self {
        let before = Disk::of(root).unwrap();
        Self {
            root: root.canonicalize().unwrap(),
            now: before.clone(),
            record: Record {
                before,
                calls: Vec::new(),
            },
        }
    }

    /// Runs the program under strace, with a fault or none, and adds what it changed. Fails where the disk in memory is
    /// not afterwards what the real one is: then a change was not understood.
    pub(crate) fn run(
        &mut self,
        program: &Command,
        inject: Option<&str>,
    ) -> Result<ExitStatus, String> {
        let trace = self.root.with_extension("trace");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-y", "-xx", "-s", "16777216", "-o"])
            .arg(&trace);
        command.arg("-e").arg(format!("trace={TRACED}"));
        if let Some(inject) = inject {
            command.arg("-e").arg(format!("inject={inject}"));
        }
        command.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let output = output_of(command.stdin(Stdio::null()));
        let text = fs::read_to_string(&trace).unwrap();
        fs::remove_file(&trace).unwrap();
        self.read(&text)?;
        let real = Disk::of(&self.root).unwrap();
        let differences = differences(&self.now, &real);
        if differences.is_empty() {
            Ok(output.status)
        } else {
            Err(format!(
                "the record does not explain what became of {differences:?}\n{}",
                String::from_utf8_lossy(&output.stderr)
            ))
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.record.calls.len()
    }

    pub(crate) fn finish(self) -> Record {
        self.record
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        let groups = thread_groups(text);
        let mut open: BTreeMap<(u32, i64), Open> = BTreeMap::new();
        let mut begun: BTreeMap<u32, (String, usize)> = BTreeMap::new();
        for line in text.lines() {
            let Some((thread, rest)) = line.split_once(' ') else {
                continue;
            };
            let thread: u32 = thread
                .parse()
                .map_err(|error| format!("{error}, no thread: {line}"))?;
            let rest = rest.trim_start();
            if let Some(start) = rest.strip_suffix("<unfinished ...>") {
                begun.insert(thread, (start.to_owned(), self.record.calls.len()));
                continue;
            }
            let (whole, over_before) = if let Some(resumed) = rest.strip_prefix("<... ") {
                let Some((start, over_before)) = begun.remove(&thread) else {
                    continue;
                };
                let end = resumed.split_once("resumed>").map_or("", |(_, end)| end);
                (start + end, over_before)
            } else {
                (rest.to_owned(), self.record.calls.len())
            };
            let Some(call) = Syscall::parse(&whole, &self.root) else {
                continue;
            };
            let group = groups.get(&thread).copied().unwrap_or(thread);
            let effects = self
                .effects(&call, group, &mut open)
                .map_err(|what| format!("{what}: {}", short(&whole)))?;
            if effects.is_empty() {
                continue;
            }
            for effect in &effects {
                self.now.apply(effect, crate::disk::Reached::All);
            }
            let shown = format!("{} {}", call.name, self.name_of(&effects));
            self.record.calls.push(Call {
                shown,
                over_before,
                effects,
            });
        }
        Ok(())
    }

    /// What a call changes, and what it opens.
    #[expect(clippy::too_many_lines, reason = "one arm for each call")]
    fn effects(
        &self,
        call: &Syscall,
        group: u32,
        open: &mut BTreeMap<(u32, i64), Open>,
    ) -> Result<Vec<Effect>, String> {
        let file = |index: usize| open.get(&(group, call.number(index))).copied();
        // An argument that is an open file of ours.
        let ours = |index: usize| call.path_of_fd(index).is_some();
        let lost = || "a file that was never opened".to_owned();
        Ok(match call.name.as_str() {
            "open" | "creat" | "openat" => return self.opened(call, group, open),
            "mkdir" => self.made(call.path(0), self.now.unused(), true),
            "mkdirat" => self.made(call.path_at(0), self.now.unused(), true),
            "rename" => self.renamed(call.path(0), call.path(1))?,
            "renameat2" if call.argument(4).contains("RENAME_EXCHANGE") => {
                // Both names come to lead elsewhere, none goes.
                let mut effects = self.renamed(call.path_at(0), call.path_at(2))?;
                effects.extend(self.renamed(call.path_at(2), call.path_at(0))?);
                effects.retain(|effect| matches!(effect, Effect::Add { .. }));
                effects
            }
            "renameat" | "renameat2" => self.renamed(call.path_at(0), call.path_at(2))?,
            "link" => self.linked(
                call.path(0).and_then(|path| self.now.find(&path)),
                call.path(1),
            )?,
            "linkat" => {
                let source = match call.text(1).strip_prefix(b"/proc/self/fd/") {
                    Some(number) => {
                        let number = String::from_utf8_lossy(number).parse().unwrap_or(-1);
                        open.get(&(group, number)).map(|open| open.inode)
                    }
                    None => call.path_at(0).and_then(|path| self.now.find(&path)),
                };
                self.linked(source, call.path_at(2))?
            }
            "unlink" | "rmdir" => self.removed(call.path(0))?,
            "unlinkat" => self.removed(call.path_at(0))?,
            "pwrite64" if ours(0) => vec![Effect::Write {
                inode: file(0).ok_or_else(lost)?.inode,
                offset: call.size(3),
                bytes: call.written(),
            }],
            "write" if ours(0) => {
                let descriptor = open.get_mut(&(group, call.number(0))).ok_or_else(lost)?;
                let bytes = call.written();
                let size = |inode| self.now.files.get(inode).map_or(0, |file| file.bytes.len());
                if descriptor.appends {
                    descriptor.position = size(&descriptor.inode);
                }
                let offset = descriptor.position;
                descriptor.position += bytes.len();
                let inode = descriptor.inode;
                vec![Effect::Write {
                    inode,
                    offset,
                    bytes,
                }]
            }
            "copy_file_range"
                if ours(2) && [1, 3].iter().all(|at| call.argument(*at) == "NULL") =>
            {
                let length = usize::try_from(call.answer).unwrap_or_default();
                let from = open.get_mut(&(group, call.number(0))).ok_or_else(lost)?;
                let start = from.position;
                from.position += length;
                let source = self.now.files.get(&from.inode).map(|file| &file.bytes);
                let bytes = source.and_then(|bytes| bytes.get(start..start + length));
                let bytes = Arc::new(bytes.unwrap_or_default().to_vec());
                let to = open.get_mut(&(group, call.number(2))).ok_or_else(lost)?;
                let offset = to.position;
                to.position += length;
                vec![Effect::Write {
                    inode: to.inode,
                    offset,
                    bytes,
                }]
            }
            "ftruncate" if ours(0) => vec![Effect::Resize {
                inode: file(0).ok_or_else(lost)?.inode,
                size: call.size(1),
            }],
            "fchmod" if ours(0) => vec![Effect::Mode {
                inode: file(0).ok_or_else(lost)?.inode,
                mode: u32::from_str_radix(call.argument(1), 8).unwrap_or_default(),
            }],
            "utimensat" if ours(0) => vec![Effect::Time {
                inode: file(0).ok_or_else(lost)?.inode,
                mtime: modified(call.argument(2)),
            }],
            "fsync" | "fdatasync" if ours(0) => {
                let inode = file(0).ok_or_else(lost)?.inode;
                vec![if self.now.folders.contains_key(&inode) {
                    Effect::SyncFolder { folder: inode }
                } else {
                    Effect::SyncFile {
                        inode,
                        attributes: call.name == "fsync",
                    }
                }]
            }
            "syncfs" | "sync" => vec![Effect::SyncAll],
            "ioctl" if call.argument(1).contains("FICLONE") => {
                let source = file(2).ok_or_else(lost)?.inode;
                vec![Effect::Write {
                    inode: file(0).ok_or_else(lost)?.inode,
                    offset: 0,
                    bytes: self
                        .now
                        .files
                        .get(&source)
                        .map(|file| Arc::clone(&file.bytes))
                        .unwrap_or_default(),
                }]
            }
            "fcntl" if call.argument(1).starts_with("F_DUPFD") => {
                if let Some(of) = file(0) {
                    open.insert((group, call.answer), of);
                }
                Vec::new()
            }
            "dup" | "dup2" | "dup3" => {
                if let Some(of) = file(0) {
                    open.insert((group, call.answer), of);
                }
                Vec::new()
            }
            "mmap"
                if !(call.argument(2).contains("PROT_WRITE")
                    && call.argument(3).contains("MAP_SHARED")
                    && ours(4)) =>
            {
                Vec::new()
            }
            // What is written to others begins with whatever it likes, a path of ours as well.
            "write" | "fcntl" | "ioctl" | "clone" | "clone3" | "fork" | "vfork" => Vec::new(),
            _ if call.touches_us() => return Err("a call that the record does not know".to_owned()),
            _ => Vec::new(),
        })
    }

    fn opened(
        &self,
        call: &Syscall,
        group: u32,
        open: &mut BTreeMap<(u32, i64), Open>,
    ) -> Result<Vec<Effect>, String> {
        let (path, flags) = if call.name == "openat" {
            (call.path_at(0), call.argument(2))
        } else {
            (call.path(0), call.argument(1))
        };
        // The number may have meant another file before.
        open.remove(&(group, call.answer));
        let Some(path) = path else {
            return Ok(Vec::new());
        };
        if flags.contains("O_TMPFILE") {
            return Err("a file without a name".to_owned());
        }
        let mut effects = Vec::new();
        let inode = match self.now.find(&path) {
            Some(inode) => inode,
            None if flags.contains("O_CREAT") => {
                let inode = self.now.unused();
                effects = self.made(Some(path), inode, false);
                inode
            }
            // A link, a device: no part of a scene.
            None => return Ok(Vec::new()),
        };
        if flags.contains("O_TRUNC") && effects.is_empty() {
            effects.push(Effect::Resize { inode, size: 0 });
        }
        let appends = flags.contains("O_APPEND");
        open.insert(
            (group, call.answer),
            Open {
                inode,
                appends,
                position: 0,
            },
        );
        Ok(effects)
    }

    fn made(&self, path: Option<PathBuf>, inode: Inode, is_folder: bool) -> Vec<Effect> {
        let Some((folder, name)) = path.and_then(|path| self.place(&path)) else {
            return Vec::new();
        };
        vec![
            Effect::New { inode, is_folder },
            Effect::Add {
                folder,
                name,
                inode,
            },
        ]
    }

    fn linked(&self, source: Option<Inode>, to: Option<PathBuf>) -> Result<Vec<Effect>, String> {
        let Some((folder, name)) = to.and_then(|path| self.place(&path)) else {
            return Ok(Vec::new());
        };
        Ok(vec![Effect::Add {
            folder,
            name,
            inode: source.ok_or("a link from nowhere")?,
        }])
    }

    fn renamed(&self, from: Option<PathBuf>, to: Option<PathBuf>) -> Result<Vec<Effect>, String> {
        let (from, to) = match (from, to) {
            (Some(from), Some(to)) => (from, to),
            (None, None) => return Ok(Vec::new()),
            _ => return Err("a rename into or out of the scene".to_owned()),
        };
        let inode = self.now.find(&from).ok_or("a rename of nothing")?;
        let (new_folder, new_name) = self.place(&to).ok_or("a rename to nowhere")?;
        let (old_folder, old_name) = self.place(&from).ok_or("a rename from nowhere")?;
        Ok(vec![
            Effect::Add {
                folder: new_folder,
                name: new_name,
                inode,
            },
            Effect::Remove {
                folder: old_folder,
                name: old_name,
                inode,
            },
        ])
    }

    fn removed(&self, path: Option<PathBuf>) -> Result<Vec<Effect>, String> {
        let Some(path) = path else {
            return Ok(Vec::new());
        };
        let (folder, name) = self.place(&path).ok_or("a removal from nowhere")?;
        let inode = self.now.find(&path).ok_or("a removal of nothing")?;
        Ok(vec![Effect::Remove {
            folder,
            name,
            inode,
        }])
    }

    /// The folder and the name of a path.
    fn place(&self, path: &Path) -> Option<(Inode, OsString)> {
        let folder = self.now.find(path.parent()?)?;
        Some((folder, path.file_name()?.to_owned()))
    }

    /// A name for a message.
    fn name_of(&self, effects: &[Effect]) -> String {
        let inode = match effects.first() {
            Some(Effect::Add { name, .. } | Effect::Remove { name, .. }) => return shown(name),
            Some(Effect::New { .. }) => match effects.get(1) {
                Some(Effect::Add { name, .. }) => return shown(name),
                _ => return String::new(),
            },
            Some(
                Effect::Write { inode, .. }
                | Effect::Resize { inode, .. }
                | Effect::Mode { inode, .. }
                | Effect::Time { inode, .. }
                | Effect::SyncFile { inode, .. }
                | Effect::SyncFolder { folder: inode },
            ) => *inode,
            _ => return String::new(),
        };
        let name = self
            .now
            .folders
            .values()
            .flatten()
            .find(|(_, leads_to)| **leads_to == inode);
        name.map_or_else(|| format!("inode {inode}"), |(name, _)| shown(name))
    }
}

/// One call that succeeded, as strace tells it with `-y -xx`: every string in hexadecimal.
struct Syscall {
    name: String,
    arguments: Vec<String>,
    answer: i64,
    root: PathBuf,
}

impl Syscall {
    fn parse(text: &str, root: &Path) -> Option<Self> {
        let (head, answer) = text.rsplit_once(" = ")?;
        let answer: String = answer.chars().take_while(char::is_ascii_digit).collect();
        // `-1 ENOENT` has no digit in front.
        let answer = answer.parse().ok()?;
        let (name, rest) = head.split_once('(')?;
        let arguments = rest.trim_end().strip_suffix(')')?;
        Some(Self {
            name: name.to_owned(),
            arguments: split(arguments),
            answer,
            root: root.to_owned(),
        })
    }

    fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// The leading number of an argument, as in `5</folder>`.
    fn number(&self, index: usize) -> i64 {
        let argument = self.argument(index);
        let digits = argument.split('<').next().unwrap_or_default();
        digits.parse().unwrap_or(-1)
    }

    fn size(&self, index: usize) -> usize {
        self.argument(index).parse().unwrap_or_default()
    }

    /// A string argument.
    fn text(&self, index: usize) -> Vec<u8> {
        let argument = self.argument(index);
        unhex(argument.split('"').nth(1).unwrap_or_default())
    }

    /// What was written: the call may have taken less than it was offered.
    fn written(&self) -> Arc<Vec<u8>> {
        let mut bytes = self.text(1);
        bytes.truncate(usize::try_from(self.answer).unwrap_or_default());
        Arc::new(bytes)
    }

    /// The path of an open file inside the root.
    fn path_of_fd(&self, index: usize) -> Option<PathBuf> {
        let (_, path) = self.argument(index).split_once('<')?;
        self.inside(&unhex(path.split('>').next()?))
    }

    /// A path argument that stands alone.
    fn path(&self, index: usize) -> Option<PathBuf> {
        self.inside(&self.text(index))
    }

    /// A path argument that follows the folder it is relative to.
    fn path_at(&self, index: usize) -> Option<PathBuf> {
        let (_, folder) = self.argument(index).split_once('<')?;
        let folder = PathBuf::from(OsString::from_vec(unhex(folder.split('>').next()?)));
        let name = OsString::from_vec(self.text(index + 1));
        let path = if name.is_empty() {
            folder
        } else {
            folder.join(name)
        };
        self.inside(path.as_os_str().as_encoded_bytes())
    }

    fn inside(&self, path: &[u8]) -> Option<PathBuf> {
        let path = PathBuf::from(OsString::from_vec(path.to_vec()));
        path.strip_prefix(&self.root).ok().map(Path::to_owned)
    }

    fn touches_us(&self) -> bool {
        (0..self.arguments.len()).any(|index| {
            self.path_of_fd(index).is_some()
                || self.path(index).is_some()
                || self.path_at(index).is_some()
        })
    }
}

/// Which process each thread belongs to.
fn thread_groups(text: &str) -> BTreeMap<u32, u32> {
    let mut groups = BTreeMap::new();
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines() {
        let Some((parent, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if !rest.starts_with("clone") && !rest.starts_with("<... clone") {
            continue;
        }
        if rest.ends_with("<unfinished ...>") {
            begun.insert(parent, rest);
            continue;
        }
        let start = if rest.starts_with('<') {
            begun.remove(parent).unwrap_or_default()
        } else {
            rest
        };
        let child = rest
            .rsplit_once(" = ")
            .and_then(|(_, child)| child.parse::<u32>().ok());
        if let (Some(child), Ok(parent), true) =
            (child, parent.parse::<u32>(), start.contains("CLONE_THREAD"))
        {
            let group = groups.get(&parent).copied().unwrap_or(parent);
            groups.insert(child, group);
        }
    }
    groups
}

/// Splits at the commas that stand outside of brackets and strings.
fn split(arguments: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted) = (0_i32, false);
    let mut letters = arguments.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '{' | '[' | '(' if !quoted => depth += 1,
            '}' | ']' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                letters.next_if_eq(&' ');
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// `\x61\x62` is `ab`.
fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x")
        .skip(1)
        .filter_map(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok())
        .collect()
}

/// The second of the two times, in nanoseconds.
fn modified(argument: &str) -> u64 {
    let second = argument.rsplit("{tv_sec=").next().unwrap_or_default();
    let digits = |text: &str| -> u64 {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_default()
    };
    let nanoseconds = second.split("tv_nsec=").nth(1).map_or(0, digits);
    digits(second) * 1_000_000_000 + nanoseconds
}

fn short(line: &str) -> &str {
    line.get(..400).unwrap_or(line)
}

/// Names that lead to other bytes, or that only one of the two has.
fn differences(one: &Disk, other: &Disk) -> Vec<String> {
    let (one, other) = (one.named(), other.named());
    let bytes = |content: Option<&&Content>| content.map(|content| Arc::clone(&content.bytes));
    let paths: BTreeSet<&PathBuf> = one.keys().chain(other.keys()).collect();
    let differ = |path: &&PathBuf| bytes(one.get(*path)) != bytes(other.get(*path));
    let tell = |path: &PathBuf| {
        let (one, other) = (bytes(one.get(path)), bytes(other.get(path)));
        let sizes = [&one, &other].map(|bytes| bytes.as_ref().map(|bytes| bytes.len()));
        let pairs = one
            .iter()
            .flat_map(|bytes| bytes.as_slice())
            .zip(other.iter().flat_map(|bytes| bytes.as_slice()));
        let first = pairs
            .enumerate()
            .find(|(_, (one, other))| one != other)
            .map(|(at, _)| at);
        format!(
            "{}: sizes {sizes:?}, different from {first:?} on",
            path.display()
        )
    };
    paths.into_iter().filter(differ).map(tell).collect()
}

/// Whether a program can be found.
pub(crate) fn is_installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(OsStr::new(program)).is_file())
}
