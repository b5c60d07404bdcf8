//! A real Syncthing, alone with the other one of a test: nothing leaves this machine.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use photo_factory::courier::{Courier, Method, Request, Trust};
use rustix::process::Signal;
use serde_json::Value;

use crate::factory::programs::worker;
use crate::factory::{PATIENCE, ended, http, output_of, signal, try_http, wait_until};

/// The key of its REST interface.
pub(crate) const KEY: &str = "a-key-for-this-test-only";

/// One Syncthing with a home folder of its own; stopped when dropped.
pub(crate) struct Node {
    home: PathBuf,
    folder: PathBuf,
    pub(crate) id: String,
    /// Where its page listens: `HOST:PORT`, or the path of a socket.
    pub(crate) page: String,
    /// Whether its page insists on TLS.
    pub(crate) tls: bool,
    /// Whether it knows the other one.
    pub(crate) is_acquainted: bool,
    listen: String,
    process: Option<Child>,
}

impl Node {
    /// Makes keys and an identity; does not start yet.
    pub(crate) fn new(home: PathBuf, folder: PathBuf) -> Self {
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
            tls: false,
            is_acquainted: true,
            listen: free_address(),
            process: None,
        }
    }

    /// Shares the folder with `other` and starts.
    pub(crate) fn start(&mut self, folder_type: &str, other: &Self) {
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
    pub(crate) fn spawn(&mut self, folder_type: &str, other: &Self) {
        let (shared, known) = if self.is_acquainted {
            let known = format!(
                r#"<device id="{}" name="other"><address>tcp://{}</address></device>"#,
                other.id, other.listen
            );
            (format!(r#"<device id="{}"></device>"#, other.id), known)
        } else {
            (String::new(), String::new())
        };
        let settings = format!(
            r#"<configuration version="35">
  <folder id="camera" label="Camera" path="{}" type="{folder_type}" rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="1">
    <device id="{}"></device>{shared}
  </folder>
  <device id="{}" name="this"><address>dynamic</address></device>
  {known}
  <gui enabled="true" tls="{}"><address>{}</address><apikey>{KEY}</apikey></gui>
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
            self.id,
            self.tls,
            self.page,
            self.listen,
        );
        fs::write(self.home.join("config.xml"), settings).unwrap();
        let log = fs::File::create(self.home.join("log.txt")).unwrap();
        let child = Command::new("syncthing")
            .args(["serve", "--no-browser", "--no-restart", "--home"])
            .arg(&self.home)
            .env("STNOUPGRADE", "1")
            // Else the process that we start only watches over another one, which outlives it when it is killed.
            .env("STMONITORED", "yes")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    pub(crate) fn stop(&mut self) {
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

    pub(crate) fn get(&self, path: &str) -> Value {
        let (code, body) = http(&self.page, "GET", path, &[("X-API-Key", KEY)]);
        assert_eq!(code, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn post(&self, path: &str) {
        let (code, body) = http(&self.page, "POST", path, &[("X-API-Key", KEY)]);
        assert_eq!(code, 200, "{path}: {body}");
    }

    /// Changes settings of the folder while it runs.
    pub(crate) fn set(&self, changes: &Value) {
        let mut folder = self.get("/rest/config/folders/camera");
        for (name, value) in changes.as_object().unwrap() {
            folder[name] = value.clone();
        }
        let answer = courier()
            .round()
            .unwrap()
            .ask(&Request {
                method: Method::Put,
                url: format!("http://{}/rest/config/folders/camera", self.page),
                socket: None,
                headers: vec![("X-API-Key".to_owned(), KEY.to_owned())],
                body: folder.to_string().into_bytes(),
                deadline: PATIENCE,
                answer_limit: 1 << 20,
                trust: Trust::Public,
            })
            .unwrap();
        let said = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{said}");
    }

    /// The folder's state: a number of it.
    pub(crate) fn number(&self, field: &str) -> u64 {
        self.get("/rest/db/status?folder=camera")[field]
            .as_u64()
            .unwrap_or(0)
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        ended(&mut process, "a Syncthing that was killed");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.join("log.txt")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The courier that was built with the tests.
pub(crate) fn courier() -> Courier {
    Courier::new(Some(worker(env!("CARGO_BIN_EXE_photo-factory-courier"))))
}

/// An address on loopback that nobody listens on.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}
