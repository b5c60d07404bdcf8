//! What stands in Originals and no row knows, because the ledger is down or an older copy of it was put back: a photo that
//! comes a second time is found there by its name and its bytes.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Fate, Line, Read, Report, carry_out, clear, intend, put_off, refuse};
use crate::asset::AssetId;
use crate::disk::{Compared, DiskError, Kept};
use crate::ledger::{Adoption, Change, Pairing, Shot, Verdict};

/// An original with the same bytes.
struct Standing {
    path: PathBuf,
    /// Which of the names that follow the wished one it has.
    number: u32,
    /// The proof that it may take the place of the file we hold: none, if it is that very file.
    kept: Option<Kept>,
}

/// Members of a shot, each with its place in it.
type Members = Vec<(usize, Read)>;

/// Files the members of a shot whose wished names are taken: those that stand in Originals already are adopted and their
/// inbox names cleared; the others are placed under the next free name. `leader`: the row of the shot's first file, if
/// that is not among them.
pub(super) async fn place_beside(
    line: &Arc<Line>,
    shot: &Shot,
    members: Members,
    mut leader: Option<AssetId>,
) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut standing: Vec<(usize, Read, Standing)> = Vec::new();
    let mut others: Members = Vec::new();
    // What belongs together shares a name: the others are looked for beside the one that was found first.
    let mut beside = 0;
    for (index, mut one) in members {
        match find_standing(line, &mut one, shot, index, beside).await {
            Ok(Some(found)) => {
                beside = found.number;
                standing.push((index, one, found));
            }
            Ok(None) => others.push((index, one)),
            Err(error) => {
                let fate = refuse(line, &one.file, &error).await;
                reports.push(one.report(fate));
            }
        }
    }
    if !standing.is_empty() {
        let adoption = Adoption {
            shot: part_of(shot, standing.iter().map(|(index, ..)| *index), leader),
            paths: standing
                .iter()
                .map(|(_, _, found)| found.path.clone())
                .collect(),
            ingested_at: (line.now)(),
        };
        match intend(line, Change::Adopt(adoption)).await {
            Ok(verdicts) => {
                for ((index, mut one, found), verdict) in standing.into_iter().zip(verdicts) {
                    if let (0, Verdict::Known(asset)) = (index, &verdict) {
                        leader = Some(asset.id);
                    }
                    let fate = match (verdict, found.kept) {
                        (Verdict::Known(mut asset), Some(kept))
                            if asset.final_path == found.path =>
                        {
                            clear(line, &mut one, kept, &mut asset).await;
                            Fate::Duplicate(Box::new(asset))
                        }
                        (verdict, _) => carry_out(line, &mut one, verdict).await,
                    };
                    reports.push(one.report(fate));
                }
            }
            Err(error) => {
                let waiting = standing.iter().map(|(_, one, _)| one);
                reports.extend(waiting.map(|one| one.report(put_off(line, &error))));
            }
        }
    }
    if others.is_empty() {
        return reports;
    }
    let rest = part_of(shot, others.iter().map(|(index, _)| *index), leader);
    match intend(line, Change::IntendBeside(rest)).await {
        Ok(verdicts) => {
            for ((_, mut one), verdict) in others.into_iter().zip(verdicts) {
                let fate = carry_out(line, &mut one, verdict).await;
                reports.push(one.report(fate));
            }
        }
        Err(error) => {
            reports.extend(
                others
                    .iter()
                    .map(|(_, one)| one.report(put_off(line, &error))),
            );
        }
    }
    reports
}

/// The original that has this file's bytes, if it stands under the wished name, one of those that follow it, or the one of
/// number `beside`.
async fn find_standing(
    line: &Arc<Line>,
    one: &mut Read,
    shot: &Shot,
    index: usize,
    beside: u32,
) -> Result<Option<Standing>, DiskError> {
    let Some(draft) = shot.members.get(index) else {
        return Ok(None);
    };
    let stands_beside = beside > 0 && !line.vault.is_free(&shot.name(index, beside));
    let first = stands_beside.then_some(beside);
    for number in first.into_iter().chain(0..) {
        let path = shot.name(index, number);
        if line.vault.is_free(&path) {
            return Ok(None);
        }
        let candidate = draft.to_asset(AssetId(0), None, path.clone(), (line.now)());
        let turn = line.placers.acquire().await;
        let compared = one
            .with_held(line, move |line, held| line.vault.compare(held, &candidate))
            .await;
        drop(turn);
        let kept = match compared? {
            Compared::Kept(kept) => Some(kept),
            Compared::SameFile => None,
            Compared::Missing => return Ok(None),
            Compared::Different => continue,
        };
        return Ok(Some(Standing { path, number, kept }));
    }
    Ok(None)
}

/// The shot with only these members. One that belongs to the shot's first file belongs to that file's row, if it has one.
fn part_of(shot: &Shot, members: impl Iterator<Item = usize>, leader: Option<AssetId>) -> Shot {
    let mut has_first = false;
    let members = members.filter_map(|index| {
        let mut draft = shot.members.get(index)?.clone();
        has_first |= index == 0;
        if draft.pairing == Pairing::Leader && !has_first {
            draft.pairing = leader.map_or(Pairing::Alone, Pairing::With);
        }
        Some(draft)
    });
    Shot {
        folder: shot.folder.clone(),
        stem: shot.stem.clone(),
        members: members.collect(),
    }
}
