//! Which names are left alone, and when a file has come to rest. Pure decisions.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::asset::is_litter;
use crate::disk::Snapshot;

/// Why a name is passed over without a look at its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PassedOver {
    /// Somebody is still writing it under a temporary name.
    Temporary,
    /// It belongs to a system or a program: Syncthing, a NAS, a desktop.
    Litter,
    /// The owner's `ignore` setting names it.
    Ignored,
}

impl PassedOver {
    /// The reason, for the owner.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Temporary => "a temporary name: it is taken once it has its final one",
            Self::Litter => "belongs to the system or to another program, no photo",
            Self::Ignored => "the [inbox] ignore setting names it",
        }
    }
}

/// Whether a file or folder of this name is left alone, and why. `ignore` holds patterns in which `*` stands for anything.
pub fn passed_over(name: &OsStr, ignore: &[String]) -> Option<PassedOver> {
    let lower = name.as_bytes().to_ascii_lowercase();
    if is_temporary(&lower) {
        return Some(PassedOver::Temporary);
    }
    if is_litter(name) {
        return Some(PassedOver::Litter);
    }
    ignore
        .iter()
        .any(|pattern| matches(pattern.to_lowercase().as_bytes(), &lower))
        .then_some(PassedOver::Ignored)
}

fn is_temporary(lower: &[u8]) -> bool {
    let syncthing = lower.starts_with(b".syncthing.") || lower.starts_with(b"~syncthing~");
    let endings: [&[u8]; 6] = [
        b".tmp",
        b".part",
        b".partial",
        b".crdownload",
        b".download",
        b".filepart",
    ];
    // Android's media store writes under `.pending-EXPIRY-NAME`.
    syncthing
        || lower.starts_with(b".pending-")
        || endings.iter().any(|ending| lower.ends_with(ending))
}

/// Matches a whole name against a pattern in which `*` stands for any run of bytes and `?` for one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name, mut star) = (0, 0, None);
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(&byte) if byte == b'?' || Some(&byte) == name.get(in_name) => {
                at += 1;
                in_name += 1;
            }
            _ => {
                // Let the last star take one byte more; without a star there is no match.
                let Some((star_at, taken)) = star else {
                    return false;
                };
                at = star_at + 1;
                in_name = taken + 1;
                star = Some((star_at, taken + 1));
            }
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
}

/// How long one file that never comes to rest may hold up the others of its shot, and one pass.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen of a file that has not come to rest.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its state.
    pub state: Snapshot,
    /// Since when it has been in that state, as far as we know.
    pub since: Instant,
}

impl Seen {
    /// Takes a new look: the time of rest starts anew with every change.
    pub fn look(previous: Option<&Self>, state: Snapshot, now: Instant) -> Self {
        match previous {
            Some(seen) if seen.state == state => *seen,
            _ => Self { state, since: now },
        }
    }

    /// When the file will have been at rest for long enough.
    pub fn rests_at(&self, settle: Duration) -> Instant {
        self.since + settle
    }
}

/// The files of one shot, by whether they may go.
#[derive(Debug)]
pub struct Divided {
    /// At rest, with the state they rest in.
    pub resting: Vec<(OsString, Snapshot)>,
    /// To be looked at again.
    pub moving: Vec<(OsString, Seen)>,
}

/// The wall clock, watched for jumps (P10). One that jumps ahead makes what was written a moment ago look years old: for as long
/// as a file must rest, only what we saw ourselves counts then.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// The two clocks, read together.
    read: (Instant, Timestamp),
    doubted_until: Option<Instant>,
}

impl WallClock {
    /// The clocks as they stand.
    pub fn new(now: Instant, wall: Timestamp) -> Self {
        Self {
            read: (now, wall),
            doubted_until: None,
        }
    }

    /// The wall clock's reading, unless it moved otherwise than the monotonic clock within the last `settle`.
    pub fn trusted(
        &mut self,
        now: Instant,
        wall: Timestamp,
        settle: Duration,
    ) -> Option<Timestamp> {
        let (then, wall_then) = self.read;
        let passed = SignedDuration::try_from(now.duration_since(then));
        let moved = wall.duration_since(wall_then) - passed.unwrap_or(SignedDuration::MAX);
        // Time services slew by less than a thousandth.
        let most = (settle / 2).max(Duration::from_millis(500));
        if moved.unsigned_abs() > most {
            self.doubted_until = Some(now + settle);
        }
        self.read = (now, wall);
        self.doubted_until
            .is_none_or(|end| now > end)
            .then_some(wall)
    }
}

/// The moment of a look, and how long a file must have been at rest by then.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// The monotonic clock's reading.
    pub now: Instant,
    /// The wall clock's reading; `None`: it says nothing about the times of files, for it just jumped, or another
    /// machine's clock made them.
    pub wall: Option<Timestamp>,
    /// How long a file must be at rest.
    pub settle: Duration,
}

impl Rest {
    /// Divides the files of one shot into those that may go and those that wait. All of a shot go together, but a file
    /// that does not come to rest does not hold up the others for ever.
    pub fn divide(
        &self,
        files: impl Iterator<Item = (OsString, Snapshot)>,
        seen_before: &HashMap<OsString, Seen>,
    ) -> Divided {
        let is_moving = |(_, seen): &(OsString, Seen)| {
            let is_at_rest = |wall| is_at_rest(&seen.state, wall, self.settle);
            self.now < seen.rests_at(self.settle) && !self.wall.is_some_and(is_at_rest)
        };
        let looked = files.map(|(name, state)| {
            let seen = Seen::look(seen_before.get(&name), state, self.now);
            (name, seen)
        });
        let (moving, mut resting): (Vec<_>, Vec<_>) = looked.partition(is_moving);
        let has_waited =
            |(_, seen): &(OsString, Seen)| self.now.duration_since(seen.since) > PATIENCE;
        if !moving.is_empty() && !resting.iter().any(has_waited) {
            resting.extend(moving);
            return Divided {
                resting: Vec::new(),
                moving: resting,
            };
        }
        let resting = resting
            .into_iter()
            .map(|(name, seen)| (name, seen.state))
            .collect();
        Divided { resting, moving }
    }
}

/// Whether a file's own times say that it has been at rest for longer than `settle`: then it need not be watched first.
///
/// The change time is the kernel's and moves with every write and rename, so an old mtime that a copy brought along
/// does not count as rest. Times in the future (a clock that was set back) say nothing.
pub fn is_at_rest(state: &Snapshot, now: Timestamp, settle: Duration) -> bool {
    let now_ns = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
    let settle_ns = i64::try_from(settle.as_nanos()).unwrap_or(i64::MAX);
    let rested = |at: i64| at <= now_ns && now_ns.saturating_sub(at) > settle_ns;
    // A camera's mtime may well lie in the future; the change time may not.
    rested(state.ctime_ns) && (rested(state.mtime_ns) || state.mtime_ns > now_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_passed(name: &str) -> Option<PassedOver> {
        passed_over(
            OsStr::new(name),
            &["*.pdf".to_owned(), "proof?.jpg".to_owned()],
        )
    }

    #[test]
    fn syncthings_names_and_the_systems_litter_are_left_alone() {
        for name in [
            ".syncthing.IMG_1.jpg.tmp",
            "~syncthing~IMG_1.jpg.tmp",
            ".pending-1706702096-IMG_1.jpg",
            "a.jpg.part",
        ] {
            assert_eq!(is_passed(name), Some(PassedOver::Temporary), "{name}");
        }
        for name in [
            ".stfolder",
            ".stignore",
            ".stversions",
            "@eaDir",
            "Thumbs.db",
            ".DS_Store",
            "._IMG_1.jpg",
            ".Trash-1000",
            "#recycle",
            "lost+found",
            "x.syncthing-enc",
            "Desktop.ini",
        ] {
            assert_eq!(is_passed(name), Some(PassedOver::Litter), "{name}");
        }
        for name in [
            "IMG_1.sync-conflict-20240131-120000-ABCDEFG.jpg",
            "tmp.jpg",
            "IMG_1.JPG",
            "-rf.jpg",
        ] {
            assert_eq!(is_passed(name), None, "{name}");
        }
    }

    #[test]
    fn the_owners_patterns_match_whole_names_in_any_case() {
        assert_eq!(is_passed("Bill.PDF"), Some(PassedOver::Ignored));
        assert_eq!(is_passed("proof1.jpg"), Some(PassedOver::Ignored));
        assert_eq!(is_passed("proof12.jpg"), None);
        assert_eq!(is_passed("a.pdf.jpg"), None);
    }

    #[test]
    fn a_file_rests_when_its_change_time_is_old_even_with_an_mtime_from_the_future() {
        let now = Timestamp::from_second(1_000_000).expect("in range");
        let second = 1_000_000_000_i64;
        let state = |mtime: i64, ctime: i64| Snapshot {
            device: (0, 0),
            inode: 1,
            size: 1,
            mtime_ns: mtime * second,
            ctime_ns: ctime * second,
        };
        let settle = Duration::from_secs(3);
        assert!(is_at_rest(&state(10, 999_990), now, settle));
        assert!(is_at_rest(&state(2_000_000, 999_990), now, settle));
        assert!(
            !is_at_rest(&state(10, 999_998), now, settle),
            "renamed two seconds ago"
        );
        assert!(
            !is_at_rest(&state(10, 2_000_000), now, settle),
            "the clock was set back"
        );
    }

    #[test]
    fn p10_a_wall_clock_that_jumps_is_not_trusted_until_files_have_been_seen_at_rest() {
        let (start, settle) = (Instant::now(), Duration::from_secs(3));
        let after = |seconds| start + Duration::from_secs(seconds);
        let wall = |seconds| Timestamp::from_second(1_700_000_000 + seconds).expect("in range");
        let mut clock = WallClock::new(start, wall(0));
        assert_eq!(clock.trusted(after(10), wall(10), settle), Some(wall(10)));
        let years = 2_000_000_000;
        for jump in [years, -years] {
            let mut clock = clock;
            let mut at = |seconds| {
                clock
                    .trusted(
                        after(seconds),
                        wall(jump + i64::try_from(seconds).unwrap()),
                        settle,
                    )
                    .is_some()
            };
            assert!(!at(20), "it jumped by {jump} s");
            assert!(!at(22), "less than the settle time ago");
            assert!(at(24));
        }
        // A time service that slews it.
        assert!(clock.trusted(after(310), wall(310), settle).is_some());
    }

    #[test]
    fn a_shot_goes_together_but_does_not_wait_for_ever() {
        let start = Instant::now();
        let state = |size| Snapshot {
            device: (0, 0),
            inode: 1,
            size,
            mtime_ns: i64::MAX,
            ctime_ns: i64::MAX,
        };
        let at = |seconds| Rest {
            now: start + Duration::from_secs(seconds),
            wall: Some(Timestamp::UNIX_EPOCH),
            settle: Duration::from_secs(3),
        };
        let files = |size: u64| {
            [
                (OsString::from("a.heic"), state(1)),
                (OsString::from("a.mov"), state(size)),
            ]
            .into_iter()
        };
        let first = at(0).divide(files(1), &HashMap::new());
        assert_eq!((first.resting.len(), first.moving.len()), (0, 2));
        let seen: HashMap<_, _> = first.moving.into_iter().collect();
        let resting = |seconds, size| at(seconds).divide(files(size), &seen).resting;
        assert_eq!(resting(4, 1).len(), 2, "both at rest");
        assert_eq!(resting(4, 2).len(), 0, "the video still grows");
        assert_eq!(
            resting(90, 3)[0].0,
            "a.heic",
            "the still has waited long enough"
        );
    }

    #[test]
    fn every_change_starts_the_time_of_rest_anew() {
        let state = |size| Snapshot {
            device: (0, 0),
            inode: 1,
            size,
            mtime_ns: 0,
            ctime_ns: 0,
        };
        let start = Instant::now();
        let later = start + Duration::from_secs(2);
        let first = Seen::look(None, state(1), start);
        assert_eq!(Seen::look(Some(&first), state(1), later).since, start);
        assert_eq!(Seen::look(Some(&first), state(2), later).since, later);
    }
}
