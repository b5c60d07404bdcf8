//! A factory under siege: what must hold while a hostile client is at work, whatever it does.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::factory::{Factory, PATIENCE};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;

/// What the page promises whoever behaves.
const PROMISED: Duration = Duration::from_secs(1);

/// The machine of the tests may be busy with other things for a while: so many in a row must be late before the page is to blame.
const LATE_IN_A_ROW: u32 = 4;

/// Milliseconds between one look and the next.
const PAUSES: [u64; 5] = [13, 29, 17, 31, 23];

/// KiB by which the process may grow.
const GROWTH: u64 = 20 * 1024;

pub(crate) struct Siege {
    pub(crate) factory: Factory,
    pub(crate) to: SocketAddr,
}

impl Siege {
    pub(crate) fn new(name: &str) -> Self {
        let mut factory = Factory::new(name);
        factory.start();
        let to = factory.address().parse().unwrap();
        // What the first photo and the first page need is no growth.
        factory.put("first.jpg", &photo(0));
        factory.wait_until_the_inbox_is_empty();
        for _ in 0..20 {
            ask(to, "/").unwrap();
            ask(to, "/api/v1/status").unwrap();
        }
        Self { factory, to }
    }

    /// Lets the hostile client do its work to the end, and looks all the while.
    pub(crate) fn stands(self, hostile: impl FnOnce(&Self) + Send) {
        self.besieged(true, hostile);
    }

    /// The same for one who asks for pages faster than they can be made: nobody is served at once meanwhile, but all else holds.
    pub(crate) fn grows_little(self, hostile: impl FnOnce(&Self) + Send) {
        self.besieged(false, hostile);
    }

    fn besieged(mut self, is_served: bool, hostile: impl FnOnce(&Self) + Send) {
        let before = self.memory();
        let (most, filed) = thread::scope(|scope| {
            let siege = &self;
            let at_work = scope.spawn(move || hostile(siege));
            self.factory.put("meanwhile.jpg", &photo(1));
            let (mut most, mut late, mut asked_so_often) = (0, 0, 0);
            let mut filed = false;
            while !at_work.is_finished() {
                if is_served {
                    let asked = Instant::now();
                    let answer = ask(self.to, "/healthz");
                    let took = asked.elapsed();
                    let is_soon = took < PROMISED && answer.as_deref() == Ok("ok\n");
                    late = if is_soon { 0 } else { late + 1 };
                    assert!(
                        late < LATE_IN_A_ROW,
                        "not served: {answer:?} after {took:?}"
                    );
                }
                most = most.max(self.memory());
                filed |= self.factory.waiting().is_empty();
                // At uneven times: in step with a crowd that comes every so often, a client would meet it each time.
                let pause = PAUSES[asked_so_often % PAUSES.len()];
                asked_so_often += 1;
                thread::sleep(Duration::from_millis(pause));
            }
            at_work.join().unwrap();
            (most.max(self.memory()), filed)
        });
        if !filed {
            self.factory.wait_until("the photo is filed", PATIENCE, || {
                self.factory.waiting().is_empty()
            });
        }
        assert_eq!(self.factory.filed().len(), 2);
        assert!(
            self.factory.is_running(),
            "its process is another one, or gone"
        );
        let grown = most.saturating_sub(before);
        println!("grown by {grown} KiB");
        assert!(grown < GROWTH, "grown by {grown} KiB");
        assert_eq!(ask(self.to, "/healthz").as_deref(), Ok("ok\n"));
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.factory.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.factory.pid());
        fs::read_dir(folder).unwrap().count()
    }

    /// A connection; it waits for nobody long.
    pub(crate) fn connect(&self) -> TcpStream {
        loop {
            // On a busy machine the queue of those that wait to be accepted may be full.
            if let Ok(stream) = TcpStream::connect_timeout(&self.to, Duration::from_secs(30)) {
                let timeout = Some(Duration::from_secs(30));
                stream.set_write_timeout(timeout).unwrap();
                stream.set_read_timeout(timeout).unwrap();
                return stream;
            }
        }
    }
}

fn photo(number: u64) -> Vec<u8> {
    jpeg::small(number, &Exif::taken("2021:02:03 04:05:06"))
}

/// A well-behaved client; the answer's body.
fn ask(to: SocketAddr, path: &str) -> Result<String, String> {
    let asking = || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    let answer = asking().map_err(|error| error.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(answer),
    }
}
