//! The journey of a photo: from a name in the inbox to a durable original, in one function.

mod beside;
mod reading;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use smol::Timer;
use smol::future::FutureExt;

use super::decide::{Decision, ReadFile};
use super::{Fate, Line, Reader, Report};
use crate::asset::{Asset, AssetId, Left, LeftBecause, shown};
use crate::blocking::unblock;
use crate::config::Clear;
use crate::disk::{Cleared, Compared, DiskError, Held, Kept, Parted, Placing, Snapshot};
use crate::ledger::{Change, LedgerError, Outcome, Pairing, Shot, Verdict};
use reading::read_and_decide;

pub use reading::{Looked, read_file};

/// How often, and how long apart, a ledger that fails is asked again to finish a photo that is placed.
const FINISH_RETRIES: u32 = 3;
const FINISH_PAUSE: Duration = Duration::from_secs(1);

/// How often an original that shares its inode with the inbox file is looked after while the ledger takes its time. Well
/// below the time after which the kernel takes a lease away (`/proc/sys/fs/lease-break-time`, 45 s): a copy needs the rest.
const LOOK_AFTER: Duration = Duration::from_secs(2);

/// How often, and how long apart, Originals is looked at again where a descriptor lacked.
const SHORTAGE_RETRIES: u32 = 20;
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// One file under our hands, with all that is known of it.
struct Read {
    /// `None` only while it is in the hands of a blocking thread.
    held: Option<Held>,
    file: ReadFile,
    /// Why its name could not be cleared though it is kept.
    uncleared: Option<String>,
}

/// Takes the files of one shot all the way. Every file gets a fate; no error of one keeps another.
pub(super) async fn file_shot(line: &Arc<Line>, files: Vec<(PathBuf, Snapshot)>) -> Vec<Report> {
    // Storage may have gone since the shot was found: then nothing is read.
    let states = files.iter().map(|(path, state)| (path.clone(), state));
    if let Err(reason) = line.may_begin(states) {
        let report = |(path, state): &(PathBuf, Snapshot)| Report {
            path: path.clone(),
            size: state.size,
            fate: Fate::PutOff(reason.clone()),
            uncleared: None,
        };
        return files.iter().map(report).collect();
    }
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
            let waits = |one: &Read| one.report(put_off(line, &error));
            reports.extend(read.iter().flatten().map(waits));
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
    let verdicts = match intend(line, Change::Intend(shot.clone())).await {
        Ok(verdicts) => verdicts,
        Err(error) => {
            return members
                .iter()
                .map(|one| one.report(put_off(line, &error)))
                .collect();
        }
    };
    let mut reports = Vec::new();
    let mut to_compare = Vec::new();
    let mut leader = None;
    let mut leader_waits = None;
    for (index, (mut one, verdict)) in members.into_iter().zip(verdicts).enumerate() {
        if verdict == Verdict::Compare {
            to_compare.push((index, one));
            continue;
        }
        let is_new = matches!(verdict, Verdict::New(_));
        if let (0, Verdict::New(asset) | Verdict::Known(asset)) = (index, &verdict) {
            leader = Some(asset.id);
        }
        let fate = match (verdict, &leader_waits) {
            (Verdict::New(asset), Some(fate)) if follows(&shot, index) => {
                wait_with_leader(line, &one, &asset, fate).await
            }
            (verdict, _) => carry_out(line, &mut one, verdict).await,
        };
        match &fate {
            Fate::Filed(asset) if index == 0 => leader = Some(asset.id),
            fate if index == 0 && is_new => leader_waits = Some(fate.clone()),
            _ => {}
        }
        reports.push(one.report(fate));
    }
    if !to_compare.is_empty() {
        reports.extend(beside::place_beside(line, &shot, to_compare, leader).await);
    }
    reports
}

fn follows(shot: &Shot, index: usize) -> bool {
    shot.members
        .get(index)
        .is_some_and(|member| member.pairing == Pairing::Leader)
}

async fn intend(line: &Line, change: Change) -> Result<Vec<Verdict>, Arc<LedgerError>> {
    match line.desk.ask(change).await? {
        Outcome::Intended(verdicts) => Ok(verdicts),
        Outcome::Finished(_) | Outcome::Done => Ok(Vec::new()),
    }
}

async fn carry_out(line: &Arc<Line>, one: &mut Read, verdict: Verdict) -> Fate {
    match verdict {
        Verdict::InFlight | Verdict::Compare => {
            Fate::Unsettled("the same photo is being filed at this moment".to_owned())
        }
        Verdict::New(asset) => file_new(line, one, asset).await,
        Verdict::Known(asset) => absorb_duplicate(line, one, asset).await,
    }
}

/// The photo that this file belongs to could not be filed: alone it would lose the way to it, so it waits with it.
async fn wait_with_leader(line: &Arc<Line>, one: &Read, asset: &Asset, leader: &Fate) -> Fate {
    withdraw(line, asset).await;
    match leader {
        Fate::Left(why, reason) => {
            let reason = format!("it waits for the photo it belongs to: {reason}");
            leave(line, &one.file, *why, reason).await
        }
        other => other.clone(),
    }
}

async fn file_new(line: &Arc<Line>, one: &mut Read, mut asset: Asset) -> Fate {
    let mut kept = match place(line, one, &asset).await {
        Ok(kept) => kept,
        Err(error) => {
            take_back(line, &asset, &error).await;
            return refuse(line, &one.file, &error).await;
        }
    };
    match finish(line, one, &mut kept, &asset).await {
        Ok(id) => asset.id = id,
        Err(error) => {
            // Unknown whether it was written: the inbox name stays, and the intent is looked at when all is well.
            line.vault.watch().note_interrupted();
            return put_off(line, &error);
        }
    }
    clear(line, one, kept, &mut asset).await;
    Fate::Filed(Box::new(asset))
}

/// Takes back the intent of a photo that was not placed. Where the disk doesn't let us see that nothing stands at the name,
/// the intent stays, and is looked at when all is well.
async fn take_back(line: &Arc<Line>, asset: &Asset, error: &DiskError) {
    let is_strangers = error.source.kind() == io::ErrorKind::AlreadyExists;
    let is_free = is_strangers || is_surely_free(line, &asset.final_path).await;
    if is_free {
        withdraw(line, asset).await;
    } else {
        line.vault.watch().note_interrupted();
    }
}

/// Whether nothing stands there for certain. Where only a descriptor lacked, others give theirs back before long.
async fn is_surely_free(line: &Arc<Line>, path: &Path) -> bool {
    for _ in 0..SHORTAGE_RETRIES {
        let (vault, path) = (Arc::clone(&line.vault), path.to_owned());
        match unblock(move || vault.is_surely_free(&path)).await {
            Err(error) if error.is_shortage() => {}
            answer => return answer.unwrap_or(false),
        }
        Timer::after(SHORTAGE_PAUSE).await;
    }
    false
}

async fn withdraw(line: &Line, asset: &Asset) {
    if let Err(error) = line
        .desk
        .ask(Change::Withdraw(Box::new(asset.clone())))
        .await
    {
        log::warn!("{}: {error}", shown(&asset.inbox_path));
        line.vault.watch().note_interrupted();
    }
}

/// Finishes in the ledger, and gives the id of the row that holds it. The lease that keeps writers from the original lasts only so long after one knocked: whatever the
/// ledger is doing, the original is then made a file of its own.
async fn finish(
    line: &Arc<Line>,
    one: &mut Read,
    kept: &mut Kept,
    asset: &Asset,
) -> Result<AssetId, Arc<LedgerError>> {
    let mut asked = pin!(ask_to_finish(line, asset));
    loop {
        let done = async { Some(asked.as_mut().await) };
        let pause = async {
            Timer::after(LOOK_AFTER).await;
            None
        };
        if let Some(done) = done.or(pause).await {
            return done;
        }
        part_if_disturbed(line, one, kept).await;
    }
}

async fn part_if_disturbed(line: &Arc<Line>, one: &mut Read, kept: &mut Kept) {
    let is_disturbed = one.held.as_ref().is_some_and(|held| !held.is_undisturbed());
    if !kept.shares_inode() || !is_disturbed {
        return;
    }
    let mut parting = kept.clone();
    let parted = one
        .with_held(line, move |line, held| {
            line.vault.part_from(held, &mut parting)?;
            // Whoever waits to write goes on, if they still have to wait.
            held.let_go();
            Ok(parting)
        })
        .await;
    match parted {
        Ok(parted) => *kept = parted,
        // Tried again at the next look, and at the latest when the inbox name is cleared.
        Err(error) => log::warn!("{error}"),
    }
}

/// A ledger that fails is asked again: it reopens its file, and the photo already stands.
async fn ask_to_finish(line: &Line, asset: &Asset) -> Result<AssetId, Arc<LedgerError>> {
    let mut asked = 0;
    loop {
        match line.desk.ask(Change::Finish(Box::new(asset.clone()))).await {
            Ok(Outcome::Finished(id)) => return Ok(id),
            Ok(_) => return Ok(asset.id),
            Err(error) if asked == FINISH_RETRIES => return Err(error),
            Err(error) => log::warn!("{error}"),
        }
        asked += 1;
        Timer::after(FINISH_PAUSE).await;
    }
}

async fn absorb_duplicate(line: &Arc<Line>, one: &mut Read, mut asset: Asset) -> Fate {
    let compared = {
        let asset = asset.clone();
        let _turn = line.placers.acquire().await;
        one.with_held(line, move |line, held| line.vault.compare(held, &asset))
            .await
    };
    let original = shown(&asset.final_path);
    let reason = match compared {
        Ok(Compared::Kept(kept)) => {
            clear(line, one, kept, &mut asset).await;
            return Fate::Duplicate(Box::new(asset));
        }
        Ok(Compared::Missing) => return put_back(line, one, asset).await,
        Ok(Compared::Different) => format!(
            "the ledger knows these bytes as {original}, but what stands there has other bytes now: it was changed, or the \
             disk damaged it. To keep this copy, move {} to another folder: this one then takes its place by itself",
            shown(&line.vault.path().join(&asset.final_path))
        ),
        Ok(Compared::SameFile) => format!(
            "it is the very file that is kept as {original}: this folder of the inbox leads into Originals (a bind mount?), \
             and to clear it would be to lose the photo; take that folder out of the inbox"
        ),
        Err(error) => return refuse(line, &one.file, &error).await,
    };
    leave(line, &one.file, LeftBecause::Unreadable, reason).await
}

/// The ledger knows these bytes, but the original is gone: it is taken in again, in its old place.
async fn put_back(line: &Arc<Line>, one: &mut Read, mut asset: Asset) -> Fate {
    match place(line, one, &asset).await {
        Ok(kept) => {
            log::warn!(
                "{} was missing and is put back from {}",
                shown(&asset.final_path),
                shown(&one.file.path)
            );
            clear(line, one, kept, &mut asset).await;
            Fate::Restored(Box::new(asset))
        }
        Err(error) => refuse(line, &one.file, &error).await,
    }
}

async fn place(line: &Arc<Line>, one: &mut Read, asset: &Asset) -> Result<Kept, DiskError> {
    let placing = if line.clears() {
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
/// what is done to the file that stays does not reach the original. What went wrong joins the asset's errors, as it is told.
async fn clear(line: &Arc<Line>, one: &mut Read, mut kept: Kept, asset: &mut Asset) {
    let stays = match line.clear {
        Clear::Never => Some("it stays because [inbox] clear is `never`; it is kept as well"),
        Clear::Safe if line.clears() => None,
        Clear::Safe => Some(
            "it stays because [inbox] clear is `safe` and it is not known that the phone keeps its copy; it is kept as well",
        ),
        Clear::Always => None,
    };
    let turn = line.placers.acquire().await;
    let cleared = one
        .with_held(line, move |line, held| match stays {
            Some(_) => line
                .vault
                .part_from(held, &mut kept)
                .map(|parted| (parted == Parted::Overwritten).then_some(Cleared::Overwritten)),
            None => line.source.clear(held, &mut kept, &line.vault).map(Some),
        })
        .await;
    drop(turn);
    match (cleared, stays) {
        (Ok(Some(Cleared::Cleared)), _) => {}
        (Ok(Some(Cleared::Changed)), _) => {
            log::info!(
                "{} was changed after it was filed; its new content is taken by itself",
                shown(&one.file.path)
            );
            line.look_again(&one.file.path, line.config.settle);
        }
        (Ok(Some(Cleared::NotKept)), _) => {
            log::warn!(
                "{} went from its place just after it was filed: {} stays and is taken again",
                shown(&asset.final_path),
                shown(&one.file.path)
            );
            line.look_again(&one.file.path, line.config.settle);
        }
        (Ok(Some(Cleared::Overwritten)), _) => {
            let original = shown(&line.vault.path().join(&asset.final_path));
            let damage = format!(
                "another program wrote to {} while it was being filed and the ledger's disk did not answer, and so changed the original {original}: \
                 what the inbox holds now is taken as a new file; take the photo that was sent first from its phone or a backup once more \
                 (`photo-factory verify` tells how the original stands)",
                shown(&one.file.path)
            );
            log::error!("{damage}");
            asset.errors.push(damage);
            line.look_again(&one.file.path, line.config.settle);
        }
        (Ok(None), reason) => {
            let reason = reason.unwrap_or_default().to_owned();
            leave(line, &one.file, LeftBecause::Kept(asset.id), reason).await;
        }
        // The photo is kept; its inbox name is met as a duplicate when Storage is back.
        (Err(error), _) if error.as_unusable().is_some() => {
            log::debug!("{error}");
            line.note_stays(&one.file.path);
        }
        (Err(error), _) => {
            let kept = shown(&asset.final_path);
            // Tried again with the next look at everything, or the next pass; what is forbidden when that has changed.
            line.note_stays(&one.file.path);
            if error.is_forbidden() {
                let noting = Arc::clone(line);
                let path = one.file.path.clone();
                unblock(move || noting.uncleared.note(&noting.source, &path)).await;
            }
            let reason = format!("{error}; the photo itself is kept as {kept}");
            one.uncleared = Some(reason.clone());
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
            uncleared: self.uncleared.clone(),
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

/// A disk that refuses: what may be different in a moment is tried again, the rest is a problem for the owner.
async fn refuse(line: &Arc<Line>, file: &ReadFile, error: &DiskError) -> Fate {
    if error.is_full() {
        line.note_no_room(&file.path);
    }
    if error.as_unusable().is_some() || error.is_shortage() {
        return Fate::PutOff(error.to_string());
    }
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
        log::info!("{} stays in the inbox: {reason}", shown(&file.path));
        if let Err(error) = line.desk.ask(Change::Leave(left)).await {
            log::warn!("{}: {error}", shown(&file.path));
        }
    }
    Fate::Left(why, reason)
}

fn put_off(line: &Line, error: &LedgerError) -> Fate {
    if error.is_full() {
        line.note_ledger_full(Some(format!(
            "Nothing can be filed, because the disk of the ledger is full: {error}. Photos wait in the inbox."
        )));
    }
    Fate::PutOff(error.to_string())
}
