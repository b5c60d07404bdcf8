//! `setup`: what is asked for is what is in force afterwards, nothing else in the settings file changes, and what would lose photos is
//! refused or said. And the factory that the package installs, laid out in a mount namespace of its own.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::factory::programs::{is_emulated, worker};
use crate::factory::{Factory, installed, may_mount, output_of, program};

/// The command, in a home where nobody has set up anything.
fn command(factory: &Factory) -> Command {
    let mut command = factory.command();
    command
        .env("HOME", factory.root().join("home"))
        .env_remove("XDG_STATE_HOME")
        .env_remove("XDG_CONFIG_HOME");
    command
}

fn setup(factory: &Factory, arguments: &[&str]) -> Output {
    output_of(command(factory).args(["setup", "--yes"]).args(arguments))
}

fn with_input(mut command: Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn settings(factory: &Factory) -> String {
    fs::read_to_string(factory.root().join("photo-factory.toml")).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// `setup` ends as `doctor` does, which it shows.
fn ended_as_doctor(factory: &Factory, output: &Output) {
    let doctor = output_of(command(factory).arg("doctor"));
    assert_eq!(output.status.code(), doctor.status.code(), "{output:?}");
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    let last = doctor.trim_end().lines().last().unwrap();
    assert!(said(output).contains(last), "{output:?}");
}

#[test]
fn what_options_ask_for_is_in_force_and_every_other_line_stays() {
    let factory = Factory::new("setup-options");
    let root = factory.root();
    let before = "\
# Mine.\r\n[inbox]\r\n# path = \"Photos_Inbox\"  # where they arrive\r\nsettle_seconds = 1 # quick\r\n\r\n[storage]\r\nreserve = \"1%\"\r\n";
    fs::write(root.join("photo-factory.toml"), before).unwrap();
    let readable = |mode| PermissionsExt::from_mode(mode);
    fs::set_permissions(root.join("photo-factory.toml"), readable(0o640)).unwrap();
    fs::write(root.join("typed-key"), "a-Key-123\n").unwrap();
    let storage = root.join("disk/My \"Photos\"");
    let key = root.join("typed-key");
    let output = setup(
        &factory,
        &[
            "--storage",
            storage.to_str().unwrap(),
            "--inbox",
            "In",
            "--listen",
            "127.0.0.1:8390",
            "--syncthing-key-file",
            key.to_str().unwrap(),
        ],
    );
    ended_as_doctor(&factory, &output);
    let root_shown = root.canonicalize().unwrap();
    let root_shown = root_shown.display();
    assert_eq!(
        settings(&factory),
        format!(
            "# Mine.\r\n[inbox]\r\npath = \"In\"  # where they arrive\r\nsettle_seconds = 1 # quick\r\n\r\n[storage]\r\npath = \"{}\"\r\n\
             reserve = \"1%\"\r\n\r\n[dashboard]\r\nlisten = \"127.0.0.1:8390\"\r\n\r\n[syncthing]\r\napi_key_file = \
             \"{root_shown}/syncthing-api-key\"\r\n",
            storage.to_str().unwrap().replace('"', "\\\"")
        )
    );
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("photo-factory.toml"), 0o640);
    assert_eq!(mode("syncthing-api-key"), 0o600);
    assert_eq!(
        fs::read_to_string(root.join("syncthing-api-key")).unwrap(),
        "a-Key-123\n"
    );
    assert!(storage.is_dir() && root.join("In").is_dir());
    let told = said(&output);
    assert!(told.contains("http://127.0.0.1:8390/"), "{told}");
    assert!(!told.contains("a-Key-123"), "{told}");

    let first = settings(&factory);
    let again = setup(&factory, &[]);
    ended_as_doctor(&factory, &again);
    assert_eq!(settings(&factory), first, "nothing was asked for");
    let found = setup(&factory, &["--syncthing-key-file", "found"]);
    ended_as_doctor(&factory, &found);
    assert!(settings(&factory).contains("# api_key_file = \"\"\r\n"));
}

#[test]
fn without_a_settings_file_one_is_made_and_the_password_comes_from_standard_input() {
    let factory = Factory::new("setup-new");
    fs::remove_file(factory.root().join("photo-factory.toml")).unwrap();
    let mut typed = command(&factory);
    typed.args([
        "setup",
        "--yes",
        "--listen",
        "0.0.0.0:8391",
        "--password-stdin",
    ]);
    let output = with_input(typed, "eight letters\n");
    ended_as_doctor(&factory, &output);
    assert_eq!(
        settings(&factory),
        "[dashboard]\nlisten = \"0.0.0.0:8391\"\n"
    );
    assert!(factory.root().join("Data/page-password").exists());
    assert!(!said(&output).contains("eight letters"));
    assert!(said(&output).contains(".local:8391/"), "{output:?}");

    let mut typed = command(&factory);
    typed.args([
        "setup",
        "--yes",
        "--syncthing-key-file",
        "-",
        "--new-password",
    ]);
    let output = with_input(typed, "KEY\n");
    assert!(said(&output).contains("The page's password is now: "));
    let key = fs::read_to_string(factory.root().join("syncthing-api-key"));
    assert_eq!(key.unwrap(), "KEY\n");
}

#[test]
fn what_can_not_be_is_refused_with_its_reason_and_nothing_changes() {
    let factory = Factory::new("setup-refused");
    fs::create_dir_all(factory.root().join("Data")).unwrap();
    fs::write(factory.root().join("a-file"), "x").unwrap();
    std::os::unix::fs::symlink(factory.storage(), factory.root().join("link")).unwrap();
    fs::create_dir_all(factory.storage()).unwrap();
    let before = settings(&factory);
    for (arguments, why) in [
        (&["--inbox", "Storage/In"][..], "the inbox"),
        (&["--inbox", "link/In"], "would lie in Storage"),
        (&["--storage", "Photos_Inbox/Kept"], "Storage"),
        (&["--inbox", "Storage"], "would lie in Storage"),
        (&["--inbox", "Data/In"], "would lie in Data"),
        (&["--storage", "Data"], "would lie in Data"),
        (&["--inbox", "."], "Data"),
        (&["--storage", "~/Photos"], "write it whole"),
        (&["--storage", ""], "write it whole"),
        (&["--storage", "a-file"], "is no folder"),
        (&["--storage", "not/../there"], "without `..`"),
        (&["--listen", "8380"], "no address with a port"),
        (&["--syncthing-key-file", "a file"], "can't be read"),
        (
            &["--password-stdin", "--new-password"],
            "only one at a time",
        ),
        (
            &["--password-stdin", "--syncthing-key-file", "-"],
            "only one at a time",
        ),
        (&["--password-stdin"], "at least 8 characters"),
    ] {
        let output = setup(&factory, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(said(&output).contains(why), "{arguments:?}: {output:?}");
    }
    let output = factory.run(&["setup"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("is no terminal"), "{output:?}");
    assert_eq!(settings(&factory), before);
    assert!(!factory.root().join("Data/page-password").exists());

    // Dotted keys can't be added to: what to write is said.
    fs::write(
        factory.root().join("photo-factory.toml"),
        "storage.reserve = \"1%\"\n",
    )
    .unwrap();
    let output = setup(&factory, &["--storage", "Kept"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("by hand") && said(&output).contains("path = \"Kept\""),
        "{output:?}"
    );
    assert_eq!(settings(&factory), "storage.reserve = \"1%\"\n");
    assert!(!factory.root().join("Kept").exists());
}

#[test]
fn another_storage_is_not_taken_in_silence() {
    let factory = Factory::new("setup-storage");
    factory.put("a.jpg", b"\xff\xd8\xff\xd9");
    factory.ingest();
    let output = setup(&factory, &["--storage", "Empty"]);
    assert!(
        said(&output).contains("Copy everything in it to"),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(2), "{output:?}");

    let other = Factory::new("setup-other-storage");
    other.put("b.jpg", b"\xff\xd8\xff\xd9");
    other.ingest();
    let theirs = other.storage();
    let theirs = theirs.to_str().unwrap();
    let output = setup(&factory, &["--storage", theirs]);
    assert!(
        said(&output).contains("is the Storage of another Photo Factory"),
        "{output:?}"
    );
    let new = Factory::new("setup-used-storage");
    let output = setup(&new, &["--storage", theirs]);
    assert!(
        said(&output).contains("was the Storage of a Photo Factory before"),
        "{output:?}"
    );
}

#[test]
fn status_check_tells_by_its_exit_code_alone_whether_the_page_answers() {
    let mut factory = Factory::new("status-check");
    let check = |factory: &Factory| {
        let output = factory.run(&["status", "--check"]);
        assert_eq!(said(&output), "");
        output.status.code()
    };
    assert_eq!(check(&factory), Some(1));
    factory.start();
    assert_eq!(check(&factory), Some(0));
    factory.stop();
    assert_eq!(check(&factory), Some(1));
}

#[test]
fn questions_are_answered_on_a_terminal_and_secrets_are_not_shown() {
    let test = "questions on a terminal";
    if is_emulated(test, "can't switch off a terminal's echo") || !installed("script", test) {
        return;
    }
    let factory = Factory::new("setup-asked");
    let line = format!(
        "'{}' --root '{}' setup",
        program().to_string_lossy(),
        factory.root().display()
    );
    let mut typed = Command::new("script");
    typed
        .args([
            "--quiet",
            "--return",
            "--flush",
            "--command",
            &line,
            "/dev/null",
        ])
        .env("HOME", factory.root().join("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = typed.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut seen = String::new();
    let mut until = |what: &str, seen: &mut String| {
        let from = seen.len();
        let mut piece = [0; 512];
        while !seen.get(from..).unwrap().contains(what) {
            let count = screen.read(&mut piece).unwrap();
            assert!(count > 0, "it ended before {what:?}: {seen}");
            seen.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    };
    for (question, answer) in [
        ("kept?", "Data/x"),
        ("would lie in Data", "Kept"),
        ("to arrive", ""),
        ("listen?", "0.0.0.0:8392"),
        ("not shown: ", "secret-KEY"),
        ("password: none", "type"),
        ("new password: ", "secret words"),
        ("same again: ", "secret words"),
        ("Do that? [yes] ", ""),
    ] {
        until(question, &mut seen);
        keys.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }
    until("Its password:", &mut seen);
    drop(keys);
    assert!(child.wait().unwrap().code().is_some());
    assert!(!seen.contains("secret"), "{seen}");
    assert!(settings(&factory).contains("[storage]\npath = \"Kept\"\n"));
    assert!(settings(&factory).contains("listen = \"0.0.0.0:8392\""));
    let key = fs::read_to_string(factory.root().join("syncthing-api-key"));
    assert_eq!(key.unwrap(), "secret-KEY\n");
    assert!(factory.root().join("Data/page-password").exists());
}

/// Lays out what the package would, in a mount namespace, and does there what its owner does. Says what it finds.
const INSTALLED: &str = r#"
set -eu
work=$1 program=$2 workers=$3
mount -t tmpfs work "$work"
mkdir "$work/lib" "$work/empty"
cp -a /etc "$work/etc"
if [ -d /run/systemd ]; then mount --bind "$work/empty" /run/systemd; fi
mount --bind "$work/etc" /etc
mount --bind "$work/lib" /var/lib
mount -t tmpfs disk /mnt
rm -rf /etc/photo-factory /etc/systemd/system/photo-factory.service.d
sed -i /^photo-factory:/d /etc/passwd /etc/group
echo photo-factory:x:64999:64998::/var/lib/photo-factory:/usr/sbin/nologin >>/etc/passwd
echo photo-factory:x:64998: >>/etc/group
mkdir /var/lib/bin /etc/photo-factory /var/lib/photo-factory /var/lib/photo-factory/Photos_Inbox
cp "$program" "$workers"/photo-factory-exif "$workers"/photo-factory-courier "$workers"/photo-factory-setup /var/lib/bin
chown -R photo-factory:photo-factory /var/lib/photo-factory
chmod 750 /var/lib/photo-factory
printf '# All of it.\n[storage]\n# path = "Storage"\n\n[dashboard]\nlisten = "0.0.0.0:8380"\n' >/etc/photo-factory/photo-factory.toml
chmod 644 /etc/photo-factory/photo-factory.toml
PATH=/var/lib/bin:$PATH
drop_in=/etc/systemd/system/photo-factory.service.d/10-setup.conf
nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
code() { "$@" && echo "ended 0" || echo "ended $?"; }

cd /
echo KEY | code photo-factory setup --yes --storage /mnt/Storage --inbox /mnt/Inbox --new-password --syncthing-key-file -
echo "storage $(stat -c %U:%G:%a /mnt/Storage)"
echo "inbox $(stat -c %U:%G:%a /mnt/Inbox)"
echo "key $(stat -c %U:%G:%a /etc/photo-factory/syncthing-api-key)"
echo "settings $(stat -c %U:%G:%a /etc/photo-factory/photo-factory.toml)"
echo "password $(stat -c %U:%a /var/lib/photo-factory/Data/page-password)"
sed 's/^/settings: /' /etc/photo-factory/photo-factory.toml
sed 's/^/drop-in: /' "$drop_in"
echo "== as root, in a folder that the factory's user may not look at"
mkdir -m 700 /mnt/of-root
cd /mnt/of-root
code photo-factory password --new
echo "new $(stat -c %U /var/lib/photo-factory/Data/page-password)"
echo "== in the root"
cd /var/lib/photo-factory
code photo-factory doctor
echo "== nobody"
code nobody photo-factory password
code nobody photo-factory status
code nobody photo-factory setup --yes
echo "== another factory"
mkdir -p /mnt/another/Photos_Inbox
cd /mnt/another
code photo-factory status
code photo-factory ingest
ls -d /mnt/another/Data
echo "== back"
cd /
code photo-factory setup --yes --storage Storage --inbox Photos_Inbox
[ -e "$drop_in" ] || echo "no drop-in"
"#;

#[test]
fn the_installed_factory_is_set_up_by_root_and_works_as_its_own_user() {
    let test = "the installed factory";
    if !may_mount(test) {
        return;
    }
    if !["unshare", "setpriv", "runuser"]
        .iter()
        .all(|program| installed(program, test))
    {
        return;
    }
    let work =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("installed-{}", std::process::id()));
    fs::create_dir_all(&work).unwrap();
    let output = output_of(
        Command::new("unshare")
            .args(["--mount", "sh", "-c", INSTALLED, "sh"])
            .arg(&work)
            .arg(program())
            .arg(
                worker(env!("CARGO_BIN_EXE_photo-factory-setup"))
                    .parent()
                    .unwrap(),
            )
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CONFIG_HOME"),
    );
    fs::remove_dir(&work).unwrap();
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    let (first, rest) = told.split_once("== as root").unwrap();
    for line in [
        "storage photo-factory:photo-factory:750",
        "inbox photo-factory:photo-factory:2770",
        "key root:photo-factory:640",
        "settings root:root:644",
        "password photo-factory:600",
        "settings: # All of it.",
        "settings: path = \"/mnt/Storage\"",
        "settings: api_key_file = \"/etc/photo-factory/syncthing-api-key\"",
        "drop-in: Wants=mnt.mount",
        "drop-in: After=mnt.mount",
        "drop-in: ReadWritePaths=\"-/mnt\"",
        "Systemd does not run here. Where it does, type: systemctl daemon-reload && systemctl restart photo-factory",
        "Its password: sudo photo-factory password",
    ] {
        assert!(first.lines().any(|said| said == line), "{line:?} in {told}");
    }
    assert!(
        first.contains("/mnt/Storage is on the disk mounted at /mnt, "),
        "{told}"
    );
    assert!(first.contains("The page's password is now: "), "{told}");
    assert!(first.contains(".local:8380/"), "{told}");
    let (as_root, rest) = rest.split_once("== in the root").unwrap();
    assert!(as_root.contains("ended 0\nnew photo-factory\n"), "{told}");
    let (in_root, rest) = rest.split_once("== nobody").unwrap();
    assert!(in_root.contains("/mnt/Storage"), "{told}");
    assert!(in_root.contains("sudo "), "{told}");
    let (nobody, rest) = rest.split_once("== another factory").unwrap();
    assert_eq!(nobody.matches("ended 1").count(), 3, "{told}");
    let (another, back) = rest.split_once("== back").unwrap();
    assert!(another.contains("/mnt/another/Data\n"), "{told}");
    assert!(
        back.contains("Removed: ") && back.contains("no drop-in"),
        "{told}"
    );
    for typed in ["password", "status", "setup --yes"] {
        let hint = format!("Type: sudo photo-factory {typed}");
        assert!(told.contains(&hint), "{hint:?} in {told}");
    }
}
