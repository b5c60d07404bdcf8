//! The worst states a disk may hold when the power goes between two calls.
//!
//! Every model keeps what was synced: a file's bytes by a sync of that file, a name by a sync of its folder, nothing by
//! anything else, where the sync began after the change was over. They differ in what else they let survive. Real file
//! systems are kinder: a folder that is synced on ext4 takes with it all that came before. Not modelled: a freed cluster
//! of FAT that is given to another file while the old entry still leads to it, which needs a check of the file system.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use crate::disk::{Content, Disk, Effect, Inode, Reached};
use crate::fixtures::Random;
use crate::record::Record;

/// What else survives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Model {
    /// Nothing else.
    Strict,
    /// All names, in order, as a journal keeps them; of the bytes what was synced (a file renamed too early is empty), or
    /// all (the machine lives on, the program is killed).
    Ordered,
    /// Names that went; of a rename the going, not the coming. No name that came.
    UnlinksFirst,
    /// Any of the other names and writes, in any order, whole or torn.
    AnyOrder,
    /// Of the last writes some, torn between two sectors or with holes; the new size without the bytes.
    Torn,
    /// As on FAT: a file that was made or renamed and not synced afterwards is empty; a rename may leave both names or none.
    Fat,
}

impl Model {
    /// The models for a disk with links and a journal, or none.
    pub(crate) const UNIX: [Self; 5] = [
        Self::Strict,
        Self::Ordered,
        Self::UnlinksFirst,
        Self::AnyOrder,
        Self::Torn,
    ];
    pub(crate) const FAT: [Self; 4] = [Self::Fat, Self::Strict, Self::Torn, Self::AnyOrder];

    fn variants(self) -> u64 {
        match self {
            Self::Strict | Self::UnlinksFirst => 1,
            Self::Ordered => 2,
            Self::AnyOrder | Self::Fat => 4,
            Self::Torn => 2 * TORN,
        }
    }
}

/// Ways to tear the writes that were not synced.
const TORN: u64 = 8;

/// One state: after so many calls, by this model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Cut {
    /// Calls that were over.
    pub(crate) point: usize,
    pub(crate) model: Model,
    variant: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {} after call {}",
            self.model, self.variant, self.point
        )
    }
}

/// A record laid out for building states from it.
pub(crate) struct Replay<'a> {
    record: &'a Record,
    /// All effects, with the call that had them.
    effects: Vec<(usize, &'a Effect)>,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(record: &'a Record) -> Self {
        let effects = record
            .calls
            .iter()
            .enumerate()
            .flat_map(|(call, one)| one.effects.iter().map(move |effect| (call, effect)))
            .collect();
        Self { record, effects }
    }

    /// The different states of all points from `first` on, each once, in the order of the points, and what `look` says of
    /// each.
    pub(crate) fn states<T>(
        &self,
        first: usize,
        models: &[Model],
        look: impl Fn(&Disk) -> T,
    ) -> Vec<(Cut, T)> {
        let mut seen = std::collections::HashSet::new();
        let mut cuts = Vec::new();
        let mut durable = self.durable(first);
        for point in first..=self.record.calls.len() {
            self.make_durable(point, &mut durable);
            for &model in models {
                for variant in 0..model.variants() {
                    let cut = Cut {
                        point,
                        model,
                        variant,
                    };
                    let state = self.build(cut, &durable);
                    if seen.insert(state.fingerprint()) {
                        cuts.push((cut, look(&state)));
                    }
                }
            }
        }
        cuts
    }

    /// The state itself.
    pub(crate) fn state(&self, cut: Cut) -> Disk {
        self.build(cut, &self.durable(cut.point))
    }

    /// Which effects are durable at that point.
    fn durable(&self, point: usize) -> Vec<bool> {
        let mut durable = vec![false; self.effects.len()];
        for point in 1..=point {
            self.make_durable(point, &mut durable);
        }
        durable
    }

    /// Notes what the call before that point has made durable.
    fn make_durable(&self, point: usize, durable: &mut [bool]) {
        let Some(call) = point
            .checked_sub(1)
            .and_then(|last| self.record.calls.get(last))
        else {
            return;
        };
        for sync in &call.effects {
            let over = self.past(call.over_before);
            for (index, (_, effect)) in over.enumerate() {
                if effect.is_made_durable_by(sync) {
                    durable[index] = true;
                }
            }
        }
    }

    fn past(&self, point: usize) -> impl Iterator<Item = (usize, &'a Effect)> {
        self.effects
            .iter()
            .copied()
            .take_while(move |(call, _)| *call < point)
    }

    fn build(&self, cut: Cut, durable: &[bool]) -> Disk {
        let mut random = Random(cut.point as u64 * 64 + cut.variant);
        let last_write = self
            .past(cut.point)
            .zip(durable)
            .enumerate()
            .filter(|(_, ((_, effect), durable))| effect.is_data() && !**durable)
            .map(|(index, _)| index)
            .last();
        let mut disk = self.record.before.clone();
        for (index, (_, effect)) in self.past(cut.point).enumerate() {
            let reached = if durable[index] || matches!(effect, Effect::New { .. }) {
                Reached::All
            } else {
                cut.reached(effect, last_write == Some(index), &mut random)
            };
            disk.apply(effect, reached);
        }
        if cut.model == Model::Fat {
            self.empty_what_was_not_synced_under_its_name(&mut disk, cut.point);
        }
        disk
    }

    /// FAT keeps a file's size and first cluster in its directory entry, and writes them there when the file is synced.
    fn empty_what_was_not_synced_under_its_name(&self, disk: &mut Disk, point: usize) {
        let mut named: BTreeMap<(Inode, &OsString), (usize, Inode)> = BTreeMap::new();
        let mut synced: BTreeMap<Inode, usize> = BTreeMap::new();
        for (call, effect) in self.past(point) {
            match effect {
                Effect::Add {
                    folder,
                    name,
                    inode,
                } => {
                    named.insert((*folder, name), (call, *inode));
                }
                Effect::SyncFile { inode, .. } => {
                    let over_before = self.record.calls[call].over_before;
                    let latest = synced.entry(*inode).or_default();
                    *latest = over_before.max(*latest);
                }
                _ => {}
            }
        }
        let mut unused = disk.unused();
        for ((folder, name), (call, inode)) in named {
            let is_synced = synced
                .get(&inode)
                .is_some_and(|over_before| *over_before > call);
            if is_synced || !disk.files.contains_key(&inode) {
                continue;
            }
            if let Some(leads_to) = disk
                .folders
                .get_mut(&folder)
                .and_then(|names| names.get_mut(name))
                && *leads_to == inode
            {
                *leads_to = unused;
                disk.files.insert(unused, Content::empty());
                unused += 1;
            }
        }
    }
}

impl Cut {
    /// What a model says of an effect that was not made durable.
    fn reached(&self, effect: &Effect, is_last_write: bool, random: &mut Random) -> Reached {
        let all_if = |yes: bool| if yes { Reached::All } else { Reached::Nothing };
        let is_name = effect.folder().is_some();
        let goes = matches!(effect, Effect::Remove { .. });
        match self.model {
            Model::Ordered => all_if(is_name || self.variant == 1),
            Model::UnlinksFirst => all_if(goes),
            Model::AnyOrder => match random.below(if is_name { 2 } else { 5 }) {
                0 => Reached::Nothing,
                1 => Reached::All,
                2 => Reached::Front,
                3 => Reached::Back,
                _ => Reached::Alternate,
            },
            Model::Torn if is_name => all_if(self.variant >= TORN),
            Model::Torn if effect.is_data() => match (self.variant % TORN, is_last_write) {
                (0, true) => Reached::Front,
                (1, true) => Reached::Back,
                (2, true) => Reached::Alternate,
                (3, last) => all_if(last),
                (4, last) => all_if(!last),
                (5, _) => Reached::SizeOnly,
                (6, _) => match random.below(4) {
                    0 => Reached::Nothing,
                    1 => Reached::All,
                    2 => Reached::Front,
                    _ => Reached::Back,
                },
                (7, last) => {
                    if last {
                        Reached::SizeOnly
                    } else {
                        Reached::Alternate
                    }
                }
                _ => Reached::All,
            },
            Model::Strict | Model::Torn => Reached::Nothing,
            Model::Fat => match self.variant {
                0 => all_if(is_name),
                1 => Reached::Nothing,
                2 => all_if(goes),
                _ => all_if(is_name && !goes),
            },
        }
    }
}
