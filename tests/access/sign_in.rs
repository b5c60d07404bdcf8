//! Signing in and out, and those who should not.

use crate::browser::{Browser, PASSWORD};
use crate::factory::Factory;

fn factory(name: &str) -> Factory {
    let mut factory = Factory::new(name);
    factory.set_password(PASSWORD);
    factory.start();
    factory
}

#[test]
fn signing_in_sets_a_cookie_that_no_script_and_no_other_site_can_use_and_leads_to_what_was_asked() {
    let factory = factory("sign-in");
    let browser = Browser::new(&factory);
    let asked = browser.get("/status.txt?x=1");
    assert_eq!(asked.status, 401);
    let form = browser.get("/sign-in?next=%2F%3Frefresh%3D5");
    assert!(
        form.body.contains("name=\"next\" value=\"/?refresh=5\""),
        "{form:?}"
    );
    let fields = [
        ("token", form.form_token()),
        ("password", PASSWORD.to_owned()),
        ("next", "/?refresh=5".to_owned()),
    ];
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let signed_in = browser.post("/sign-in", &fields);
    assert_eq!(signed_in.status, 303);
    assert_eq!(signed_in.header("Location"), Some("/?refresh=5"));
    let cookie = signed_in.header("Set-Cookie").unwrap();
    let attributes: Vec<_> = cookie.split("; ").skip(1).collect();
    assert_eq!(
        attributes,
        ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=34560000"]
    );

    let elsewhere = [
        ("token", form.form_token()),
        ("password", PASSWORD.to_owned()),
        ("next", "//evil.example".to_owned()),
    ];
    let elsewhere: Vec<_> = elsewhere
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        browser.post("/sign-in", &elsewhere).header("Location"),
        Some("/")
    );
}

#[test]
fn a_session_that_a_client_brings_along_is_not_taken_on() {
    let factory = factory("fixation");
    let planted = "session=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let victim = Browser::new(&factory).with_cookie(planted).signed_in();
    assert_ne!(victim.cookie.as_deref(), Some(planted));
    assert_eq!(victim.get("/status.txt").status, 200);
    let attacker = Browser::new(&factory).with_cookie(planted);
    assert_eq!(attacker.get("/status.txt").status, 401);
    let again = victim.clone().signed_in();
    assert_ne!(again.cookie, victim.cookie, "a new id at every sign-in");
}

#[test]
fn signing_out_ends_the_session_itself_and_no_other() {
    let factory = factory("sign-out");
    let (one, other) = (
        Browser::new(&factory).signed_in(),
        Browser::new(&factory).signed_in(),
    );
    let token = one.get("/").form_token();
    let out = one.post("/sign-out", &[("token", &token)]);
    assert_eq!(out.status, 303);
    assert!(
        out.header("Set-Cookie")
            .unwrap()
            .starts_with("session=; Path=/; ")
    );
    assert_eq!(
        one.get("/status.txt").status,
        401,
        "also for whoever kept the cookie"
    );
    assert_eq!(other.get("/status.txt").status, 200);
}

#[test]
fn another_password_signs_everybody_out_at_once() {
    let factory = factory("changed");
    let owner = Browser::new(&factory).signed_in();
    let made = factory.run(&["password", "--new"]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(owner.get("/status.txt").status, 401);
    assert_eq!(Browser::new(&factory).try_password(PASSWORD).status, 401);
    let made = String::from_utf8(made.stdout).unwrap();
    let made = made.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert_eq!(Browser::new(&factory).try_password(made).status, 303);
}

#[test]
fn who_guesses_has_to_wait_ever_longer_and_nobody_else_has() {
    let factory = factory("guessing");
    let guesser = Browser::new(&factory).at([127, 0, 0, 66]);
    // Three are free. Each wait is longer than the one before, so the loop meets a wait however slow the machine is.
    let mut waits = 0;
    for number in 0..200 {
        let answer = guesser.try_password(&format!("guess {number}"));
        assert!(answer.header("Set-Cookie").is_none());
        match answer.status {
            401 => assert!(answer.body.contains("The password is wrong."), "{answer:?}"),
            429 => {
                let seconds: u64 = answer.header("Retry-After").unwrap().parse().unwrap();
                assert!((1..=900).contains(&seconds), "{answer:?}");
                waits += 1;
            }
            _ => panic!("{answer:?}"),
        }
        if waits > 20 {
            break;
        }
    }
    assert!(waits > 20, "nobody had to wait");
    let right = guesser.try_password(PASSWORD);
    assert_eq!(
        right.status, 429,
        "while it waits, the right one is not tried either"
    );
    let owner = Browser::new(&factory).at([127, 0, 0, 2]).signed_in();
    assert_eq!(owner.get("/status.txt").status, 200);
    let log = std::fs::read_to_string(factory.root().join("stderr.txt")).unwrap();
    let told = log.matches("wrong password number").count();
    assert!(
        log.contains("from 127.0.0.66") && (3..20).contains(&told),
        "{log}"
    );
    assert!(!log.contains("guess 0") && !log.contains(PASSWORD), "{log}");
}
