//! Pages of the owner's choosing, over real connections.

use std::net::TcpListener;
use std::time::Duration;

use photo_factory::config::ProbeSettings;
use photo_factory::monitor::http_probe::{Probed, probe};
use photo_factory::monitor::service::Status;

use crate::{courier, server};

fn page(address: &str, path: &str) -> ProbeSettings {
    ProbeSettings {
        name: path.to_owned(),
        url: format!("http://{address}/{path}"),
        expect: None,
        contains: None,
    }
}

fn looked_at(pages: &[ProbeSettings], deadline: Duration) -> Vec<Probed> {
    probe(&courier(), pages, deadline)
}

#[test]
fn pages_are_up_by_their_status_and_text_with_the_time_they_took() {
    let address = server::on_loopback(|path| {
        Some(match path {
            "/well" => (200, "All is well.".to_owned()),
            "/moved" => (302, String::new()),
            _ => (500, "All is well.".to_owned()),
        })
    });
    let mut pages = ["well", "moved", "broken"]
        .map(|path| page(&address, path))
        .to_vec();
    pages[0].contains = Some("is well".to_owned());
    let mut lacking = page(&address, "well");
    lacking.contains = Some("is lost".to_owned());
    let mut expected = page(&address, "broken");
    expected.expect = Some(500);
    pages.extend([lacking, expected]);
    let probed = looked_at(&pages, Duration::from_secs(30));
    let words: Vec<_> = probed.iter().map(|one| one.status.as_str()).collect();
    assert_eq!(words, ["up", "up", "down", "degraded", "up"], "{probed:?}");
    assert!(probed.iter().all(|one| one.response.is_some()));
    assert_eq!(probed[1].name, "moved");
}

#[test]
fn a_page_that_is_silent_or_not_there_is_down_and_holds_up_no_other() {
    let address = server::on_loopback(|path| (path == "/well").then(|| (204, String::new())));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = closed.local_addr().unwrap().to_string();
    drop(closed);
    let pages = [
        page(&address, "silent"),
        page(&nobody, "gone"),
        page(&address, "well"),
    ];
    let probed = looked_at(&pages, Duration::from_secs(1));
    assert!(matches!(probed[0].status, Status::Down(_)), "{probed:?}");
    assert!(matches!(probed[1].status, Status::Down(_)), "{probed:?}");
    assert_eq!(probed[2].status, Status::Up);
    assert_eq!(probed[0].response, None);
}
