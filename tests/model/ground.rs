//! What a factory stands on: one disk, two disks, or a small disk that can be filled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::factory::{Factory, may_mount};

/// Where the factory and its Storage lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ground {
    /// All on one disk: originals are links that part from their inbox name.
    OneDisk,
    /// Storage on a disk of its own: originals are copies.
    TwoDisks,
    /// All on a disk so small that it is full now and then.
    SmallDisk,
}

/// A mount that ends with its owner.
#[derive(Debug)]
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn at(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

impl Ground {
    /// The ground of an episode; those that need mounts only where we may mount.
    pub(crate) fn choose(seed: u64) -> Self {
        if !may_mount("the model's episodes on two disks and on a small one") {
            return Self::OneDisk;
        }
        // Episodes have seeds in a row: of any three, each stands on another.
        match seed % 3 {
            0 => Self::OneDisk,
            1 => Self::TwoDisks,
            _ => Self::SmallDisk,
        }
    }

    /// A factory on this ground, and the mounts that go when it is gone.
    pub(crate) fn factory(self, seed: u64) -> (Factory, Vec<Mounted>) {
        let factory = Factory::new(&format!("model-{seed}"));
        let root = factory.root().to_owned();
        let mounts = match self {
            Self::OneDisk => Vec::new(),
            Self::TwoDisks => {
                let disk = root.join("disk");
                fs::create_dir(&disk).unwrap();
                fs::create_dir(factory.storage()).unwrap();
                let mounted = tmpfs(&disk, "size=400m");
                plug_in(&root);
                // In this order they are unmounted.
                vec![Mounted(factory.storage()), mounted]
            }
            Self::SmallDisk => {
                let mounted = tmpfs(&root, "size=160m");
                fs::create_dir(factory.inbox()).unwrap();
                vec![mounted]
            }
        };
        (factory, mounts)
    }
}

/// Mounts the second disk as Storage.
pub(crate) fn plug_in(root: &Path) {
    let mounted = Command::new("mount")
        .arg("--bind")
        .args([root.join("disk"), root.join("Storage")])
        .status();
    assert!(mounted.unwrap().success(), "mounting {}", root.display());
}

/// Mounts it again, read-only or writable (`ro`, `rw`).
pub(crate) fn remount(at: &Path, how: &str) {
    let mounted = Command::new("mount")
        .args(["-o", &format!("remount,bind,{how}")])
        .arg(at)
        .status();
    assert!(mounted.unwrap().success(), "mounting {}", at.display());
}

/// Takes the mount away, also where files on it are open.
pub(crate) fn unmount(at: &Path) {
    drop(Command::new("umount").arg("--lazy").arg(at).output());
}

fn tmpfs(at: &Path, options: &str) -> Mounted {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "none"])
        .arg(at)
        .status();
    assert!(mounted.unwrap().success(), "mounting {}", at.display());
    Mounted(at.to_owned())
}
