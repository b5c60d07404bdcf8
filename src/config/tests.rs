//! What settings are refused with which words, and what they come to.

use super::*;

fn complaint(text: &str) -> String {
    parse(text, Path::new("/"), Path::new("photo-factory.toml"))
        .map(|_typed| ())
        .expect_err("must be refused")
        .to_string()
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
    let told = complaint("[inbox]\nsettle_second = 5\n");
    assert_eq!(
        told,
        "photo-factory.toml, line 2: there is no setting `settle_second`; did you mean `settle_seconds`?"
    );
    assert!(
        complaint("\n[inbx]\n")
            .contains("line 2: there is no section `inbx`; did you mean `inbox`?")
    );
    assert!(complaint("colour = 1\n").contains("there are: inbox, storage, dashboard"));
    assert!(
        complaint("[probes.router]\nurl = \"http://router/\"\nexpct = 200\n")
            .contains("line 3: there is no setting `expct`; did you mean `expect`?")
    );
}

#[test]
fn the_monitor_is_set_by_its_own_sections() {
    let usable = |text: &str| {
        parse(text, Path::new("/srv/photos"), Path::new("x"))
            .map(|typed| typed.monitor)
            .map_err(|error| error.to_string())
    };
    let plain = usable("").expect("the defaults");
    assert_eq!(plain.librarian_every, Duration::from_secs(60));
    assert_eq!(plain.services_every, Duration::from_secs(300));
    assert_eq!(plain.keep, Duration::from_secs(60 * 86_400));
    assert_eq!(plain.docker, None);
    let set = usable(
        "[monitor]\nlibrarian_seconds = 5\nhistory_days = 7\nquiet_phone_days = 0\ndocker = true\nunits = [\"syncthing@pi.service\"]\n\
         [syncthing]\napi_key_file = \"key\"\n[probes.router]\nurl = \"http://192.168.1.1/\"\nexpect = 401\n",
    )
    .expect("usable");
    assert_eq!(set.librarian_every, Duration::from_secs(5));
    assert_eq!(set.quiet_phone_days, None);
    assert_eq!(set.docker.as_deref(), Some("/var/run/docker.sock"));
    assert_eq!(
        set.syncthing.api_key_file.as_deref(),
        Some(Path::new("/srv/photos/key"))
    );
    assert_eq!(set.probes[0].expect, Some(401));
    for wrong in [
        "[monitor]\nhistory_days = 0\n",
        "[monitor]\nservices_seconds = 0\n",
        "[monitor]\ndocker = \"tcp://proxy\"\n",
        "[monitor]\nunits = [\"--all\"]\n",
        "[probes.router]\nurl = \"192.168.1.1\"\n",
    ] {
        assert!(usable(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_key_is_not_told_by_debug() {
    let settings = SyncthingSettings {
        api_key: Some("s3cret".to_owned()),
        ..SyncthingSettings::default()
    };
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn the_reserve_is_typed_as_a_share_or_as_bytes() {
    let reserve = |typed: &str| {
        let text = format!("[storage]\nreserve = {typed}\n");
        let reserve = parse(&text, Path::new("/"), Path::new("x"))
            .ok()?
            .storage
            .reserve;
        Some((reserve.millionths, reserve.most))
    };
    assert_eq!(reserve("\"2%\""), Some((20_000, u64::MAX)));
    assert_eq!(reserve("\"0.5 %\""), Some((5_000, u64::MAX)));
    assert_eq!(reserve("\"500 MB\""), Some((1_000_000, 500_000_000)));
    assert_eq!(reserve("\"1.5GiB\""), Some((1_000_000, 3 << 29)));
    assert_eq!(reserve("4096"), Some((1_000_000, 4096)));
    assert_eq!(reserve("0"), Some((1_000_000, 0)));
    for wrong in [
        "\"100%\"",
        "\"-1\"",
        "\"much\"",
        "\"1 PB\"",
        "\"\"",
        "\"99999999999999999999\"",
    ] {
        assert_eq!(reserve(wrong), None, "{wrong}");
    }
}

#[test]
fn a_certificate_and_its_key_are_named_together() {
    let usable = |text: &str| {
        parse(text, Path::new("/srv/photos"), Path::new("x")).map(|typed| typed.dashboard.tls)
    };
    assert_eq!(usable("").unwrap(), None);
    let both = "[dashboard]\ntls_cert = \"tls/page.pem\"\ntls_key = \"/etc/page.key\"\n";
    let tls = usable(both).unwrap().unwrap();
    assert_eq!(tls.certificate, Path::new("/srv/photos/tls/page.pem"));
    assert_eq!(tls.key, Path::new("/etc/page.key"));
    let told = complaint("[dashboard]\ntls_cert = \"page.pem\"\n");
    assert!(
        told.contains("tls_cert and tls_key belong together"),
        "{told}"
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_line() {
    assert!(
        complaint("[inbox]\nclear = \"sometimes\"\n").starts_with("photo-factory.toml, line 2: ")
    );
    assert!(complaint("[inbox\n").starts_with("photo-factory.toml, line 1: "));
}
