//! The courier: the only user of TLS, and of HTTP and SMTP as a client, in a process of its own.
//!
//! With `tls CERTIFICATE KEY [SOCKET]` it is the front of the page ([`front`]). Else:
//!
//! One JSON question a line on standard input, one JSON reply a line on standard output (`photo_factory::courier::message`).
//! It ends when its input does, or when it is not asked for a while. It writes no file and no log.

mod front;
mod http;
mod mail;
mod tls;

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};

use photo_factory::courier::message::{IDLE, Question, Reply};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Address space: threads' stacks and heaps are reserved, not used.
const MEMORY: u64 = 512 << 20;
/// CPU seconds of a whole life; a TLS handshake takes some milliseconds.
const CPU_SECONDS: u64 = 60;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if let [mode, certificate, key, rest @ ..] = words.as_slice()
        && mode == Path::new("tls")
    {
        // It lives as long as the daemon, and has many threads, whose stacks and heaps are reserved.
        confine(4 * MEMORY, None)?;
        return Ok(front::run(certificate, key, rest.first().cloned())?);
    }
    confine(MEMORY, Some(CPU_SECONDS))?;
    let lines = lines_of_input();
    let mut output = io::stdout().lock();
    // Ends with the input, or after too long a silence.
    while let Ok(line) = lines.recv_timeout(IDLE) {
        let reply = match serde_json::from_str(&line)? {
            Question::Ask(request) => http::ask(&request).map(Reply::Answered),
            Question::Send(mail) => mail::send(&mail).map(|()| Reply::Sent),
        };
        serde_json::to_writer(&mut output, &reply.unwrap_or_else(Reply::Failed))?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

/// Reads the input on a thread of its own, because reading can't be given a deadline.
fn lines_of_input() -> Receiver<String> {
    let (to, lines) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let read = io::stdin().lock().lines().map_while(Result::ok);
        for line in read {
            if to.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Gives up what a taken-over process could misuse: core dumps hold passwords, and nothing here ever writes a file.
fn confine(memory: u64, cpu_seconds: Option<u64>) -> rustix::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::As, memory)?;
    cpu_seconds.map_or(Ok(()), |seconds| limit(Resource::Cpu, seconds))
}

fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let maximum = rustix::process::getrlimit(resource).maximum;
    let current = Some(maximum.map_or(most, |maximum| maximum.min(most)));
    setrlimit(resource, Rlimit { current, maximum })
}
