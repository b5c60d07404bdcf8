//! P9: what strangers get, on every route of the table.

use photo_factory::dashboard::request::{Method, encoded};
use photo_factory::dashboard::routes::{ROUTES, Route, Who};

use crate::browser::{Browser, PASSWORD};
use crate::factory::{Factory, PATIENCE};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;

/// What is private of the factory that these tests look at.
const PRIVATE: [&str; 6] = [
    "Secret-Holiday",
    "Petra",
    "2021-02-03",
    "Lens-Maker-9000",
    "Originals",
    "photo-factory.log",
];

/// A factory with a photo, with a password, at work.
fn factory(name: &str) -> Factory {
    let mut factory = Factory::new(name);
    let exif = Exif::taken("2021:02:03 04:05:06").camera("Lens-Maker-9000", "X");
    factory.put("Petra/Secret-Holiday.jpg", &jpeg::small(1, &exif));
    factory.put("Petra/Secret-Holiday.txt", b"no photo");
    factory.set_password(PASSWORD);
    factory.start();
    let owner = Browser::new(&factory).signed_in();
    factory.wait_until("the photo is kept", PATIENCE, || {
        let page = owner.get("/").body;
        page.contains("Secret-Holiday.jpg") && page.contains("Secret-Holiday.txt")
    });
    factory
}

/// Routes with what may stand for `{}`.
fn routes() -> impl Iterator<Item = (&'static Route, &'static str)> {
    let parts = ["1", "2019-12-31", "librarian"];
    ROUTES.iter().flat_map(move |route| {
        let count = if route.path.ends_with("{}") {
            parts.len()
        } else {
            1
        };
        parts.into_iter().take(count).map(move |part| (route, part))
    })
}

#[test]
fn p9_these_routes_are_open_to_strangers_and_no_others() {
    let open: Vec<_> = ROUTES
        .iter()
        .filter(|route| matches!(route.who, Who::Anyone | Who::Health))
        .map(|route| (route.method, route.path))
        .collect();
    let known = [
        (Method::Get, "/"),
        (Method::Get, "/healthz"),
        (Method::Get, "/sign-in"),
        (Method::Post, "/sign-in"),
    ];
    assert_eq!(
        open, known,
        "a route that strangers get must be meant for them"
    );
    for route in ROUTES {
        let changes = route.method == Method::Post;
        let is_reading = matches!(route.who, Who::Reader | Who::Health);
        assert!(
            !(changes && is_reading),
            "{route:?}: a token must only read"
        );
    }
}

#[test]
fn p9_without_the_password_no_route_tells_anything_private() {
    let factory = factory("strangers");
    let stranger = Browser::new(&factory);
    let impostors = [
        stranger.clone(),
        stranger.clone().with_cookie("session="),
        stranger
            .clone()
            .with_cookie(&format!("session={}", "0".repeat(64))),
        stranger.clone().with("Authorization: Bearer 00"),
        stranger.clone().with("Authorization: Bearer "),
        stranger
            .clone()
            .with("Via: none")
            .with("Forwarded: for=\"127.0.0.1\""),
        stranger.clone().with("X-Forwarded-For: 127.0.0.1"),
    ];
    for (route, part) in routes() {
        for impostor in &impostors {
            let answer = impostor.ask(route, part, &[]);
            let shown = format!("{route:?} gives {answer:?}");
            for private in PRIVATE {
                assert!(
                    !answer.body.contains(private) && !answer.head.contains(private),
                    "{shown}"
                );
            }
            match route.who {
                Who::Socket => assert_eq!(answer.status, 404, "{shown}"),
                Who::Reader | Who::Owner => assert!(answer.asks_for_password(), "{shown}"),
                // Without its token a form is nobody's.
                Who::Anyone if route.method == Method::Post => {
                    assert_eq!(answer.status, 403, "{shown}");
                }
                Who::Anyone | Who::Health => assert_eq!(answer.status, 200, "{shown}"),
            }
            if route.method == Method::Get {
                let head = impostor.send("HEAD", &route.path.replace("{}", part), "");
                assert_eq!(
                    (head.status, head.body.as_str()),
                    (answer.status, ""),
                    "{shown}"
                );
            }
        }
    }
}

#[test]
fn p9_with_the_token_a_program_may_read_and_nothing_else() {
    let factory = factory("reader");
    let output = factory.run(&["password", "--token"]);
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap();
    let token = token.lines().next().unwrap();
    let reader = Browser::new(&factory).with(&format!("Authorization: Bearer {token}"));
    assert!(reader.get("/api/v1/status").body.contains("Secret-Holiday"));
    for (route, part) in routes() {
        let answer = reader.ask(route, part, &[("token", token)]);
        let shown = format!("{route:?} gives {answer:?}");
        match route.who {
            Who::Reader => assert!(!answer.asks_for_password(), "{shown}"),
            Who::Owner => assert!(answer.asks_for_password(), "{shown}"),
            Who::Socket => assert_eq!(answer.status, 404, "{shown}"),
            Who::Anyone | Who::Health => assert!(answer.status < 500, "{shown}"),
        }
    }
    assert!(factory.run(&["password", "--no-token"]).status.success());
    assert_eq!(reader.get("/api/v1/status").status, 401);
}

#[test]
fn no_route_answers_under_a_name_that_is_not_ours() {
    let factory = factory("rebinding");
    let mut owner = Browser::new(&factory).signed_in();
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
    ] {
        owner.host = host.to_owned();
        for (route, part) in routes() {
            let answer = owner.ask(route, part, &[]);
            assert_eq!(
                answer.status, 421,
                "{route:?} under {host:?} gives {answer:?}"
            );
        }
    }
}

#[test]
fn no_route_does_what_another_site_makes_the_owners_browser_send() {
    let factory = factory("foreign-forms");
    let owner = Browser::new(&factory).signed_in();
    let token = owner.get("/").form_token();
    let other = Browser::new(&factory).signed_in();
    let of_another = other.get("/").form_token();
    let of_a_stranger = Browser::new(&factory).get("/sign-in").form_token();
    let host = owner.host.clone();
    let foreign = [
        (owner.clone(), ""),
        (owner.clone(), "00"),
        (owner.clone(), of_another.as_str()),
        (owner.clone(), of_a_stranger.as_str()),
        (owner.clone().with("Origin: http://evil.example"), &token),
        (owner.clone().with("Origin: null"), &token),
        (owner.clone().with("Sec-Fetch-Site: cross-site"), &token),
        (
            owner
                .clone()
                .with("Sec-Fetch-Site: same-site")
                .with(&format!("Origin: http://{host}")),
            &token,
        ),
    ];
    for (route, part) in routes().filter(|(route, _)| route.method == Method::Post) {
        if route.who == Who::Socket {
            continue;
        }
        for (browser, token) in &foreign {
            let answer = browser.ask(route, part, &[("token", token), ("password", PASSWORD)]);
            assert_eq!(
                answer.status, 403,
                "{route:?} by {browser:?} gives {answer:?}"
            );
            assert_eq!(answer.header("Set-Cookie"), None);
        }
        // Nothing is done by looking at it, and no other kind of content is taken.
        let looked = owner.get(&route.path.replace("{}", part));
        assert!(
            looked.status == 405 || route.path == "/sign-in",
            "{route:?}: {looked:?}"
        );
        let body = format!("token={token}");
        let json = format!(
            "Content-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        let answer = owner
            .clone()
            .with(&json)
            .send("POST", &route.path.replace("{}", part), &body);
        assert_eq!(answer.status, 415, "{route:?}: {answer:?}");
    }
    assert_eq!(owner.get("/api/v1/status").status, 200, "still signed in");
}

#[test]
fn no_path_leads_out_of_the_page() {
    let factory = factory("traversal");
    let owner = Browser::new(&factory).signed_in();
    let ways = [
        "../Data/page-password",
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%5c..%5cetc%5cpasswd",
        "%252e%252e%252fetc%252fpasswd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "..%00/etc/passwd",
        "Storage/../Data/page-password",
    ];
    let mut folders: Vec<_> = ROUTES
        .iter()
        .map(|route| route.path.replace("{}", ""))
        .collect();
    folders.extend(["/".to_owned(), "//".to_owned(), "/static/".to_owned()]);
    for folder in folders {
        for way in ways {
            let between = if folder.ends_with('/') { "" } else { "/" };
            for target in [
                format!("{folder}{between}{way}"),
                format!("{folder}?path={way}&id={way}"),
            ] {
                let answer = owner.get(&target);
                for secret in ["$argon2id$", "root:x:0"] {
                    assert!(!answer.body.contains(secret), "{target} gives {answer:?}");
                }
                assert!(answer.status < 500, "{target} gives {answer:?}");
            }
        }
    }
}

#[test]
fn no_route_makes_markup_of_a_name_or_of_what_is_asked() {
    const EVIL: &str = "<img src=x onerror=alert(1)>";
    let mut factory = Factory::new("markup");
    let exif =
        Exif::taken("2021:02:03 04:05:06").camera("<script>alert(1)</script>", "\"><script>x");
    factory.put(
        format!("\"><script>alert(2)<'{EVIL}.jpg"),
        &jpeg::small(1, &exif),
    );
    factory.put(format!("{EVIL}.txt"), b"no photo");
    factory.set_password(PASSWORD);
    factory.start();
    let owner = Browser::new(&factory).signed_in();
    factory.wait_until("the photo is kept", PATIENCE, || {
        owner.get("/api/v1/status").body.contains(".txt") && factory.waiting().len() == 1
    });
    let evil = encoded(&format!("\"><script>alert(3)</script>{EVIL}"));
    for browser in [&owner, &Browser::new(&factory)] {
        for (route, part) in routes().filter(|(route, _)| route.method == Method::Get) {
            let path = route.path.replace("{}", part);
            for target in [
                path.clone(),
                format!("{path}?{evil}"),
                format!(
                    "{path}?next={evil}&refresh={evil}&text={evil}&day={evil}&id={evil}&kind={evil}"
                ),
                route.path.replace("{}", &evil),
            ] {
                let answer = browser.get(&target);
                if answer
                    .header("Content-Type")
                    .is_some_and(|kind| kind.starts_with("text/html"))
                {
                    for markup in ["<img src=x", "<script>alert", "<script>x"] {
                        assert!(!answer.body.contains(markup), "{target} gives {answer:?}");
                    }
                }
                assert!(
                    !answer.head.contains("<script>"),
                    "{target} gives {answer:?}"
                );
                assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
                let policy = answer.header("Content-Security-Policy").unwrap();
                assert!(
                    policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
                    "{policy}"
                );
            }
        }
    }
}
