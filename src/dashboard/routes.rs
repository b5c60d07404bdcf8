//! From a request to an answer: the table of what can be asked for, and who may ask. No sockets.

use std::path::PathBuf;

use super::access::{Visitor, sign_in};
use super::charts;
use super::export::Format;
use super::metrics;
use super::pages;
use super::pages::Frame;
use super::reply::Reply;
use super::request::{self, From, Method, Request};
use super::site::Site;
use super::text::text;
use crate::asset::AssetId;
use crate::ledger::{Ledger, LedgerError};
use crate::monitor::ServiceRow;
use crate::verify::row;

/// How long a browser remembers the chosen interval: a year, in seconds.
const COOKIE_AGE: u32 = 31_536_000;

/// Who may have a route's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// Anybody: it tells nothing.
    Anyone,
    /// Anybody, but strangers learn only whether all is well.
    Health,
    /// The owner, or one with the token.
    Reader,
    /// The owner, with a form of ours.
    Owner,
    /// A command on this machine.
    Socket,
}

/// What a refusal looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A page.
    Page,
    /// For programs.
    Data,
}

/// One thing that can be asked for.
#[derive(Debug)]
pub struct Route {
    /// How it is asked for; `HEAD` goes with `GET`.
    pub method: Method,
    /// Its path; a last part `{}` stands for a name or number.
    pub path: &'static str,
    /// Who may ask.
    pub who: Who,
    /// What a refusal looks like.
    pub form: Form,
    answer: fn(&Asked<'_>) -> Answer,
}

/// A request that was let through.
pub(super) struct Asked<'a> {
    pub(super) site: &'a Site,
    pub(super) request: &'a Request<'a>,
    pub(super) visitor: Visitor,
    /// What stands for `{}`, decoded; else empty.
    pub(super) part: String,
}

/// What to do about a request.
#[derive(Debug)]
pub enum Answer {
    /// A whole reply.
    Whole(Reply),
    /// Rows, streamed.
    Rows(Format),
    /// What `verify` needs of some rows.
    Originals(Originals),
}

impl std::convert::From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Whole(reply)
    }
}

/// Which rows `verify` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Originals {
    /// The next ones from this id on.
    From(AssetId),
    /// Those that stand at these paths, or are on their way there.
    At(Vec<PathBuf>),
}

const fn page(path: &'static str, answer: fn(&Asked<'_>) -> Answer) -> Route {
    Route {
        method: Method::Get,
        path,
        who: Who::Reader,
        form: Form::Page,
        answer,
    }
}

const fn data(path: &'static str, answer: fn(&Asked<'_>) -> Answer) -> Route {
    Route {
        method: Method::Get,
        path,
        who: Who::Reader,
        form: Form::Data,
        answer,
    }
}

const fn form(path: &'static str, answer: fn(&Asked<'_>) -> Answer) -> Route {
    Route {
        method: Method::Post,
        path,
        who: Who::Owner,
        form: Form::Page,
        answer,
    }
}

const fn command(path: &'static str, answer: fn(&Asked<'_>) -> Answer) -> Route {
    Route {
        method: Method::Get,
        path,
        who: Who::Socket,
        form: Form::Data,
        answer,
    }
}

/// Everything that can be asked for.
pub const ROUTES: &[Route] = &[
    Route {
        who: Who::Health,
        ..page("/", overview)
    },
    page("/photos", pages::photos::answer),
    data("/api/v1/photos", pages::photos::json_answer),
    data("/api/v1/days", pages::photos::days_answer),
    page("/photos/{}", pages::photo::answer),
    data("/api/v1/photos/{}", pages::photo::json_answer),
    page("/problems", pages::problems::answer),
    data("/api/v1/problems", pages::problems::json_answer),
    page("/storage", pages::storage::answer),
    data("/api/v1/storage", pages::storage::json_answer),
    page("/about", pages::about::answer),
    data("/api/v1/about", pages::about::json_answer),
    page("/api", pages::api::answer),
    data("/api/openapi.json", pages::api::description_answer),
    page("/services/{}", pages::service::answer),
    data("/api/v1/services/{}", pages::service::json_answer),
    data("/api/v1/services", pages::service::list_answer),
    data("/badge/{}", pages::badge::answer),
    page("/events", pages::events::answer),
    data("/api/v1/events", pages::events::json_answer),
    page("/logs", pages::logs::answer),
    data("/api/v1/logs", pages::logs::json_answer),
    data("/api/v1/status", |asked| {
        Reply::json(&(asked.site.overview)().json()).into()
    }),
    data("/metrics", |asked| {
        Reply::new(
            200,
            metrics::CONTENT_TYPE,
            metrics::metrics(&(asked.site.overview)()),
        )
        .into()
    }),
    Route {
        who: Who::Anyone,
        ..data("/healthz", |_| Reply::text("ok\n".to_owned()).into())
    },
    data("/status.txt", |asked| {
        Reply::text(text(&(asked.site.overview)())).into()
    }),
    Route {
        who: Who::Anyone,
        ..page("/sign-in", sign_in::form)
    },
    Route {
        who: Who::Anyone,
        ..form("/sign-in", sign_in::sign_in)
    },
    form("/sign-out", sign_in::sign_out),
    form("/actions/retry", pages::problems::retry),
    form("/actions/verify", pages::problems::verify),
    form("/actions/pause", pages::problems::pause),
    form("/actions/resume", pages::problems::resume),
    command("/export", |_| Answer::Rows(Format::JsonLines)),
    command("/export.csv", |_| Answer::Rows(Format::Csv)),
    command("/originals", |asked| match originals(asked.request.query) {
        Some(originals) => Answer::Originals(originals),
        None => Reply::json_refusal(400, "Ask for from=ID or at=PATH&at=PATH…").into(),
    }),
];

/// Answers a request.
pub fn answer(site: &Site, request: &Request<'_>) -> Answer {
    let mut is_known = false;
    for route in ROUTES {
        let Some(part) = part_of(route.path, request.path) else {
            continue;
        };
        if route.who == Who::Socket && request.from != From::Socket {
            continue;
        }
        is_known = true;
        if (request.method == Method::Post) != (route.method == Method::Post) {
            continue;
        }
        let visitor = site.access.visitor(request);
        if let Some(refusal) = refusal(route, visitor, request) {
            return refusal.into();
        }
        if request.method == Method::Post && !site.access.is_own_form(request) {
            return sign_in::foreign_form().into();
        }
        if route.form == Form::Page
            && request.method != Method::Post
            && let Some(seconds) = chosen_refresh(request)
        {
            return remember(seconds, request).into();
        }
        return (route.answer)(&Asked {
            site,
            request,
            visitor,
            part,
        });
    }
    let (status, sentence) = if is_known {
        (405, "This can be looked at, and nothing else.")
    } else {
        (404, "There is no such page.")
    };
    refused(request, status, sentence).into()
}

/// A refusal in the form that is read there: by a program, or by a person.
fn refused(request: &Request<'_>, status: u16, sentence: &str) -> Reply {
    if request.path.starts_with("/api/") {
        Reply::json_refusal(status, sentence)
    } else {
        Reply::refusal(status, sentence)
    }
}

/// What stands for `{}` in a route's path, or nothing where there is none; `None`: it is another's path.
fn part_of(route: &str, path: &str) -> Option<String> {
    match route.strip_suffix("{}") {
        None => (route == path).then(String::new),
        Some(before) => {
            let part = path.strip_prefix(before)?;
            let is_one = !part.is_empty() && !part.contains('/');
            is_one.then(|| request::decoded(part, false)).flatten()
        }
    }
}

fn refusal(route: &Route, visitor: Visitor, request: &Request<'_>) -> Option<Reply> {
    let needed = match route.who {
        Who::Anyone | Who::Health | Who::Socket => Visitor::Stranger,
        Who::Reader => Visitor::Reader,
        Who::Owner => Visitor::Owner,
    };
    if visitor >= needed {
        return None;
    }
    Some(match route.form {
        Form::Data => Reply::json_refusal(401, "This asks for the password, or for a token.")
            .with("WWW-Authenticate", "Bearer"),
        // What was to be done is not done after signing in: the form is sent again, by a page of its own.
        Form::Page if request.method == Method::Post => Reply::see_other("/sign-in"),
        Form::Page => {
            let mut next = request.path.to_owned();
            if !request.query.is_empty() {
                next.push('?');
                next.push_str(request.query);
            }
            Reply::see_other(&format!("/sign-in?next={}", request::encoded(&next)))
        }
    })
}

impl Asked<'_> {
    /// An answer that needs the ledger; while it can't be read, why not.
    pub(super) fn of_ledger(
        &self,
        work: impl FnOnce(&Ledger) -> Result<Reply, LedgerError>,
    ) -> Answer {
        let answered = match self.site.ledger.upgrade() {
            Some(ledger) => work(&ledger).map_err(|error| error.to_string()),
            None => Err("Photo Factory is stopping".to_owned()),
        };
        let reply = answered.unwrap_or_else(|error| {
            refused(self.request, 503, &format!("The ledger cannot be read at present: {error}. Photos that come are filed all the same."))
        });
        reply.into()
    }

    /// What every page is framed by.
    pub(super) fn frame(&self) -> Frame<'_> {
        let config = &self.site.config;
        let chosen = self.request.cookie_value("refresh").and_then(offered);
        Frame {
            path: self.request.path,
            query: self.request.query,
            refresh: chosen.unwrap_or(config.refresh_seconds),
            visitor: self.visitor,
            token: self.site.access.form_token(self.request),
            is_signed_in: self.site.access.is_signed_in(self.request),
            now: (self.site.now)(),
            zone: &config.zone,
        }
    }
}

fn overview(asked: &Asked<'_>) -> Answer {
    let mut overview = (asked.site.overview)();
    if asked.visitor == Visitor::Stranger {
        return Reply::html(200, pages::overview::health(&overview)).into();
    }
    let beats = |row: &ServiceRow| {
        let beats = charts::last_beats(&asked.site.monitor, row, overview.generated_at);
        (row.service.clone(), beats)
    };
    overview.beats = overview.services.iter().map(beats).collect();
    Reply::html(200, pages::overview::page(&overview, &asked.frame())).into()
}

fn originals(query: &str) -> Option<Originals> {
    if let Some(id) = query.strip_prefix("from=") {
        return Some(Originals::From(AssetId(id.parse().ok()?)));
    }
    let paths = query
        .split('&')
        .map(|path| row::path_of(path.strip_prefix("at=")?));
    Some(Originals::At(paths.collect::<Option<_>>()?))
}

/// The interval in `refresh=…`, if it is one of those offered.
fn chosen_refresh(request: &Request<'_>) -> Option<u32> {
    request.query_value("refresh").as_deref().and_then(offered)
}

fn offered(text: &str) -> Option<u32> {
    let seconds = text.parse().ok()?;
    pages::REFRESH_CHOICES
        .iter()
        .any(|&(choice, _)| choice == seconds)
        .then_some(seconds)
}

/// Sets the cookie and goes back to the page, so that a reload does not set it again.
fn remember(seconds: u32, request: &Request<'_>) -> Reply {
    let cookie =
        format!("refresh={seconds}; Path=/; Max-Age={COOKIE_AGE}; SameSite=Strict; HttpOnly");
    let rest = request
        .query
        .split('&')
        .filter(|pair| !pair.starts_with("refresh="));
    let rest = rest.collect::<Vec<_>>().join("&");
    let between = if rest.is_empty() { "" } else { "?" };
    Reply::see_other(&format!("{}{between}{rest}", request.path)).with("Set-Cookie", cookie)
}
