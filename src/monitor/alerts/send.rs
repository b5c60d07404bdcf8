//! The way of a message to its target, by the courier.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::message::Message;
use crate::config::alerts::{SecretFile, Target, Way};
use crate::courier::message::server_of;
use crate::courier::{Answer, Mail, Method, Request, Round, Trust};

/// How long a target may take for a message.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Bytes of a server's answer that are taken; none is looked at.
const ANSWER_LIMIT: usize = 64 << 10;

/// Sends the message; `Err` says why not and what to do, and goes on from the target's name.
pub fn send(
    round: &mut Round,
    target: &Target,
    message: &Message,
    host: &str,
    zone: &TimeZone,
) -> Result<(), String> {
    let trust = match &target.certificate {
        Some(fingerprint) => Trust::Pinned(fingerprint.clone()),
        None => Trust::Public,
    };
    match &target.way {
        Way::Ntfy {
            server,
            topic,
            token,
            priority,
        } => {
            let json = message.ntfy(topic, *priority, host, zone);
            post(round, server, token.as_ref(), &json, trust)
        }
        Way::Webhook { url, token } => {
            let json = message.webhook(&target.name, host, zone);
            post(round, url, token.as_ref(), &json, trust)
        }
        Way::Email {
            server,
            port,
            security,
            login,
            from,
            to,
        } => {
            let (user, password) = match login {
                Some((user, file)) => (Some(user.clone()), Some(secret(file)?)),
                None => (None, None),
            };
            let mail = Mail {
                server: server.clone(),
                port: *port,
                security: *security,
                user,
                password,
                from: from.clone(),
                to: to.clone(),
                subject: message.subject(host),
                text: message.text(zone),
                deadline: DEADLINE,
                trust,
            };
            round.send(&mail).map_err(|why| why.to_string())
        }
    }
}

fn post(
    round: &mut Round,
    url: &str,
    token: Option<&SecretFile>,
    json: &Value,
    trust: Trust,
) -> Result<(), String> {
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    if let Some(token) = token {
        let value = format!("Bearer {}", secret(token)?);
        headers.push(("Authorization".to_owned(), value));
    }
    let answer = round.ask(&Request {
        method: Method::Post,
        url: url.to_owned(),
        socket: None,
        headers,
        body: json.to_string().into_bytes(),
        deadline: DEADLINE,
        answer_limit: ANSWER_LIMIT,
        trust,
    });
    match answer {
        Ok(answer) => verdict(&answer),
        Err(why) => Err(why.to_string()),
    }
}

/// What an answer means to the owner. Its body is not told: it may quote what was sent.
fn verdict(answer: &Answer) -> Result<(), String> {
    let status = answer.status;
    match status {
        200..=299 => Ok(()),
        300..=399 => {
            let place = answer
                .location
                .as_deref()
                .map_or("another place", server_of);
            Err(format!(
                "leads to {place} ({status}), which is not followed; set url to where it is now"
            ))
        }
        401 | 403 => Err(format!(
            "does not let us in ({status}); check what token_file holds"
        )),
        404 => Err("has nothing at this address (404); check url".to_owned()),
        429 => Err("wants fewer messages (429); raise digest_seconds".to_owned()),
        _ => Err(format!("answered with status {status}; look into its log")),
    }
}

fn secret(file: &SecretFile) -> Result<String, String> {
    file.read().map_err(|why| format!("can't be told: {why}"))
}
