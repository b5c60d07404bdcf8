//! Signing in and out: the form, and what becomes of what was typed.

use std::time::Duration;

use maud::{Markup, html};

use super::{COOKIE, FORM_TOKEN, Tried};
use crate::dashboard::pages;
use crate::dashboard::reply::Reply;
use crate::dashboard::request::From;
use crate::dashboard::routes::{Answer, Asked};

/// How long a browser keeps the cookie: as long as browsers keep any (RFC 6265bis, 5.5). The session ends earlier, by its own rule.
const COOKIE_AGE: Duration = Duration::from_secs(400 * 86_400);

/// `GET /sign-in`.
pub(in crate::dashboard) fn form(asked: &Asked<'_>) -> Answer {
    let next = asked.request.query_value("next");
    form_page(asked, 200, next, None).into()
}

/// `POST /sign-in`.
pub(in crate::dashboard) fn sign_in(asked: &Asked<'_>) -> Answer {
    let request = asked.request;
    let From::Network { address, is_tls } = request.from else {
        return Reply::refusal(400, "A command on this machine needs no password.").into();
    };
    let next = request.form_value("next");
    let password = request.form_value("password").unwrap_or_default();
    let Some(tried) = asked.site.access.tried(&password, address) else {
        let other = "Somebody else is signing in at this moment. Try again.";
        return form_page(asked, 429, next, Some(other))
            .with("Retry-After", "1")
            .into();
    };
    match tried {
        Tried::Right(id) => {
            let cookie = cookie(&id, COOKIE_AGE, is_tls);
            Reply::see_other(&local(next))
                .with("Set-Cookie", cookie)
                .into()
        }
        Tried::Wrong(wait) => {
            let why = if wait.is_zero() {
                "The password is wrong.".to_owned()
            } else {
                let wait = in_words(wait);
                format!("The password is wrong. The next try is possible in {wait}.")
            };
            form_page(asked, 401, next, Some(&why)).into()
        }
        Tried::Early(wait) => {
            let why = format!(
                "Too many wrong passwords came from your address. The next try is possible in {}.",
                in_words(wait)
            );
            form_page(asked, 429, next, Some(&why))
                .with("Retry-After", rounded_up(wait).to_string())
                .into()
        }
        Tried::NoPassword => {
            let why = "No password is set, or it can't be read. On the machine that runs Photo Factory, `photo-factory password --new` makes one.";
            form_page(asked, 503, next, Some(why)).into()
        }
        Tried::NoSession => form_page(
            asked,
            503,
            next,
            Some("You can't be signed in now. Try again."),
        )
        .into(),
    }
}

/// `POST /sign-out`.
pub(in crate::dashboard) fn sign_out(asked: &Asked<'_>) -> Answer {
    asked.site.access.sign_out(asked.request);
    let is_tls = matches!(asked.request.from, From::Network { is_tls: true, .. });
    Reply::see_other("/")
        .with("Set-Cookie", cookie("", Duration::ZERO, is_tls))
        .into()
}

/// A cookie that no script can read, and no other site makes the browser send.
fn cookie(id: &str, age: Duration, is_tls: bool) -> String {
    let secure = if is_tls { "; Secure" } else { "" };
    format!(
        "{COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        age.as_secs()
    )
}

fn form_page(asked: &Asked<'_>, status: u16, next: Option<String>, trouble: Option<&str>) -> Reply {
    let token = asked.site.access.form_token(asked.request);
    let page = html! {
        @if let Some(trouble) = trouble { p role="alert" { (trouble) } }
        form.sign-in method="post" action="/sign-in" {
            (hidden(FORM_TOKEN, &token))
            (hidden("next", &local(next)))
            // Password managers want a name to go with a password.
            input type="text" name="user" value="photo-factory" autocomplete="username" hidden;
            label for="password" { "Password" }
            input #password type="password" name="password" autocomplete="current-password" required autofocus;
            button { "Sign in" }
        }
        p { "`photo-factory password`, typed on the machine that runs it, shows or changes the password." }
    };
    Reply::html(status, pages::small_page("Sign in", &page))
}

/// A field that goes with a form.
pub(in crate::dashboard) fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// The button that signs out.
pub(in crate::dashboard) fn sign_out_form(token: &str) -> Markup {
    html! {
        form.sign-out method="post" action="/sign-out" {
            (hidden(FORM_TOKEN, token))
            button { "Sign out" }
        }
    }
}

/// Where to go on to: only a path of ours. A browser takes `//` and `/\` for another machine's name, and leaves out tabs and
/// line ends (WHATWG URL Standard, 4.4).
fn local(next: Option<String>) -> String {
    let is_local = |next: &String| {
        let mut bytes = next.bytes();
        next.starts_with('/')
            && !next.starts_with("//")
            && bytes.all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    next.filter(is_local).unwrap_or_else(|| "/".to_owned())
}

/// Whole seconds.
fn rounded_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn in_words(wait: Duration) -> String {
    match rounded_up(wait) {
        1 => "1 second".to_owned(),
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// The answer to a form that is not ours.
pub(in crate::dashboard) fn foreign_form() -> Reply {
    Reply::refusal(
        403,
        "This form is too old, or does not come from this page. Go back, load the page anew, and send it again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_goes_on_to_a_path_of_ours_and_nowhere_else() {
        let local = |next: &str| local(Some(next.to_owned()));
        for ours in [
            "/",
            "/photos?day=2024-01-01&x=%2F%2F",
            "/a//b",
            "/?next=//x",
        ] {
            assert_eq!(local(ours), ours);
        }
        for other in [
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "https://evil.example/",
            "evil",
            "",
            "/a\r\nSet-Cookie: session=1",
            "/a b",
            "/ü",
        ] {
            assert_eq!(local(other), "/", "{other:?}");
        }
    }

    #[test]
    fn waits_are_told_in_words() {
        let told = |millis| in_words(Duration::from_millis(millis));
        assert_eq!(told(300), "1 second");
        assert_eq!(told(64_000), "64 seconds");
        assert_eq!(told(899_001), "15 minutes");
    }
}
