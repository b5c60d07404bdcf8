//! Pages that the owner wants looked at: whether they answer as they should, and how fast.

use std::time::Duration;

use super::service::Status;
use crate::config::ProbeSettings;
use crate::courier::message::server_of;
use crate::courier::{Answer, Courier, Failed, Method, Request, Round, Trust};

/// Bytes of a page at most.
const LARGEST: usize = 8 << 20;

/// What a look at a page came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probed {
    /// What the owner calls it.
    pub name: String,
    /// How it is.
    pub status: Status,
    /// How long its answer took; `None`: there was none.
    pub response: Option<Duration>,
}

/// Looks at each page, one after the other. Blocks: for each, at most for `deadline` and two seconds.
pub fn probe(courier: &Courier, pages: &[ProbeSettings], deadline: Duration) -> Vec<Probed> {
    let mut round = courier.round();
    pages
        .iter()
        .map(|page| {
            let answered = match &mut round {
                Ok(round) => ask(round, page, deadline),
                Err(failed) => Err(failed.clone()),
            };
            Probed {
                name: page.name.clone(),
                status: judge(page, &answered),
                response: answered.ok().map(|answer| answer.took),
            }
        })
        .collect()
}

fn ask(round: &mut Round, page: &ProbeSettings, deadline: Duration) -> Result<Answer, Failed> {
    round.ask(&Request {
        method: Method::Get,
        url: page.url.clone(),
        socket: None,
        headers: Vec::new(),
        body: Vec::new(),
        deadline,
        answer_limit: LARGEST,
        trust: Trust::Public,
    })
}

/// How a page is by its answer. Of its address only the server is told: the rest may be secret.
fn judge(page: &ProbeSettings, answered: &Result<Answer, Failed>) -> Status {
    let server = server_of(&page.url);
    match answered {
        // These say nothing of the page.
        Err(failed @ (Failed::Absent(_) | Failed::Broken(_))) => {
            Status::Unknown(format!("{server} {failed}"))
        }
        Err(failed) => Status::Down(format!("{server} {failed}")),
        Ok(answer) if !is_expected(page, answer.status) => Status::Down(format!(
            "{server} answers with HTTP status {}, not {}",
            answer.status,
            page.expect
                .map_or("200 to 399".to_owned(), |status| status.to_string())
        )),
        Ok(answer) => match &page.contains {
            Some(text) if !holds(&answer.body, text) => Status::Degraded(format!(
                "{server} answers, but the text \"{text}\" is not in its page"
            )),
            _ => Status::Up,
        },
    }
}

/// Well is any answer that is no error, redirects among them, unless the owner expects another.
fn is_expected(page: &ProbeSettings, status: u16) -> bool {
    page.expect
        .map_or((200..400).contains(&status), |expected| expected == status)
}

fn holds(body: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(body).contains(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(url: &str) -> ProbeSettings {
        ProbeSettings {
            name: "photos".to_owned(),
            url: url.to_owned(),
            expect: None,
            contains: None,
        }
    }

    fn judged(page: &ProbeSettings, status: u16, body: &str) -> Status {
        let answer = Answer {
            status,
            content_type: None,
            location: None,
            body: body.as_bytes().to_vec(),
            took: Duration::from_millis(5),
            certificate: None,
        };
        judge(page, &Ok(answer))
    }

    #[test]
    fn any_answer_that_is_no_error_is_well_unless_the_owner_expects_another() {
        let mut page = page("http://nas/secret-path");
        for status in [200, 204, 302, 399] {
            assert_eq!(judged(&page, status, ""), Status::Up);
        }
        let said = judged(&page, 404, "");
        let Status::Down(why) = said else {
            panic!("{said:?}");
        };
        assert!(why.contains("404, not 200 to 399"), "{why}");
        assert!(!why.contains("secret"), "{why}");
        page.expect = Some(401);
        assert_eq!(judged(&page, 401, ""), Status::Up);
        assert!(matches!(judged(&page, 200, ""), Status::Down(_)));
    }

    #[test]
    fn a_page_without_its_text_is_degraded() {
        let mut page = page("http://nas");
        page.contains = Some("Grüße".to_owned());
        assert_eq!(judged(&page, 200, "Viele Grüße!"), Status::Up);
        let said = judged(&page, 200, "maintenance");
        assert!(matches!(said, Status::Degraded(_)), "{said:?}");
    }

    #[test]
    fn without_a_courier_nothing_is_said_of_the_page() {
        let page = page("http://nas");
        let absent = judge(&page, &Err(Failed::Absent("not installed".to_owned())));
        assert!(matches!(absent, Status::Unknown(_)), "{absent:?}");
        let silent = judge(&page, &Err(Failed::TimedOut));
        assert!(matches!(silent, Status::Down(_)), "{silent:?}");
        let probed = probe(&Courier::new(None), &[page.clone(), page], Duration::ZERO);
        assert_eq!(probed.len(), 2);
        assert!(probed.iter().all(|one| one.response.is_none()));
    }
}
