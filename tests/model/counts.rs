//! What was done and looked at: a run that did too little proves nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::factory::may_mount;

/// What every run has to have done.
pub(crate) const REQUIRED: [&str; 7] = [
    "kill", "stop", "ingest", "replace", "rename", "history", "ledger",
];

/// The same for grounds that need mounts.
const ON_DISKS: [&str; 2] = ["unplug", "fill"];

/// How often each operation was done.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    done: BTreeMap<&'static str, u64>,
    pub(crate) filed: u64,
}

impl Counts {
    pub(crate) fn count(&mut self, operation: &'static str) {
        *self.done.entry(operation).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (operation, count) in &other.done {
            *self.done.entry(operation).or_default() += count;
        }
        self.filed += other.filed;
    }

    pub(crate) fn has(&self, operation: &str) -> bool {
        self.done.contains_key(operation)
    }

    fn all(&self) -> u64 {
        self.done.values().sum()
    }

    /// A run that did too little proves nothing.
    pub(crate) fn assert_that_everything_happened(&self, is_one_episode: bool) {
        assert!(self.all() > 100, "only {} operations", self.all());
        assert!(self.filed > 20, "only {} photos were filed", self.filed);
        for operation in REQUIRED.into_iter().chain(ON_DISKS) {
            let is_required = may_mount(operation) || !ON_DISKS.contains(&operation);
            assert!(
                is_one_episode || !is_required || self.has(operation),
                "no `{operation}` in {} operations",
                self.all()
            );
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations, {} originals looked at, 0 differences:",
            self.all(),
            self.filed
        )?;
        self.done
            .iter()
            .try_for_each(|(operation, count)| write!(f, " {operation} {count}"))
    }
}
