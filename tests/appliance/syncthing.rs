//! A real Syncthing on both sides: a phone with 300 photos, and the appliance's inbox.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::factory::{Factory, PATIENCE, hash_of, installed, wait_until};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::Load;
use crate::syncthing_node::{KEY, Node};

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

/// `clear = "safe"`, and where Syncthing's page is.
fn clear_while_safe(factory: &Factory, page: &str) {
    fs::write(factory.root().join("key"), KEY).unwrap();
    factory.configure(&format!(
        "clear = \"safe\"\n[monitor]\nservices_seconds = 1\n[syncthing]\nurl = \"http://{page}\"\napi_key_file = \"key\"\n"
    ));
}

/// Waits until the page says that the phones' copies are kept, or anything else of them.
fn wait_until_copies_are_kept(factory: &Factory, are_kept: bool) {
    let what = format!("the page says of the copies on the phones: kept {are_kept}");
    factory.wait_until(&what, PATIENCE, || {
        let said = factory.status()["syncthing"]["phone_copies"].clone();
        said.is_string() && (said == "kept") == are_kept
    });
}

/// Waits until so many photos went their whole way: the name is cleared by then, if it is to be.
fn wait_until_done(factory: &Factory, count: usize) {
    factory.wait_until("the photos are done", PATIENCE, || {
        factory.filed().len() == count && factory.status()["activity"]["state"] == "watching"
    });
}

#[test]
fn with_clear_safe_a_name_stays_until_a_receive_only_folder_makes_the_phones_copy_certain() {
    if !installed("syncthing", "clear = \"safe\"") {
        return;
    }
    let mut factory = Factory::new("clear-safe");
    let camera = factory.root().join("phone/camera");
    let mut phone = Node::new(factory.root().join("phone/home"), camera.clone());
    let mut inbox = Node::new(factory.root().join("syncthing"), factory.inbox());
    let page = inbox.page.clone();
    let mut pictures = Load::new(9);
    let mut picture = |day| {
        let exif = Exif::taken(&format!("2024:05:{day:02} 10:00:00"));
        pictures.next(&exif, 40_000)
    };

    clear_while_safe(&factory, &page);
    factory.start();
    wait_until_copies_are_kept(&factory, false);
    let early = factory.put("early.jpg", &picture(1));
    wait_until_done(&factory, 1);
    assert_eq!(factory.waiting(), [early], "no Syncthing runs: it stays");

    inbox.start("receiveonly", &phone);
    if inbox.page != page {
        // Another program took its port meanwhile.
        factory.stop();
        clear_while_safe(&factory, &inbox.page);
        factory.start();
    }
    phone.start("sendonly", &inbox);
    factory.wait_until_the_inbox_is_empty();
    wait_until_copies_are_kept(&factory, true);
    assert_eq!(factory.filed().len(), 1, "what stayed is not filed twice");
    for day in [2, 3] {
        let name = format!("safe-{day}.jpg");
        fs::write(camera.join(name), picture(day)).unwrap();
    }
    factory.wait_until("new photos are filed and cleared", PATIENCE, || {
        factory.filed().len() == 3 && factory.waiting().is_empty()
    });

    inbox.set(&json!({"type": "sendreceive"}));
    wait_until_copies_are_kept(&factory, false);
    let late = camera.join("late.jpg");
    fs::write(&late, picture(4)).unwrap();
    wait_until_done(&factory, 4);
    assert_ne!(factory.status()["syncthing"]["phone_copies"], "kept");
    let names = |folder: &Path| -> Vec<_> {
        let files = crate::factory::files_below(folder);
        let names = files
            .iter()
            .map(|file| file.file_name().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(names(&factory.inbox()), ["late.jpg"], "it stays");
    assert_eq!(
        names(&camera),
        ["late.jpg", "safe-2.jpg", "safe-3.jpg"],
        "the phone keeps its photos"
    );
    factory.assert_ledger_and_originals_agree();
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");
}
