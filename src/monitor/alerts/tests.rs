//! All outboxes together, without a courier.

use jiff::tz::TimeZone;

use super::*;
use crate::config::alerts::Way;
use std::time::Duration;

fn target(name: &str) -> Target {
    Target {
        name: name.to_owned(),
        way: Way::Webhook {
            url: "https://hooks.example/".to_owned(),
            token: None,
        },
        quiet_hours: None,
        urgent_in_quiet_hours: true,
        digest: Duration::from_secs(300),
        after: Duration::ZERO,
        certificate: None,
    }
}

fn now() -> Moment {
    Moment {
        instant: Instant::now(),
        wall: Timestamp::UNIX_EPOCH,
    }
}

fn alerts(state: &[u8]) -> Alerts {
    let targets = [target("hook"), target("other")];
    Alerts::new(
        &targets,
        Courier::new(None),
        TimeZone::UTC,
        "host".to_owned(),
        state,
        now(),
    )
}

fn opened(key: &str) -> Incident {
    Incident {
        key: key.to_owned(),
        title: "It is down".to_owned(),
        text: String::new(),
        at: Timestamp::UNIX_EPOCH,
        turn: Turn::Opened,
        urgent: false,
    }
}

#[test]
fn without_a_courier_every_target_is_in_trouble_and_says_why() {
    let mut alerts = alerts(b"");
    assert!(!alerts.send_due(now));
    alerts.take(&opened("a"), now());
    assert!(alerts.send_due(now));
    let notices = alerts.notices();
    let begins =
        |name| format!("No alert reaches {name}: it can't be asked: photo-factory-courier");
    assert!(notices[0].starts_with(&begins("hook")), "{notices:?}");
    assert!(notices[1].starts_with(&begins("other")), "{notices:?}");
}

#[test]
fn a_damaged_state_is_an_empty_one() {
    let mut whole = alerts(b"");
    whole.take(&opened("a"), now());
    let state = whole.state(now());
    assert_eq!(alerts(&state).open_keys(), ["a"]);
    for length in 0..state.len() {
        let cut = state.get(..length).unwrap_or_default();
        assert!(alerts(cut).open_keys().is_empty(), "{length} bytes");
    }
    assert!(alerts(b"\xff\x00nonsense").open_keys().is_empty());
}
