//! The settings in force for a service, in words. Never a key, a password, or an address with one in it.

use crate::asset::shown;
use crate::config::{Clear, Config, Poll};
use crate::monitor::{Service, ServiceRow};

use super::health::time_text;

/// Names and values for a service, as its page lists them.
pub(super) fn settings_of(config: &Config, row: &ServiceRow) -> Vec<(&'static str, String)> {
    let mut settings = vec![(
        "Counts as stuck when silent for more than",
        time_text(row.patience),
    )];
    settings.extend(match &row.service {
        service if *service == Service::LIBRARIAN => librarian(config),
        service if *service == Service::DASHBOARD => dashboard(config),
        service if *service == Service::SERVICE_MONITOR => monitor(config),
        service if *service == Service::FACTORY_DB => ledger(config),
        service if *service == Service::SYNCTHING => syncthing(config),
        service => other(config, service.as_str()),
    });
    settings
}

fn librarian(config: &Config) -> Vec<(&'static str, String)> {
    let clear = match config.clear {
        Clear::Always => "always, once they are kept",
        Clear::Safe => "only while Syncthing is known to keep the phones' copies",
        Clear::Never => "never",
    };
    let poll = match config.poll {
        Poll::Auto => "on network disks only",
        Poll::Set(true) => "yes",
        Poll::Set(false) => "no",
    };
    let worker = config.worker.as_deref();
    vec![
        ("Inbox", shown(&config.inbox)),
        ("Originals go to", shown(&config.storage)),
        ("A file is taken when quiet for", time_text(config.settle)),
        (
            "The inbox is looked through every",
            time_text(config.rescan),
        ),
        ("Photos leave the inbox", clear.to_owned()),
        ("The inbox is polled", poll.to_owned()),
        ("Left alone besides", listed(&config.ignore)),
        (
            "Metadata worker",
            worker.map_or("not found".to_owned(), shown),
        ),
    ]
}

fn dashboard(config: &Config) -> Vec<(&'static str, String)> {
    let tls = config.tls.as_ref();
    let refresh = match config.refresh_seconds {
        0 => "off".to_owned(),
        seconds => format!("every {seconds} s"),
    };
    vec![
        ("Listens on", config.listen.to_string()),
        ("Host names besides addresses", listed(&config.hosts)),
        (
            "TLS certificate",
            tls.map_or("none".to_owned(), |tls| shown(&tls.certificate)),
        ),
        ("Refresh, unless chosen", refresh),
    ]
}

fn monitor(config: &Config) -> Vec<(&'static str, String)> {
    let settings = &config.monitor;
    let quiet = match settings.quiet_phone_days {
        Some(days) => format!("after {days} days without a photo"),
        None => "never".to_owned(),
    };
    vec![
        ("Beats are kept for", time_text(settings.keep)),
        ("Beats are written every", time_text(settings.commit_every)),
        ("A phone is called quiet", quiet),
        (
            "Alerts go to so many places",
            config.alerts.len().to_string(),
        ),
    ]
}

fn ledger(config: &Config) -> Vec<(&'static str, String)> {
    let verify = match config.verify_every {
        Some(every) => format!("within {}", time_text(every)),
        None => "no".to_owned(),
    };
    vec![
        ("Folder", shown(&config.data)),
        ("Every original is read again", verify),
        (
            "At most so fast",
            format!("{:.1} MB/s", config.verify_limit),
        ),
    ]
}

fn syncthing(config: &Config) -> Vec<(&'static str, String)> {
    let settings = &config.monitor.syncthing;
    let key = match (&settings.api_key, &settings.api_key_file) {
        (Some(_), _) => "given in the settings".to_owned(),
        (None, Some(file)) => format!("read from {}", shown(file)),
        (None, None) => "found out".to_owned(),
    };
    let url = settings.url.as_deref();
    vec![
        (
            "Address",
            url.map_or("found out".to_owned(), without_secrets),
        ),
        ("Key", key),
    ]
}

fn other(config: &Config, name: &str) -> Vec<(&'static str, String)> {
    let settings = &config.monitor;
    let mut found = Vec::new();
    if let Some(probe) = settings.probes.iter().find(|probe| probe.name == name) {
        found.push(("Asked over HTTP", without_secrets(&probe.url)));
        if let Some(expect) = probe.expect {
            found.push(("Status that is expected", expect.to_string()));
        }
    }
    if settings.units.iter().any(|unit| unit == name) {
        found.push(("Looked at", "as a unit of systemd".to_owned()));
    }
    if settings.containers.iter().any(|known| known == name) {
        let docker = settings.docker.as_deref();
        let docker = docker.map_or("not asked".to_owned(), without_secrets);
        found.push(("Docker", docker));
    }
    found
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

/// An address without what may be secret in it: a user with a password, a query with a token.
fn without_secrets(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (hidden, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("…@", rest),
        None => ("", rest),
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (shown, cut) = rest.split_at(end);
    let between = if scheme.is_empty() { "" } else { "://" };
    let more = if cut.is_empty() { "" } else { "…" };
    format!("{scheme}{between}{hidden}{shown}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret_in_it() {
        let cases = [
            ("http://10.0.0.2:8384/x", "http://10.0.0.2:8384/x"),
            ("http://me:pass@host/x", "http://…@host/x"),
            ("http://me:p@ss@host/x", "http://…@host/x"),
            ("http://me:p?ss@host/", "http://…@host/"),
            ("https://host/x?token=t#f", "https://host/x…"),
            ("/var/run/docker.sock", "/var/run/docker.sock"),
        ];
        for (address, shown) in cases {
            assert_eq!(without_secrets(address), shown);
        }
    }
}
