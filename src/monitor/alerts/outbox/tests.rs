//! What an outbox tells when, with clocks of the tests' own.

use jiff::civil::time;

use super::*;
use crate::config::alerts::{QuietHours, Way};

/// An outbox, and the time since the test began.
struct Scene {
    outbox: Outbox,
    begin: Moment,
    now: Duration,
}

fn target() -> Target {
    Target {
        name: "phone".to_owned(),
        way: Way::Webhook {
            url: "https://hooks.example/".to_owned(),
            token: None,
        },
        quiet_hours: None,
        urgent_in_quiet_hours: true,
        digest: Duration::from_secs(300),
        after: Duration::from_secs(120),
        certificate: None,
    }
}

fn quiet_at_night() -> Target {
    Target {
        quiet_hours: Some(QuietHours {
            from: time(22, 0, 0, 0),
            to: time(7, 0, 0, 0),
        }),
        ..target()
    }
}

/// Begins at this time of 2024-03-01, UTC.
fn scene(target: Target, wall: &str) -> Scene {
    let wall = format!("2024-03-01T{wall}:00Z");
    let begin = Moment {
        instant: Instant::now(),
        wall: wall.parse().expect("must be a time"),
    };
    Scene {
        outbox: Outbox::new(target, TimeZone::UTC, None, begin),
        begin,
        now: Duration::ZERO,
    }
}

fn by_day() -> Scene {
    scene(target(), "12:00")
}

impl Scene {
    fn now(&self) -> Moment {
        Moment {
            instant: self.begin.instant + self.now,
            wall: self.begin.wall + self.now,
        }
    }

    fn report(&mut self, turn: Turn, key: &str, urgent: bool) {
        let incident = Incident {
            key: key.to_owned(),
            title: format!("{key} is down"),
            text: "Start it.".to_owned(),
            at: self.now().wall,
            turn,
            urgent,
        };
        self.outbox.take(&incident, self.now());
    }

    fn opens(&mut self, key: &str) {
        self.report(Turn::Opened, key, false);
    }

    fn closes(&mut self, key: &str) {
        self.report(Turn::Closed, key, false);
    }

    fn after(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn due(&mut self) -> String {
        self.outbox
            .due(self.now())
            .as_ref()
            .map(words)
            .unwrap_or_default()
    }

    /// What is due, sent; empty: nothing is. `+` began, `-` over, `~` came and went, `.` news, with the key.
    fn sends(&mut self) -> String {
        let told = self.due();
        if !told.is_empty() {
            self.outbox.sent(self.now());
        }
        told
    }

    /// What is due, and does not arrive.
    fn fails(&mut self) -> String {
        let told = self.due();
        if !told.is_empty() {
            self.outbox.failed("is broken".to_owned(), self.now());
        }
        told
    }

    /// Stops and starts again, this much later.
    fn restarts(&mut self, seconds: u64) {
        let saved = serde_json::to_vec(&self.outbox.saved(self.now())).expect("must be written");
        self.after(seconds);
        let saved = serde_json::from_slice(&saved).expect("must be read");
        let target = self.outbox.target.clone();
        self.outbox = Outbox::new(target, TimeZone::UTC, Some(saved), self.now());
    }
}

fn words(message: &Message) -> String {
    let words = message.items.iter().map(|item| {
        let sign = match item.told {
            Told::Began => '+',
            Told::Over => '-',
            Told::CameAndWent => '~',
            Told::News => '.',
        };
        format!("{sign}{}", item.key)
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn an_incident_is_told_once_when_it_has_lasted_and_once_when_it_is_over() {
    let mut scene = by_day();
    scene.opens("a");
    scene.after(119);
    assert_eq!(scene.sends(), "");
    scene.after(1);
    assert_eq!(scene.sends(), "+a");
    scene.after(3600);
    scene.opens("a");
    assert_eq!(scene.sends(), "");
    scene.closes("a");
    assert_eq!(scene.sends(), "-a");
    scene.closes("a");
    scene.after(3600);
    assert_eq!(scene.sends(), "");
}

#[test]
fn what_is_over_before_it_has_lasted_is_never_told() {
    let mut scene = by_day();
    for _ in 0..10 {
        scene.opens("a");
        scene.after(100);
        scene.closes("a");
        scene.after(100);
        assert_eq!(scene.sends(), "");
    }
}

#[test]
fn news_are_told_at_once_and_need_no_end() {
    let mut scene = by_day();
    scene.report(Turn::News, "a", false);
    assert_eq!(scene.sends(), ".a");
    scene.after(3600);
    assert_eq!(scene.sends(), "");
}

#[test]
fn what_comes_soon_after_a_message_goes_together_in_the_next() {
    let mut scene = by_day();
    scene.report(Turn::News, "first", false);
    assert_eq!(scene.sends(), ".first");
    scene.opens("a");
    scene.opens("b");
    scene.after(299);
    assert_eq!(scene.sends(), "");
    scene.after(1);
    assert_eq!(scene.sends(), "+a +b");
}

#[test]
fn a_thousand_incidents_are_two_messages_and_two_more_when_they_are_over() {
    let mut scene = by_day();
    let mut messages = 0;
    for number in 0..1_000 {
        scene.opens(&format!("service/{number:04}"));
    }
    for _ in 0..3600 {
        scene.after(1);
        messages += usize::from(!scene.sends().is_empty());
    }
    for number in 0..1_000 {
        scene.closes(&format!("service/{number:04}"));
        messages += usize::from(!scene.sends().is_empty());
    }
    for _ in 0..3600 {
        scene.after(1);
        messages += usize::from(!scene.sends().is_empty());
    }
    assert!((2..=4).contains(&messages), "{messages} messages");
    assert_eq!(scene.outbox.open_keys().count(), 0);
}

#[test]
fn a_storm_of_news_is_bounded_and_counted() {
    let mut scene = by_day();
    for number in 0..5_000 {
        scene.report(Turn::News, &format!("photo/{number}"), false);
    }
    let message = scene.outbox.due(scene.now()).expect("must be due");
    assert_eq!(message.items.len() + message.uncounted, 5_000);
    assert_eq!(message.items.len(), MOST);
    let text = message.text(&TimeZone::UTC);
    assert!(text.len() < 4_096, "{} bytes", text.len());
    assert!(text.contains("and 4980 more"), "{text}");
    scene.outbox.sent(scene.now());
    scene.after(300);
    assert_eq!(scene.sends(), "");
}

#[test]
fn one_that_flaps_makes_no_more_than_one_message_a_digest() {
    let mut scene = by_day();
    scene.opens("a");
    scene.after(120);
    assert_eq!(scene.sends(), "+a");
    let mut messages = 0;
    // Over and back again every 20 seconds, for an hour.
    for turn in 0..180 {
        if turn % 2 == 0 {
            scene.closes("a");
        } else {
            scene.opens("a");
        }
        scene.after(20);
        messages += usize::from(!scene.sends().is_empty());
    }
    assert!(messages <= 3600 / 300, "{messages} messages");
}

#[test]
fn one_that_is_back_before_its_end_was_told_is_counted_in_the_digest() {
    let mut scene = by_day();
    scene.opens("a");
    scene.after(120);
    assert_eq!(scene.sends(), "+a");
    scene.closes("a");
    scene.opens("a");
    scene.after(300);
    assert_eq!(scene.sends(), "");
    scene.closes("a");
    let message = scene.outbox.due(scene.now()).expect("must be due");
    let text = message.text(&TimeZone::UTC);
    assert!(text.contains("came back once"), "{text}");
}

#[test]
fn what_came_and_went_while_nothing_could_be_sent_is_told_in_one_line() {
    let mut scene = by_day();
    scene.report(Turn::News, "first", false);
    assert_eq!(scene.sends(), ".first");
    scene.opens("a");
    scene.after(200);
    scene.closes("a");
    scene.after(100);
    assert_eq!(scene.sends(), "~a");
    scene.after(300);
    assert_eq!(scene.sends(), "");
}

#[test]
fn in_quiet_hours_only_what_is_urgent_is_sent_and_the_rest_at_their_end_in_one_message() {
    let mut scene = scene(quiet_at_night(), "23:00");
    scene.opens("quiet");
    scene.report(Turn::News, "news", false);
    scene.report(Turn::Opened, "urgent", true);
    scene.after(120);
    assert_eq!(scene.sends(), "+urgent");
    scene.after(3600);
    scene.report(Turn::Closed, "urgent", true);
    assert_eq!(scene.sends(), "");
    scene.after(6 * 3600);
    assert_eq!(scene.sends(), "", "before seven");
    scene.after(3600);
    assert_eq!(scene.sends(), "+quiet .news -urgent");
}

#[test]
fn who_wants_to_sleep_is_not_woken_at_all() {
    let target = Target {
        urgent_in_quiet_hours: false,
        ..quiet_at_night()
    };
    let mut scene = scene(target, "23:00");
    scene.report(Turn::Opened, "urgent", true);
    scene.after(3600);
    assert_eq!(scene.sends(), "");
    scene.after(7 * 3600);
    assert_eq!(scene.sends(), "+urgent");
}

#[test]
fn a_message_that_fails_is_tried_again_after_1_5_15_60_and_60_minutes() {
    let mut scene = by_day();
    scene.report(Turn::News, "a", false);
    assert_eq!(scene.fails(), ".a");
    assert_eq!(scene.outbox.trouble(), Some("is broken"));
    for minutes in [1, 5, 15, 60, 60] {
        scene.after(minutes * 60 - 1);
        assert_eq!(scene.fails(), "", "before {minutes} minutes");
        scene.after(1);
        assert_eq!(scene.fails(), ".a");
    }
    scene.after(3600);
    assert_eq!(scene.sends(), ".a");
    assert_eq!(scene.outbox.trouble(), None);
}

#[test]
fn what_fails_for_a_day_is_given_up_and_counted_and_what_came_later_is_not() {
    let mut scene = by_day();
    scene.report(Turn::News, "old", false);
    let mut tried_old = 0;
    for _ in 0..25 * 60 {
        tried_old += usize::from(scene.fails().contains(".old"));
        scene.after(60);
        if scene.now == Duration::from_secs(23 * 3600) {
            scene.report(Turn::News, "new", false);
        }
    }
    assert!((20..30).contains(&tried_old), "tried {tried_old} times");
    assert_eq!(scene.outbox.dropped(), 1);
    scene.after(3600);
    assert_eq!(scene.sends(), ".new");
}

#[test]
fn what_changes_while_a_message_is_on_its_way_stays_to_be_told() {
    let mut scene = by_day();
    scene.opens("a");
    scene.report(Turn::News, "n", false);
    scene.after(120);
    let message = scene.outbox.due(scene.now()).expect("must be due");
    assert_eq!(words(&message), "+a .n");
    assert_eq!(scene.outbox.due(scene.now()), None, "one at a time");
    scene.closes("a");
    scene.report(Turn::News, "n", false);
    scene.outbox.sent(scene.now());
    scene.after(300);
    assert_eq!(scene.sends(), ".n -a");
}

#[test]
fn after_a_restart_nothing_is_told_twice_and_no_end_is_forgotten() {
    let mut scene = by_day();
    scene.opens("a");
    scene.after(120);
    assert_eq!(scene.sends(), "+a");
    scene.restarts(3600);
    // Who watches finds it as it was.
    scene.opens("a");
    scene.after(600);
    assert_eq!(scene.sends(), "");
    assert_eq!(scene.outbox.open_keys().collect::<Vec<_>>(), ["a"]);
    scene.closes("a");
    assert_eq!(scene.sends(), "-a");
}

#[test]
fn a_restart_forgets_neither_what_waits_nor_how_long_it_must() {
    let mut scene = by_day();
    scene.report(Turn::News, "first", false);
    assert_eq!(scene.sends(), ".first");
    scene.report(Turn::News, "n", false);
    scene.opens("a");
    scene.after(60);
    scene.restarts(0);
    scene.after(59);
    assert_eq!(scene.sends(), "");
    scene.after(181);
    assert_eq!(scene.sends(), "+a .n");
}

#[test]
fn a_message_on_its_way_at_the_restart_is_sent_again() {
    let mut scene = by_day();
    scene.report(Turn::News, "n", false);
    scene.outbox.due(scene.now()).expect("must be due");
    scene.restarts(1);
    assert_eq!(scene.sends(), ".n");
}
