//! Names that may not be cleared though their photo is kept: as long as nothing has changed there, trying again would read
//! every one of them anew at every look, for ever.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{Rights, Snapshot, Source};

/// It is tried again after this time all the same: not everything that forbids it shows.
const AGAIN: Duration = Duration::from_secs(6 * 3600);

/// The names of one source that could not be cleared.
#[derive(Debug, Default)]
pub(super) struct Uncleared(Mutex<HashMap<PathBuf, Refused>>);

/// How it was when it was refused.
#[derive(Debug)]
struct Refused {
    state: Snapshot,
    rights: Rights,
    at: Instant,
}

impl Uncleared {
    /// Notes that a name could not be cleared. Blocks.
    pub(super) fn note(&self, source: &Source, path: &Path) {
        let folder = path.parent().unwrap_or(Path::new(""));
        let name: &OsStr = path.file_name().unwrap_or_default();
        let state = source
            .look(folder, &[name])
            .ok()
            .and_then(|mut states| states.pop()?);
        if let (Some(state), Some(rights)) = (state, source.rights(folder)) {
            let at = Instant::now();
            let refused = Refused { state, rights, at };
            self.names().insert(path.to_owned(), refused);
        }
    }

    /// Which of these files of a folder would be refused again. Names that are gone are forgotten. Blocks.
    pub(super) fn among(
        &self,
        source: &Source,
        folder: &Path,
        files: &HashMap<PathBuf, Snapshot>,
    ) -> HashSet<PathBuf> {
        let is_here = |path: &PathBuf| path.parent() == Some(folder);
        if !self.names().keys().any(is_here) {
            return HashSet::new();
        }
        let rights = source.rights(folder);
        let mut names = self.names();
        names.retain(|path, refused| {
            let is_as_it_was = files.get(path) == Some(&refused.state)
                && rights == Some(refused.rights)
                && refused.at.elapsed() < AGAIN;
            !is_here(path) || is_as_it_was
        });
        names.keys().filter(|path| is_here(path)).cloned().collect()
    }

    fn names(&self) -> MutexGuard<'_, HashMap<PathBuf, Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make and change files")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_name_that_was_refused_is_tried_again_when_the_file_or_the_rights_of_its_folder_have_changed()
     {
        let folder = std::env::temp_dir().join(format!("uncleared-{}", std::process::id()));
        fs::create_dir_all(folder.join("day")).unwrap();
        let path = folder.join("day/a.jpg");
        let day = Path::new("day");
        fs::write(&path, "a").unwrap();
        let source = Source::open(&folder).unwrap();
        let files = || {
            let states = source.look(day, &[OsStr::new("a.jpg")]).unwrap();
            let state = states.into_iter().next().unwrap().unwrap();
            HashMap::from([(day.join("a.jpg"), state)])
        };
        let uncleared = Uncleared::default();
        let among = || uncleared.among(&source, day, &files()).len();
        let note = || uncleared.note(&source, &day.join("a.jpg"));
        assert_eq!(among(), 0);
        note();
        assert_eq!((among(), among()), (1, 1));
        assert_eq!(
            uncleared
                .among(&source, Path::new("other"), &HashMap::new())
                .len(),
            0
        );
        assert_eq!(among(), 1, "a look at another folder says nothing of it");
        fs::set_permissions(folder.join("day"), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(among(), 0);
        note();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!((among(), among()), (0, 0));
        note();
        assert_eq!(uncleared.among(&source, day, &HashMap::new()).len(), 0);
        assert_eq!(among(), 0, "what is gone is forgotten");
        fs::remove_dir_all(folder).unwrap();
    }
}
