//! The journey of a photo: from a name in the inbox to a durable original, in one function.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use smol::{Timer, unblock};

use super::decide::{Decision, ReadFile, decide};
use super::kind::{self, Told};
use super::shot::sidecar_by_name;
use super::{Fate, Line, Reader, Report};
use crate::asset::{Asset, AssetId, Left, LeftBecause};
use crate::config::Clear;
use crate::disk::{self, Cleared, DiskError, Held, Hold, Kept, Placing, Snapshot, Source};
use crate::ledger::{Change, LedgerError, Outcome, Shot, Verdict};

/// How often, and how long apart, a ledger that fails is asked again to finish a photo that is placed.
const FINISH_RETRIES: u32 = 3;
const FINISH_PAUSE: Duration = Duration::from_secs(1);

/// One file under our hands, with all that is known of it.
struct Read {
    /// `None` only while it is in the hands of a blocking thread.
    held: Option<Held>,
    file: ReadFile,
}

/// Takes the files of one shot all the way. Every file gets a fate; no error of one keeps another.
pub(super) async fn file_shot(line: &Arc<Line>, files: Vec<(PathBuf, Snapshot)>) -> Vec<Report> {
    // settle, the last word: nobody has it open for writing; read: SHA-256 and metadata; decide: what belongs together,
    // when it was taken, where it goes; or why it stays.
    let looked = {
        let _turn = line.readers.acquire().await;
        let line = Arc::clone(line);
        unblock(move || read_and_decide(&line, files)).await
    };
    let mut reports = Vec::new();
    for not_read in looked.others {
        reports.push(not_read.told(line).await);
    }
    let mut read: Vec<Option<Read>> = looked.read.into_iter().map(Some).collect();
    let decisions = match looked.decisions {
        Ok(decisions) => decisions,
        Err(error) => {
            reports.extend(read.iter().flatten().map(|one| one.report(put_off(&error))));
            return reports;
        }
    };
    for decision in decisions {
        match decision {
            Decision::Stay { file, why, reason } => {
                if let Some(one) = read.get_mut(file).and_then(Option::take) {
                    let fate = leave(line, &one.file, why, reason).await;
                    reports.push(one.report(fate));
                }
            }
            Decision::File { shot, files } => {
                let members = files
                    .into_iter()
                    .filter_map(|file| read.get_mut(file)?.take())
                    .collect();
                reports.extend(place_shot(line, shot, members).await);
            }
        }
    }
    reports
}

/// Intent in the ledger, place in Originals, finish in the ledger, and only then clear the inbox name.
async fn place_shot(line: &Arc<Line>, shot: Shot, members: Vec<Read>) -> Vec<Report> {
    let verdicts = match line.desk.ask(Change::Intend(shot)).await {
        Ok(Outcome::Intended(verdicts)) => verdicts,
        Ok(Outcome::Done) => Vec::new(),
        Err(error) => {
            return members
                .iter()
                .map(|one| one.report(put_off(&*error)))
                .collect();
        }
    };
    let mut reports = Vec::new();
    for (mut one, verdict) in members.into_iter().zip(verdicts) {
        let fate = match verdict {
            Verdict::InFlight => {
                Fate::Unsettled("the same photo is being filed at this moment".to_owned())
            }
            Verdict::New(asset) => file_new(line, &mut one, asset).await,
            Verdict::Known(asset) => absorb_duplicate(line, &mut one, asset).await,
        };
        reports.push(one.report(fate));
    }
    reports
}

async fn file_new(line: &Arc<Line>, one: &mut Read, asset: Asset) -> Fate {
    let kept = match place(line, one, &asset).await {
        Ok(kept) => kept,
        Err(error) => {
            if let Err(ledger) = line.desk.ask(Change::Withdraw(asset.id)).await {
                log::warn!(
                    "{}: {ledger}; it is put right at the next start",
                    one.file.path.display()
                );
            }
            return refuse(line, &one.file, &error).await;
        }
    };
    if let Err(error) = finish(line, asset.id).await {
        // Unknown whether it was written: the inbox name stays, and the next start finds the intent.
        return put_off(&*error);
    }
    clear(line, one, kept, &asset).await;
    Fate::Filed(Box::new(asset))
}

/// Finishes in the ledger. A ledger that fails is asked again: it reopens its file, and the photo already stands.
async fn finish(line: &Line, id: AssetId) -> Result<(), Arc<LedgerError>> {
    let mut asked = 0;
    loop {
        match line.desk.ask(Change::Finish(id)).await {
            Ok(_) => return Ok(()),
            Err(error) if asked == FINISH_RETRIES => return Err(error),
            Err(error) => log::warn!("{error}"),
        }
        asked += 1;
        Timer::after(FINISH_PAUSE).await;
    }
}

async fn absorb_duplicate(line: &Arc<Line>, one: &mut Read, asset: Asset) -> Fate {
    let compared = {
        let asset = asset.clone();
        let _turn = line.placers.acquire().await;
        one.with_held(line, move |line, held| line.vault.compare(held, &asset))
            .await
    };
    let kept = match compared {
        Ok(Some(kept)) => kept,
        Ok(None) if line.vault.is_free(&asset.final_path) => {
            log::warn!(
                "{} was missing and is put back from {}",
                asset.final_path.display(),
                one.file.path.display()
            );
            match place(line, one, &asset).await {
                Ok(kept) => kept,
                Err(error) => return refuse(line, &one.file, &error).await,
            }
        }
        Ok(None) => {
            let reason = format!(
                "the ledger knows these bytes as {}, but that file has other bytes now: compare the two and keep the good one",
                asset.final_path.display()
            );
            return leave(line, &one.file, LeftBecause::Unreadable, reason).await;
        }
        Err(error) => return refuse(line, &one.file, &error).await,
    };
    clear(line, one, kept, &asset).await;
    Fate::Duplicate(Box::new(asset))
}

async fn place(line: &Arc<Line>, one: &mut Read, asset: &Asset) -> Result<Kept, DiskError> {
    let placing = if line.clear == Clear::Always {
        Placing::LinkOrCopy
    } else {
        Placing::Copy
    };
    let asset = asset.clone();
    let _turn = line.placers.acquire().await;
    one.with_held(line, move |line, held| {
        line.vault.place(held, &asset, placing)
    })
    .await
}

/// Clears the inbox name against the proof that its bytes are kept, if the owner wants names cleared; else makes sure that
/// what is done to the file that stays does not reach the original.
async fn clear(line: &Arc<Line>, one: &mut Read, kept: Kept, asset: &Asset) {
    let stays = match line.clear {
        Clear::Never => Some("it stays because [inbox] clear is `never`; it is kept as well"),
        Clear::Safe => Some(
            "it stays because [inbox] clear is `safe` and it is not known that the phone keeps its copy; it is kept as well",
        ),
        Clear::Always => None,
    };
    let turn = line.placers.acquire().await;
    let cleared = one
        .with_held(line, move |line, held| match stays {
            Some(_) => line.vault.part_from(held, &kept).map(|()| None),
            None => line.source.clear(held, &kept, &line.vault).map(Some),
        })
        .await;
    drop(turn);
    match (cleared, stays) {
        (Ok(Some(Cleared::Cleared)), _) => {}
        (Ok(Some(Cleared::Changed)), _) => {
            log::info!(
                "{} was changed after it was filed; its new content is taken by itself",
                one.file.path.display()
            );
            line.look_again(&one.file.path, line.config.settle);
        }
        (Ok(None), reason) => {
            let reason = reason.unwrap_or_default().to_owned();
            leave(line, &one.file, LeftBecause::Kept(asset.id), reason).await;
        }
        (Err(error), _) => {
            let kept = asset.final_path.display();
            log::warn!("{error}; the photo itself is kept as {kept}");
            // Tried again with the next look at everything, or the next pass.
            line.note_stays(&one.file.path);
            let reason = format!("{error}; the photo itself is kept as {kept}");
            leave(line, &one.file, LeftBecause::Unreadable, reason).await;
        }
    }
}

impl Read {
    fn report(&self, fate: Fate) -> Report {
        Report {
            path: self.file.path.clone(),
            size: self.file.size,
            fate,
        }
    }

    /// Does blocking work on the held file, on a thread of the blocking pool.
    async fn with_held<T: Send + 'static>(
        &mut self,
        line: &Arc<Line>,
        work: impl FnOnce(&Line, &mut Held) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let lost = DiskError::lost(&self.file.path);
        let Some(mut held) = self.held.take() else {
            return Err(lost);
        };
        let line = Arc::clone(line);
        let (held, done) = unblock(move || {
            let done = work(&line, &mut held);
            (held, done)
        })
        .await;
        self.held = Some(held);
        done
    }
}

/// What reading the files of one shot gave.
struct LookedAt {
    read: Vec<Read>,
    /// About `read`, by index.
    decisions: Result<Vec<Decision>, LedgerError>,
    others: Vec<NotRead>,
}

/// A file that goes no further.
struct NotRead {
    file: ReadFile,
    outcome: Result<Looked, DiskError>,
}

impl NotRead {
    async fn told(self, line: &Arc<Line>) -> Report {
        let (path, size) = (self.file.path.clone(), self.file.size);
        let fate = match self.outcome {
            Ok(Looked::NotMedia(file, reason)) => {
                leave(line, &file, LeftBecause::NotMedia, with_way_out(reason)).await
            }
            Ok(Looked::Unsettled(reason)) => Fate::Unsettled(reason.to_owned()),
            Ok(Looked::Gone | Looked::Read(..)) => Fate::Gone,
            Err(error) => refuse(line, &self.file, &error).await,
        };
        Report { path, size, fate }
    }
}

/// Reads every file of a shot and decides about them. Blocks.
fn read_and_decide(line: &Line, files: Vec<(PathBuf, Snapshot)>) -> LookedAt {
    let mut read = Vec::new();
    let mut others = Vec::new();
    for (path, state) in files {
        match read_file(&line.source, &line.reader, &path, Some(&state), &line.halt) {
            Ok(Looked::Read(held, file)) => read.push(Read {
                held: Some(held),
                file,
            }),
            outcome => others.push(NotRead {
                file: ReadFile::unread(&path),
                outcome,
            }),
        }
    }
    let is_sidecar =
        |file: &ReadFile| sidecar_by_name(file.path.file_name().unwrap_or_default()).is_some();
    let photo_moves = |other: &NotRead| {
        matches!(other.outcome, Ok(Looked::Unsettled(_))) && !is_sidecar(&other.file)
    };
    if others.iter().any(photo_moves) {
        // Or it would go to an earlier photo of that name.
        let waits = read.extract_if(.., |one| is_sidecar(&one.file));
        others.extend(waits.map(|one| NotRead {
            file: one.file,
            outcome: Ok(Looked::Unsettled("its photo is not at rest yet")),
        }));
    }
    let files: Vec<ReadFile> = read.iter().map(|one| one.file.clone()).collect();
    let decisions = decide(&files, Some(&line.ledger), (line.now)(), &line.config.zone);
    LookedAt {
        read,
        decisions,
        others,
    }
}

/// What the owner may do about a file that is no photo, where the reason doesn't say it.
fn with_way_out(reason: String) -> String {
    if reason.contains(';') {
        return reason;
    }
    reason + "; move it out of the inbox, or name it in [inbox] ignore"
}

/// What a look at one file gave.
pub enum Looked {
    /// It was read.
    Read(Held, ReadFile),
    /// It is no photo, video or sidecar: why.
    NotMedia(ReadFile, String),
    /// It is not at rest: why.
    Unsettled(&'static str),
    /// It is gone, or no regular file.
    Gone,
}

/// Holds a file and reads it: what it is, its SHA-256 in one sequential pass, its metadata. `settled` is the state in which
/// it was seen at rest, where it was watched. Blocks.
pub fn read_file(
    source: &Source,
    reader: &Reader,
    path: &Path,
    settled: Option<&Snapshot>,
    halt: &AtomicBool,
) -> Result<Looked, DiskError> {
    let held = match source.hold(path)? {
        Hold::Held(held) => held,
        Hold::BeingWritten => {
            return Ok(Looked::Unsettled("another program has it open for writing"));
        }
        Hold::Gone | Hold::NotAFile => return Ok(Looked::Gone),
    };
    if settled.is_some_and(|settled| settled != held.seen()) {
        return Ok(Looked::Unsettled("it changed since it was at rest"));
    }
    let name = path.file_name().unwrap_or_default();
    let size = held.seen().size;
    let mut file = ReadFile::unread(path);
    file.size = size;
    file.mtime = Timestamp::from_nanosecond(held.seen().mtime_ns.into()).unwrap_or_default();
    let start = disk::head::<{ kind::HEAD }>(held.file()).map_err(DiskError::io("read", path))?;
    file.told = kind::tell(&start, name);
    file.metadata = match &file.told {
        Told::NotMedia(reason) => {
            let reason = reason.clone();
            return Ok(Looked::NotMedia(file, reason));
        }
        Told::Media(kind) => reader.read(held.file(), size, *kind, name),
        Told::Sidecar(kind) => reader.read_sidecar(held.file(), size, *kind, name),
    };
    file.file_hash = match disk::hash(held.file(), size, halt) {
        Ok(hash) => hash,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            return Ok(Looked::Unsettled("the program is stopping"));
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Looked::Unsettled("it became shorter while it was read"));
        }
        Err(error) => return Err(DiskError::io("read", path)(error)),
    };
    if !held.is_undisturbed() {
        return Ok(Looked::Unsettled("it changed while it was read"));
    }
    Ok(Looked::Read(held, file))
}

/// A disk that refuses: what may be different in a moment is tried again, the rest is a problem for the owner.
async fn refuse(line: &Arc<Line>, file: &ReadFile, error: &DiskError) -> Fate {
    match error.source.kind() {
        // Other: it changed under our hands; already exists: a stranger took the name in Originals; interrupted: we stop.
        io::ErrorKind::Other | io::ErrorKind::AlreadyExists | io::ErrorKind::Interrupted => {
            Fate::Unsettled(error.to_string())
        }
        _ => leave(line, file, LeftBecause::Unreadable, error.to_string()).await,
    }
}

/// Records that a file stays in the inbox, unless that is recorded already.
pub(super) async fn leave(
    line: &Arc<Line>,
    file: &ReadFile,
    why: LeftBecause,
    reason: String,
) -> Fate {
    let mtime_ns = i64::try_from(file.mtime.as_nanosecond()).unwrap_or_default();
    let left = Left {
        inbox_path: file.path.clone(),
        size: file.size,
        mtime_ns,
        why,
        reason: reason.clone(),
        since: (line.now)(),
    };
    let known = {
        let (ledger, left) = (Arc::clone(&line.ledger), left.clone());
        unblock(move || {
            ledger.left(&left.inbox_path).is_ok_and(|row| {
                row.is_some_and(|row| {
                    Left {
                        since: left.since,
                        ..row
                    } == left
                })
            })
        })
        .await
    };
    if line.is_inbox && !known {
        log::info!("{} stays in the inbox: {reason}", file.path.display());
        if let Err(error) = line.desk.ask(Change::Leave(left)).await {
            log::warn!("{}: {error}", file.path.display());
        }
    }
    Fate::Left(why, reason)
}

fn put_off(error: &dyn std::error::Error) -> Fate {
    Fate::PutOff(error.to_string())
}
