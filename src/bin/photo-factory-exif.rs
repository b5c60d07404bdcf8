//! The metadata worker: the only user of Exiv2, in a process of its own.
//!
//! Its standard input is a socket. Each request carries a descriptor; each answer carries the raw values of a fixed list
//! of tags. It opens nothing else, writes nothing, and ends when the socket closes.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use photo_factory::librarian::metadata::tags::{Status, Tag, Tags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg,
    sendmsg,
};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Memory beyond the file itself, which Exiv2 maps.
const ROOM: u64 = 256 << 20;
/// CPU seconds of a whole life, at a few milliseconds per file: ends a hang whose parent is gone.
const CPU_SECONDS: u64 = 60;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    confine()?;
    rexiv2::set_log_level(rexiv2::LogLevel::MUTE);
    rexiv2::initialize()?;
    let socket = std::io::stdin();
    let mut largest = 0;
    loop {
        let mut request = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            socket.as_fd(),
            &mut [IoSliceMut::new(&mut request)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        let bytes = match received {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?.bytes,
        };
        let file = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next().map(File::from),
            _ => None,
        });
        let (8, Some(file)) = (bytes, file) else {
            return Ok(());
        };
        let size = u64::from_le_bytes(request);
        if size > largest || largest == 0 {
            largest = size;
            limit(Resource::As, size.saturating_add(ROOM))?;
        }
        let (status, tags) = match read(&file) {
            Some(tags) => (Status::Read, tags),
            None => (Status::Refused, Tags::default()),
        };
        let answer = tags.encode(status);
        sendmsg(
            socket.as_fd(),
            &[IoSlice::new(&answer)],
            &mut SendAncillaryBuffer::default(),
            SendFlags::NOSIGNAL,
        )?;
    }
}

/// Gives up what a taken-over process could misuse: core dumps hold photos, and nothing here ever writes a file.
fn confine() -> rustix::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Cpu, CPU_SECONDS)
}

fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let maximum = rustix::process::getrlimit(resource).maximum;
    let current = Some(maximum.map_or(most, |maximum| maximum.min(most)));
    setrlimit(resource, Rlimit { current, maximum })
}

fn read(file: &File) -> Option<Tags> {
    // Through /proc the file is opened anew: its position is nobody else's.
    let metadata =
        rexiv2::Metadata::new_from_path(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let mut tags = Tags::default();
    let (exif, xmp, iptc) = (metadata.has_exif(), metadata.has_xmp(), metadata.has_iptc());
    for &tag in Tag::ALL {
        let key = tag.key();
        let asked = match key.as_bytes().first() {
            Some(b'E') => exif,
            Some(b'X') => xmp,
            Some(b'I') => iptc,
            _ => false,
        };
        // Only Apple's maker note holds something of interest, and the others are long.
        if !asked || tag == Tag::MakerNote && tags.text(Tag::Make).as_deref() != Some("Apple") {
            continue;
        }
        if let Ok(value) = metadata.get_tag_string(key) {
            tags.add(tag, value.as_bytes());
        }
    }
    for (tag, side) in [
        (Tag::Width, metadata.get_pixel_width()),
        (Tag::Height, metadata.get_pixel_height()),
    ] {
        if side > 0 {
            tags.add(tag, side.to_string().as_bytes());
        }
    }
    Some(tags)
}
