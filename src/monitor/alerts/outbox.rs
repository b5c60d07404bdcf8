//! What one target is told, and when. Decides only: nothing here sends, waits or asks for the time.
//!
//! For each incident the outbox knows how it is and what the target was last told of it. Whenever a message may go, it tells the
//! difference. So nothing is queued: what comes and goes while nothing can be sent shrinks to what is still worth telling, and a
//! message that failed is made anew, as things are by then.

mod saved;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::message::{Item, Message, Told};
use super::quiet::is_quiet;
use super::{Incident, Moment};
use crate::asset::in_order;
use crate::config::alerts::Target;
use crate::monitor::event::Turn;
use crate::monitor::shortened;
pub use saved::Saved;

/// Minutes until a failed message is tried again; the last one holds for all others.
const PAUSES: [u64; 4] = [1, 5, 15, 60];

/// For so long it is tried.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(86_400);

/// Incidents and news that are remembered, each. More are only counted.
const MOST: usize = 1_000;

/// Bytes kept of a title and of a text.
const TITLE_LIMIT: usize = 160;
const TEXT_LIMIT: usize = 600;

/// What one target is told.
#[derive(Debug)]
pub struct Outbox {
    target: Target,
    zone: TimeZone,
    /// By key.
    cases: BTreeMap<String, Case>,
    /// By key; the newest of each.
    news: BTreeMap<String, News>,
    /// What found no room in them since the last message.
    uncounted: usize,
    /// When the next message may go.
    free_at: Instant,
    /// The message that is on its way.
    on_its_way: Option<OnItsWay>,
    failing: Option<Failing>,
    dropped: u64,
}

/// One incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Case {
    title: String,
    text: String,
    urgent: bool,
    /// When it began.
    since: Timestamp,
    /// When it ended; `None`: it has not.
    until: Option<Timestamp>,
    /// Whether the target knows of it.
    is_told: bool,
    /// Whether it has lasted long enough to be told.
    has_lasted: bool,
    /// Until when it may end without being told, where it has just begun.
    #[serde(skip)]
    settles_at: Option<Instant>,
    /// How often it began since the target was last told of it.
    times: u32,
    /// When it was first tried to tell what the target does not know. Not kept: a restart gives it another day.
    #[serde(skip)]
    tried: Option<Instant>,
}

#[derive(Debug)]
struct News {
    item: Item,
    /// Which of the news of this key.
    number: u64,
    /// When it was first tried to tell it.
    tried: Option<Instant>,
}

#[derive(Debug)]
struct OnItsWay {
    told: Vec<(String, Told)>,
    /// Keys and numbers.
    news: Vec<(String, u64)>,
    uncounted: usize,
}

/// That messages failed, and none was sent since.
#[derive(Debug)]
struct Failing {
    attempts: u32,
    why: String,
}

impl Outbox {
    /// An outbox as `saved` left it; `None`: nothing was ever told.
    pub fn new(target: Target, zone: TimeZone, saved: Option<Saved>, now: Moment) -> Self {
        let mut outbox = Self {
            target,
            zone,
            cases: BTreeMap::new(),
            news: BTreeMap::new(),
            uncounted: 0,
            free_at: now.instant,
            on_its_way: None,
            failing: None,
            dropped: 0,
        };
        if let Some(saved) = saved {
            outbox.restore(saved, now);
        }
        outbox
    }

    /// Whom it is for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Something began, ended or happened.
    pub fn take(&mut self, incident: &Incident, now: Moment) {
        let has_room = |known: usize, is_known: bool| is_known || known < MOST;
        match incident.turn {
            Turn::News => {
                let known = self.news.get(&incident.key);
                if !has_room(self.news.len(), known.is_some()) {
                    self.uncounted += 1;
                    return;
                }
                let number = known.map_or(0, |news| news.number + 1);
                let item = Item {
                    times: known.map_or(1, |news| news.item.times.saturating_add(1)),
                    ..item_of(incident)
                };
                let tried = known.and_then(|news| news.tried);
                let news = News {
                    item,
                    number,
                    tried,
                };
                self.news.insert(incident.key.clone(), news);
            }
            Turn::Opened => {
                if !has_room(self.cases.len(), self.cases.contains_key(&incident.key)) {
                    self.uncounted += 1;
                    return;
                }
                self.opened(incident, now);
            }
            Turn::Closed => {
                self.let_last(now);
                self.closed(incident);
            }
        }
    }

    fn opened(&mut self, incident: &Incident, now: Moment) {
        let Item { title, text, .. } = item_of(incident);
        let case = self.cases.entry(incident.key.clone()).or_insert(Case {
            title: String::new(),
            text: String::new(),
            urgent: false,
            since: incident.at,
            until: Some(incident.at),
            is_told: false,
            has_lasted: false,
            settles_at: None,
            times: 0,
            tried: None,
        });
        case.title = title;
        case.text = text;
        case.urgent = incident.urgent;
        if case.until.take().is_some() {
            case.times = case.times.saturating_add(1);
            case.since = incident.at;
            if !case.is_told && !case.has_lasted {
                case.settles_at = Some(now.instant + self.target.after);
            }
        }
    }

    fn closed(&mut self, incident: &Incident) {
        if let Some(case) = self.cases.get_mut(&incident.key) {
            case.settles_at = None;
            if case.until.is_none() {
                case.until = Some(incident.at.max(case.since));
            }
            if !case.is_told && !case.has_lasted {
                self.cases.remove(&incident.key);
            }
        }
    }

    /// Keys of the incidents that have begun and not ended.
    pub fn open_keys(&self) -> impl Iterator<Item = &str> {
        let open = self.cases.iter().filter(|(_, case)| case.until.is_none());
        open.map(|(key, _)| key.as_str())
    }

    /// The message that is to be sent now; the caller says then that it was [`Outbox::sent`] or has [`Outbox::failed`].
    pub fn due(&mut self, now: Moment) -> Option<Message> {
        self.let_last(now);
        if self.on_its_way.is_some() || now.instant < self.free_at {
            return None;
        }
        let mut items = self.items();
        let mut uncounted = self.uncounted;
        if self
            .target
            .quiet_hours
            .is_some_and(|hours| is_quiet(hours, now.wall, &self.zone))
        {
            let wakes = |item: &Item| item.urgent && item.told != Told::Over;
            items.retain(|(_, item)| self.target.urgent_in_quiet_hours && wakes(item));
            uncounted = 0;
        }
        if items.is_empty() && uncounted == 0 {
            return None;
        }
        // What is urgent and what is new first: the message may not hold all.
        let items = in_order(items, |(_, item)| {
            (item.told.rank(), !item.urgent, item.since)
        });
        let mut on_its_way = OnItsWay {
            told: Vec::new(),
            news: Vec::new(),
            uncounted,
        };
        for (key, item) in &items {
            let tried = if let (Told::News, Some(news)) = (item.told, self.news.get_mut(key)) {
                on_its_way.news.push((key.clone(), news.number));
                &mut news.tried
            } else if let Some(case) = self.cases.get_mut(key) {
                on_its_way.told.push((key.clone(), item.told));
                &mut case.tried
            } else {
                continue;
            };
            tried.get_or_insert(now.instant);
        }
        self.on_its_way = Some(on_its_way);
        Some(Message {
            items: items.into_iter().map(|(_, item)| item).collect(),
            uncounted,
        })
    }

    /// Incidents that began long enough ago count from now on.
    fn let_last(&mut self, now: Moment) {
        for case in self.cases.values_mut() {
            if case.settles_at.is_some_and(|until| until <= now.instant) {
                case.settles_at = None;
                case.has_lasted = true;
            }
        }
    }

    /// All that the target does not know.
    fn items(&self) -> Vec<(String, Item)> {
        let cases = self.cases.iter().filter_map(|(key, case)| {
            let told = match (case.is_told, case.until) {
                (false, None) if case.has_lasted => Told::Began,
                (false, Some(_)) => Told::CameAndWent,
                (true, Some(_)) => Told::Over,
                (true | false, None) => return None,
            };
            let item = Item {
                key: key.clone(),
                title: case.title.clone(),
                text: case.text.clone(),
                since: case.since,
                until: case.until,
                told,
                urgent: case.urgent,
                times: case.times,
            };
            Some((key.clone(), item))
        });
        let news = self
            .news
            .iter()
            .map(|(key, news)| (key.clone(), news.item.clone()));
        cases.chain(news).collect()
    }

    /// The message that was due has reached the target.
    pub fn sent(&mut self, now: Moment) {
        if self.failing.take().is_some() {
            log::info!("alerts reach {} again", self.target.name);
        }
        if let Some(gone) = self.on_its_way.take() {
            self.forget(gone);
        }
        self.free_at = now.instant + self.target.digest;
    }

    /// The message that was due has not reached the target; `why` goes on from the target's name.
    pub fn failed(&mut self, why: String, now: Moment) {
        if self.trouble() != Some(why.as_str()) {
            log::warn!("an alert has not reached {}: it {why}", self.target.name);
        }
        let attempts = self.failing.take().map_or(0, |failing| failing.attempts);
        let place = usize::try_from(attempts).unwrap_or(usize::MAX);
        let minutes = PAUSES.get(place).or(PAUSES.last()).copied().unwrap_or(60);
        self.free_at = now.instant + Duration::from_secs(minutes * 60);
        self.failing = Some(Failing {
            attempts: attempts.saturating_add(1),
            why,
        });
        if let Some(gone) = self.on_its_way.take() {
            self.give_up(gone, now);
        }
    }

    /// What was tried for too long is not tried again.
    fn give_up(&mut self, mut gone: OnItsWay, now: Moment) {
        let is_too_old = |tried: Option<Instant>| {
            tried.is_some_and(|tried| now.instant.duration_since(tried) >= GIVEN_UP_AFTER)
        };
        gone.told
            .retain(|(key, _)| (self.cases.get(key)).is_some_and(|case| is_too_old(case.tried)));
        gone.news
            .retain(|(key, _)| (self.news.get(key)).is_some_and(|news| is_too_old(news.tried)));
        gone.uncounted = 0;
        let count = gone.told.len() + gone.news.len();
        if count > 0 {
            log::warn!(
                "{count} alerts for {} are given up: for a day none has reached it",
                self.target.name
            );
            self.dropped += u64::try_from(count).unwrap_or(u64::MAX);
            self.forget(gone);
        }
    }

    /// Takes this as told. What has changed since stays to be told.
    fn forget(&mut self, gone: OnItsWay) {
        self.uncounted -= gone.uncounted.min(self.uncounted);
        for (key, told) in gone.told {
            let Some(case) = self.cases.get_mut(&key) else {
                continue;
            };
            case.is_told = told == Told::Began;
            case.times = 0;
            case.tried = None;
            if case.until.is_some() && !case.is_told {
                self.cases.remove(&key);
            }
        }
        for (key, number) in gone.news {
            if self
                .news
                .get(&key)
                .is_some_and(|news| news.number == number)
            {
                self.news.remove(&key);
            }
        }
    }

    /// Why the last message did not reach the target, until one does.
    pub fn trouble(&self) -> Option<&str> {
        self.failing.as_ref().map(|failing| failing.why.as_str())
    }

    /// How much was given up after a day of trying.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn item_of(incident: &Incident) -> Item {
    Item {
        key: incident.key.clone(),
        title: shortened(&incident.title, TITLE_LIMIT),
        text: shortened(&incident.text, TEXT_LIMIT),
        since: incident.at,
        until: None,
        told: Told::News,
        urgent: incident.urgent,
        times: 1,
    }
}

#[cfg(test)]
mod tests;
