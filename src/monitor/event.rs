//! What happened: the time line of the appliance, in sentences.

use jiff::Timestamp;

use super::service::BeatClock;

/// Bytes kept of a key.
const KEY_LIMIT: usize = 120;

/// Flags beside the stored turn.
const DOUBTFUL: u8 = 0x40;
const CORRECTED: u8 = 0x80;

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The appliance was started or stopped.
    Appliance,
    /// A service came, went, or does its work with a limit.
    Service,
    /// A disk has little room, or is not the one it was.
    Disk,
    /// A phone has brought nothing for long.
    Phone,
    /// A photo could not be filed, or arrived damaged.
    Photo,
    /// An original is not as it should be.
    Original,
    /// The board itself: its power, its temperature, its clock.
    Board,
    /// Syncthing's settings or devices.
    Syncthing,
}

impl Kind {
    /// Every kind, in the order of the stored form.
    pub const ALL: [Self; 8] = [
        Self::Appliance,
        Self::Service,
        Self::Disk,
        Self::Phone,
        Self::Photo,
        Self::Original,
        Self::Board,
        Self::Syncthing,
    ];

    /// The name users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Appliance => "appliance",
            Self::Service => "service",
            Self::Disk => "disk",
            Self::Phone => "phone",
            Self::Photo => "photo",
            Self::Original => "original",
            Self::Board => "board",
            Self::Syncthing => "syncthing",
        }
    }
}

/// Whether something began, ended, or merely happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It happened, and does not last.
    News,
    /// An incident began.
    Opened,
    /// The incident of the same key ended.
    Closed,
}

impl Turn {
    /// The name users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::News => "news",
            Self::Opened => "opened",
            Self::Closed => "closed",
        }
    }
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When, by the wall clock, to the millisecond.
    pub at: Timestamp,
    /// What it is about.
    pub kind: Kind,
    /// Whether it began, ended, or happened.
    pub turn: Turn,
    /// Which incident: the same key is the same one.
    pub key: String,
    /// What happened and, where there is something, what to do.
    pub text: String,
    /// How far its time can be trusted.
    pub clock: BeatClock,
}

impl Event {
    /// The stored form without the time: kind, turn, length of the key, key, text.
    pub(super) fn record(&self) -> Vec<u8> {
        let kind = Kind::ALL.iter().position(|kind| *kind == self.kind);
        let kind = u8::try_from(kind.unwrap_or_default()).unwrap_or_default();
        let turn = match self.turn {
            Turn::News => 0,
            Turn::Opened => 1,
            Turn::Closed => 2,
        };
        let clock = match self.clock {
            BeatClock::Trusted => 0,
            BeatClock::Doubtful => DOUBTFUL,
            BeatClock::Corrected => CORRECTED,
        };
        let key = key_of(&self.key);
        let mut record = vec![
            kind,
            turn | clock,
            u8::try_from(key.len()).unwrap_or_default(),
        ];
        record.extend_from_slice(key.as_bytes());
        record.extend_from_slice(self.text.as_bytes());
        record
    }

    /// Reads the stored form; `None` where it is damaged or of a later version.
    pub(super) fn parsed(at: Timestamp, record: &[u8]) -> Option<Self> {
        let [kind, turn, length, text @ ..] = record else {
            return None;
        };
        let (key, text) = text.split_at_checked(usize::from(*length))?;
        Some(Self {
            at,
            kind: *Kind::ALL.get(usize::from(*kind))?,
            turn: match turn & !(DOUBTFUL | CORRECTED) {
                0 => Turn::News,
                1 => Turn::Opened,
                2 => Turn::Closed,
                _ => return None,
            },
            key: std::str::from_utf8(key).ok()?.to_owned(),
            text: std::str::from_utf8(text).ok()?.to_owned(),
            clock: match turn & (DOUBTFUL | CORRECTED) {
                0 => BeatClock::Trusted,
                CORRECTED => BeatClock::Corrected,
                _ => BeatClock::Doubtful,
            },
        })
    }
}

/// A key as it is kept: cut to its limit, between characters.
pub(super) fn key_of(key: &str) -> &str {
    let mut end = key.len().min(KEY_LIMIT);
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    key.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_back_as_it_was_written_and_damage_is_none() {
        for (kind, turn) in Kind::ALL
            .into_iter()
            .zip([Turn::News, Turn::Opened, Turn::Closed].into_iter().cycle())
        {
            let event = Event {
                at: Timestamp::UNIX_EPOCH,
                kind,
                turn,
                key: "phone/Änna".to_owned(),
                text: "quiet for 9 days".to_owned(),
                clock: BeatClock::Doubtful,
            };
            let record = event.record();
            assert_eq!(Event::parsed(event.at, &record), Some(event));
            assert_eq!(Event::parsed(Timestamp::UNIX_EPOCH, &record[..5]), None);
        }
        assert_eq!(Event::parsed(Timestamp::UNIX_EPOCH, &[]), None);
        assert_eq!(Event::parsed(Timestamp::UNIX_EPOCH, &[99, 0, 0]), None);
    }

    #[test]
    fn a_long_key_is_cut_between_characters() {
        let key = "ä".repeat(100);
        assert_eq!(key_of(&key).len(), 120);
        assert_eq!(key_of("short"), "short");
    }
}
