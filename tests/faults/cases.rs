//! Going through many cases: a folder for them, two at a time, and what failed told together at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder for the cases of one test, in memory where that can be; removed with it.
pub(crate) struct Workshop(PathBuf);

impl Workshop {
    pub(crate) fn new(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() {
            memory
        } else {
            Path::new(env!("CARGO_TARGET_TMPDIR"))
        };
        Self::in_folder(base, name)
    }

    /// The same on a disk of the caller's choice.
    pub(crate) fn in_folder(base: &Path, name: &str) -> Self {
        let folder = base.join(format!("photo-factory-{name}-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        Self(folder.canonicalize().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Whether every case of a long list is wanted.
pub(crate) fn all_are_wanted() -> bool {
    std::env::var("PHOTO_FACTORY_FAULTS").is_ok_and(|wanted| wanted == "all")
}

/// Takes every case on one of `threads` threads. `work` gets the number of its thread. Fails in the end, naming the first few
/// cases that failed.
pub(crate) fn go_through<T: Sync>(
    threads: usize,
    cases: &[T],
    work: impl Fn(usize, &T) -> Result<(), String> + Sync,
) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (next, failed, work) = (&next, &failed, &work);
            scope.spawn(move || {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(thread, case) {
                        failed.lock().unwrap().push(error);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {} cases failed; the first: {}",
        failed.len(),
        cases.len(),
        failed
            .iter()
            .take(3)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n\n")
    );
}
