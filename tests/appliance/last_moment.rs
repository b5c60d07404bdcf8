//! What happens in the last moment before a photo is placed: the name is taken, or the disk does not hold what was written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::factory::{Factory, hash};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;
use crate::tracer::{self, Calls, Fault, Traced};

/// Where the photo of these tests is to be placed.
const DAY: &str = "Storage/Originals/2021/2021-02-03";
const STRANGER: &[u8] = b"put here by hand";

fn photo() -> Vec<u8> {
    jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"))
}

/// Has `what` done before the first of the run's changes that `is_it`, while a photo is placed by a link or a copy. Gives
/// what was left, and how the run went. In a run whose threads take other turns, `what` meets anything, and must bear it.
fn place(
    by_copy: bool,
    is_it: impl Fn(&str) -> bool,
    what: &(dyn Fn(&Path) + Sync),
) -> (Factory, Traced) {
    let run = |moment: Option<usize>| {
        let factory = Factory::new("at-the-last-moment");
        let path = factory.put("a.jpg", &photo());
        if by_copy {
            // Somebody keeps another name of it: it is copied.
            fs::hard_link(&path, factory.root().join("elsewhere.jpg")).unwrap();
        }
        let mut command = factory.command();
        command.args(["ingest", "--json"]);
        command.env("BLOCKING_MAX_THREADS", "1");
        let fault = moment.map_or(Fault::None, |moment| Fault::Before(moment, what));
        let traced = tracer::run(&command, factory.root(), Calls::Changes, fault);
        (factory, traced)
    };
    let moment_of = |traced: &Traced| traced.calls.iter().position(|call| is_it(call));
    let counted = run(None).1;
    let moment = moment_of(&counted).unwrap_or_else(|| panic!("{:#?}", counted.calls));
    // In one of a few runs it is the same moment again.
    (0..50)
        .map(|_| run(Some(moment + 1)))
        .find(|(_, traced)| traced.fired == 1 && moment_of(traced) == Some(moment))
        .expect("the moment came again")
}

/// The photo is where it was, or placed under another name by now; the next run leaves it placed. Gives the name.
fn is_filed_in_the_end(factory: &Factory, traced: &Traced) -> PathBuf {
    let filed = || {
        let mut filed = factory.filed().into_iter();
        filed.find_map(|(path, content)| (content == hash(&photo())).then_some(path))
    };
    let waits = fs::read(factory.inbox().join("a.jpg")).is_ok_and(|found| found == photo());
    assert!(waits || filed().is_some(), "the photo is lost: {traced:?}");
    assert_eq!(factory.ingest().code, 0);
    assert!(factory.waiting().is_empty());
    filed().expect("it is filed")
}

#[test]
fn p3_a_file_that_takes_the_name_at_the_last_moment_is_left_as_it_is() {
    let stranger = |root: &Path| root.join(DAY).join("a.jpg");
    for (by_copy, call) in [(true, "renameat2"), (false, "linkat")] {
        let places = |shown: &str| shown == format!("{call} {DAY}/a.jpg");
        let put = |root: &Path| drop(fs::write(stranger(root), STRANGER));
        let (factory, traced) = place(by_copy, places, &put);
        assert_eq!(
            fs::read(stranger(factory.root())).unwrap(),
            STRANGER,
            "the stranger's file was overwritten: {traced:?}"
        );
        let filed = is_filed_in_the_end(&factory, &traced);
        assert!(filed.ends_with("a-1.jpg"), "{}", filed.display());
        assert_eq!(fs::read(stranger(factory.root())).unwrap(), STRANGER);
    }
}

#[test]
fn p1_a_copy_that_is_not_what_was_read_is_no_proof_and_the_photo_stays() {
    let is_ours = |name: &str| name.starts_with(".photo-factory-");
    let is_temporary = |shown: &str| {
        shown
            .strip_prefix(&format!("fsync {DAY}/"))
            .is_some_and(is_ours)
    };
    let spoil = |root: &Path| {
        let mut entries = fs::read_dir(root.join(DAY)).into_iter().flatten().flatten();
        let part = entries.find(|entry| is_ours(&entry.file_name().to_string_lossy()));
        if let Some(part) = part {
            let mut written = fs::read(part.path()).unwrap();
            let middle = written.len() / 2;
            written[middle] ^= 1;
            fs::write(part.path(), written).unwrap();
        }
    };
    let (factory, traced) = place(true, is_temporary, &spoil);
    let filed = is_filed_in_the_end(&factory, &traced);
    assert!(filed.ends_with("a.jpg"), "{}", filed.display());
}
