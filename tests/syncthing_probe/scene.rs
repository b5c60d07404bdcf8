//! Two Syncthings in a folder of one test, and the looks at one of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use photo_factory::config::{Clear, SyncthingSettings};
use photo_factory::monitor::service::Status;
use photo_factory::monitor::syncthing::{Sight, Watcher};
use serde_json::Value;

use crate::factory::{PATIENCE, installed, wait_until};
use crate::syncthing_node::{KEY, Node, courier};

/// How often all is looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(300);

/// A folder of one test with two Syncthings in it, of which none runs yet.
pub(crate) struct Scene {
    pub(crate) root: PathBuf,
    pub(crate) inbox: Node,
    pub(crate) phone: Node,
}

impl Scene {
    /// `None`: there is no Syncthing here; that is said.
    pub(crate) fn new(name: &str) -> Option<Self> {
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

    pub(crate) fn watcher(&self) -> Watcher {
        watcher_at(&self.inbox.page, Some(KEY), None)
    }

    pub(crate) fn look(&self, watcher: &mut Watcher, clear: Clear, now: Instant) -> Sight {
        watcher.look(&courier(), &self.root.join("inbox"), clear, now)
    }

    /// Looks anew until it is as wanted.
    pub(crate) fn look_until(
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
    pub(crate) fn wait_for_the_delete(&self, number: usize, phone: &Value, here: &Value) {
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

pub(crate) fn watcher_at(url: &str, key: Option<&str>, pin: Option<&str>) -> Watcher {
    let settings = SyncthingSettings {
        url: Some(url.to_owned()),
        api_key: key.map(str::to_owned),
        api_key_file: None,
    };
    Watcher::new(settings, INTERVAL, pin.map(str::to_owned))
}

pub(crate) fn is_up(sight: &Sight) -> bool {
    sight.status == Some(Status::Up)
}

pub(crate) fn reason(sight: &Sight) -> &str {
    let reason = sight.status.as_ref().and_then(Status::reason);
    reason.unwrap_or_else(|| panic!("nothing is wrong: {sight:#?}"))
}
