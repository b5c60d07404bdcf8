//! A real Syncthing on both sides: a phone with 300 photos, and the appliance's inbox.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::factory::{Factory, PATIENCE, hash_of, installed, wait_until};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::Load;
use crate::syncthing_node::Node;

const PHOTOS: usize = 300;

/// Contents and modification times (to the second: Android's storage keeps no more) below a folder.
fn times_by_content(folder: &Path) -> BTreeMap<String, u64> {
    crate::factory::files_below(folder)
        .iter()
        .map(|path| {
            let mtime = fs::metadata(path).unwrap().modified().unwrap();
            let seconds = mtime
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs();
            (hash_of(path), seconds)
        })
        .collect()
}

#[test]
fn p1_p2_300_photos_from_a_phone_are_filed_stay_on_the_phone_and_survive_a_revert() {
    if !installed("syncthing", "the phone and the inbox") {
        return;
    }
    let mut factory = Factory::new("syncthing");
    let camera = factory.root().join("phone/camera");
    let mut phone = Node::new(factory.root().join("phone/home"), camera.clone());
    let mut inbox = Node::new(factory.root().join("syncthing"), factory.inbox());
    let mut pictures = Load::new(8);
    for number in 0..PHOTOS {
        let exif = Exif::taken(&format!(
            "2024:03:{:02} 10:{:02}:{:02}",
            1 + number / 60,
            number % 60,
            number % 60
        ));
        let path = camera.join(format!("IMG_{number:04}.JPG"));
        fs::write(&path, pictures.next(&exif, 40_000 + 100 * number)).unwrap();
        let mtime =
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000 + 1000 * number as u64);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(mtime)
            .unwrap();
    }
    let sent = times_by_content(&camera);
    assert_eq!(sent.len(), PHOTOS);

    factory.start();
    inbox.start("receiveonly", &phone);
    phone.start("sendonly", &inbox);
    factory.wait_until("all photos are filed", PATIENCE, || {
        factory.filed().len() == PHOTOS && factory.waiting().is_empty()
    });
    assert_eq!(
        times_by_content(&factory.originals()),
        sent,
        "content and modification time of each"
    );
    assert_eq!(
        times_by_content(&camera),
        sent,
        "the phone keeps its photos"
    );
    assert!(
        factory.inbox().join(".stfolder").is_dir(),
        "the folder marker is Syncthing's"
    );

    // Syncthing sees that the photos have left; being receive-only, it does not tell the phone.
    inbox.post("/rest/db/scan?folder=camera");
    let all_missed = || inbox.number("receiveOnlyChangedDeletes") == PHOTOS as u64;
    assert!(
        wait_until(PATIENCE, all_missed),
        "{}",
        inbox.get("/rest/db/status?folder=camera")
    );
    assert_eq!(
        times_by_content(&camera),
        sent,
        "the phone keeps its photos"
    );

    // The red button that people press: everything comes once more.
    inbox.post("/rest/db/revert?folder=camera");
    // Counted where they arrive: Syncthing drops events that nobody takes in time.
    let mut delivered = 0;
    assert!(
        wait_until(PATIENCE, || {
            let status = factory.status();
            delivered = status["activity"]["duplicates_since_start"]
                .as_u64()
                .unwrap_or_default();
            delivered >= PHOTOS as u64
        }),
        "only {delivered} were delivered again: {}",
        inbox.log()
    );
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(factory.filed().len(), PHOTOS, "absorbed as duplicates");
    assert_eq!(times_by_content(&factory.originals()), sent);
    assert_eq!(
        times_by_content(&camera),
        sent,
        "the phone keeps its photos"
    );
    factory.assert_ledger_and_originals_agree();
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");
}
