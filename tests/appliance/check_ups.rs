//! Verification, rebuild and doctor in the hands of an owner: whoever types it, and wherever.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use rustix::process::geteuid;

use crate::factory::{Factory, NOBODY, all_files_below, program};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;

/// Whose each file below a folder is.
fn owners(folder: &Path) -> Vec<(std::path::PathBuf, u32)> {
    let files = all_files_below(folder);
    files
        .into_iter()
        .map(|path| {
            let owner = path.symlink_metadata().unwrap().uid();
            (path, owner)
        })
        .collect()
}

#[test]
fn root_changes_nothing_in_a_factory_of_another_user_and_says_what_to_type() {
    if !geteuid().is_root() {
        println!("skipped: root in a factory of another user needs root");
        return;
    }
    let factory = Factory::new("another-s");
    let taken = Exif::taken("2021:02:03 04:05:06");
    factory.put("a.jpg", &jpeg::small(1, &taken));
    assert_eq!(factory.ingest().code, 0);
    factory.put("b.jpg", &jpeg::small(2, &taken));
    let data = factory.root().join("Data");
    for path in all_files_below(&data).iter().chain([&data]) {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let before = owners(factory.root());
    assert!(
        before.iter().any(|(_, owner)| *owner == NOBODY),
        "the fault did not fire"
    );
    let backup = factory.originals();
    let backup = backup.to_str().unwrap();
    for arguments in [
        &["run", "--listen", "127.0.0.1:0"][..],
        &["ingest"],
        &["rebuild"],
        &["verify", "--repair", "--from", backup],
        &["doctor", "--accept-storage"],
    ] {
        let output = factory.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        let typed = format!(
            "{} --root {} {}",
            program().to_string_lossy(),
            factory.root().display(),
            arguments.join(" ")
        );
        let typed = format!(" {typed}\n");
        assert!(
            said.contains("Type: sudo -u ") && said.contains(&typed),
            "{said}"
        );
        assert_eq!(owners(factory.root()), before, "{arguments:?}");
    }
    // To read is no harm.
    for arguments in [
        &["status"][..],
        &["export"],
        &["verify"],
        &["ingest", "--dry-run"],
    ] {
        let output = factory.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    }
    assert_eq!(owners(factory.root()), before);
    // Given to root, it is root's to run.
    for path in all_files_below(&data).iter().chain([&data]) {
        chown(path, Some(0), Some(0)).unwrap();
    }
    assert_eq!(factory.ingest().count("filed"), 1);
}
