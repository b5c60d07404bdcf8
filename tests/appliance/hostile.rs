//! P4, P6, P8: an inbox that means harm. Each time with `ingest` and with the appliance: what is no photo is neither opened
//! nor followed, what is one is filed, nothing outside the inbox is read or changed, nothing is lost.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, RenameFlags, makedev, mknodat, renameat_with};

use crate::factory::{
    self, Factory, NOBODY, PATIENCE, all_files_below, copy_program, files_below, hash, installed,
    json_lines, output_of, output_within, program, text,
};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;

/// How the inbox is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Ingest,
    Appliance,
}

const BOTH: [Way; 2] = [Way::Ingest, Way::Appliance];

impl Way {
    /// Takes the inbox until it is `done`.
    fn take(self, factory: &mut Factory, done: impl Fn(&Factory) -> bool) {
        match self {
            Self::Ingest => {
                let run = factory.ingest();
                assert!(done(factory), "{}: {:#?}", run.summary, run.files);
            }
            Self::Appliance => {
                factory.start();
                factory.wait_until("all is taken", PATIENCE, || done(factory));
                let (status, _) = factory.stop();
                assert!(status.success(), "{status}");
            }
        }
    }
}

/// A photo of its own for each number, taken on one day.
fn photo(number: u64) -> Vec<u8> {
    jpeg::small(number, &Exif::taken("2021:02:03 04:05:06"))
}

fn day(factory: &Factory) -> PathBuf {
    factory.originals().join("2021/2021-02-03")
}

/// The hashes of all that stands in Originals.
fn kept(factory: &Factory) -> Vec<String> {
    let mut kept: Vec<String> = factory.filed().into_values().collect();
    kept.sort();
    kept
}

fn sorted(contents: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let mut hashes: Vec<String> = contents.into_iter().map(|bytes| hash(&bytes)).collect();
    hashes.sort();
    hashes
}

#[test]
fn p8_links_fifos_sockets_and_devices_are_neither_followed_nor_opened() {
    for way in BOTH {
        let mut factory = Factory::new("no-files");
        let inbox = factory.inbox();
        let secret = factory.root().join("secret.jpg");
        fs::write(&secret, photo(1)).unwrap();
        symlink(&secret, inbox.join("link.jpg")).unwrap();
        symlink("link.jpg", inbox.join("link-to-link.jpg")).unwrap();
        symlink("round.jpg", inbox.join("round.jpg")).unwrap();
        symlink("nowhere", inbox.join("dangling.jpg")).unwrap();
        symlink("..", inbox.join("up")).unwrap();
        symlink("/proc/self/fd", inbox.join("descriptors")).unwrap();
        mknodat(CWD, inbox.join("fifo.jpg"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut specials = vec!["fifo.jpg", "socket.jpg"];
        let devices = [
            ("zero.jpg", FileType::CharacterDevice, makedev(1, 5)),
            ("disk.jpg", FileType::BlockDevice, makedev(7, 250)),
        ];
        for (name, kind, device) in devices {
            if mknodat(CWD, inbox.join(name), kind, Mode::RWXU, device).is_ok() {
                specials.push(name);
            } else {
                println!("skipped: devices in the inbox need the right to make one");
            }
        }
        // A socket's path is limited; one from the folder itself is not.
        let socket = {
            let short = Path::new("/proc/self/fd");
            let folder = fs::File::open(&inbox).unwrap();
            let number = std::os::fd::AsRawFd::as_raw_fd(&folder).to_string();
            UnixListener::bind(short.join(number).join("socket.jpg")).unwrap()
        };
        factory.put("good.jpg", &photo(2));
        if way == Way::Ingest && installed("strace", "what is opened in the inbox") {
            let trace = factory.root().join("strace.txt");
            let mut command = Command::new("strace");
            command
                .args(["-f", "-qq", "-e", "trace=open,openat,openat2", "-o"])
                .arg(&trace)
                .arg(program())
                .arg("--root")
                .arg(factory.root())
                .arg("ingest");
            let output = output_of(&mut command);
            assert!(output.status.success(), "{output:?}");
            let traced = fs::read_to_string(&trace).unwrap();
            assert!(traced.contains("\"good.jpg\""), "nothing was traced");
            let links = [
                "link.jpg",
                "round.jpg",
                "dangling.jpg",
                "secret.jpg",
                "\"up\"",
            ];
            for name in specials.iter().chain(&links) {
                assert!(!traced.contains(name), "{name} was opened: {traced}");
            }
        }
        way.take(&mut factory, |factory| {
            day(factory).join("good.jpg").exists() && !factory.inbox().join("good.jpg").exists()
        });
        assert_eq!(kept(&factory), sorted([photo(2)]));
        assert_eq!(fs::read(&secret).unwrap(), photo(1));
        for name in specials {
            assert!(
                inbox.join(name).symlink_metadata().is_ok(),
                "{name} is gone"
            );
        }
        assert_eq!(
            fs::read_dir(&inbox)
                .unwrap()
                .flatten()
                .filter(|entry| entry.file_type().unwrap().is_symlink())
                .count(),
            6
        );
        drop(socket);
    }
}

/// Changes two names for each other again and again, until told to stop; counts how often.
fn keep_swapping(
    one: PathBuf,
    other: PathBuf,
) -> (
    Arc<AtomicBool>,
    Arc<AtomicUsize>,
    std::thread::JoinHandle<()>,
) {
    let (stop, swaps) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&swaps));
    let swapper = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            // One of them may just have been cleared.
            if renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    (stop, swaps, swapper)
}

#[test]
fn p8_a_folder_that_becomes_a_link_again_and_again_leads_nowhere() {
    for way in BOTH {
        let mut factory = Factory::new("swapped");
        let outside = factory.root().join("outside");
        fs::create_dir(&outside).unwrap();
        let photos = 150;
        // Outside, the same names hold other photos: one of theirs read, cleared or changed would show.
        for number in 0..photos {
            fs::write(outside.join(format!("{number}.jpg")), photo(1000 + number)).unwrap();
            factory.put(format!("folder/{number}.jpg"), &photo(number));
        }
        let link = factory.inbox().join(".link");
        symlink(&outside, &link).unwrap();
        let (stop, swaps, swapper) = keep_swapping(factory.inbox().join("folder"), link);
        // A link that stands at the name at the end of a pass hides the folder: it is taken by a later one.
        let all_taken = |factory: &Factory| files_below(&factory.originals()).len() >= 150;
        match way {
            Way::Ingest => factory.wait_until("all is taken", 2 * PATIENCE, || {
                factory.run(&["ingest"]);
                all_taken(&factory)
            }),
            Way::Appliance => {
                factory.start();
                factory.wait_until("all is taken", 2 * PATIENCE, || all_taken(&factory));
                factory.stop();
            }
        }
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap();
        let swaps = swaps.load(Ordering::Relaxed);
        assert!(swaps > 1000, "only {swaps} swaps");
        assert_eq!(kept(&factory), sorted((0..photos).map(photo)), "{way:?}");
        for number in 0..photos {
            let path = outside.join(format!("{number}.jpg"));
            assert_eq!(fs::read(path).unwrap(), photo(1000 + number), "{way:?}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 150);
    }
}

#[test]
fn p8_a_photo_that_becomes_a_link_again_and_again_is_filed_and_the_link_is_not_followed() {
    for way in BOTH {
        let mut factory = Factory::new("swapped-file");
        let secret = factory.root().join("secret.jpg");
        fs::write(&secret, photo(99)).unwrap();
        factory.put("a.jpg", &photo(1));
        let link = factory.inbox().join(".link");
        symlink(&secret, &link).unwrap();
        let (stop, swaps, swapper) = keep_swapping(factory.inbox().join("a.jpg"), link);
        factory.wait_until("it was swapped", PATIENCE, || {
            swaps.load(Ordering::Relaxed) > 100
        });
        match way {
            Way::Ingest => {
                factory.run(&["ingest"]);
            }
            Way::Appliance => {
                factory.start();
                factory.put("b.jpg", &photo(2));
                let second = day(&factory).join("b.jpg");
                factory.wait_until("another is filed", PATIENCE, || second.exists());
                factory.stop();
            }
        }
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap();
        assert_eq!(fs::read(&secret).unwrap(), photo(99));
        assert!(
            !kept(&factory).contains(&hash(&photo(99))),
            "{way:?}: a link was followed"
        );
        let links = fs::read_dir(factory.inbox()).unwrap().flatten();
        let links = links.filter(|entry| entry.file_type().unwrap().is_symlink());
        assert_eq!(links.count(), 1, "{way:?}: the link was cleared");
        // Wherever the swapping left it, under its own name it is filed in the end.
        if let Some(hidden) = fs::read_dir(factory.inbox())
            .unwrap()
            .flatten()
            .find(|entry| entry.file_type().unwrap().is_file())
        {
            fs::rename(hidden.path(), factory.inbox().join("c.jpg")).unwrap();
        }
        factory.ingest();
        assert!(
            kept(&factory).contains(&hash(&photo(1))),
            "{way:?}: it is lost"
        );
    }
}

#[test]
fn p4_several_names_of_one_file_are_one_photo_and_a_name_outside_stays_its_owner_s() {
    for way in BOTH {
        let mut factory = Factory::new("hard-links");
        let first = factory.put("a.jpg", &photo(1));
        fs::create_dir(factory.inbox().join("folder")).unwrap();
        fs::hard_link(&first, factory.inbox().join("b.jpg")).unwrap();
        fs::hard_link(&first, factory.inbox().join("folder/c.jpg")).unwrap();
        let outside = factory.root().join("outside.jpg");
        fs::hard_link(&first, &outside).unwrap();
        way.take(&mut factory, |factory| factory.waiting().is_empty());
        assert_eq!(kept(&factory), sorted([photo(1)]), "{way:?}");
        let original = files_below(&factory.originals()).remove(0);
        assert_eq!(fs::metadata(&original).unwrap().nlink(), 1);
        fs::write(&outside, b"written later").unwrap();
        assert_eq!(fs::read(&original).unwrap(), photo(1));
    }
}

/// Names that programs stumble over, all of them visible, each with a photo of its own.
fn strange_names() -> Vec<OsString> {
    let mut names: Vec<OsString> = [
        &b"new\nline.jpg"[..],
        b"tab\tand\x1b[31mred.jpg",
        b"M\xfcnchen.jpg",
        b"\xff\xfe.jpg",
        b"trailing dots....",
        b"trailing spaces.jpg   ",
        b" leading.jpg",
        b"-rf.jpg",
        b"--help",
        b"*?[a].jpg",
        b"back\\slash.jpg",
        b"con.jpg",
        b"quote'\"`$(reboot).jpg",
        b"no extension",
        b"two..dots.jpg",
        b"~.jpg",
        "e\u{301}-decomposed.jpg".as_bytes(),
        "\u{202e}gpj.exe".as_bytes(),
    ]
    .iter()
    .map(|name| OsStr::from_bytes(name).to_owned())
    .collect();
    names.push(format!("{}.jpg", "x".repeat(251)).into());
    names.push(format!("{}é.jpg", "y".repeat(249)).into());
    names.push("z".repeat(255).into());
    names
}

#[test]
fn p6_names_with_any_bytes_are_filed_under_them_and_dotted_ones_are_left_alone() {
    for way in BOTH {
        let mut factory = Factory::new("names");
        let names = strange_names();
        for (number, name) in names.iter().enumerate() {
            factory.put(name, &photo(number as u64));
        }
        let dotted = ["..foo.jpg", "...jpg", ".jpg", "..."];
        for name in dotted {
            factory.put(name, &photo(500));
        }
        way.take(&mut factory, |factory| factory.waiting().is_empty());
        let rows = factory.rows();
        for (number, name) in names.iter().enumerate() {
            let content = photo(number as u64);
            if name.len() < 200 {
                let path = day(&factory).join(name);
                let found =
                    fs::read(path).unwrap_or_else(|error| panic!("{way:?} {name:?}: {error}"));
                assert_eq!(found, content, "{way:?} {name:?}");
                continue;
            }
            // A very long name is cut, so that suffixes and sidecars have room; the row has it whole.
            let row = rows
                .iter()
                .find(|row| text(row, "file_hash") == hash(&content));
            let row = row.expect("it is filed");
            assert_eq!(text(row, "original_name"), name.to_string_lossy());
            let path = Path::new(text(row, "final_path"));
            assert_eq!(fs::read(factory.storage().join(path)).unwrap(), content);
            let (start, _) = name.as_bytes().split_at(200);
            assert!(path.file_name().unwrap().as_bytes().starts_with(start));
        }
        for name in dotted {
            assert!(factory.inbox().join(name).exists(), "{way:?} {name}");
        }
        assert_eq!(rows.len(), names.len());
    }
}

#[test]
fn p6_two_photos_with_one_name_of_255_bytes_both_find_a_name() {
    for way in BOTH {
        let mut factory = Factory::new("long-names");
        let name = format!("{}.jpg", "x".repeat(251));
        let contents: Vec<_> = (0..4).map(photo).collect();
        for (number, content) in contents.iter().enumerate() {
            factory.put(Path::new(&number.to_string()).join(&name), content);
        }
        way.take(&mut factory, |factory| factory.waiting().is_empty());
        assert_eq!(kept(&factory), sorted(contents), "{way:?}");
        factory.assert_ledger_and_originals_agree();
    }
}

/// Makes `depth` folders, one in the other, and lays a photo into each tenth. Walks by descriptors: the path gets longer than
/// any system call takes.
fn lay_deep(top: &Path, name: &str, depth: u64) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    let mut folder: OwnedFd = fs::File::open(top).unwrap().into();
    for level in 1..=depth {
        rustix::fs::mkdirat(&folder, name, Mode::RWXU).unwrap();
        folder = rustix::fs::openat(
            &folder,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
        if level % 10 == 0 {
            let file = rustix::fs::openat(
                &folder,
                "a.jpg",
                OFlags::WRONLY | OFlags::CREATE,
                Mode::RWXU,
            )
            .unwrap();
            contents.push(photo(level));
            std::io::Write::write_all(&mut fs::File::from(file), contents.last().unwrap()).unwrap();
        }
    }
    contents
}

/// How many photos are left in those folders; every folder must still be there.
fn left_deep(top: &Path, name: &str, depth: u64) -> usize {
    let mut left = 0;
    let mut folder: OwnedFd = fs::File::open(top).unwrap().into();
    for _ in 0..depth {
        folder = rustix::fs::openat(
            &folder,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
        let entries = Dir::read_from(&folder).unwrap().flatten();
        left += entries
            .filter(|entry| entry.file_name().to_bytes().ends_with(b".jpg"))
            .count();
    }
    left
}

#[test]
fn p6_folders_200_deep_are_looked_through_also_where_no_path_is_long_enough() {
    for way in BOTH {
        for name in ["d".to_owned(), "long".repeat(60)] {
            let mut factory = Factory::new("deep");
            let contents = lay_deep(&factory.inbox(), &name, 200);
            factory.put("top.jpg", &photo(5000));
            way.take(&mut factory, |factory| {
                files_below(&factory.originals()).len() == contents.len() + 1
                    && left_deep(&factory.inbox(), &name, 200) == 0
            });
            let expected = contents.into_iter().chain([photo(5000)]);
            assert_eq!(kept(&factory), sorted(expected), "{way:?}");
        }
    }
}

/// So long a crowd may take on a busy machine.
const CROWD: Duration = Duration::from_secs(1200);

/// Photos and other files in one folder, 100,000 in all. Most are copies of a hundred photos and files that are no photos:
/// they take the same way through listing, settling and ledger. In memory where that can be had: the disk's syncs, which other
/// tests are about, would make this one last for minutes.
#[test]
fn p6_a_folder_of_100_000_files_is_taken_and_none_is_lost() {
    let memory = Path::new("/dev/shm");
    let name = format!("photo-factory-crowd-{}", std::process::id());
    let mut factory = if memory.is_dir() {
        Factory::in_folder(&memory.join(name))
    } else {
        Factory::new("crowd")
    };
    let folder = factory.inbox();
    let photos: Vec<_> = (0..100).map(photo).collect();
    for (number, content) in photos.iter().enumerate() {
        factory.put(format!("IMG_{number}.jpg"), content);
    }
    for number in 0..99_900 {
        fs::write(folder.join(format!("note-{number}.txt")), b"no photo").unwrap();
    }
    let mut command = factory.command();
    let output = output_within(CROWD, command.args(["ingest", "--json"]));
    assert_eq!(output.status.code(), Some(2));
    let mut lines = json_lines(&output);
    let summary = lines.pop().unwrap()["summary"].clone();
    for (count, expected) in [("files", 100_000), ("filed", 100), ("left", 99_900)] {
        assert_eq!(summary[count], expected, "{count} of {summary}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 99_900);
    let named: BTreeSet<&str> = lines.iter().map(|line| text(line, "path")).collect();
    assert_eq!(named.len(), 100_000, "each is named");
    assert_eq!(kept(&factory), sorted(photos.clone()));

    // The appliance finds what stays, and takes what comes into the crowd.
    factory.start();
    let late = factory.put("note-5000-late.jpg", &photo(100));
    factory.wait_until("the late one is filed", CROWD, || !late.exists());
    factory.wait_until("the rest is told", CROWD, || {
        factory.status()["inbox"]["left"] == 99_900
    });
    assert!(factory.is_running());
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 99_900);
    assert_eq!(
        kept(&factory),
        sorted(photos.into_iter().chain([photo(100)]))
    );
}

/// A factory that belongs to `nobody`, with the program in it, where every user may reach it.
fn nobodys(name: &str, test: &str) -> Option<Factory> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {test} needs root, to run the program as another user");
        return None;
    }
    if !installed("setpriv", test) {
        return None;
    }
    let root = std::env::temp_dir().join(format!("photo-factory-{name}-{}", std::process::id()));
    let factory = Factory::in_folder(&root);
    for path in [factory.root().to_owned(), factory.inbox()] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    copy_program(&root.join("program"));
    fs::set_permissions(root.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    Some(factory)
}

fn as_nobody(factory: &Factory) -> Command {
    factory::as_nobody(factory, "files without permission").expect("it was asked for before")
}

#[test]
fn p6_files_and_folders_without_permission_are_named_and_the_others_are_filed() {
    for way in BOTH {
        let Some(mut factory) = nobodys("permissions", "files without permission") else {
            return;
        };
        let owned = |name: &str, content: &[u8], owner: u32, mode: u32| {
            let path = factory.put(name, content);
            chown(&path, Some(owner), Some(owner)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        owned("another-s.jpg", &photo(1), 0, 0o600);
        owned("closed.jpg", &photo(2), NOBODY, 0o000);
        owned("good.jpg", &photo(3), NOBODY, 0o644);
        owned("readable.jpg", &photo(4), 0, 0o644);
        owned("closed-folder/inside.jpg", &photo(5), NOBODY, 0o644);
        owned("fixed-folder/inside.jpg", &photo(6), NOBODY, 0o644);
        let folder = |name: &str, mode| {
            let path = factory.inbox().join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        folder("closed-folder", 0o000);
        // Its photos can be read, and not be cleared.
        folder("fixed-folder", 0o555);
        let filed = ["good.jpg", "readable.jpg", "inside.jpg"];
        match way {
            Way::Ingest => {
                let output = output_of(as_nobody(&factory).args(["ingest", "--json"]));
                assert_eq!(output.status.code(), Some(2), "{output:?}");
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                for name in ["another-s.jpg", "closed.jpg"] {
                    let line = said
                        .lines()
                        .find(|line| line.contains(name))
                        .expect("it is named");
                    assert!(
                        line.contains("give the user of Photo Factory the right"),
                        "{line}"
                    );
                }
                let log = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(log.contains("closed-folder"), "the folder is named: {log}");
                let refused = "could not clear";
                let line = said.lines().find(|line| line.contains(refused));
                let line = line.expect("what is kept and can't be cleared is named");
                assert!(line.contains("fixed-folder"), "{line}");
            }
            Way::Appliance => {
                let mut command = as_nobody(&factory);
                command.args(["run", "--listen", "127.0.0.1:0"]);
                factory.start_command(command);
                factory.wait_until("all is said", PATIENCE, || {
                    let page = factory.status().to_string();
                    filed.iter().all(|name| day(&factory).join(name).exists())
                        && page.contains("another-s.jpg")
                        && page.contains("closed.jpg")
                });
                factory.stop();
            }
        }
        assert_eq!(kept(&factory), sorted([3, 4, 6].map(photo)), "{way:?}");
        for (name, number) in [
            ("another-s.jpg", 1),
            ("closed.jpg", 2),
            ("closed-folder/inside.jpg", 5),
            ("fixed-folder/inside.jpg", 6),
        ] {
            assert_eq!(
                fs::read(factory.inbox().join(name)).unwrap(),
                photo(number),
                "{way:?}"
            );
        }
        // The owner does as told: everything is filed.
        for name in ["another-s.jpg", "closed.jpg"] {
            chown(factory.inbox().join(name), Some(NOBODY), Some(NOBODY)).unwrap();
            fs::set_permissions(
                factory.inbox().join(name),
                fs::Permissions::from_mode(0o644),
            )
            .unwrap();
        }
        for name in ["closed-folder", "fixed-folder"] {
            let path = factory.inbox().join(name);
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let output = output_of(as_nobody(&factory).arg("ingest"));
        assert!(output.status.success(), "{output:?}");
        assert!(factory.waiting().is_empty(), "{:?}", factory.waiting());
        assert_eq!(kept(&factory), sorted((1..=6).map(photo)), "{way:?}");
    }
}

#[test]
fn p6_files_that_look_like_our_own_temporary_ones_stop_nothing_and_lose_nothing() {
    for way in BOTH {
        let mut factory = Factory::new("lookalikes");
        // What an interrupted clearing leaves is given its name back; what only looks like it stays, or is taken.
        let names = [
            ".photo-factory-aside-1-0-a.jpg",
            ".photo-factory-aside-x-y-b.jpg",
            ".photo-factory-aside-1-0-",
            ".photo-factory-aside-1-0-.",
            ".photo-factory-aside-1-0-..",
            ".photo-factory-aside--",
            ".photo-factory-aside-",
            ".photo-factory-7-0.part",
            ".photo-factory-",
        ];
        for (number, name) in names.iter().enumerate() {
            factory.put(name, &photo(number as u64));
            factory.put(Path::new("folder").join(name), &photo(100 + number as u64));
        }
        symlink(
            "/etc/hostname",
            factory.inbox().join(".photo-factory-aside-1-0-link.jpg"),
        )
        .unwrap();
        fs::create_dir(factory.inbox().join(".photo-factory-aside-1-0-folder")).unwrap();
        factory.put("good.jpg", &photo(50));
        factory.put("folder/good.jpg", &photo(51));
        way.take(&mut factory, |factory| {
            let kept = kept(factory);
            sorted([50, 51].map(photo))
                .iter()
                .all(|hash| kept.contains(hash))
        });
        let mut found: BTreeSet<String> = kept(&factory).into_iter().collect();
        for path in all_files_below(&factory.inbox()) {
            found.insert(hash(&fs::read(path).unwrap()));
        }
        let given = (0..names.len() as u64)
            .chain(100..100 + names.len() as u64)
            .chain([50, 51]);
        let given: BTreeSet<String> = sorted(given.map(photo)).into_iter().collect();
        assert_eq!(found, given, "{way:?}");
        assert!(
            factory
                .inbox()
                .join(".photo-factory-aside-1-0-link.jpg")
                .is_symlink()
        );
    }
}
