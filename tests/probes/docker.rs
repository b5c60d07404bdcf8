//! Containers: by a server that speaks as Docker documents it, and by the real one where it runs.

use std::fs;
use std::path::{Path, PathBuf};

use photo_factory::monitor::docker::{Container, look};
use photo_factory::monitor::service::Status;
use serde_json::json;

use crate::courier;
use crate::server;

/// Where the real one listens.
const SOCKET: &str = "/var/run/docker.sock";

/// A socket's path in a folder of the test's own.
fn socket(name: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("docker-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

fn daemon(path: &str) -> (u16, String) {
    let body = match path {
        "/containers/json?all=1" => json!([
            {"Id": "aaa111", "Names": ["/web"], "State": "running", "Status": "Up 2 hours (unhealthy)"},
            {"Id": "bbb222", "Names": ["/web/db", "/db"], "State": "exited", "Status": "Exited (1) 3 minutes ago"},
            {"Id": "ccc333", "Names": ["/gone"], "State": "running"},
        ]),
        "/containers/aaa111/json" => json!({
            "Id": "aaa111", "Name": "/web", "RestartCount": 4,
            "State": {
                "Status": "running", "Running": true, "ExitCode": 0, "StartedAt": "2024-05-06T07:08:09.5Z",
                "FinishedAt": "0001-01-01T00:00:00Z", "Health": {"Status": "unhealthy", "FailingStreak": 3, "Log": []},
            },
        }),
        "/containers/bbb222/json" => json!({
            "Id": "bbb222", "Name": "/db", "RestartCount": 0,
            "State": {
                "Status": "exited", "ExitCode": 1, "StartedAt": "2024-05-06T07:08:09Z", "FinishedAt": "2024-05-06T08:00:00Z",
            },
        }),
        _ => return (404, json!({"message": "page not found"}).to_string()),
    };
    (200, body.to_string())
}

fn names(containers: &[Container]) -> Vec<&str> {
    containers.iter().map(|one| one.name.as_str()).collect()
}

#[test]
fn containers_are_told_with_health_restarts_and_since_when() {
    let path = socket("well");
    server::on_socket(&path, |path| Some(daemon(path)));
    let at = path.display().to_string();
    let all = look(&courier(), &at, &[]).unwrap();
    assert_eq!(names(&all), ["web", "db", "gone"]);
    let [web, db, gone] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!((web.state.as_str(), web.restarts), ("unhealthy", 4));
    assert!(matches!(web.status, Status::Degraded(_)), "{web:?}");
    assert_eq!(web.since, "2024-05-06T07:08:09.5Z".parse().ok());
    assert!(matches!(db.status, Status::Down(_)), "{db:?}");
    assert_eq!(db.since, "2024-05-06T08:00:00Z".parse().ok());
    assert_eq!(gone.state, "missing", "it went between the two questions");

    let wanted = ["/db".to_owned(), "nobody".to_owned()];
    let some = look(&courier(), &format!("unix://{at}"), &wanted).unwrap();
    assert_eq!(names(&some), ["db", "nobody"]);
    assert_eq!(some[1].state, "missing");
    assert!(matches!(some[1].status, Status::Down(_)));
}

#[test]
fn through_a_proxy_it_is_the_same_and_one_that_forbids_it_is_told() {
    let open = server::on_loopback(|path| Some(daemon(path)));
    let containers = look(&courier(), &format!("http://{open}"), &["web".to_owned()]).unwrap();
    assert_eq!(names(&containers), ["web"]);
    let shut = server::on_loopback(|_| Some((403, "Forbidden".to_owned())));
    let said = look(&courier(), &format!("tcp://{shut}"), &[]).unwrap_err();
    assert!(said.contains("CONTAINERS=1"), "{said}");
    let other = server::on_loopback(|_| Some((200, "<html>".to_owned())));
    let said = look(&courier(), &format!("http://{other}"), &[]).unwrap_err();
    assert!(said.contains("is not Docker"), "{said}");
}

#[test]
fn a_socket_that_is_not_there_or_has_nobody_behind_it_says_what_to_do() {
    let path = socket("nowhere");
    let said = look(&courier(), &path.display().to_string(), &[]).unwrap_err();
    assert!(said.contains("systemctl start docker"), "{said}");
    let path = socket("left-over");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let said = look(&courier(), &path.display().to_string(), &[]).unwrap_err();
    assert!(said.starts_with("Docker at "), "{said}");
}

#[test]
fn the_real_docker_is_understood() {
    // Nobody listens on a socket that was left over.
    if std::os::unix::net::UnixStream::connect(SOCKET).is_err() {
        println!("skipped: the real list of containers needs Docker");
        return;
    }
    let containers = look(
        &courier(),
        SOCKET,
        &["there-is-no-such-container".to_owned()],
    )
    .unwrap();
    assert_eq!(containers[0].state, "missing");
    for container in look(&courier(), SOCKET, &[]).unwrap() {
        assert!(!container.name.is_empty());
        assert_ne!(container.state, "unknown", "{container:?}");
    }
}
