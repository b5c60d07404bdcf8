//! What is known of Storage without asking it: its last answer, the work on it that is under way, the room that is
//! promised. No I/O and no lock held over any: the page reads it while the disk hangs.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smol::channel::{Receiver, Sender};

use super::space::Space;

/// A question to Storage that takes longer was not answered; a sleeping disk may need this long to spin up.
pub(super) const QUESTION: Duration = Duration::from_secs(15);

/// Work on Storage may take this long, and …
const WORK: Duration = Duration::from_secs(30);

/// … a second for so many bytes.
const SLOWEST: u64 = 1024 * 1024;

/// A disk that said "full" while its numbers left room (a quota, or blocks of its own) is tried again after this time.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Why Storage can't be used now: whole sentences for the owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unusable {
    /// It is not there, is another disk, or can't be written.
    Away(String),
    /// There is no room.
    Full(String),
}

impl Unusable {
    /// One word, for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::Full(_) => "full",
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(sentence) | Self::Full(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for Unusable {}

/// How Storage stands, as far as is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It was not asked yet.
    NotAsked,
    /// It is there, and takes photos.
    Here,
    /// It can't be used.
    Unusable(Unusable),
    /// It was asked, or work on it was begun, so long ago, and there is no answer.
    Silent(Duration),
}

/// What is known of Storage. Shared; every call returns at once.
#[derive(Debug)]
pub struct Watch {
    known: Mutex<Known>,
    changed: (Sender<()>, Receiver<()>),
}

#[derive(Debug, Default)]
struct Known {
    answer: Option<Result<Space, Unusable>>,
    /// Questions and work, by a number of their own: since when, and how long they may take.
    under_way: HashMap<u64, (Instant, Duration)>,
    next_number: u64,
    last_work: Option<Instant>,
    /// Bytes of the copies under way that are not written yet.
    promised: u64,
    /// Files that were held back for lack of room: the smallest need, and what was said.
    held_back: Option<(u64, String)>,
    /// The disk said "full" by itself: the room it had then, if it said, when, and what was said.
    refused: Option<(Option<Space>, Instant, String)>,
    /// How often work may have been interrupted, and up to which time that was put right.
    interruptions: u64,
    recovered: u64,
}

/// Work on Storage that is under way; dropped when it ends.
#[derive(Debug)]
pub(super) struct AtWork {
    watch: Arc<Watch>,
    number: u64,
}

/// Room promised to one copy, given back as it is written, and at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct Promise {
    watch: Arc<Watch>,
    left: u64,
}

impl Watch {
    pub(super) fn new() -> Self {
        let known = Known {
            // An earlier run's.
            interruptions: 1,
            ..Known::default()
        };
        Self {
            known: Mutex::new(known),
            changed: smol::channel::bounded(1),
        }
    }

    /// How Storage stands at the time `now`.
    pub fn standing(&self, now: Instant) -> Standing {
        let known = self.known();
        if let Some(since) = known.silent_since(now) {
            return Standing::Silent(now.duration_since(since));
        }
        match &known.answer {
            None => Standing::NotAsked,
            Some(Err(unusable)) => Standing::Unusable(unusable.clone()),
            Some(Ok(_)) => Standing::Here,
        }
    }

    /// Why files wait for room, if any do.
    pub fn full(&self) -> Option<String> {
        let known = self.known();
        let refused = known.refused.as_ref().map(|(_, _, said)| said.clone());
        refused.or_else(|| known.held_back.as_ref().map(|(_, said)| said.clone()))
    }

    /// What the disk said last of its room; `None`: it is not there.
    pub fn space(&self) -> Option<Space> {
        self.known().space().copied()
    }

    /// Nothing is held back any more, as far as is known: what still is notes itself at the next look at it.
    pub fn forget_held_back(&self) {
        self.known().held_back = None;
    }

    /// Whether `bytes` more may be copied there now; else why not, and the need is remembered. 0 bytes: a link.
    pub fn may_take(&self, bytes: u64, now: Instant) -> Result<(), Unusable> {
        let mut known = self.known();
        let space = match &known.answer {
            Some(Ok(space)) => *space,
            Some(Err(unusable)) => return Err(unusable.clone()),
            None => return Err(Unusable::Away("Storage was not looked at yet.".to_owned())),
        };
        if let Some(said) = known.refusal(now) {
            return Err(Unusable::Full(said));
        }
        known.room(&space, bytes)
    }

    /// Resolves when Storage came, went, or has room again for what waits. For one listener.
    pub async fn changed(&self) {
        self.changed.1.recv().await.unwrap_or_default();
    }

    /// Wakes whoever waits for a change.
    pub fn notify(&self) {
        // Full: it is being woken already.
        self.changed.0.try_send(()).unwrap_or_default();
    }

    /// Whether work may have been interrupted: it is put right before anything new is begun.
    pub fn is_interrupted(&self) -> bool {
        let known = self.known();
        known.interruptions != known.recovered
    }

    /// Notes work that was left unfinished: it is looked at again when all is well.
    pub fn note_interrupted(&self) {
        self.known().interruptions += 1;
        self.notify();
    }

    /// How often work may have been interrupted by now: for [`Watch::note_recovered`].
    pub fn interruptions(&self) -> u64 {
        self.known().interruptions
    }

    /// What was interrupted is put right, up to the interruption of this number.
    pub fn note_recovered(&self, interruptions: u64) {
        self.known().recovered = interruptions;
    }

    /// Begins work on `bytes`.
    pub(super) fn work(self: &Arc<Self>, bytes: u64) -> AtWork {
        self.begin(WORK + Duration::from_secs(bytes / SLOWEST))
    }

    /// Begins a question or work that should not take longer than `patience`.
    pub(super) fn begin(self: &Arc<Self>, patience: Duration) -> AtWork {
        let mut known = self.known();
        let number = known.next_number;
        known.next_number += 1;
        known.under_way.insert(number, (Instant::now(), patience));
        AtWork {
            watch: Arc::clone(self),
            number,
        }
    }

    /// Whether nothing was done on Storage for so long.
    pub(super) fn rested_for(&self, rest: Duration) -> bool {
        let known = self.known();
        known.under_way.is_empty() && known.last_work.is_none_or(|at| at.elapsed() >= rest)
    }

    /// Stores what Storage answered. Returns whether that is something new.
    pub(super) fn answered(&self, answer: Result<Space, Unusable>) -> bool {
        let mut known = self.known();
        let now = Instant::now();
        let changed = match (&known.answer, &answer) {
            (Some(Ok(_)), Ok(_)) => false,
            (before, answer) => before.as_ref() != Some(answer),
        };
        if answer.is_err() {
            known.interruptions += 1;
        }
        known.answer = Some(answer);
        let has_room = known.has_room_again(now);
        drop(known);
        if changed || has_room {
            self.notify();
        }
        changed
    }

    /// Promises room for a copy of `bytes` after a fresh look at the room, or says why there is none.
    pub(super) fn promise(
        self: &Arc<Self>,
        space: &Space,
        bytes: u64,
    ) -> Result<Promise, Unusable> {
        let mut known = self.known();
        if let Some(Ok(answer)) = &mut known.answer {
            *answer = *space;
        }
        known.room(space, bytes)?;
        known.promised += bytes;
        Ok(Promise {
            watch: Arc::clone(self),
            left: bytes,
        })
    }

    /// The disk said "full" though there seemed to be room.
    pub(super) fn note_refused(&self, space: Option<Space>, said: &str) {
        let before = self
            .known()
            .refused
            .replace((space, Instant::now(), said.to_owned()));
        if before.is_none() {
            self.notify();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn silent_since(&self, now: Instant) -> Option<Instant> {
        self.under_way
            .values()
            .filter(|(since, patience)| now.duration_since(*since) > *patience)
            .map(|(since, _)| *since)
            .min()
    }

    fn space(&self) -> Option<&Space> {
        self.answer.as_ref()?.as_ref().ok()
    }

    fn room(&mut self, space: &Space, bytes: u64) -> Result<(), Unusable> {
        let Some(said) = space.lacks(self.promised, bytes) else {
            return Ok(());
        };
        let is_smallest = self
            .held_back
            .as_ref()
            .is_none_or(|(least, _)| bytes <= *least);
        if is_smallest {
            self.held_back = Some((bytes, said.clone()));
        }
        Err(Unusable::Full(said))
    }

    fn refusal(&self, now: Instant) -> Option<String> {
        let space = self.space()?;
        let (then, at, said) = self.refused.as_ref()?;
        // Bytes or inodes: it need not say which of them it lacked.
        let has_more = space.has_more_than(then.as_ref());
        let still = !has_more && now.duration_since(*at) < REFUSED_FOR;
        still.then(|| said.clone())
    }

    /// Whether what waited for room may go on; then it waits no more.
    fn has_room_again(&mut self, now: Instant) -> bool {
        let Some(space) = self.space().copied() else {
            return false;
        };
        let mut goes_on = false;
        if self.refused.is_some() && self.refusal(now).is_none() {
            self.refused = None;
            goes_on = true;
        }
        if let Some((least, _)) = &self.held_back
            && space.lacks(self.promised, *least).is_none()
        {
            self.held_back = None;
            goes_on = true;
        }
        goes_on
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut known = self.watch.known();
        let now = Instant::now();
        let was_silent = known.silent_since(now).is_some();
        known.under_way.remove(&self.number);
        known.last_work = Some(now);
        let answers_again = was_silent && known.silent_since(now).is_none();
        drop(known);
        if answers_again {
            self.watch.notify();
        }
    }
}

impl Promise {
    /// So many of the promised bytes are written: the disk counts them itself from now on.
    pub(super) fn written(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        let mut known = self.watch.known();
        known.promised = known.promised.saturating_sub(bytes);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.written(self.left);
    }
}
