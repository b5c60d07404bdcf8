//! P4: someone writes, replaces and renames files while they are being filed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::factory::{Factory, PATIENCE, files_below, hash, hash_of};
use crate::fixtures::Random;
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::Load;

/// Seconds of writing, unless the environment says otherwise.
const SECONDS: &str = "PHOTO_FACTORY_WRITER_SECONDS";

/// Changes files as phones, editors and people do, and knows at every moment which contents must still exist.
struct Writer {
    inbox: PathBuf,
    seed: u64,
    random: Random,
    pictures: Load,
    /// The content each name had when this writer last finished with it.
    names: BTreeMap<String, Vec<u8>>,
    /// Contents that were completely written and that this writer did not itself destroy.
    owed: BTreeSet<String>,
    count: u64,
    found_taken: u64,
}

impl Writer {
    fn new(inbox: &Path, seed: u64) -> Self {
        Self {
            inbox: inbox.to_owned(),
            seed,
            random: Random(seed),
            pictures: Load::new(seed),
            names: BTreeMap::new(),
            owed: BTreeSet::new(),
            count: 0,
            found_taken: 0,
        }
    }

    fn step(&mut self) {
        let name = format!("w{}-{:02}.jpg", self.seed, self.random.below(30));
        match self.random.below(5) {
            0 => self.write_in_place(&name),
            1 | 2 => self.grow(&name),
            3 => self.replace(&name),
            _ => self.rename(&name),
        }
    }

    fn picture(&mut self) -> Vec<u8> {
        self.count += 1;
        let taken = Exif::taken(&format!(
            "2023:01:{:02} 00:00:{:02}",
            1 + self.count % 28,
            self.count % 60
        ));
        let size = 4000 + self.random.below(60_000) as usize;
        self.pictures.next(&taken, size)
    }

    /// Writes `content` in pieces with pauses, as a slow sender does.
    fn send(&mut self, file: &mut File, content: &[u8]) {
        for piece in content.chunks(content.len() / 3 + 1) {
            file.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(self.random.below(8)));
        }
    }

    /// This content is complete now: from here on it must be somewhere.
    fn finished(&mut self, name: &str, content: Vec<u8>) {
        self.owed.insert(hash(&content));
        self.names.insert(name.to_owned(), content);
    }

    /// Opened the file that `name` leads to: if it holds what we last wrote, it is we who destroy that.
    fn about_to_destroy(&mut self, name: &str, found: &[u8]) {
        if let Some(last) = self.names.get(name) {
            assert!(
                found == last,
                "{name} is neither gone nor what was last written there"
            );
            self.owed.remove(&hash(last));
        }
    }

    fn write_in_place(&mut self, name: &str) {
        let path = self.inbox.join(name);
        let content = self.picture();
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(mut file) => {
                let mut found = Vec::new();
                file.read_to_end(&mut found).unwrap();
                self.about_to_destroy(name, &found);
                file.set_len(0).unwrap();
                file.rewind().unwrap();
                file
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.create(&path, name),
            Err(error) => panic!("{}: {error}", path.display()),
        };
        self.send(&mut file, &content);
        drop(file);
        self.finished(name, content);
    }

    fn create(&mut self, path: &Path, name: &str) -> File {
        if self.names.remove(name).is_some() {
            self.found_taken += 1;
        }
        File::create_new(path).unwrap()
    }

    fn grow(&mut self, name: &str) {
        let path = self.inbox.join(name);
        let more = self.picture();
        match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(mut file) => {
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                self.about_to_destroy(name, &content);
                self.send(&mut file, &more);
                drop(file);
                content.extend(more);
                self.finished(name, content);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut file = self.create(&path, name);
                self.send(&mut file, &more);
                drop(file);
                self.finished(name, more);
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    /// Writes a temporary file and puts it in the place of what is there, as editors and Syncthing do.
    fn replace(&mut self, name: &str) {
        let path = self.inbox.join(name);
        let partial = self.inbox.join(format!(".syncthing.{name}.tmp"));
        let content = self.picture();
        let mut file = File::create_new(&partial).unwrap();
        self.send(&mut file, &content);
        drop(file);
        // Swapping shows what was replaced: was it still there, we destroyed it; was it gone, it had been taken.
        loop {
            match renameat_with(CWD, &partial, CWD, &path, RenameFlags::EXCHANGE) {
                Ok(()) => {
                    let found = fs::read(&partial).unwrap();
                    self.about_to_destroy(name, &found);
                    fs::remove_file(&partial).unwrap();
                    break;
                }
                Err(rustix::io::Errno::NOENT) => {
                    if renameat_with(CWD, &partial, CWD, &path, RenameFlags::NOREPLACE).is_ok() {
                        if self.names.remove(name).is_some() {
                            self.found_taken += 1;
                        }
                        break;
                    }
                }
                Err(errno) => panic!("{}: {errno}", path.display()),
            }
        }
        self.finished(name, content);
    }

    fn rename(&mut self, name: &str) {
        let to = format!("{}-{}.jpg", name.trim_end_matches(".jpg"), self.count);
        let (from_path, to_path) = (self.inbox.join(name), self.inbox.join(&to));
        match renameat_with(CWD, &from_path, CWD, &to_path, RenameFlags::NOREPLACE) {
            Ok(()) => {
                if let Some(content) = self.names.remove(name) {
                    self.names.insert(to, content);
                }
            }
            Err(rustix::io::Errno::NOENT) => {
                if self.names.remove(name).is_some() {
                    self.found_taken += 1;
                }
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => panic!("{}: {errno}", from_path.display()),
        }
    }
}

fn contents_below(folder: &Path) -> BTreeSet<String> {
    files_below(folder)
        .iter()
        .map(|path| hash_of(path))
        .collect()
}

#[test]
fn p4_whatever_was_completely_written_is_in_the_inbox_or_in_originals() {
    let seconds =
        std::env::var(SECONDS).map_or(60, |text| text.parse().expect("a number of seconds"));
    let mut factory = Factory::new("growing");
    factory.start();
    let until = Instant::now() + Duration::from_secs(seconds);
    let writers: Vec<_> = ["a", "bb"]
        .into_iter()
        .map(|folder| {
            let inbox = factory.inbox().join(folder);
            fs::create_dir_all(&inbox).unwrap();
            std::thread::spawn(move || {
                let mut writer = Writer::new(&inbox, folder.len() as u64);
                while Instant::now() < until
                    || (writer.found_taken == 0 && Instant::now() < until + PATIENCE)
                {
                    writer.step();
                    let pause = 5 + writer.random.below(60);
                    std::thread::sleep(Duration::from_millis(pause));
                }
                writer
            })
        })
        .collect();
    let writers: Vec<Writer> = writers
        .into_iter()
        .map(|writer| writer.join().unwrap())
        .collect();
    let owed: BTreeSet<String> = writers
        .iter()
        .flat_map(|writer| writer.owed.iter().cloned())
        .collect();
    let taken: u64 = writers.iter().map(|writer| writer.found_taken).sum();

    assert!(factory.is_running());
    factory.wait_until_the_inbox_is_empty();
    factory.stop();
    let found = contents_below(&factory.originals());
    let lost: Vec<_> = owed.difference(&found).collect();
    assert!(
        lost.is_empty(),
        "lost {} of {}: {lost:?}",
        lost.len(),
        owed.len()
    );
    factory.assert_ledger_and_originals_agree();
    println!(
        "{} contents, {} times a file was found taken",
        owed.len(),
        taken
    );
    assert!(taken > 0, "the two never met");
}
