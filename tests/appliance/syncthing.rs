//! A real Syncthing on both sides: a phone with 300 photos, and the appliance's inbox.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::factory::{
    Factory, PATIENCE, hash_of, http, installed, output_of, signal, try_http, wait_until,
};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::Load;

const PHOTOS: usize = 300;
const KEY: &str = "a-key-for-this-test-only";

/// One Syncthing with a home folder of its own; stopped when dropped.
struct Node {
    home: PathBuf,
    folder: PathBuf,
    id: String,
    page: String,
    listen: String,
    process: Option<Child>,
}

impl Node {
    /// Makes keys and an identity; does not start yet.
    fn new(home: PathBuf, folder: PathBuf) -> Self {
        fs::create_dir_all(folder.join(".stfolder")).unwrap();
        let mut generate = Command::new("syncthing");
        generate
            .args(["generate", "--home"])
            .arg(&home)
            .env("STNODEFAULTFOLDER", "1");
        let generated = output_of(&mut generate);
        assert!(generated.status.success(), "{generated:?}");
        let made = fs::read_to_string(home.join("config.xml")).unwrap();
        let id = made
            .split("<device id=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a device id in the generated settings")
            .to_owned();
        Self {
            home,
            folder,
            id,
            page: free_address(),
            listen: free_address(),
            process: None,
        }
    }

    /// Shares the folder with `other` and starts.
    fn start(&mut self, folder_type: &str, other: &Self) {
        for _ in 0..10 {
            self.spawn(folder_type, other);
            if self.listens() {
                return;
            }
            // Another program took one of its ports since we found it free.
            println!("again with other ports: {}", self.log());
            self.stop();
            (self.page, self.listen) = (free_address(), free_address());
        }
        panic!("it finds no ports: {}", self.log());
    }

    /// Whether it answers, and waits for the other side at its address.
    fn listens(&mut self) -> bool {
        let mut listens = false;
        let mut process = self.process.take().unwrap();
        let told = wait_until(PATIENCE, || {
            if process.try_wait().unwrap().is_some() {
                return true;
            }
            let headers = [("X-API-Key", KEY)];
            let Ok((200, said)) = try_http(&self.page, "GET", "/rest/system/status", &headers)
            else {
                return false;
            };
            let Ok(said) = serde_json::from_str::<Value>(&said) else {
                return false;
            };
            let listener = &said["connectionServiceStatus"][format!("tcp://{}", self.listen)];
            listens = listener.is_object() && listener["error"].is_null();
            listens || listener["error"].is_string()
        });
        self.process = Some(process);
        assert!(told, "it does not answer: {}", self.log());
        listens
    }

    /// Nothing leaves this machine: no discovery, no relays, no reports.
    fn spawn(&mut self, folder_type: &str, other: &Self) {
        let settings = format!(
            r#"<configuration version="35">
  <folder id="camera" label="Camera" path="{}" type="{folder_type}" rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="1">
    <device id="{}"></device><device id="{}"></device>
  </folder>
  <device id="{}" name="this"><address>dynamic</address></device>
  <device id="{}" name="other"><address>tcp://{}</address></device>
  <gui enabled="true" tls="false"><address>{}</address><apikey>{KEY}</apikey></gui>
  <options>
    <listenAddress>tcp://{}</listenAddress>
    <globalAnnounceEnabled>false</globalAnnounceEnabled>
    <localAnnounceEnabled>false</localAnnounceEnabled>
    <relaysEnabled>false</relaysEnabled>
    <natEnabled>false</natEnabled>
    <reconnectionIntervalS>1</reconnectionIntervalS>
    <startBrowser>false</startBrowser>
    <urAccepted>-1</urAccepted>
    <autoUpgradeIntervalH>0</autoUpgradeIntervalH>
    <crashReportingEnabled>false</crashReportingEnabled>
    <stunKeepaliveStartS>0</stunKeepaliveStartS>
    <minHomeDiskFree unit="%">0</minHomeDiskFree>
  </options>
</configuration>
"#,
            self.folder.display(),
            self.id,
            other.id,
            self.id,
            other.id,
            other.listen,
            self.page,
            self.listen,
        );
        fs::write(self.home.join("config.xml"), settings).unwrap();
        let log = fs::File::create(self.home.join("log.txt")).unwrap();
        let child = Command::new("syncthing")
            .args(["serve", "--no-browser", "--no-restart", "--home"])
            .arg(&self.home)
            .env("STNOUPGRADE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Where it ended by itself, nobody is there to be asked.
            if matches!(process.try_wait(), Ok(None)) {
                signal(&process, Signal::TERM);
            }
            if !wait_until(PATIENCE, || matches!(process.try_wait(), Ok(Some(_)))) {
                drop(process.kill());
                drop(process.wait());
            }
        }
    }

    fn get(&self, path: &str) -> Value {
        let (code, body) = http(&self.page, "GET", path, &[("X-API-Key", KEY)]);
        assert_eq!(code, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn post(&self, path: &str) {
        let (code, body) = http(&self.page, "POST", path, &[("X-API-Key", KEY)]);
        assert_eq!(code, 200, "{path}: {body}");
    }

    /// The folder's state: a number of it.
    fn number(&self, field: &str) -> u64 {
        self.get("/rest/db/status?folder=camera")[field]
            .as_u64()
            .unwrap_or(0)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log.txt")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An address on loopback that nobody listens on.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

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
