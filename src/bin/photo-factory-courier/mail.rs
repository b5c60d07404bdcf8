//! One mail, handed to its server.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

use lettre::Message;
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use photo_factory::courier::{Failed, Mail, Security};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::tls::{Judge, name_in_certificates};

/// Bytes of what a server said that are told.
const SAID: usize = 200;

/// Returns when the server has taken the mail.
pub(crate) fn send(mail: &Mail) -> Result<(), Failed> {
    let message = message(mail)?;
    let password = mail.password.as_deref().unwrap_or_default();
    if mail.security == Security::None && mail.user.is_some() && !is_this_machine(&mail.server) {
        return Err(Failed::Refused(
            "a password is not sent without TLS; set security to \"starttls\" or \"tls\""
                .to_owned(),
        ));
    }
    let failed = |why: lettre::transport::smtp::Error| failed(&why, password);
    let mut connection = connect(mail)?;
    if let Some(user) = &mail.user {
        let credentials = Credentials::new(user.clone(), password.to_owned());
        connection
            .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
            .map_err(|why| match why.status() {
                // What it says to this may quote what it was sent.
                Some(code) => Failed::Refused(format!(
                    "it does not take the user name and password ({code})"
                )),
                None => failed(why),
            })?;
    }
    connection
        .send(message.envelope(), &message.formatted())
        .map_err(failed)?;
    // The mail is taken; how the server parts changes nothing.
    connection.quit().map_or(Ok(()), |_| Ok(()))
}

fn message(mail: &Mail) -> Result<Message, Failed> {
    let mailbox = |typed: &String| {
        typed
            .parse::<Mailbox>()
            .map_err(|why| Failed::Refused(format!("`{typed}` is not a mail address: {why}")))
    };
    let mut builder = Message::builder()
        .from(mailbox(&mail.from)?)
        .subject(&mail.subject)
        .message_id(None);
    for to in &mail.to {
        builder = builder.to(mailbox(to)?);
    }
    builder
        .singlepart(SinglePart::plain(mail.text.clone()))
        .map_err(|why| Failed::Refused(why.to_string()))
}

/// Connects, by TLS as the mail asks for; nothing but a greeting is sent before the certificate was judged.
fn connect(mail: &Mail) -> Result<SmtpConnection, Failed> {
    let failed = |why: lettre::transport::smtp::Error| failed(&why, "");
    // This machine's name is nobody's business.
    let name = ClientId::default();
    let address = (mail.server.as_str(), mail.port);
    let deadline = Some(mail.deadline);
    if mail.security == Security::None {
        return SmtpConnection::connect(address, deadline, &name, None, None).map_err(failed);
    }
    // lettre knows no pinned certificates, so it takes any whose key the server has, and the judge is asked before
    // anything of the mail goes out.
    let tls = TlsParameters::builder(mail.server.clone())
        .certificate_store(CertificateStore::None)
        .dangerous_accept_invalid_certs(true)
        .dangerous_accept_invalid_hostnames(true)
        .build_rustls()
        .map_err(failed)?;
    let at_once = (mail.security == Security::Tls).then_some(&tls);
    let mut connection =
        SmtpConnection::connect(address, deadline, &name, at_once, None).map_err(failed)?;
    if mail.security == Security::StartTls {
        connection.starttls(&tls, &name).map_err(failed)?;
    }
    judge(mail, &connection)?;
    Ok(connection)
}

fn judge(mail: &Mail, connection: &SmtpConnection) -> Result<(), Failed> {
    let judge = Judge::new(&mail.trust)?;
    let chain = connection
        .certificate_chain()
        .map_err(|why| failed(&why, ""))?;
    let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
    let (certificate, intermediates) = chain
        .split_first()
        .ok_or_else(|| Failed::Refused("it shows no certificate".to_owned()))?;
    let server = name_in_certificates(&mail.server)?;
    match judge.verify_server_cert(certificate, intermediates, &server, &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(_) => Err(judge.refusal()),
    }
}

fn is_this_machine(server: &str) -> bool {
    let address = server.parse::<IpAddr>();
    server == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// In words for the owner: what the server said, unless it quotes the password.
fn failed(error: &lettre::transport::smtp::Error, password: &str) -> Failed {
    let mut said = String::new();
    let mut source = error.source();
    while let Some(why) = source {
        let kind = why.downcast_ref().map(io::Error::kind);
        // A socket says "would block" when its time is over.
        if matches!(kind, Some(ErrorKind::TimedOut | ErrorKind::WouldBlock)) {
            return Failed::TimedOut;
        }
        said = why.to_string();
        source = why.source();
    }
    if !password.is_empty() && said.contains(password) {
        said.clear();
    }
    let said: String = said
        .chars()
        .filter(|c| !c.is_control())
        .take(SAID)
        .collect();
    match error.status() {
        Some(code) => Failed::Refused(format!("{said} ({code})")),
        None if error.is_client() || error.is_response() || error.is_tls() => Failed::Refused(said),
        None => Failed::Unreachable(said),
    }
}
