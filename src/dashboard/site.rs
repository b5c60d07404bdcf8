//! What the dashboard reads, and the few things it may ask for.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use jiff::Timestamp;

use super::access::Access;
use super::overview::Overview;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::monitor::Monitor;

/// What a page may ask of the appliance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Take this file of the inbox again, or with none all that were left there.
    Retry(Option<PathBuf>),
    /// Begin a round of reading every original again, now.
    VerifyNow,
    /// Take no photo for an hour.
    Pause,
    /// Go on taking photos.
    Resume,
}

/// What the dashboard is made of.
pub struct Site {
    /// The settings.
    pub config: Arc<Config>,
    /// Weak: an answer whose reader is slow must not keep the ledger open at stop.
    pub ledger: Weak<Ledger>,
    /// What is known of the services.
    pub monitor: Arc<Monitor>,
    /// Who may see what.
    pub access: Access,
    /// Makes what the overview says, now.
    pub overview: Box<dyn Fn() -> Overview + Send + Sync>,
    /// Does what a page asks for; what was done, as a sentence for the owner.
    pub act: Box<dyn Fn(Action) -> String + Send + Sync>,
    /// The daemon's clock.
    pub now: fn() -> Timestamp,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("listen", &self.config.listen)
            .field("data", &self.config.data)
            .finish_non_exhaustive()
    }
}
