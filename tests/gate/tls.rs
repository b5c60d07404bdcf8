//! The page by TLS: the real binary with certificates of the test's own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::factory::{Factory, PATIENCE, output_of};

const SETTINGS: &str = "[dashboard]\ntls_cert = \"page.pem\"\ntls_key = \"page.key\"\n";

/// Puts a new certificate and its key into place; gives the certificate.
fn renew(factory: &Factory) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, text) in [
        ("page.key", signing_key.serialize_pem()),
        ("page.pem", cert.pem()),
    ] {
        let temporary = factory.root().join("renewed");
        fs::write(&temporary, text).unwrap();
        fs::rename(&temporary, factory.root().join(name)).unwrap();
    }
    cert.der().clone()
}

fn factory(name: &str) -> (Factory, CertificateDer<'static>) {
    let mut factory = Factory::new(name);
    factory.configure(SETTINGS);
    let certificate = renew(&factory);
    factory.start();
    (factory, certificate)
}

/// One exchange by TLS with whoever has this certificate.
fn ask(
    factory: &Factory,
    trusted: &CertificateDer<'static>,
    request: &str,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = connect(factory)?;
    let mut stream = StreamOwned::new(tls, stream);
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn connect(factory: &Factory) -> std::io::Result<TcpStream> {
    let to: SocketAddr = factory.address().parse().unwrap();
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The process that speaks TLS: the daemon's child with the argument `tls`.
fn front(factory: &Factory) -> Option<u32> {
    let daemon = factory.pid();
    let children = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let is_front = words.split(|&byte| byte == 0).any(|word| word == b"tls");
            (parent == daemon && is_front).then_some(pid)
        });
    children.into_iter().next()
}

#[test]
fn the_page_is_served_by_tls_and_who_speaks_plain_http_is_told() {
    let (mut factory, certificate) = factory("tls");
    let page = ask(&factory, &certificate, &get("/")).unwrap();
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.ends_with("</html>"),
        "{page}"
    );
    let mut plain = connect(&factory).unwrap();
    plain.write_all(get("/").as_bytes()).unwrap();
    let mut told = String::new();
    plain.read_to_string(&mut told).unwrap();
    assert!(
        told.starts_with("HTTP/1.1 400 ") && told.contains("https://"),
        "{told}"
    );

    let front = front(&factory).unwrap();
    let socket = factory.root().join("Data/photo-factory-tls.sock");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let status = fs::read_to_string(format!("/proc/{front}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    factory.stop();
    assert!(
        !PathBuf::from(format!("/proc/{front}")).exists(),
        "it outlives the daemon"
    );
}

#[test]
fn by_tls_the_cookie_is_secure_and_wrong_passwords_are_counted_by_the_clients_address() {
    let (factory, certificate) = factory("tls-sign-in");
    let made = factory.run(&["password", "--new"]);
    let made = String::from_utf8(made.stdout).unwrap();
    let password = made.lines().next().unwrap().rsplit(' ').next().unwrap();
    let sign_in = |password: &str| {
        let form = ask(&factory, &certificate, &get("/sign-in")).unwrap();
        let (_, token) = form.split_once("name=\"token\" value=\"").unwrap();
        let body = format!(
            "token={}&password={password}",
            token.split('"').next().unwrap()
        );
        let request = format!(
            "POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        ask(&factory, &certificate, &request).unwrap()
    };
    let wrong = sign_in("guessed-wrongly");
    assert!(wrong.starts_with("HTTP/1.1 401 "), "{wrong}");
    let log = fs::read_to_string(factory.root().join("stderr.txt")).unwrap();
    assert!(
        log.contains("wrong password number 1 from 127.0.0.1"),
        "{log}"
    );
    let right = sign_in(password);
    assert!(right.starts_with("HTTP/1.1 303 "), "{right}");
    let cookie = right
        .lines()
        .find(|line| line.starts_with("Set-Cookie: "))
        .unwrap();
    assert!(cookie.contains("; Secure"), "{cookie}");
}

#[test]
fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let (mut factory, old) = factory("tls-renewal");
    let new = renew(&factory);
    factory.wait_until("the new certificate is served", PATIENCE, || {
        ask(&factory, &new, &get("/healthz")).is_ok_and(|answer| answer.ends_with("ok\n"))
    });
    assert!(ask(&factory, &old, &get("/healthz")).is_err());
    fs::write(factory.root().join("page.pem"), "no certificate").unwrap();
    factory.wait_until("it is said", PATIENCE, || {
        let log = fs::read_to_string(factory.root().join("stderr.txt")).unwrap();
        log.contains("there is no certificate in")
    });
    let answer = ask(&factory, &new, &get("/healthz")).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    assert!(factory.is_running());
}

#[test]
fn when_its_process_ends_it_is_started_again() {
    let (factory, certificate) = factory("tls-killed");
    let first = front(&factory).unwrap();
    kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::KILL).unwrap();
    factory.wait_until("another one is there", PATIENCE, || {
        front(&factory).is_some_and(|pid| pid != first)
    });
    let answer = ask(&factory, &certificate, &get("/healthz")).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    let told = ask(&factory, &certificate, &get("/api/v1/status")).unwrap();
    assert!(
        told.contains("the page by TLS: its process ended"),
        "{told}"
    );
}

#[test]
fn when_the_daemon_is_killed_it_ends_too() {
    let (mut factory, _certificate) = factory("tls-orphan");
    let front = front(&factory).unwrap();
    factory.kill();
    let is_gone = crate::factory::wait_until(PATIENCE, || {
        let stat = fs::read_to_string(format!("/proc/{front}/stat"));
        // Where nobody takes the orphan's end, it is a zombie.
        stat.map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(is_gone);
}

#[test]
fn a_certificate_that_cannot_be_served_with_is_an_error_that_says_what_to_do() {
    let factory = Factory::new("tls-wrong");
    factory.configure(SETTINGS);
    let fails = || {
        let output = output_of(&mut factory.run_command());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = fails();
    assert!(
        missing.contains("page.pem can't be read") && missing.contains("tls_cert"),
        "{missing}"
    );
    renew(&factory);
    let secret = fs::read_to_string(factory.root().join("page.key")).unwrap();
    fs::write(
        factory.root().join("page.key"),
        secret.replace("PRIVATE", "PUBLIC"),
    )
    .unwrap();
    let no_key = fails();
    assert!(
        no_key.contains("page.key can't be read") && no_key.contains("tls_key"),
        "{no_key}"
    );
    assert!(!no_key.contains(secret.lines().nth(1).unwrap()), "{no_key}");
    renew(&factory);
    fs::write(factory.root().join("page.key"), secret).unwrap();
    let other = fails();
    assert!(
        other.contains("is not the key of the certificate"),
        "{other}"
    );
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_from_being_served_by_tls() {
    let (mut factory, certificate) = factory("tls-crowd");
    let crowd: Vec<_> = (0..300).map(|_| connect(&factory).unwrap()).collect();
    let half: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = connect(&factory).unwrap();
            // A record that is announced and never comes.
            drop(stream.write_all(&[22, 3, 1, 2, 0]));
            stream
        })
        .collect();
    let is_soon = (0..5).any(|_| {
        let asked = std::time::Instant::now();
        let answer = ask(&factory, &certificate, &get("/healthz"));
        answer.is_ok_and(|answer| answer.ends_with("ok\n"))
            && asked.elapsed() < Duration::from_secs(1)
    });
    assert!(is_soon, "not served within a second");
    let front = front(&factory).unwrap();
    let open = fs::read_dir(format!("/proc/{front}/fd")).unwrap().count();
    assert!(open < 200, "{open} descriptors");
    drop((crowd, half));
    assert!(factory.is_running());
}
