//! What befalls a factory: kills, stops, passes by hand, a full disk, a spoilt history, other commands beside it; and the
//! order of an episode.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::counts::REQUIRED;
use crate::factory::{PATIENCE, wait_until};
use crate::fixtures::Random;
use crate::ground::{self, Ground};
use crate::world::World;

impl World {
    /// The first start.
    pub(crate) fn begin(&mut self) {
        self.start();
    }

    /// One operation, told by seed and number alone.
    pub(crate) fn step(&mut self) {
        self.number += 1;
        let mut random = Random(self.seed.wrapping_mul(0x1_0001).wrapping_add(self.number));
        random.next();
        let random = &mut random;
        match random.below(100) {
            0..=21 => self.add(random),
            22..=28 => self.add_duplicate(random),
            29..=36 => self.add_shot(random),
            37..=44 => self.rename(random),
            45..=48 => self.delete(random),
            49..=52 => self.touch(random),
            53..=55 => self.link(random),
            56..=60 => self.grow(random),
            61..=71 => self.grow_on(random),
            72..=75 => self.change_folders(random),
            76..=77 => self.add_foreign(random),
            78..=82 => self.look_while_frozen(),
            83..=86 => self.kill(),
            87..=88 => self.stop(),
            89..=91 => self.start_or_ingest(random),
            92..=93 => self.ask_beside(random),
            94 => self.spoil_history(random),
            95..=96 if self.ground == Ground::TwoDisks => self.take_or_give_back_storage(random),
            95..=96 => self.fill_or_empty_the_disk(random),
            97..=98 => self.take_or_give_back_the_ledger(random),
            _ => self.wait_for_a_photo(),
        }
        if self.is_running {
            assert!(self.factory.is_running(), "the daemon ended by itself");
            // Paces the operations, so that they meet the daemon at every point of its work and not only at the first.
            if random.below(3) == 0 {
                std::thread::sleep(Duration::from_millis(random.below(120)));
            }
        }
    }

    fn start(&mut self) {
        self.note("start", "");
        self.factory.start();
        self.is_running = true;
    }

    /// Between any two instructions.
    fn kill(&mut self) {
        if let Some(mut ingest) = self.ingest.take() {
            self.note("kill ingest", "");
            ingest.kill().unwrap();
            ingest.wait().unwrap();
        } else if self.is_running {
            self.note("kill", "");
            self.factory.kill();
            self.is_running = false;
        } else {
            return;
        }
        self.check_that_nothing_is_lost("after a kill");
    }

    fn stop(&mut self) {
        if !self.is_running {
            return;
        }
        self.note("stop", "");
        let (status, _) = self.factory.stop();
        assert!(status.success(), "a clean stop ended with {status}");
        self.is_running = false;
        self.check_that_nothing_is_lost("after a stop");
    }

    /// What does not run, runs again: the daemon, or one pass beside us.
    fn start_or_ingest(&mut self, random: &mut Random) {
        if self.is_running {
            return;
        }
        if self.ingest.is_some() {
            return self.await_ingest();
        }
        if random.below(2) == 0 {
            return self.start();
        }
        self.start_ingest();
    }

    fn start_ingest(&mut self) {
        self.note("ingest", "");
        self.was_storage_away = self.is_storage_away;
        let log = fs::File::create(self.factory.root().join("stderr.txt")).unwrap();
        let mut command = self.factory.command();
        let command = command.arg("ingest").stdout(Stdio::null()).stderr(log);
        self.ingest = Some(command.spawn().unwrap());
    }

    fn await_ingest(&mut self) {
        let Some(mut ingest) = self.ingest.take() else {
            return;
        };
        self.note("ingest ends", "");
        let ended = wait_until(PATIENCE * 2, || ingest.try_wait().unwrap().is_some());
        assert!(ended, "ingest does not end");
        let code = ingest.wait().unwrap().code();
        let could_not_run = code == Some(1) && std::mem::take(&mut self.was_storage_away);
        assert!(
            matches!(code, Some(0 | 2)) || could_not_run,
            "ingest ended with {code:?}"
        );
        self.check_that_nothing_is_lost("after an ingest");
    }

    /// Stops the daemon between any two instructions, looks, and lets it go on.
    fn look_while_frozen(&mut self) {
        if !self.is_running {
            return;
        }
        self.note("freeze", "");
        let id = self.factory.pid();
        let pid = Pid::from_raw(id.cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let frozen = wait_until(PATIENCE, || all_threads_stand(id));
        assert!(frozen, "the daemon does not stand still");
        self.check_that_nothing_is_lost("at an instant");
        kill_process(pid, Signal::CONT).unwrap();
    }

    /// Another command beside what runs, and the page; whatever ails the factory, both say how things stand.
    fn ask_beside(&mut self, random: &mut Random) {
        let ails = self.is_full || self.is_ledger_away || self.is_storage_away;
        let commands = [&["status"][..], &["export"], &["ingest"], &["run"]];
        let chosen = random.below(4) as usize;
        let command = commands[if ails { 0 } else { chosen }];
        if self.ingest.is_some() || (!self.is_running && command[0] != "status") {
            return;
        }
        self.note("beside", command[0]);
        let output = self.factory.run(command);
        let refused = matches!(command[0], "ingest" | "run");
        let expected = i32::from(refused);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{command:?}: {output:?}"
        );
        if self.is_running {
            self.check_the_page();
        }
    }

    /// The history is disposable: whatever happens to it, nothing else does.
    fn spoil_history(&mut self, random: &mut Random) {
        let path = self.factory.root().join("Data/history.redb");
        let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if length == 0 || self.is_full {
            return;
        }
        if self.is_running || self.ingest.is_some() {
            self.note("history", "removed while in use");
            return fs::remove_file(&path).unwrap();
        }
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        match random.below(4) {
            0 => {
                self.note("history", "emptied");
                file.set_len(0).unwrap();
            }
            1 => {
                self.note("history", "cut off");
                file.set_len(length / 2).unwrap();
            }
            2 => {
                self.note("history", "all noise");
                file.write_all_at(&random.bytes(length as usize), 0)
                    .unwrap();
            }
            _ => {
                self.note("history", "a page flipped");
                let at = random.below(length);
                file.write_all_at(&random.bytes(64), at).unwrap();
            }
        }
    }

    /// The disk of Storage is unplugged or turns read-only, or is there again as it was.
    fn take_or_give_back_storage(&mut self, random: &mut Random) {
        if self.is_storage_away {
            return self.give_back_storage();
        }
        self.take_storage(random.below(3) > 0);
    }

    fn take_storage(&mut self, is_unplugged: bool) {
        let mount_point = self.factory.storage();
        self.is_unplugged = is_unplugged;
        if self.is_unplugged {
            self.note("unplug", "");
            ground::unmount(&mount_point);
        } else {
            self.note("read-only", "");
            ground::remount(&mount_point, "ro");
        }
        self.is_storage_away = true;
        self.was_storage_away = true;
    }

    fn give_back_storage(&mut self) {
        if !self.is_storage_away {
            return;
        }
        let mount_point = self.factory.storage();
        if self.is_unplugged {
            let strays: Vec<_> = fs::read_dir(&mount_point).unwrap().flatten().collect();
            assert!(
                strays.is_empty(),
                "P7: on the empty mount point: {strays:?}"
            );
            self.note("plug in", "");
            ground::plug_in(self.factory.root());
        } else {
            self.note("writable", "");
            ground::remount(&mount_point, "rw");
        }
        self.is_storage_away = false;
    }

    /// The ledger is gone or spoilt, or its good file is put back. Photos are filed all the while; one that comes a second
    /// time under another name may then be kept twice, for nobody remembers the first.
    fn take_or_give_back_the_ledger(&mut self, random: &mut Random) {
        if self.is_ledger_away {
            return self.give_back_the_ledger();
        }
        let path = self.factory.root().join("Data/ledger.redb");
        if self.is_full || self.ingest.is_some() || !path.exists() {
            return;
        }
        let kept = self.kept_ledger();
        let how = if self.is_running { 0 } else { random.below(4) };
        if how == 0 {
            fs::rename(&path, &kept).unwrap();
        } else {
            fs::copy(&path, &kept).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            match how {
                1 => file.set_len(0).unwrap(),
                2 => file.write_all_at(b"no ledger at all", 0).unwrap(),
                _ => file.write_all_at(&random.bytes(4096), 0).unwrap(),
            }
        }
        let what = ["moved away", "emptied", "another file", "noise"][how as usize];
        self.note("ledger", what);
        self.is_ledger_away = true;
        self.nobody_remembered = true;
    }

    fn give_back_the_ledger(&mut self) {
        if self.is_ledger_away {
            self.note("ledger back", "");
            let path = self.factory.root().join("Data/ledger.redb");
            fs::rename(self.kept_ledger(), path).unwrap();
            self.is_ledger_away = false;
        }
    }

    fn kept_ledger(&self) -> std::path::PathBuf {
        self.factory.root().join("kept.redb")
    }

    /// A ballast file takes all the room, or goes.
    fn fill_or_empty_the_disk(&mut self, random: &mut Random) {
        if self.ground != Ground::SmallDisk {
            return;
        }
        if self.is_full {
            return self.empty_the_disk();
        }
        // Where nothing runs, a start on a full disk is not what this is about.
        if !self.is_running || self.ingest.is_some() || self.is_ledger_away {
            return;
        }
        self.fill_the_disk(random.below(3) * 40_000);
    }

    fn fill_the_disk(&mut self, room: u64) {
        self.note("fill", format!("all but {room} bytes"));
        self.is_full = true;
        let ballast = fs::File::create(self.ballast()).unwrap();
        let free = free_bytes(self.factory.root()).saturating_sub(room);
        let noise = vec![0; 1 << 16];
        let mut written = 0;
        while written < free && ballast.write_all_at(&noise, written).is_ok() {
            written += noise.len() as u64;
        }
    }

    fn empty_the_disk(&mut self) {
        if self.is_full {
            self.note("empty", "");
            fs::remove_file(self.ballast()).unwrap();
            self.is_full = false;
        }
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.factory.root().join("ballast")
    }

    /// Lets the daemon get somewhere: until a file that waits is taken.
    fn wait_for_a_photo(&mut self) {
        if !self.is_running || self.is_full || self.names_stay || self.is_storage_away {
            return;
        }
        let waiting = |world: &Self| {
            let inbox = world.factory.inbox();
            world
                .names
                .iter()
                .filter(|(path, laid)| laid.is_photo && inbox.join(path).exists())
                .count()
        };
        let before = waiting(self);
        if before == 0 {
            return;
        }
        self.note("await", before);
        let came = wait_until(PATIENCE, || waiting(self) < before);
        assert!(came, "P6: of {before} files none is taken");
    }

    /// Whether the disk still has room for what may come before the next rest: with names that stay, every photo takes its
    /// room twice, and a disk that is full by itself is no fault that ends.
    pub(crate) fn has_room(&self) -> bool {
        const ROOM: u64 = 32 << 20;
        free_bytes(&self.factory.inbox()) > ROOM
    }

    /// What chance has left out of this episode, in an order in which each finds what it needs.
    pub(crate) fn do_what_is_missing(&mut self) {
        let mut random = Random(self.seed);
        let random = &mut random;
        let lacks_a_fault = match self.ground {
            Ground::OneDisk => false,
            Ground::TwoDisks => self.lacks("unplug"),
            Ground::SmallDisk => self.lacks("fill"),
        };
        if !lacks_a_fault && !REQUIRED.iter().any(|operation| self.lacks(operation)) {
            return;
        }
        self.come_to_rest();
        if lacks_a_fault && self.ground == Ground::TwoDisks {
            self.take_storage(true);
        } else if lacks_a_fault {
            self.fill_the_disk(0);
        }
        self.add(random);
        self.come_to_rest();
        if self.lacks("ledger") {
            self.take_or_give_back_the_ledger(random);
            self.add(random);
            self.come_to_rest();
        }
        self.stop();
        self.spoil_history(random);
        self.add_twice(random);
        self.rename(random);
        self.start_ingest();
        self.await_ingest();
        self.start();
        self.kill();
    }

    /// All faults end, all that grows is finished; then everything must come right.
    pub(crate) fn come_to_rest(&mut self) {
        self.empty_the_disk();
        self.give_back_storage();
        self.give_back_the_ledger();
        self.finish_growing();
        self.await_ingest();
        if !self.is_running {
            self.start();
        }
        self.note("rest", "");
        self.check_everything();
    }

    /// The last look: a stop, a pass that finds nothing to do, and a start that changes nothing.
    pub(crate) fn end(&mut self) {
        self.come_to_rest();
        self.stop();
        self.note("last pass", "");
        let pass = self.factory.ingest();
        // A sidecar whose photo was filed by the last start itself is taken at the next look, which may be this one.
        let is_sidecar = |line: &Value| {
            let path = Path::new(line["path"].as_str().unwrap());
            let extension = path.extension().unwrap_or_default();
            extension.eq_ignore_ascii_case("json") || extension.eq_ignore_ascii_case("xmp")
        };
        let mut filed = pass.files.iter();
        let photo = filed.find(|line| line["decision"] == "new" && !is_sidecar(line));
        assert_eq!(photo, None, "the last pass filed a photo");
        assert!(self.names_stay || pass.count("duplicates") == 0);
        self.start();
        self.check_everything();
        self.stop();
    }
}

/// Whether every thread of a process is stopped: what it had begun in the kernel is over.
fn all_threads_stand(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // After the name, which ends with the last bracket, comes the state.
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

fn free_bytes(path: &std::path::Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bavail * stat.f_frsize
}
