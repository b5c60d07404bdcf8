//! Small files of our own, replaced whole: whoever reads one finds the old content or the new, never a part.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::DiskError;

/// Gives the file at `path` this content, durably and in one step.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = File::create(&new)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            // vfat: the renamed entry is durable only once the file is synced again.
            file.sync_all()
        })
        .and_then(|()| File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all());
    written.map_err(DiskError::io("write", path))
}
