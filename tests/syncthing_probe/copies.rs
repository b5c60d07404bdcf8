//! What is said of the copies on the phones, held against what becomes of them.

use std::fs;
use std::time::Instant;

use photo_factory::config::Clear;
use photo_factory::monitor::syncthing::verdict::Keeps;
use serde_json::json;

use crate::factory::{PATIENCE, wait_until};
use crate::scene::Scene;

#[test]
fn what_is_said_of_the_phones_copies_goes_with_what_becomes_of_them() {
    let Some(mut scene) = Scene::new("table") else {
        return;
    };
    scene.inbox.start("receiveonly", &scene.phone);
    scene.phone.start("sendonly", &scene.inbox);
    // Phone, here, what must be said, and whether the copy stays.
    let rows = [
        (
            json!({"type": "sendonly"}),
            json!({"type": "receiveonly"}),
            Keeps::Yes,
            true,
        ),
        (
            json!({"type": "sendreceive"}),
            json!({"type": "receiveonly"}),
            Keeps::Yes,
            true,
        ),
        (
            json!({"type": "sendonly"}),
            json!({"type": "receiveonly", "ignoreDelete": true}),
            Keeps::Yes,
            true,
        ),
        (
            json!({"type": "sendonly"}),
            json!({"type": "sendreceive", "ignoreDelete": false}),
            Keeps::No,
            true,
        ),
        (
            json!({"type": "sendreceive", "ignoreDelete": true}),
            json!({"type": "sendreceive"}),
            Keeps::No,
            true,
        ),
        (
            json!({"type": "sendreceive", "ignoreDelete": false}),
            json!({"type": "sendreceive"}),
            Keeps::No,
            false,
        ),
    ];
    for (number, (phone, here, keeps, stays)) in rows.into_iter().enumerate() {
        scene.phone.set(&phone);
        scene.inbox.set(&here);
        let row = format!("phone {phone}, here {here}");
        let sight = scene.look(&mut scene.watcher(), Clear::Always, Instant::now());
        assert_eq!(sight.verdict.keeps, keeps, "{row}: {sight:#?}");
        assert_eq!(
            sight.phone_copies_stay_until().is_some(),
            keeps == Keeps::Yes,
            "{row}"
        );
        assert!(
            keeps != Keeps::Yes || stays,
            "{row}: what is certain must be so"
        );

        let name = format!("photo-{number}.jpg");
        let (sent, received) = (
            scene.root.join("phone").join(&name),
            scene.root.join("inbox").join(&name),
        );
        fs::write(&sent, &name).unwrap();
        scene.phone.post("/rest/db/scan?folder=camera");
        assert!(
            wait_until(PATIENCE, || received.exists()),
            "{row}: {}",
            scene.inbox.log()
        );
        fs::remove_file(&received).unwrap();
        scene.inbox.post("/rest/db/scan?folder=camera");
        scene.wait_for_the_delete(number, &phone, &here);
        if !stays {
            assert!(wait_until(PATIENCE, || !sent.exists()), "{row}");
        }
        assert_eq!(sent.exists(), stays, "{row}");
    }
}

#[test]
fn a_phone_that_is_send_only_is_suspected_and_never_taken_for_certain() {
    let Some(mut scene) = Scene::new("suspected") else {
        return;
    };
    scene.inbox.start("sendreceive", &scene.phone);
    scene.phone.start("sendonly", &scene.inbox);
    let (sent, received) = (
        scene.root.join("phone/a.jpg"),
        scene.root.join("inbox/a.jpg"),
    );
    fs::write(&sent, "a photo").unwrap();
    scene.phone.post("/rest/db/scan?folder=camera");
    assert!(
        wait_until(PATIENCE, || received.exists()),
        "{}",
        scene.inbox.log()
    );
    fs::remove_file(&received).unwrap();
    scene.inbox.post("/rest/db/scan?folder=camera");
    let mut watcher = scene.watcher();
    let sight = scene.look_until("it is suspected", &mut watcher, |sight| {
        sight.verdict.keeps == Keeps::Unknown
    });
    assert!(sight.verdict.why.contains("probably stay"), "{sight:#?}");
    assert!(sight.phone_copies_stay_until().is_none());
    assert!(sent.exists());
}

#[test]
fn a_folder_made_send_and_receive_later_deletes_what_was_cleared_before_and_that_is_said_beforehand()
 {
    for (kind, stays) in [("sendonly", true), ("sendreceive", false)] {
        let Some(mut scene) = Scene::new(&format!("later-{kind}")) else {
            return;
        };
        scene.inbox.start("receiveonly", &scene.phone);
        scene.phone.start(kind, &scene.inbox);
        let sent = scene.root.join("phone/a.jpg");
        let received = scene.root.join("inbox/a.jpg");
        fs::write(&sent, "a photo").unwrap();
        scene.phone.post("/rest/db/scan?folder=camera");
        assert!(
            wait_until(PATIENCE, || received.exists()),
            "{}",
            scene.inbox.log()
        );
        fs::remove_file(&received).unwrap();
        scene.inbox.post("/rest/db/scan?folder=camera");
        let phone = json!({"type": kind});
        scene.wait_for_the_delete(0, &phone, &json!({"type": "receiveonly"}));
        let sight = scene.look(&mut scene.watcher(), Clear::Always, Instant::now());
        assert!(
            sight.verdict.what.contains("made Send & Receive later"),
            "{sight:#?}"
        );
        assert!(sent.exists());

        let both_ways = json!({"type": "sendreceive"});
        scene.inbox.set(&both_ways);
        scene.wait_for_the_delete(0, &phone, &both_ways);
        if !stays {
            assert!(
                wait_until(PATIENCE, || !sent.exists()),
                "{}",
                scene.phone.log()
            );
        }
        assert_eq!(sent.exists(), stays, "phone {kind}");
        let sight = scene.look(&mut scene.watcher(), Clear::Safe, Instant::now());
        assert!(sight.phone_copies_stay_until().is_none());
    }
}
