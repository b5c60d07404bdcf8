//! Messages in words: what is told, as title and text for people and as JSON for programs.
//!
//! # The JSON of a webhook
//!
//! ```json
//! {
//!   "version": 1,
//!   "name": "hook",
//!   "host": "factory",
//!   "state": "open",
//!   "title": "Syncthing is down",
//!   "text": "…",
//!   "incidents": [{
//!     "key": "service/syncthing", "state": "open", "title": "Syncthing is down", "text": "…",
//!     "since": "2024-03-01T13:02:00Z", "until": null, "urgent": true, "times": 1
//!   }],
//!   "more": 0
//! }
//! ```
//!
//! `name` is the target's, as in `[alerts.NAME]`. An incident's `state` is `open` (it began), `closed` (it is over), `passed` (it came
//! and went while nothing could be sent) or `news`; the message's is `open` where one of them is, else `closed` where one is closed or
//! passed, else `news`; of a test message, which has no incidents, `test`. `times` is how often it began or happened since the last message
//! about it; `more` counts those that found no room.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Incidents that a message spells out; the others are counted.
const SPELLED_OUT: usize = 20;

/// Bytes of a text at most: ntfy takes 4096.
const TEXT_LIMIT: usize = 3_800;

/// What is told of an incident.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It began, and has not ended.
    Began,
    /// It is over; that it began was told before.
    Over,
    /// It began and is over; neither was told before.
    CameAndWent,
    /// It happened.
    News,
}

impl Told {
    /// Its place in a message.
    pub fn rank(self) -> u8 {
        match self {
            Self::Began => 0,
            Self::News => 1,
            Self::CameAndWent => 2,
            Self::Over => 3,
        }
    }

    /// The `state` in the JSON.
    fn state(self) -> &'static str {
        match self {
            Self::Began => "open",
            Self::Over => "closed",
            Self::CameAndWent => "passed",
            Self::News => "news",
        }
    }
}

/// One incident in a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its key.
    pub key: String,
    /// What it is, in a few words.
    pub title: String,
    /// What happened and what to do.
    pub text: String,
    /// When it last began, or happened.
    pub since: Timestamp,
    /// When it ended.
    pub until: Option<Timestamp>,
    /// What is told of it.
    pub told: Told,
    /// Whether it is worth waking someone.
    pub urgent: bool,
    /// How often it began or happened since the last message about it.
    pub times: u32,
}

/// What is told in one go. Without incidents it is a test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The incidents, the most important first.
    pub items: Vec<Item>,
    /// Further ones of which only the number is known.
    pub uncounted: usize,
}

impl Message {
    /// A message that tells only that it arrived.
    pub fn test() -> Self {
        Self {
            items: Vec::new(),
            uncounted: 0,
        }
    }

    /// Whether something in it is worth waking someone.
    pub fn is_urgent(&self) -> bool {
        let urgent = |item: &Item| item.urgent && item.told != Told::Over;
        self.items.iter().any(urgent)
    }

    /// The `state` in the JSON.
    pub fn state(&self) -> &'static str {
        let has = |told: Told| self.items.iter().any(|item| item.told == told);
        if has(Told::Began) {
            "open"
        } else if has(Told::Over) || has(Told::CameAndWent) {
            "closed"
        } else if self.items.is_empty() {
            "test"
        } else {
            "news"
        }
    }

    /// One line: the incident's title, or how many there are of what.
    pub fn title(&self) -> String {
        match self.items.as_slice() {
            [] => return "A test: alerts arrive".to_owned(),
            [item] if self.uncounted == 0 => {
                return match item.told {
                    Told::Began | Told::News => item.title.clone(),
                    Told::Over | Told::CameAndWent => format!("Over: {}", item.title),
                };
            }
            _ => {}
        }
        let count = |told: &[Told]| {
            let items = self.items.iter();
            items.filter(|item| told.contains(&item.told)).count()
        };
        let (began, over) = (
            count(&[Told::Began]),
            count(&[Told::Over, Told::CameAndWent]),
        );
        let parts = [
            (began, "problem", "problems"),
            (over, "over", "over"),
            (count(&[Told::News]) + self.uncounted, "notice", "notices"),
        ];
        let parts = parts.iter().filter(|(count, ..)| *count > 0);
        let parts: Vec<_> = parts
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
            .collect();
        parts.join(", ")
    }

    /// What happened, a paragraph each, with the times of the zone.
    pub fn text(&self, zone: &TimeZone) -> String {
        if self.items.is_empty() && self.uncounted == 0 {
            return "This message was asked for by `photo-factory alert --test`. Nothing is wrong.\n".to_owned();
        }
        let mut text = String::new();
        let mut told = 0;
        for item in self.items.iter().take(SPELLED_OUT) {
            let paragraph = item.paragraph(zone);
            // The first is bounded by the limits of an incident.
            if told > 0 && text.len() + paragraph.len() > TEXT_LIMIT {
                break;
            }
            if told > 0 {
                text.push('\n');
            }
            text.push_str(&paragraph);
            told += 1;
        }
        let more = self.items.len() - told + self.uncounted;
        if more > 0 {
            // Writing to a string can't fail.
            writeln!(text, "\nand {more} more; the page has them all").unwrap_or_default();
        }
        text
    }

    /// What an ntfy server takes as JSON at its root: <https://docs.ntfy.sh/publish/#publish-as-json>.
    pub fn ntfy(&self, topic: &str, priority: Option<u8>, host: &str, zone: &TimeZone) -> Value {
        const DEFAULT: u8 = 3;
        const HIGH: u8 = 4;
        let priority = match (priority, self.is_urgent()) {
            (Some(priority), _) => priority,
            (None, true) => HIGH,
            (None, false) => DEFAULT,
        };
        let tag = match self.state() {
            "open" => "warning",
            "closed" => "white_check_mark",
            _ => "information_source",
        };
        json!({
            "topic": topic,
            "title": format!("{host}: {}", self.title()),
            "message": self.text(zone),
            "priority": priority,
            "tags": [tag],
        })
    }

    /// The JSON of a webhook.
    pub fn webhook(&self, name: &str, host: &str, zone: &TimeZone) -> Value {
        let incidents = self.items.iter().take(SPELLED_OUT);
        let incidents: Vec<_> = incidents.map(Item::json).collect();
        json!({
            "version": 1,
            "name": name,
            "host": host,
            "state": self.state(),
            "title": self.title(),
            "text": self.text(zone),
            "more": self.items.len() - incidents.len() + self.uncounted,
            "incidents": incidents,
        })
    }

    /// A mail's subject.
    pub fn subject(&self, host: &str) -> String {
        format!("[Photo Factory] {host}: {}", self.title())
    }
}

impl Item {
    fn paragraph(&self, zone: &TimeZone) -> String {
        let at = |time: Timestamp| {
            let local = zone.to_datetime(time);
            local.strftime("%Y-%m-%d %H:%M").to_string()
        };
        let (since, title) = (at(self.since), &self.title);
        let times = match (self.told, self.times) {
            (Told::Over, 1) => " (came back once meanwhile)".to_owned(),
            (Told::Over, times @ 2..) => format!(" (came back {times} times meanwhile)"),
            (_, times @ 2..) => format!(" ({times} times)"),
            (_, _) => String::new(),
        };
        let until = self.until.map_or(String::new(), at);
        let head = match self.told {
            Told::Began => format!("Since {since}: {title}{times}\n"),
            Told::News => format!("{since}: {title}{times}\n"),
            Told::Over => {
                return format!("Over at {until}, after it began at {since}: {title}{times}\n");
            }
            Told::CameAndWent => format!("From {since} to {until}, and over: {title}{times}\n"),
        };
        match self.text.trim_end() {
            "" => head,
            text => format!("{head}{text}\n"),
        }
    }

    fn json(&self) -> Value {
        json!({
            "key": self.key,
            "state": self.told.state(),
            "title": self.title,
            "text": self.text,
            "since": self.since.to_string(),
            "until": self.until.map(|until| until.to_string()),
            "urgent": self.urgent,
            "times": self.times,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, told: Told) -> Item {
        Item {
            key: key.to_owned(),
            title: format!("{key} is down"),
            text: "Start it.".to_owned(),
            since: "2024-03-01T12:00:00Z".parse().expect("must be a time"),
            until: matches!(told, Told::Over | Told::CameAndWent)
                .then(|| "2024-03-01T12:30:00Z".parse().expect("must be a time")),
            told,
            urgent: false,
            times: 1,
        }
    }

    fn message(items: Vec<Item>) -> Message {
        Message {
            items,
            uncounted: 0,
        }
    }

    #[test]
    fn one_incident_is_its_own_title_and_several_are_counted() {
        assert_eq!(message(vec![item("A", Told::Began)]).title(), "A is down");
        assert_eq!(
            message(vec![item("A", Told::Over)]).title(),
            "Over: A is down"
        );
        let several = message(vec![
            item("A", Told::Began),
            item("B", Told::Began),
            item("C", Told::News),
            item("D", Told::CameAndWent),
        ]);
        assert_eq!(several.title(), "2 problems, 1 over, 1 notice");
        assert_eq!(
            several.subject("factory"),
            "[Photo Factory] factory: 2 problems, 1 over, 1 notice"
        );
    }

    #[test]
    fn the_text_has_what_happened_at_local_times_and_what_to_do() {
        let zone = TimeZone::get("Europe/Berlin").expect("must be known");
        let text = message(vec![
            item("A", Told::Began),
            Item {
                times: 2,
                ..item("B", Told::Over)
            },
        ])
        .text(&zone);
        let expected = "Since 2024-03-01 13:00: A is down\nStart it.\n\n\
            Over at 2024-03-01 13:30, after it began at 2024-03-01 13:00: B is down (came back 2 times meanwhile)\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_text_of_long_incidents_fits_what_ntfy_takes() {
        let long = Item {
            text: "ß".repeat(300),
            ..item("A", Told::Began)
        };
        let text = message(vec![long; 100]).text(&TimeZone::UTC);
        assert!(text.len() < 4_096, "{} bytes", text.len());
        assert!(text.contains("more; the page has them all"), "{text}");
    }

    #[test]
    fn ntfy_is_told_by_priority_and_sign_how_things_are() {
        let urgent = Item {
            urgent: true,
            ..item("Größe", Told::Began)
        };
        let ntfy = |message: Message| message.ntfy("photos", None, "host", &TimeZone::UTC);
        let told = ntfy(message(vec![urgent.clone()]));
        assert_eq!(told["topic"], "photos");
        assert_eq!(told["title"], "host: Größe is down");
        assert_eq!(told["priority"], 4);
        assert_eq!(told["tags"], json!(["warning"]));
        // Nobody is woken to hear that it is over.
        let over = Item {
            told: Told::Over,
            ..urgent
        };
        let told = ntfy(message(vec![over]));
        assert_eq!(told["priority"], 3);
        assert_eq!(told["tags"], json!(["white_check_mark"]));
    }

    #[test]
    fn a_webhook_gets_the_documented_json() {
        let told = message(vec![item("A", Told::CameAndWent)]);
        let told = told.webhook("hook", "host", &TimeZone::UTC);
        assert_eq!(told["version"], 1);
        assert_eq!(told["name"], "hook");
        assert_eq!(told["state"], "closed");
        assert_eq!(told["more"], 0);
        let expected = json!({
            "key": "A", "state": "passed", "title": "A is down", "text": "Start it.",
            "since": "2024-03-01T12:00:00Z", "until": "2024-03-01T12:30:00Z", "urgent": false, "times": 1,
        });
        assert_eq!(told["incidents"], json!([expected]));
        let test = Message::test().webhook("hook", "host", &TimeZone::UTC);
        assert_eq!(test["state"], "test");
    }
}
