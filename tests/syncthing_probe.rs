//! The monitor's look at a real Syncthing: every type of folder, and everything that may be wrong with it.
//!
//! Where time must pass between two looks, the test says that it has: time is a parameter.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests make and change files, and fail by panicking"
)]

#[path = "appliance/factory.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod factory;
#[path = "appliance/syncthing_node.rs"]
mod syncthing_node;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use photo_factory::config::{Clear, SyncthingSettings};
use photo_factory::courier::{Courier, Method, Request, Trust};
use photo_factory::monitor::service::Status;
use photo_factory::monitor::syncthing::facts::State;
use photo_factory::monitor::syncthing::verdict::Keeps;
use photo_factory::monitor::syncthing::{Sight, Watcher};
use serde_json::{Value, json};

use factory::{PATIENCE, http, installed, wait_until};
use syncthing_node::{KEY, Node};

const INTERVAL: Duration = Duration::from_secs(300);

/// A folder of one test with two Syncthings in it, of which none runs yet.
struct Scene {
    root: PathBuf,
    inbox: Node,
    phone: Node,
}

impl Scene {
    /// `None`: there is no Syncthing here; that is said.
    fn new(name: &str) -> Option<Self> {
        if !installed("syncthing", "the look at Syncthing") {
            return None;
        }
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("look-{name}-{}", std::process::id()));
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        fs::create_dir_all(&root).unwrap();
        Some(Self {
            inbox: Node::new(root.join("home"), root.join("inbox")),
            phone: Node::new(root.join("phone-home"), root.join("phone")),
            root,
        })
    }

    fn watcher(&self) -> Watcher {
        watcher_at(&self.inbox.page, Some(KEY), None)
    }

    fn look(&self, watcher: &mut Watcher, clear: Clear, now: Instant) -> Sight {
        watcher.look(&courier(), &self.root.join("inbox"), clear, now)
    }

    /// Looks anew until it is as wanted.
    fn look_until(
        &self,
        what: &str,
        watcher: &mut Watcher,
        is_so: impl Fn(&Sight) -> bool,
    ) -> Sight {
        let mut now = Instant::now();
        let mut sight = None;
        let came = wait_until(PATIENCE, || {
            // As if the expensive questions were due each time.
            now += INTERVAL;
            let seen = sight.insert(self.look(watcher, Clear::Always, now));
            is_so(seen)
        });
        let sight = sight.unwrap();
        assert!(came, "{what}: {sight:#?}\n{}", self.inbox.log());
        sight
    }

    /// Waits until the phone would have lost what was just cleared from the inbox, if it were to lose it.
    fn wait_for_the_delete(&self, number: usize, phone: &Value, here: &Value) {
        let row = format!("phone {phone}, here {here}");
        if here["type"] == "receiveonly" {
            let is_noticed = || self.inbox.number("receiveOnlyChangedDeletes") > 0;
            assert!(wait_until(PATIENCE, is_noticed), "{row}");
        } else if phone["type"] == "sendonly" {
            let path = format!("/rest/db/completion?folder=camera&device={}", self.phone.id);
            let is_undone = || self.inbox.get(&path)["needDeletes"].as_u64() > Some(0);
            assert!(
                wait_until(PATIENCE, is_undone),
                "{row}: {}",
                self.inbox.get(&path)
            );
        } else {
            // What comes after the delete has arrived: so has the delete.
            let after = format!("after-{number}.jpg");
            fs::write(self.root.join("inbox").join(&after), "after").unwrap();
            self.inbox.post("/rest/db/scan?folder=camera");
            let has_arrived = || self.root.join("phone").join(&after).exists();
            assert!(
                wait_until(PATIENCE, has_arrived),
                "{row}: {}",
                self.phone.log()
            );
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.inbox.stop();
        self.phone.stop();
        if !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.root));
        }
    }
}

fn watcher_at(url: &str, key: Option<&str>, pin: Option<&str>) -> Watcher {
    let settings = SyncthingSettings {
        url: Some(url.to_owned()),
        api_key: key.map(str::to_owned),
        api_key_file: None,
    };
    Watcher::new(settings, INTERVAL, pin.map(str::to_owned))
}

fn courier() -> Courier {
    Courier::new(Some(env!("CARGO_BIN_EXE_photo-factory-courier").into()))
}

/// Changes settings of a folder of a Syncthing that runs.
fn set(node: &Node, changes: &Value) {
    let mut folder = node.get("/rest/config/folders/camera");
    for (name, value) in changes.as_object().unwrap() {
        folder[name] = value.clone();
    }
    let answer = courier()
        .round()
        .unwrap()
        .ask(&Request {
            method: Method::Put,
            url: format!("http://{}/rest/config/folders/camera", node.page),
            socket: None,
            headers: vec![("X-API-Key".to_owned(), KEY.to_owned())],
            body: folder.to_string().into_bytes(),
            deadline: PATIENCE,
            answer_limit: 1 << 20,
            trust: Trust::Public,
        })
        .unwrap();
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
}

fn is_up(sight: &Sight) -> bool {
    sight.status == Some(Status::Up)
}

fn reason(sight: &Sight) -> &str {
    let reason = sight.status.as_ref().and_then(Status::reason);
    reason.unwrap_or_else(|| panic!("nothing is wrong: {sight:#?}"))
}

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
        set(&scene.phone, &phone);
        set(&scene.inbox, &here);
        let row = format!("phone {phone}, here {here}");
        let sight = scene.look(&mut scene.watcher(), Clear::Always, Instant::now());
        assert_eq!(sight.verdict.keeps, keeps, "{row}: {sight:#?}");
        assert_eq!(
            sight.phone_copies_stay(Instant::now()),
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
        assert!(!sight.phone_copies_stay(Instant::now()));
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
    assert!(!sight.phone_copies_stay(Instant::now()));
    assert!(sent.exists());
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
    assert!(sight.phone_copies_stay(begin + 2 * INTERVAL));
    assert!(!sight.phone_copies_stay(begin + 2 * INTERVAL + Duration::from_secs(1)));
    assert_eq!(watcher.next_look(), Some(begin + INTERVAL));

    scene.inbox.kill();
    let sight = scene.look(&mut watcher, Clear::Safe, begin + INTERVAL);
    assert!(matches!(sight.status, Some(Status::Down(_))), "{sight:#?}");
    assert!(!sight.phone_copies_stay(begin + INTERVAL));
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
    assert!(sight.facts.is_none() && !sight.phone_copies_stay(Instant::now()));
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
    assert!(!sight.phone_copies_stay(Instant::now()));
}

#[test]
fn a_pause_and_a_lost_marker_are_seen() {
    let Some(mut scene) = Scene::new("stopped") else {
        return;
    };
    scene.inbox.start("receiveonly", &scene.phone);
    set(&scene.inbox, &json!({"paused": true}));
    let sight = scene.look(&mut scene.watcher(), Clear::Always, Instant::now());
    assert_eq!(reason(&sight), "the inbox's folder is paused");
    set(&scene.inbox, &json!({"paused": false}));
    fs::remove_dir(scene.root.join("inbox/.stfolder")).unwrap();
    let sight = scene.look(&mut scene.watcher(), Clear::Always, Instant::now());
    assert_eq!(reason(&sight), "the inbox's folder marker is missing");
    assert!(!sight.phone_copies_stay(Instant::now()));
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

#[test]
fn a_folder_made_send_and_receive_later_deletes_what_was_cleared_before_and_that_is_said_beforehand()
 {
    let Some(mut scene) = Scene::new("later") else {
        return;
    };
    scene.inbox.start("receiveonly", &scene.phone);
    scene.phone.start("sendreceive", &scene.inbox);
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
    let (phone, here) = (
        json!({"type": "sendreceive"}),
        json!({"type": "receiveonly"}),
    );
    scene.wait_for_the_delete(0, &phone, &here);
    let sight = scene.look(&mut scene.watcher(), Clear::Always, Instant::now());
    assert!(
        sight.verdict.what.contains("made Send & Receive later"),
        "{sight:#?}"
    );
    assert!(sent.exists());

    let mut watcher = scene.watcher();
    set(&scene.inbox, &json!({"type": "sendreceive"}));
    assert!(
        wait_until(PATIENCE, || !sent.exists()),
        "{}",
        scene.phone.log()
    );
    let sight = scene.look(&mut watcher, Clear::Safe, Instant::now());
    assert!(!sight.phone_copies_stay(Instant::now()));
}
