//! States of Syncthing and its folder, and ways to reach its page.

use std::fs;
use std::time::{Duration, Instant};

use photo_factory::config::Clear;
use photo_factory::monitor::service::Status;
use photo_factory::monitor::syncthing::facts::State;
use serde_json::json;

use crate::factory::http;
use crate::scene::{INTERVAL, Scene, is_up, reason, watcher_at};
use crate::syncthing_node::KEY;

#[test]
fn a_folder_of_a_type_that_brings_nothing_to_file_is_told() {
    for (kind, says) in [
        ("sendonly", "Send Only"),
        ("receiveencrypted", "Receive Encrypted"),
    ] {
        let Some(mut scene) = Scene::new(kind) else {
            return;
        };
        scene.inbox.start(kind, &scene.phone);
        let sight = scene.look(&mut scene.watcher(), Clear::Never, Instant::now());
        assert!(reason(&sight).contains(says), "{sight:#?}");
        assert!(sight.phone_copies_stay_until().is_none());
    }
}

#[test]
fn a_syncthing_that_was_killed_is_down_and_left_alone_for_a_while_and_up_when_it_is_back() {
    let Some(mut scene) = Scene::new("killed") else {
        return;
    };
    scene.inbox.start("receiveonly", &scene.phone);
    let mut watcher = scene.watcher();
    let begin = Instant::now();
    let sight = scene.look(&mut watcher, Clear::Safe, begin);
    assert!(is_up(&sight), "{sight:#?}");
    let facts = sight.facts.as_ref().expect("the key is right");
    assert!(facts.version.starts_with('v'), "{facts:?}");
    assert_eq!(facts.devices.len(), 1);
    assert!(!facts.devices[0].is_connected);
    assert_eq!(facts.folders.len(), 1);
    assert_eq!(facts.folders[0].has_marker, Some(true));
    assert!(sight.response.is_some());
    assert_eq!(sight.phone_copies_stay_until(), Some(begin + 2 * INTERVAL));
    assert_eq!(watcher.next_look(), Some(begin + INTERVAL));

    scene.inbox.kill();
    let sight = scene.look(&mut watcher, Clear::Safe, begin + INTERVAL);
    assert!(matches!(sight.status, Some(Status::Down(_))), "{sight:#?}");
    assert_eq!(sight.phone_copies_stay_until(), None);
    let pause = Duration::from_secs(5);
    assert_eq!(watcher.next_look(), Some(begin + INTERVAL + pause));

    scene.inbox.start("receiveonly", &scene.phone);
    let too_soon = scene.look(&mut watcher, Clear::Safe, begin + INTERVAL + pause / 2);
    assert_eq!(too_soon, sight, "it was not asked");
    let sight = scene.look(&mut watcher, Clear::Safe, begin + INTERVAL + pause);
    assert!(is_up(&sight), "{sight:#?}");
}

#[test]
fn with_tls_the_first_certificate_is_kept_and_another_one_gets_no_key() {
    let Some(mut scene) = Scene::new("tls") else {
        return;
    };
    scene.inbox.tls = true;
    scene.inbox.spawn("receiveonly", &scene.phone);
    // Plain HTTP, as somebody types it: Syncthing sends us over to TLS.
    let url = format!("http://{}", scene.inbox.page);
    let mut watcher = watcher_at(&url, Some(KEY), None);
    let sight = scene.look_until("it is up", &mut watcher, |sight| sight.facts.is_some());
    assert!(is_up(&sight), "{sight:#?}");
    let pin = watcher.pin().expect("a certificate").to_owned();
    assert_eq!(pin.len(), 64);

    scene.inbox.stop();
    for name in ["https-cert.pem", "https-key.pem"] {
        fs::remove_file(scene.root.join("home").join(name)).unwrap();
    }
    scene.inbox.spawn("receiveonly", &scene.phone);
    let mut later = watcher_at(&url, Some(KEY), Some(&pin));
    let sight = scene.look_until("the other certificate is seen", &mut later, |sight| {
        matches!(sight.status, Some(Status::Degraded(_)))
    });
    assert_eq!(reason(&sight), "another certificate than before");
    assert!(sight.facts.is_none() && sight.phone_copies_stay_until().is_none());
    assert_eq!(
        later.pin(),
        Some(pin.as_str()),
        "it is not replaced by itself"
    );
    let mut anew = watcher_at(&url, Some(KEY), None);
    let sight = scene.look(&mut anew, Clear::Always, Instant::now());
    assert!(is_up(&sight), "{sight:#?}");
    assert_ne!(anew.pin(), Some(pin.as_str()));
}

#[test]
fn without_a_key_it_is_alive_and_with_a_wrong_one_that_is_said() {
    let Some(mut scene) = Scene::new("key") else {
        return;
    };
    scene.inbox.start("receiveonly", &scene.phone);
    let page = scene.inbox.page.clone();
    let sight = scene.look(
        &mut watcher_at(&page, None, None),
        Clear::Safe,
        Instant::now(),
    );
    assert!(is_up(&sight), "{sight:#?}");
    assert!(sight.facts.is_none());
    assert!(
        sight
            .notices
            .iter()
            .any(|said| said.contains("api_key_file")),
        "{sight:#?}"
    );
    let mut wrong = watcher_at(&page, Some("not-the-key"), None);
    let sight = scene.look(&mut wrong, Clear::Safe, Instant::now());
    assert_eq!(reason(&sight), "it refuses the key");
    assert!(sight.phone_copies_stay_until().is_none());
}

#[test]
fn a_pause_and_a_lost_marker_are_seen() {
    let Some(mut scene) = Scene::new("stopped") else {
        return;
    };
    scene.inbox.start("receiveonly", &scene.phone);
    scene.inbox.set(&json!({"paused": true}));
    let sight = scene.look(&mut scene.watcher(), Clear::Always, Instant::now());
    assert_eq!(reason(&sight), "the inbox's folder is paused");
    scene.inbox.set(&json!({"paused": false}));
    fs::remove_dir(scene.root.join("inbox/.stfolder")).unwrap();
    let sight = scene.look(&mut scene.watcher(), Clear::Always, Instant::now());
    assert_eq!(reason(&sight), "the inbox's folder marker is missing");
    assert!(sight.phone_copies_stay_until().is_none());
    // It answers with the error, and remembers it.
    let scan = "/rest/db/scan?folder=camera";
    let (code, said) = http(&scene.inbox.page, "POST", scan, &[("X-API-Key", KEY)]);
    assert_eq!(code, 500, "{said}");
    let mut watcher = scene.watcher();
    let sight = scene.look_until("Syncthing has stopped the folder", &mut watcher, |sight| {
        let progress = sight
            .facts
            .as_ref()
            .and_then(|facts| facts.folders[0].progress.as_ref());
        progress.is_some_and(|progress| progress.state == State::Error && progress.error.is_some())
    });
    assert!(
        sight
            .warnings
            .iter()
            .any(|said| said.contains("is stopped")),
        "{sight:#?}"
    );
}

#[test]
fn a_new_phone_that_waits_is_told() {
    let Some(mut scene) = Scene::new("stranger") else {
        return;
    };
    scene.inbox.is_acquainted = false;
    scene.inbox.start("receiveonly", &scene.phone);
    scene.phone.start("sendonly", &scene.inbox);
    let begin: String = scene.phone.id.chars().take(7).collect();
    let sight = scene.look_until("it waits", &mut scene.watcher(), |sight| {
        sight
            .facts
            .as_ref()
            .is_some_and(|facts| !facts.waiting.is_empty())
    });
    assert!(
        sight.notices.iter().any(|said| said.contains(&begin)),
        "{sight:#?}"
    );
}

#[test]
fn a_page_on_a_unix_socket_is_asked_there() {
    let Some(mut scene) = Scene::new("socket") else {
        return;
    };
    let socket = scene.root.join("page").display().to_string();
    scene.inbox.page.clone_from(&socket);
    scene.inbox.spawn("receiveonly", &scene.phone);
    let mut watcher = watcher_at(&socket, Some(KEY), None);
    let sight = scene.look_until("it is up", &mut watcher, |sight| sight.facts.is_some());
    assert!(is_up(&sight), "{sight:#?}");
    let mut watcher = watcher_at(&format!("unix://{socket}"), None, None);
    let sight = scene.look(&mut watcher, Clear::Never, Instant::now());
    assert!(is_up(&sight), "{sight:#?}");
}
