//! Mail, handed to a server on loopback.

use std::sync::mpsc::Receiver;

use photo_factory::courier::{Failed, Mail, Security, Trust};

use crate::receivers::{Manners, certificate, smtp};
use crate::{PATIENCE, courier};

const TAKEN: &str = "235 welcome";

fn mail(port: u16) -> Mail {
    Mail {
        server: "localhost".to_owned(),
        port,
        security: Security::None,
        user: None,
        password: None,
        from: "Factory <factory@example.org>".to_owned(),
        to: vec!["anna@example.org".to_owned(), "ben@example.org".to_owned()],
        subject: "Größe".to_owned(),
        text: "Line one.\n.\nLine three.\n".to_owned(),
        deadline: PATIENCE,
        trust: Trust::Public,
    }
}

fn with_login(mail: Mail) -> Mail {
    Mail {
        user: Some("anna".to_owned()),
        password: Some("hush-hush".to_owned()),
        ..mail
    }
}

fn send(mail: &Mail) -> Result<(), Failed> {
    courier().round().unwrap().send(mail)
}

/// What the server was told, up to the end of the conversation or `last`.
fn told(heard: &Receiver<String>, last: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = heard.recv_timeout(PATIENCE).unwrap();
        let is_last = line.starts_with(last);
        lines.push(line);
        if is_last {
            return lines;
        }
    }
}

#[test]
fn a_mail_reaches_its_server_as_it_was_written() {
    let (port, heard) = smtp(Manners::default());
    send(&mail(port)).unwrap();
    let told = told(&heard, "QUIT").join("\n");
    assert!(told.contains("MAIL FROM:<factory@example.org>"), "{told}");
    assert!(told.contains("RCPT TO:<anna@example.org>"), "{told}");
    assert!(told.contains("RCPT TO:<ben@example.org>"), "{told}");
    assert!(told.contains("Subject: =?utf-8?b?R3LDtsOfZQ==?="), "{told}");
    // A line of one dot is doubled: alone, it would end the mail.
    assert!(told.contains("\n\nLine one.\n..\nLine three.\n"), "{told}");
}

#[test]
fn a_login_is_sent_by_starttls_to_the_pinned_server() {
    let (config, fingerprint) = certificate();
    let (port, heard) = smtp(Manners {
        tls: Some(config),
        to_auth: TAKEN,
        ..Manners::default()
    });
    let mail = with_login(Mail {
        security: Security::StartTls,
        trust: Trust::Pinned(fingerprint),
        ..mail(port)
    });
    send(&mail).unwrap();
    let told = told(&heard, "QUIT");
    let place = |verb: &str| told.iter().position(|line| line.starts_with(verb));
    assert!(
        place("STARTTLS").unwrap() < place("AUTH PLAIN ").unwrap(),
        "{told:?}"
    );
}

#[test]
fn a_mail_server_with_another_certificate_gets_neither_login_nor_mail() {
    for trust in [Trust::Pinned("ab".repeat(32)), Trust::Public] {
        let (config, found) = certificate();
        let (port, heard) = smtp(Manners {
            tls: Some(config),
            to_auth: TAKEN,
            ..Manners::default()
        });
        let wanted = match &trust {
            Trust::Pinned(wanted) => Some(wanted.clone()),
            _ => None,
        };
        let mail = with_login(Mail {
            security: Security::StartTls,
            trust,
            ..mail(port)
        });
        match send(&mail).unwrap_err() {
            Failed::Refused(why) if why.contains("ca-certificates") => {
                println!("skipped: the refusal of a certificate needs the package ca-certificates");
            }
            failed => assert_eq!(failed, Failed::Certificate { wanted, found }),
        }
        // A second mail's greeting: by then the first conversation is over.
        send(&mail).unwrap_err();
        let told = told(&heard, "STARTTLS")
            .into_iter()
            .chain(told(&heard, "STARTTLS"));
        let told: Vec<_> = told.collect();
        let innocent =
            |line: &String| line.starts_with("EHLO") || line == "STARTTLS" || line == "QUIT";
        assert!(told.iter().all(innocent), "{told:?}");
    }
}

#[test]
fn a_server_without_starttls_is_refused() {
    let (port, heard) = smtp(Manners {
        to_auth: TAKEN,
        ..Manners::default()
    });
    let mail = with_login(Mail {
        security: Security::StartTls,
        ..mail(port)
    });
    let failed = send(&mail).unwrap_err();
    assert!(failed.to_string().contains("STARTTLS"), "{failed}");
    assert!(!heard.try_iter().any(|line| line.starts_with("AUTH")));
}

#[test]
fn a_refused_login_is_told_without_what_the_server_says_to_it() {
    let (port, _heard) = smtp(Manners {
        to_auth: "535 not hush-hush",
        ..Manners::default()
    });
    let failed = send(&with_login(mail(port))).unwrap_err();
    let told = "refuses: it does not take the user name and password (535)";
    assert_eq!(failed.to_string(), told);
}

#[test]
fn a_refused_recipient_is_told_in_the_servers_words() {
    let (port, heard) = smtp(Manners {
        to_rcpt: "550 no such user here",
        ..Manners::default()
    });
    let failed = send(&mail(port)).unwrap_err();
    assert_eq!(failed.to_string(), "refuses: no such user here (550)");
    assert!(!told(&heard, "QUIT").contains(&"DATA".to_owned()));
}

#[test]
fn a_password_is_not_sent_to_another_machine_without_tls() {
    let mail = with_login(Mail {
        server: "192.0.2.1".to_owned(),
        ..mail(25)
    });
    let failed = send(&mail).unwrap_err();
    assert!(failed.to_string().contains("starttls"), "{failed}");
}

#[test]
fn what_is_no_mail_address_is_told() {
    let mail = Mail {
        to: vec!["anna".to_owned()],
        ..mail(25)
    };
    let failed = send(&mail).unwrap_err();
    let told = failed.to_string();
    assert!(
        told.starts_with("refuses: `anna` is not a mail address"),
        "{told}"
    );
}
