//! `photo-factory password`, by hand.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Output, Stdio};

use crate::browser::PASSWORD;
use crate::factory::Factory;

impl Factory {
    /// Sets the page's password, as a script would.
    pub(crate) fn set_password(&self, password: &str) {
        let output = self.typed_password(password);
        assert!(output.status.success(), "{output:?}");
    }

    fn typed_password(&self, password: &str) -> Output {
        let mut command = self.command();
        command.args(["password", "--set"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{password}").unwrap();
        drop(input);
        child.wait_with_output().unwrap()
    }

    fn said(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(&[&["password"], arguments].concat());
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(said).unwrap(),
        )
    }
}

#[test]
fn the_first_password_is_shown_once_and_is_then_kept_as_a_hash_alone() {
    let factory = Factory::new("first-password");
    let data = factory.root().join("Data");
    assert!(
        factory
            .said(&[])
            .1
            .starts_with("No password is set: the page is only served to this machine.")
    );
    // As the first start leaves it where others can reach the page.
    photo_factory::dashboard::access::keys::Keys::new(&data)
        .make_first()
        .unwrap();
    let (code, shown) = factory.said(&[]);
    assert_eq!(code, 0);
    let first = shown
        .lines()
        .next()
        .unwrap()
        .strip_prefix("The page's password: ")
        .unwrap();
    assert_eq!(first.len(), 19);
    let (code, again) = factory.said(&[]);
    assert_eq!(code, 0);
    assert!(
        again.starts_with("A password is set, and can't be shown"),
        "{again}"
    );
    for entry in fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert!(
            !fs::read_to_string(&path).unwrap().contains(first),
            "{}",
            path.display()
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_running_appliance_tells_where_the_first_password_is_and_never_what_it_is() {
    let mut factory = Factory::new("told-first");
    let data = factory.root().join("Data");
    let keys = photo_factory::dashboard::access::keys::Keys::new(&data);
    keys.make_first().unwrap();
    factory.start();
    let first = keys.first().unwrap().unwrap();
    let log = fs::read_to_string(factory.root().join("stderr.txt")).unwrap();
    assert!(!log.contains(&first));
    assert!(factory.said(&[]).1.contains(&first));
}

#[test]
fn what_cannot_be_a_password_changes_nothing() {
    let factory = Factory::new("bad-passwords");
    factory.set_password(PASSWORD);
    let kept = fs::read(factory.root().join("Data/page-password")).unwrap();
    for wrong in ["", "short", &"x".repeat(5000)] {
        let output = factory.typed_password(wrong);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("at least 8 characters"), "{said}");
    }
    let (code, said) = factory.said(&["--new", "--remove"]);
    assert_eq!(code, 1);
    assert!(said.contains("only one at a time"), "{said}");
    assert_eq!(
        fs::read(factory.root().join("Data/page-password")).unwrap(),
        kept
    );
}

#[test]
fn the_password_is_removed_only_where_nobody_else_can_reach_the_page() {
    let factory = Factory::new("removal");
    factory.set_password(PASSWORD);
    factory.configure("[dashboard]\nlisten = \"0.0.0.0:8380\"\n");
    let (code, said) = factory.said(&["--remove"]);
    assert_eq!(code, 1);
    assert!(said.contains("the page listens on 0.0.0.0:8380"), "{said}");
    assert!(factory.root().join("Data/page-password").exists());
    factory.configure("");
    assert_eq!(factory.said(&["--remove"]).0, 0);
    assert!(!factory.root().join("Data/page-password").exists());
    assert_eq!(factory.said(&["--remove"]).1, "There is no password.\n");
}
