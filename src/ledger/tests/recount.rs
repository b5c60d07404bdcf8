//! After any operations, every table says what a recount of a plain model says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::tz::TimeZone;

use super::*;
use crate::asset::{Left, LeftBecause, Place, Stage, shot_key};

/// A small generator of repeatable numbers (Marsaglia's xorshift64).
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[derive(Default)]
struct Model {
    intents: BTreeMap<u64, Asset>,
    assets: BTreeMap<u64, Asset>,
    left: BTreeMap<PathBuf, Left>,
    waiting: [BTreeSet<u64>; 4],
}

impl Model {
    fn finish(&mut self, id: u64) {
        let asset = self.intents.remove(&id).unwrap();
        for stage in Stage::ALL {
            if stage.wants(asset.kind, asset.location) {
                self.waiting[stage as usize].insert(id);
            }
        }
        if let Some(leader) = asset.paired_with
            && asset.kind != Kind::Sidecar
            && let Some(row) = self.row(leader.0)
            && row.paired_with.is_none()
        {
            row.paired_with = Some(AssetId(id));
        }
        self.assets.insert(id, asset);
    }

    fn withdraw(&mut self, id: u64) {
        self.intents.remove(&id);
        for row in self.intents.values_mut().chain(self.assets.values_mut()) {
            if row.paired_with == Some(AssetId(id)) {
                row.paired_with = None;
            }
        }
    }

    fn row(&mut self, id: u64) -> Option<&mut Asset> {
        self.assets.get_mut(&id).or(self.intents.get_mut(&id))
    }

    fn totals(&self) -> Totals {
        let count = |test: &dyn Fn(&Asset) -> bool| -> u64 {
            self.assets.values().filter(|asset| test(asset)).count() as u64
        };
        Totals {
            assets: count(&|_| true),
            bytes: self.assets.values().map(|asset| asset.size).sum(),
            with_errors: count(&|asset| !asset.errors.is_empty()),
            guessed_dates: count(&|asset| {
                asset.kind != Kind::Sidecar && asset.captured.from.is_guess()
            }),
            left: self
                .left
                .values()
                .filter(|left| !matches!(left.why, LeftBecause::Kept(_)))
                .count() as u64,
            intents: self.intents.len() as u64,
            per_kind: Kind::ALL
                .map(|kind| (kind, count(&|asset| asset.kind == kind)))
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .collect(),
            waiting: self.waiting.each_ref().map(|ids| ids.len() as u64),
        }
    }

    fn per_day(&self, day: impl Fn(&Asset) -> jiff::civil::Date) -> Vec<(jiff::civil::Date, u64)> {
        let mut days = BTreeMap::new();
        for asset in self.assets.values() {
            if asset.kind != Kind::Sidecar {
                *days.entry(day(asset)).or_default() += 1;
            }
        }
        days.into_iter().collect()
    }
}

fn random_shot(dice: &mut Dice) -> Shot {
    let folder = dice.roll(3);
    let stem = dice.roll(40);
    let mut members = Vec::new();
    for (index, extension) in ["HEIC", "MOV", "xmp"].iter().enumerate() {
        if index > 0 && dice.roll(2) == 0 {
            continue;
        }
        let path = format!("p{folder}/IMG_{stem}.{extension}");
        let mut member = if index == 0 {
            draft(dice.roll(200), &path)
        } else {
            follower(dice.roll(200), &path)
        };
        member.captured.local += i64::try_from(dice.roll(4)).unwrap().days();
        if dice.roll(5) == 0 {
            member.captured.from = CapturedFrom::Mtime;
        }
        if dice.roll(4) == 0 {
            member.location = None;
            member.errors.push("cut short".to_owned());
        }
        if dice.roll(3) == 0 {
            member.content_id = Some(format!("C{}", dice.roll(30)));
        }
        members.push(member);
    }
    shot(members)
}

fn random_left(dice: &mut Dice) -> Left {
    Left {
        inbox_path: PathBuf::from(format!("odd/{}", dice.roll(20))),
        size: dice.roll(3),
        mtime_ns: -5,
        why: match dice.roll(3) {
            0 => LeftBecause::NotMedia,
            1 => LeftBecause::Unreadable,
            _ => LeftBecause::Kept(AssetId(3)),
        },
        reason: "why".to_owned(),
        since: now() - i64::try_from(dice.roll(1000)).unwrap().seconds(),
    }
}

/// One random change, done to the model as far as its answer is not needed for that.
fn random_change(dice: &mut Dice, model: &mut Model, now: Timestamp) -> Change {
    let intents: Vec<u64> = model.intents.keys().copied().collect();
    let some_intent = |dice: &mut Dice| {
        let most = intents.len() as u64;
        (most > 0).then(|| intents[usize::try_from(dice.roll(most)).unwrap()])
    };
    match dice.roll(10) {
        0..3 => {}
        3..6 => {
            if let Some(id) = some_intent(dice) {
                let promised = finish(&model.intents[&id]);
                model.finish(id);
                return promised;
            }
        }
        6 => {
            if let Some(id) = some_intent(dice) {
                let promised = withdraw(&model.intents[&id]);
                model.withdraw(id);
                return promised;
            }
        }
        7 => {
            let left = random_left(dice);
            let before = model.left.get(&left.inbox_path);
            let same = before.is_some_and(|before| {
                let since = left.since;
                Left {
                    since,
                    ..before.clone()
                } == left
            });
            if !same {
                model.left.insert(left.inbox_path.clone(), left.clone());
            }
            return Change::Leave(left);
        }
        8 => {
            let path = PathBuf::from(format!("odd/{}", dice.roll(20)));
            model.left.remove(&path);
            return Change::Forget(path);
        }
        _ => {
            let stage = Stage::ALL[usize::try_from(dice.roll(4)).unwrap()];
            let nth = usize::try_from(dice.roll(50)).unwrap();
            let failed = dice.roll(4) == 0;
            let place = (stage == Stage::Geocode && !failed).then(|| Place {
                name: "Zürich".to_owned(),
                admin1: String::new(),
                country_code: "CH".to_owned(),
            });
            if let Some((id, asset)) = model.assets.iter_mut().nth(nth) {
                let error = failed.then(|| "no".to_owned());
                match &error {
                    Some(error) => asset.errors.push(error.clone()),
                    None => asset.stage_done_at[stage as usize] = Some(now),
                }
                if place.is_some() {
                    asset.place.clone_from(&place);
                }
                model.waiting[stage as usize].remove(id);
                return Change::StageDone {
                    id: AssetId(*id),
                    stage,
                    at: now,
                    place,
                    error,
                };
            }
        }
    }
    Change::Intend(random_shot(dice))
}

fn compare(ledger: &Ledger, model: &Model) {
    assert_eq!(ledger.totals().unwrap(), model.totals());
    let assets: Vec<Asset> = model.assets.values().cloned().collect();
    assert_eq!(ledger.page(AssetId(0), 10_000).unwrap(), assets);
    let intents: Vec<Asset> = model.intents.values().cloned().collect();
    assert_eq!(ledger.intents().unwrap(), intents);

    let (first, last) = (jiff::civil::date(1900, 1, 1), jiff::civil::date(2100, 1, 1));
    assert_eq!(
        ledger.captured_per_day(first, last).unwrap(),
        model.per_day(|asset| asset.captured.day())
    );
    let filed = |asset: &Asset| asset.ingested_at.to_zoned(TimeZone::system()).date();
    assert_eq!(
        ledger.ingested_per_day(first, last).unwrap(),
        model.per_day(filed)
    );

    for stage in Stage::ALL {
        let waiting: Vec<u64> = ledger
            .waiting_for(stage, 10_000)
            .unwrap()
            .iter()
            .map(|id| id.0)
            .collect();
        assert!(waiting.iter().eq(&model.waiting[stage as usize]));
    }

    let all_left = ledger.all_left(10_000).unwrap();
    let problems = all_left.partition_point(|left| !matches!(left.why, LeftBecause::Kept(_)));
    assert!(all_left[..problems].is_sorted_by(|a, b| a.since >= b.since));
    assert_eq!(all_left.len(), model.left.len());
    for left in all_left {
        assert_eq!(model.left.get(&left.inbox_path), Some(&left));
        assert_eq!(ledger.left(&left.inbox_path).unwrap(), Some(left));
    }

    let mut contents = BTreeSet::new();
    let mut places = BTreeSet::new();
    for asset in &assets {
        let same = |test: &dyn Fn(&&Asset) -> bool| -> Vec<Asset> {
            assets.iter().filter(test).cloned().collect()
        };
        let shot = shot_key(&asset.inbox_path);
        assert_eq!(
            ledger.by_shot(&shot).unwrap(),
            same(&|other| shot_key(&other.inbox_path) == shot)
        );
        if let Some(content_id) = &asset.content_id {
            assert_eq!(
                ledger.by_content_id(content_id).unwrap(),
                same(&|other| other.content_id.as_ref() == Some(content_id))
            );
        }
        assert_eq!(
            ledger.paired_to(asset.id).unwrap(),
            same(&|other| other.paired_with == Some(asset.id))
        );
        assert_eq!(
            ledger.by_final_path(&asset.final_path).unwrap().as_ref(),
            Some(asset)
        );
        if asset.kind == Kind::Sidecar {
            assert_ne!(
                ledger.by_hash(&asset.file_hash).unwrap().as_ref(),
                Some(asset)
            );
        } else {
            assert_eq!(
                ledger.by_hash(&asset.file_hash).unwrap().as_ref(),
                Some(asset)
            );
            assert!(contents.insert(asset.file_hash), "content filed twice");
        }
        let place = asset.final_path.to_str().unwrap().to_lowercase();
        assert!(places.insert(place), "two files at one path");
    }
    super::photos::equal_a_recount(ledger, &assets);
}

#[test]
fn totals_and_every_table_equal_a_recount_after_random_operations() {
    let data = Data::new();
    let mut ledger = data.open();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut model = Model::default();
    for round in 0..150 {
        let now = now() + (round * 3).hours();
        let changes: Vec<Change> = (0..=dice.roll(12))
            .map(|_| random_change(&mut dice, &mut model, now))
            .collect();
        let outcomes = ledger.commit(&changes, now, &free).unwrap();
        for outcome in outcomes {
            let Outcome::Intended(verdicts) = outcome else {
                continue;
            };
            for verdict in verdicts {
                if let Verdict::New(asset) = verdict {
                    model.intents.insert(asset.id.0, asset);
                }
            }
        }
        // What an answer left out: a leader taken back later in the same commit.
        let alive: BTreeSet<u64> = model
            .intents
            .keys()
            .chain(model.assets.keys())
            .copied()
            .collect();
        for row in model.intents.values_mut().chain(model.assets.values_mut()) {
            row.paired_with = row.paired_with.filter(|id| alive.contains(&id.0));
        }
        if round % 25 == 24 {
            compare(&ledger, &model);
            drop(ledger);
            ledger = data.open();
        }
    }
    compare(&ledger, &model);
    assert!(
        model.assets.len() > 100,
        "too few to tell: {}",
        model.assets.len()
    );
}
