//! What owners, phones and their programs do in the inbox. Each deed knows afterwards what it destroyed: it swaps and
//! looks, so that a file which the daemon took in the last moment is not taken for one that the owner replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use rustix::io::Errno;

use crate::fixtures::exif::Exif;
use crate::fixtures::raster::{dng, landscape};
use crate::fixtures::video::{Movie, mov};
use crate::fixtures::{Random, jpeg, sidecar};
use crate::world::{Growing, World, describe};

/// Names of plain photos in each folder: few, so that they meet again and again.
const NAMES: u64 = 12;

/// Pieces in which a growing file is written.
const PIECES: usize = 4;

impl World {
    /// A folder of the inbox.
    pub(crate) fn a_folder(&self, random: &mut Random) -> PathBuf {
        self.folders[random.below(self.folders.len() as u64) as usize].clone()
    }

    /// A name that photos have in this inbox.
    fn a_name(&self, random: &mut Random) -> PathBuf {
        let folder = self.a_folder(random);
        folder.join(format!("IMG_{:04}.JPG", random.below(NAMES)))
    }

    fn is_growing(&self, path: &Path) -> bool {
        self.growing.iter().any(|growing| growing.path == path)
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.factory.inbox().join(path)
    }

    fn a_time(random: &mut Random) -> Exif {
        // Few days and seconds: names and times meet.
        Exif::taken(&format!(
            "2023:0{}:{:02} 10:00:{:02}",
            1 + random.below(3),
            1 + random.below(9),
            random.below(60)
        ))
    }

    /// A content that was never there before.
    fn a_picture(&mut self, random: &mut Random) -> Vec<u8> {
        let exif = Self::a_time(random);
        let size = match random.below(12) {
            0 => 900_000,
            1 | 2 => 120_000,
            _ => 3_000,
        };
        self.pictures
            .next(&exif, size + random.below(2000) as usize)
    }

    /// Something new at a name, whatever was there.
    pub(crate) fn add(&mut self, random: &mut Random) {
        let path = self.a_name(random);
        if self.is_growing(&path) {
            return;
        }
        let content = self.a_picture(random);
        self.note("add", path.display());
        self.put(&path, &content, true, random);
    }

    /// Two contents at one name, one after the other; where nobody takes the first, the second replaces it.
    pub(crate) fn add_twice(&mut self, random: &mut Random) {
        let path = self.a_name(random);
        for _ in 0..2 {
            let content = self.a_picture(random);
            self.note("add", path.display());
            self.put(&path, &content, true, random);
        }
    }

    /// The same content as an earlier file's, at any name.
    pub(crate) fn add_duplicate(&mut self, random: &mut Random) {
        let path = self.a_name(random);
        if self.earlier.is_empty() || self.is_growing(&path) {
            return;
        }
        let index = random.below(self.earlier.len() as u64) as usize;
        let content = self.earlier[index].clone();
        self.note("duplicate", path.display());
        self.put(&path, &content, true, random);
    }

    /// Live Photo, RAW with JPEG, or a photo with sidecars; in any order, and now and then not all of it.
    pub(crate) fn add_shot(&mut self, random: &mut Random) {
        let folder = self.a_folder(random);
        let stem = format!("SHOT{}", self.number);
        let seed = self.seed ^ self.number << 20;
        let exif = Self::a_time(random);
        let photo = jpeg::small(seed, &exif);
        let (shot, mut files) = match random.below(5) {
            0 => {
                let id = format!("5B2C3E0A-6F4D-4C7B-9A21-{:012X}", seed & 0xffff_ffff_ffff);
                let video = Movie {
                    creation_date: Some("2023-01-01T10:00:00+0000".to_owned()),
                    content_id: Some(id.clone()),
                    ..Movie::default()
                };
                let still = jpeg::small(seed, &exif.content_id(&id));
                let video = mov(&video, &[jpeg::small(seed ^ 1, &Exif::default())], 96, 64);
                let files = vec![
                    (format!("{stem}.JPG"), still),
                    (format!("{stem}.MOV"), video),
                ];
                ("live photo", files)
            }
            1 => {
                let raw = dng(&landscape(seed, 48, 32), &exif);
                let files = vec![(format!("{stem}.DNG"), raw), (format!("{stem}.JPG"), photo)];
                ("raw and jpeg", files)
            }
            2 => {
                let day = 1 + random.below(28);
                let packet = sidecar::xmp(&format!("2019-05-{day:02}T11:12:{:02}", seed % 60));
                let packet = format!("{packet}<!-- {seed} -->");
                let files = vec![
                    (format!("{stem}.jpg"), photo),
                    (format!("{stem}.xmp"), packet.into_bytes()),
                ];
                ("photo and xmp", files)
            }
            3 => {
                let taken = 1_500_000_000 + random.below(100_000_000).cast_signed();
                let json = sidecar::takeout(&format!("{stem}.jpg"), taken, (1.5, 2.5));
                let files = vec![
                    (format!("{stem}.jpg"), photo),
                    (format!("{stem}.jpg.json"), json.into_bytes()),
                ];
                ("photo and takeout", files)
            }
            _ => {
                let list = format!("{}<!-- {seed} -->", sidecar::aae());
                let files = vec![
                    (format!("{stem}.AAE"), list.into_bytes()),
                    (format!("{stem}.JPG"), jpeg::truncated(&photo)),
                ];
                ("broken photo and aae", files)
            }
        };
        if random.below(2) == 0 {
            files.reverse();
        }
        if random.below(6) == 0 {
            files.pop();
        }
        self.note("shot", format!("{shot} {stem} in {}", folder.display()));
        for (name, content) in files {
            let is_photo = !["xmp", "json", "AAE"].iter().any(|end| name.ends_with(end));
            self.put(&folder.join(name), &content, is_photo, random);
        }
    }

    /// Lays a finished content at a name, as Syncthing does: a temporary name, then a rename over what is there.
    fn put(&mut self, path: &Path, content: &[u8], is_photo: bool, random: &mut Random) {
        let (parent, name) = (path.parent().unwrap(), path.file_name().unwrap());
        let partial = self
            .at(parent)
            .join(format!(".syncthing.{}.tmp", name.display()));
        if !self.write_new(&partial, content) {
            return;
        }
        if random.below(3) > 0 {
            let mtime = SystemTime::now() - Duration::from_secs(random.below(100_000_000));
            File::open(&partial).unwrap().set_modified(mtime).unwrap();
        }
        let (place, swap) = (RenameFlags::NOREPLACE, RenameFlags::EXCHANGE);
        loop {
            match renameat_with(CWD, &partial, CWD, self.at(path), place) {
                Ok(()) => {
                    self.found_taken_unless_new(path);
                    break;
                }
                Err(Errno::EXIST) => {}
                Err(errno) => panic!("{}: {errno}", path.display()),
            }
            match renameat_with(CWD, &partial, CWD, self.at(path), swap) {
                Ok(()) => {
                    let found = fs::read(&partial).unwrap();
                    self.destroyed(path, &found);
                    fs::remove_file(&partial).unwrap();
                    self.note("replace", path.display());
                    break;
                }
                Err(Errno::NOENT) => {}
                Err(errno) => panic!("{}: {errno}", path.display()),
            }
        }
        self.completed(path, content, is_photo);
    }

    fn found_taken_unless_new(&mut self, path: &Path) {
        if self.names.contains_key(path) {
            self.found_taken(path);
        }
    }

    /// Writes a temporary file; `false`: the disk is full, which is the sender's problem.
    fn write_new(&mut self, path: &Path, content: &[u8]) -> bool {
        let written = File::create_new(path).and_then(|mut file| file.write_all(content));
        match written {
            Ok(()) => true,
            Err(error) if self.is_full && error.kind() == ErrorKind::StorageFull => {
                drop(fs::remove_file(path));
                self.note("no room", path.display());
                false
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    /// Renames a photo to another name or folder.
    pub(crate) fn rename(&mut self, random: &mut Random) {
        let (from, to) = (self.a_name(random), self.a_name(random));
        if self.is_growing(&from) || self.is_growing(&to) {
            return;
        }
        self.note("rename", format!("{} to {}", from.display(), to.display()));
        let flags = RenameFlags::NOREPLACE;
        match renameat_with(CWD, self.at(&from), CWD, self.at(&to), flags) {
            Ok(()) => {
                self.found_taken_unless_new(&to);
                // It may share its inode with another name still.
                if self.linked.contains(&from) {
                    self.linked.insert(to.clone());
                }
                if let Some(laid) = self.names.remove(&from) {
                    self.names.insert(to, laid);
                }
            }
            Err(Errno::NOENT) => self.found_taken(&from),
            Err(Errno::EXIST) => {}
            Err(errno) => panic!("{}: {errno}", from.display()),
        }
    }

    /// The phone deletes a photo, and Syncthing carries that over.
    pub(crate) fn delete(&mut self, random: &mut Random) {
        let path = self.a_name(random);
        if self.is_growing(&path) {
            return;
        }
        self.note("delete", path.display());
        let bin = self.factory.root().join("bin");
        match fs::rename(self.at(&path), &bin) {
            Ok(()) => {
                let found = fs::read(&bin).unwrap();
                self.destroyed(&path, &found);
                fs::remove_file(&bin).unwrap();
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.found_taken(&path),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    /// Another time or mode; the content stays.
    pub(crate) fn touch(&mut self, random: &mut Random) {
        let path = self.a_name(random);
        self.note("touch", path.display());
        let Ok(file) = File::open(self.at(&path)) else {
            return self.found_taken_if_gone(&path);
        };
        let seconds = random.below(2_000_000_000);
        let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_modified(mtime).unwrap();
        let mode = [0o644, 0o600, 0o444, 0o666][random.below(4) as usize];
        file.set_permissions(fs::Permissions::from_mode(mode))
            .unwrap();
    }

    fn found_taken_if_gone(&mut self, path: &Path) {
        if self.at(path).symlink_metadata().is_err() {
            self.found_taken(path);
        }
    }

    /// A second name for a file of the inbox.
    pub(crate) fn link(&mut self, random: &mut Random) {
        let (from, to) = (self.a_name(random), self.a_name(random));
        // What is written through one name later would be found at the other.
        if self.is_growing(&from) || self.is_growing(&to) || self.names_stay {
            return;
        }
        let Some(laid) = self.names.get(&from).cloned() else {
            return;
        };
        match fs::hard_link(self.at(&from), self.at(&to)) {
            Ok(()) => {
                self.note("link", format!("{} to {}", from.display(), to.display()));
                self.found_taken_unless_new(&to);
                self.linked.extend([from, to.clone()]);
                self.names.insert(to, laid);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.found_taken(&from),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{}: {error}", from.display()),
        }
    }

    /// Begins to write a file under its own name, or to add to one.
    pub(crate) fn grow(&mut self, random: &mut Random) {
        let path = self.a_name(random);
        if self.is_growing(&path) || self.growing.len() > 2 || self.linked.contains(&path) {
            return;
        }
        let rest = self.a_picture(random);
        let mut open = OpenOptions::new();
        let mut file = match open.read(true).append(true).open(self.at(&path)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.found_taken_unless_new(&path);
                let mut open = OpenOptions::new();
                let open = open.read(true).append(true).create_new(true);
                match open.open(self.at(&path)) {
                    Ok(file) => {
                        self.note("write", path.display());
                        let written = Vec::new();
                        self.growing.push(Growing {
                            path,
                            file,
                            written,
                            rest,
                        });
                        return;
                    }
                    Err(error) if self.is_full && error.kind() == ErrorKind::StorageFull => return,
                    Err(error) => panic!("{}: {error}", path.display()),
                }
            }
            Err(error) => panic!("{}: {error}", path.display()),
        };
        let mut written = Vec::new();
        file.read_to_end(&mut written).unwrap();
        self.note("append", path.display());
        self.destroyed(&path, &written);
        self.growing.push(Growing {
            path,
            file,
            written,
            rest,
        });
    }

    /// Writes a piece of a file that grows; with the last one it is complete.
    pub(crate) fn grow_on(&mut self, random: &mut Random) {
        if self.growing.is_empty() {
            return;
        }
        let index = random.below(self.growing.len() as u64) as usize;
        let (is_full, mut is_whole) = (self.is_full, true);
        let growing = &mut self.growing[index];
        let piece = (growing.written.len() + growing.rest.len()) / PIECES + 1;
        let piece: Vec<u8> = growing
            .rest
            .drain(..piece.min(growing.rest.len()))
            .collect();
        match growing.file.write_all(&piece) {
            Ok(()) => growing.written.extend(piece),
            Err(error) if is_full && error.kind() == ErrorKind::StorageFull => {
                // The sender gives up; what is there, is there.
                growing.rest.clear();
                growing.written.clear();
                growing.file.rewind().unwrap();
                growing.file.read_to_end(&mut growing.written).unwrap();
                is_whole = false;
            }
            Err(error) => panic!("{}: {error}", growing.path.display()),
        }
        if growing.rest.is_empty() {
            let Growing {
                path,
                file,
                written,
                ..
            } = self.growing.swap_remove(index);
            drop(file);
            self.note("written", path.display());
            self.completed(&path, &written, is_whole);
        }
    }

    /// Every file that grows is finished.
    pub(crate) fn finish_growing(&mut self) {
        while !self.growing.is_empty() {
            self.grow_on(&mut Random(0));
        }
    }

    /// A new folder, or one that comes filled, or one that gets another name with all that is in it.
    pub(crate) fn change_folders(&mut self, random: &mut Random) {
        if self.is_full {
            return;
        }
        let name = format!("folder {}", self.number);
        match random.below(3) {
            0 if self.folders.len() < 6 => {
                let folder = self.a_folder(random).join(name);
                self.note("folder", folder.display());
                fs::create_dir(self.at(&folder)).unwrap();
                self.folders.push(folder);
            }
            1 if self.folders.len() < 6 => {
                let staged = self.factory.root().join("staged");
                fs::create_dir(&staged).unwrap();
                let folder = PathBuf::from(name);
                self.note("filled folder", folder.display());
                let mut laid = Vec::new();
                for number in 0..4 {
                    let (name, content) = (format!("IMG_{number:04}.JPG"), self.a_picture(random));
                    if self.write_new(&staged.join(&name), &content) {
                        laid.push((folder.join(name), content));
                    }
                }
                // From here on they are in the inbox; the model knows it a moment before.
                for (path, content) in &laid {
                    self.completed(path, content, true);
                }
                fs::rename(&staged, self.at(&folder)).unwrap();
                self.folders.push(folder);
            }
            2 if self.folders.len() > 1 => {
                let index = 1 + random.below(self.folders.len() as u64 - 1) as usize;
                let (from, to) = (self.folders[index].clone(), PathBuf::from(name));
                self.note(
                    "move folder",
                    format!("{} to {}", from.display(), to.display()),
                );
                fs::rename(self.at(&from), self.at(&to)).unwrap();
                let moved = |path: &Path| match path.strip_prefix(&from) {
                    Ok(rest) if rest.as_os_str().is_empty() => to.clone(),
                    Ok(rest) => to.join(rest),
                    Err(_) => path.to_owned(),
                };
                self.folders = self.folders.iter().map(|path| moved(path)).collect();
                self.linked = self.linked.iter().map(|path| moved(path)).collect();
                let names = std::mem::take(&mut self.names);
                self.names = names
                    .into_iter()
                    .map(|(path, laid)| (moved(&path), laid))
                    .collect();
                for growing in &mut self.growing {
                    growing.path = moved(&growing.path);
                }
            }
            _ => {}
        }
    }

    /// Something that is nobody's photo, and must stay as it is.
    pub(crate) fn add_foreign(&mut self, random: &mut Random) {
        let kind = random.below(6);
        let name = PathBuf::from(match kind {
            0 => "shopping list.txt",
            1 => ".hidden.jpg",
            2 => "link.jpg",
            3 => "pipe.jpg",
            4 => ".stfolder",
            _ => "bill.pdf",
        });
        let path = self.at(&name);
        if path.symlink_metadata().is_ok() {
            return;
        }
        let outside = self.factory.root().join("photo-factory.toml");
        match kind {
            2 => symlink(outside, &path).unwrap(),
            3 => mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
            4 => fs::create_dir(&path).unwrap(),
            _ if !self.write_new(&path, b"milk, bread, batteries") => return,
            _ => {}
        }
        self.note("foreign", name.display());
        self.foreign.insert(name, describe(&path));
    }
}
