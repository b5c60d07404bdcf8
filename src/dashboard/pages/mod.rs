//! The pages: data in, markup out. No outside request, no colour that says something alone.

pub mod about;
pub mod api;
pub mod badge;
mod calendar;
pub mod events;
pub mod logs;
pub mod overview;
pub mod photo;
pub mod photos;
pub mod problems;
pub mod service;
pub mod storage;

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::access::Visitor;
use super::access::sign_in::sign_out_form;
use crate::asset::rfc3339;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The intervals offered, in seconds (0: off) and in words.
pub const REFRESH_CHOICES: [(u32, &str); 6] = [
    (0, "off"),
    (5, "5 s"),
    (10, "10 s"),
    (30, "30 s"),
    (60, "1 min"),
    (300, "5 min"),
];

/// Characters of a name on the page. With the limits on rows this bounds the page, whatever the names are.
pub(super) const NAME_LIMIT: usize = 56;

/// Characters of a reason on the page.
pub(super) const REASON_LIMIT: usize = 240;

/// Bytes of markup that a page spends on a list whose length is bounded by nothing else.
pub(super) const LIST_ROOM: usize = 40 * 1024;

/// The `Content-Security-Policy`: our style and script by their hashes, nothing else from anywhere.
pub static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        base64(&Sha256::digest(STYLE)),
        base64(&Sha256::digest(SCRIPT)),
    )
});

/// What is around every page.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The page's path.
    pub path: &'a str,
    /// Its query.
    pub query: &'a str,
    /// Seconds between refreshes; 0: none.
    pub refresh: u32,
    /// Who looks at it.
    pub visitor: Visitor,
    /// What goes with every form on it, as the field [`FORM_TOKEN`](super::access::FORM_TOKEN).
    pub token: String,
    /// Whether who looks at it could sign out.
    pub is_signed_in: bool,
    /// When it was made.
    pub now: Timestamp,
    /// The zone its times are shown in.
    pub zone: &'a TimeZone,
}

/// Bytes of a query that the links to other intervals keep.
const QUERY_LIMIT: usize = 400;

/// The pages that every page leads to.
const PAGES: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/photos", "Photos"),
    ("/problems", "Problems"),
    ("/storage", "Storage"),
    ("/events", "Events"),
    ("/logs", "Logs"),
    ("/about", "About"),
];

impl Frame<'_> {
    /// A page: `mark` goes before its title, `still` stays as it is while `live` is renewed. A `verdict` is read out when it changes.
    pub fn page(
        &self,
        mark: &str,
        heading: &str,
        still: &Markup,
        verdict: Option<&Markup>,
        live: &Markup,
    ) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                (head(&format!("{mark}{heading} · Photo Factory"), (self.refresh > 0).then_some(self.refresh)))
                body data-refresh=(self.refresh) {
                    a.skip href="#main" { "Skip to the content" }
                    header {
                        p.name { (logo()) "Photo Factory" }
                        (self.refresh_choices())
                        @if self.is_signed_in { (sign_out_form(&self.token)) }
                        nav.pages aria-label="Pages" {
                            ul { @for (path, name) in PAGES {
                                li { a href=(path) aria-current=[(*path == self.path).then_some("page")] { (name) } }
                            } }
                        }
                    }
                    main #main {
                        p.note #lost role="alert" hidden {}
                        h1 class=[(self.path == "/").then_some("vh")] { (heading) }
                        (still)
                        div #now {
                            @if let Some(verdict) = verdict { div #verdict role="status" { (verdict) } }
                            div #live { (live) }
                        }
                    }
                    footer {
                        p { span #made { "As of " (clock(self.zone, self.now)) } " · version " (env!("CARGO_PKG_VERSION")) }
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }

    fn refresh_choices(&self) -> Markup {
        // Six times a long query is no small page.
        let query = if self.query.len() > QUERY_LIMIT {
            ""
        } else {
            self.query
        };
        let rest = query.split('&').filter(|pair| !pair.is_empty());
        let rest: String = rest.fold(String::new(), |rest, pair| rest + "&" + pair);
        html! {
            nav.refresh aria-label="Refresh the page" {
                span { "Refresh" }
                ul {
                    @for (seconds, words) in REFRESH_CHOICES {
                        li {
                            a href={ "?refresh=" (seconds) (rest) } aria-current=[(seconds == self.refresh).then_some("true")] { (words) }
                        }
                    }
                }
            }
        }
    }
}

/// Without script, the browser itself loads the page anew.
fn head(title: &str, refresh: Option<u32>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) }
            link rel="icon" href=(ICON);
            @if let Some(seconds) = refresh {
                noscript { meta http-equiv="refresh" content=(seconds); }
            }
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// A small page that says one thing: not found, not allowed, …
pub fn plain_page(title: &str, sentence: &str) -> Markup {
    small_page(
        title,
        &html! {
            p { (sentence) }
            p { a href="/" { "To the overview" } }
        },
    )
}

/// A page without the frame: it tells nothing of what is kept.
pub(super) fn small_page(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{title} · Photo Factory"), None))
            body {
                header { p.name { (logo()) "Photo Factory" } }
                main {
                    section {
                        h1 { (title) }
                        (content)
                    }
                }
            }
        }
    }
}

/// A moment, in a zone.
pub(super) fn clock(zone: &TimeZone, at: Timestamp) -> Markup {
    let zoned = at.to_zoned(zone.clone());
    html! { time datetime=(rfc3339(at)) { (zoned.strftime("%Y-%m-%d %H:%M:%S")) } }
}

/// A box that a photo drops into.
fn logo() -> Markup {
    html! {
        svg viewBox="0 0 32 32" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linejoin="round" stroke-linecap="round" {
            rect x="9" y="3" width="14" height="11" rx="2" {}
            path d="M9.5 12l4-4 3.5 3 2.5-2 3 3" {}
            path d="M3 17h6l2.5 4h9l2.5-4h6v9.5a2.5 2.5 0 0 1-2.5 2.5h-21A2.5 2.5 0 0 1 3 26.5z" {}
        }
    }
}

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke='%232a8f63' stroke-width='3' stroke-linejoin='round'%3E%3Crect x='9' y='3' width='14' height='11' rx='2'/%3E%3Cpath d='M3 17h6l2.5 4h9l2.5-4h6v12H3z'/%3E%3C/svg%3E";

pub(super) fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

/// At most so many characters, the middle left out: the beginning and the extension tell more than the middle.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return text.to_owned();
    }
    let tail = limit / 3;
    let head: String = text.chars().take(limit - tail - 1).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{head}…{end}")
}

/// Bytes of a text as markup.
pub(super) fn markup_len(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| b"<>&\"".contains(byte)).count();
    // `&quot;` is the longest.
    text.len() + escaped * 5
}

/// RFC 4648 base64, as the policy wants its hashes.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: [char; 64] = {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut alphabet = ['A'; 64];
        let mut index = 0;
        while index < 64 {
            alphabet[index] = letters[index] as char;
            index += 1;
        }
        alphabet
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position)) & 63;
            text.push(if position <= chunk.len() {
                ALPHABET[index as usize]
            } else {
                '='
            });
        }
    }
    text
}
