//! File systems of their own for a test: small ones in memory, real ones in a file. Root is needed.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::factory::output_of;

/// A mounted file system; dropped, it is unmounted.
#[derive(Debug)]
pub(crate) struct Mount {
    point: PathBuf,
    /// The file it lies in, unless it lies in memory.
    image: Option<PathBuf>,
}

impl Mount {
    /// A file system in memory with these mount options. None: it can't be mounted here.
    pub(crate) fn in_memory(point: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(point).unwrap();
        let options = format!("mode=755,{options}");
        done(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "none"])
                .arg(point),
        )
        .then(|| Self {
            point: point.to_owned(),
            image: None,
        })
    }

    /// A real file system in the file `image`, made with `mkfs` (program and arguments). None: it can't be made here.
    pub(crate) fn in_file(point: &Path, image: &Path, size: u64, mkfs: &[&str]) -> Option<Self> {
        fs::create_dir_all(point).unwrap();
        fs::File::create(image).unwrap().set_len(size).unwrap();
        let (program, arguments) = mkfs.split_first()?;
        if !done(Command::new(program).args(arguments).arg(image)) {
            return None;
        }
        let mount = Self {
            point: point.to_owned(),
            image: Some(image.to_owned()),
        };
        mount.mount().then_some(mount)
    }

    fn mount(&self) -> bool {
        let mut command = Command::new("mount");
        command.args(["-o", "loop"]);
        done(command.args(self.image.as_deref()).arg(&self.point))
    }

    /// Changes the options of one in memory.
    pub(crate) fn change(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(done(
            Command::new("mount")
                .args(["-o", &options])
                .arg(&self.point)
        ));
    }

    /// Unmounts and mounts it again: what only stood in memory is gone, the journal is gone through.
    pub(crate) fn mount_again(&self) -> Result<(), String> {
        if done(Command::new("umount").arg(&self.point)) && self.mount() {
            return Ok(());
        }
        Err(format!("{} can't be mounted again", self.point.display()))
    }

    /// The power cut: this file system takes nothing more, and what was not made durable is gone.
    ///
    /// A folder that nothing is mounted on belongs to a disk of the machine's: that one must never be cut off.
    pub(crate) fn cut(&self) -> Result<(), String> {
        let shown = self.point.display();
        let device = |path: &Path| fs::metadata(path).map(|seen| seen.dev());
        // What is open here stays the file system that was looked at, even if it is unmounted meanwhile.
        let ours = fs::File::open(&self.point).map_err(|error| format!("{shown}: {error}"))?;
        let ours_on = ours.metadata().map(|seen| seen.dev());
        let beside = device(self.point.parent().unwrap());
        match (&ours_on, &beside) {
            (Ok(ours), Ok(beside)) if ours != beside => {}
            _ => {
                return Err(format!(
                    "{shown} is on device {ours_on:?}, what it lies in on {beside:?}: nothing is mounted there to be cut off"
                ));
            }
        }
        let by_descriptor = format!("/proc/{}/fd/{}", std::process::id(), ours.as_raw_fd());
        let shut = output_of(
            Command::new("xfs_io")
                .args(["-x", "-c", "shutdown", &by_descriptor])
                .stdin(Stdio::null()),
        );
        if shut.status.success() {
            Ok(())
        } else {
            Err(format!("{shown} was not cut off: {shut:?}"))
        }
    }

    /// Makes all durable that was written so far.
    pub(crate) fn sync(&self) {
        assert!(done(Command::new("sync").arg("-f").arg(&self.point)));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !done(Command::new("umount").arg(&self.point)) {
            done(Command::new("umount").arg("-l").arg(&self.point));
        }
    }
}

fn done(command: &mut Command) -> bool {
    output_of(command.stdin(Stdio::null())).status.success()
}

#[test]
fn a_folder_on_which_nothing_is_mounted_is_never_cut_off() {
    let workshop = crate::cases::Workshop::new("not-mounted");
    let mount = Mount {
        point: workshop.path().to_owned(),
        image: None,
    };
    let said = mount.cut().unwrap_err();
    assert!(said.contains("nothing is mounted there"), "{said}");
}
