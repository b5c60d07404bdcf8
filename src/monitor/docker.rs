//! Containers, as the Docker daemon sees them: asked on its Unix socket, or through a proxy that lets only reading through.
//!
//! Source: Docker's documentation of the Engine API: `/containers/json` and `/containers/{id}/json`, called without a version,
//! because the newest daemons refuse old ones and the oldest refuse new ones. What is read here has been the same in all.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::Access;
use serde_json::Value;

use super::service::{Live, Status};
use crate::asset::{one_line, shown};
use crate::courier::{Courier, Failed, Method, Request, Round, Trust};

/// How long one answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of an answer at most.
const LARGEST: usize = 8 << 20;

/// A container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What it does, in a word: Docker's own, or `healthy`, `unhealthy`, `starting` where it has a health check, or `missing`.
    pub state: String,
    /// How it is.
    pub status: Status,
    /// How often Docker has started it anew by itself.
    pub restarts: u64,
    /// Since when it runs, or does not.
    pub since: Option<Timestamp>,
}

impl Container {
    /// What is seen of it, for the row of a service.
    pub fn live(&self) -> Live {
        let restarts = match self.restarts {
            0 => String::new(),
            times => format!(", restarted {times} times"),
        };
        Live {
            source: format!("docker {}", self.name),
            state: format!("{}{restarts}", self.state),
            status: self.status.clone(),
        }
    }
}

/// Looks at the containers with these names, or at all where there are none, in the order of the names or of Docker's list. `at` is
/// the path of its socket (also `unix:///PATH`), or the address of a proxy (`http://HOST:PORT`, also `tcp://` and `https://`). Blocks:
/// for seconds, where Docker hangs. The error is one sentence that says what to do.
pub fn look(courier: &Courier, at: &str, names: &[String]) -> Result<Vec<Container>, String> {
    let place = Place::parse(at)?;
    let mut round = courier
        .round()
        .map_err(|failed| format!("Docker {failed}."))?;
    let list = place
        .ask(&mut round, "/containers/json?all=1")?
        .unwrap_or_default();
    let known: Vec<Listed> = list.as_array().into_iter().flatten().map(listed).collect();
    let wanted: Vec<(String, Option<&Listed>)> = if names.is_empty() {
        known
            .iter()
            .map(|one| (one.name.clone(), Some(one)))
            .collect()
    } else {
        names
            .iter()
            .map(|name| {
                let name = bare(name).to_owned();
                let found = known.iter().find(|one| one.names.contains(&name));
                (name, found)
            })
            .collect()
    };
    let mut containers = Vec::new();
    for (name, found) in wanted {
        let told = match found {
            Some(one) => place.ask(&mut round, &format!("/containers/{}/json", one.id))?,
            None => None,
        };
        containers.push(match told {
            Some(told) => container(name, &told),
            // It may have gone since it was listed.
            None => missing(name),
        });
    }
    Ok(containers)
}

/// Where the Docker API is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    /// Scheme, host and port.
    server: String,
    socket: Option<PathBuf>,
}

impl Place {
    fn parse(typed: &str) -> Result<Self, String> {
        let path = typed.strip_prefix("unix://").unwrap_or(typed);
        if path.starts_with('/') {
            return Ok(Self {
                server: "http://docker".to_owned(),
                socket: Some(PathBuf::from(path)),
            });
        }
        let server = match typed.split_once("://") {
            Some(("tcp", rest)) => format!("http://{rest}"),
            Some(("http" | "https", _)) => typed.to_owned(),
            _ => String::new(),
        };
        let server = server.trim_end_matches('/').to_owned();
        let (_, host) = server.split_once("://").unwrap_or_default();
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!(
                "`{}` is no address of Docker: set docker under [monitor] to something like \"/var/run/docker.sock\" or \"http://127.0.0.1:2375\".",
                one_line(typed)
            ));
        }
        Ok(Self {
            server,
            socket: None,
        })
    }

    fn shown(&self) -> String {
        self.socket.as_deref().map_or(self.server.clone(), shown)
    }

    /// An answer's JSON; `None`: there is no such container.
    fn ask(&self, round: &mut Round, path: &str) -> Result<Option<Value>, String> {
        let asked = round.ask(&Request {
            method: Method::Get,
            url: format!("{}{path}", self.server),
            socket: self.socket.clone(),
            headers: Vec::new(),
            body: Vec::new(),
            deadline: DEADLINE,
            answer_limit: LARGEST,
            trust: Trust::Public,
        });
        let answer = asked.map_err(|failed| self.not_asked(&failed))?;
        let place = self.shown();
        match answer.status {
            200 => match serde_json::from_slice::<Value>(&answer.body) {
                Ok(told) => Ok(Some(told)),
                Err(_) => Err(format!(
                    "What answers at {place} is not Docker: set docker under [monitor] to its socket or proxy."
                )),
            },
            404 => Ok(None),
            401 | 403 => Err(format!(
                "The proxy at {place} does not let the list of containers through: allow it to read /containers (often \
                 CONTAINERS=1), and restart it."
            )),
            status => Err(format!(
                "Docker at {place} answers with HTTP status {status}: type `docker ps`, and look whether that works."
            )),
        }
    }

    fn not_asked(&self, failed: &Failed) -> String {
        let place = self.shown();
        if let Some(path) = &self.socket {
            if !path.exists() {
                return format!(
                    "There is no Docker at {place}: type `sudo systemctl start docker`, or correct docker under [monitor] in the settings."
                );
            }
            if rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_err() {
                return format!(
                    "This program's user may not use {place}: set up a proxy that only lets reading through, and give its address as docker \
                     under [monitor]; or type `sudo usermod -aG docker photo-factory`, which lets it do all that root may."
                );
            }
        }
        match failed {
            Failed::TimedOut => format!(
                "Docker at {place} did not answer within {} s: type `docker ps`, and look whether that works.",
                DEADLINE.as_secs()
            ),
            failed => format!("Docker at {place} {failed}."),
        }
    }
}

/// A container as the list has it.
#[derive(Debug)]
struct Listed {
    id: String,
    name: String,
    names: Vec<String>,
}

fn listed(told: &Value) -> Listed {
    // An old link gives a container the name `/other/alias` as well.
    let names: Vec<String> = (told["Names"].as_array().into_iter().flatten())
        .filter_map(|name| Some(bare(name.as_str()?).to_owned()))
        .filter(|name| !name.contains('/'))
        .collect();
    // Ids stand in a path.
    let id = told["Id"].as_str().unwrap_or_default();
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    Listed {
        name: names
            .first()
            .cloned()
            .unwrap_or_else(|| id.chars().take(12).collect()),
        names,
        id,
    }
}

fn bare(name: &str) -> &str {
    name.trim_start_matches('/')
}

fn missing(name: String) -> Container {
    Container {
        state: "missing".to_owned(),
        status: Status::Down("there is no container of this name: see `docker ps -a`".to_owned()),
        restarts: 0,
        since: None,
        name,
    }
}

fn container(name: String, told: &Value) -> Container {
    let state = &told["State"];
    let word = state["Status"].as_str().unwrap_or("unknown");
    let health = state["Health"]["Status"].as_str().unwrap_or("none");
    let (word, since) = match (word, health) {
        ("running", "none" | "") | ("paused", _) => (word, "StartedAt"),
        ("running", health) => (health, "StartedAt"),
        _ => (word, "FinishedAt"),
    };
    let since = state[since].as_str().and_then(|at| at.parse().ok());
    Container {
        status: status(word, state),
        state: one_line(word),
        restarts: told["RestartCount"].as_u64().unwrap_or_default(),
        // Docker writes the year 1 for never.
        since: since.filter(|&at: &Timestamp| at > Timestamp::UNIX_EPOCH),
        name,
    }
}

fn status(word: &str, state: &Value) -> Status {
    /// What SIGTERM ends with: `docker stop`.
    const STOPPED: i64 = 128 + 15;
    let exit_code = state["ExitCode"].as_i64().unwrap_or_default();
    match word {
        "running" | "healthy" | "starting" => Status::Up,
        "unhealthy" => {
            Status::Degraded("its own health check fails: see `docker inspect`".to_owned())
        }
        "paused" => Status::Degraded("it is paused: `docker unpause` lets it go on".to_owned()),
        "created" => Status::Stopped,
        "exited" if state["OOMKilled"] == true => {
            Status::Down("it was ended because memory ran out".to_owned())
        }
        "exited" if matches!(exit_code, 0 | STOPPED) => Status::Stopped,
        "exited" => Status::Down(format!(
            "it ended with exit code {exit_code}: see `docker logs`"
        )),
        "restarting" => Status::Down("it ends again and again: see `docker logs`".to_owned()),
        "dead" | "removing" => Status::Down("it is being removed, or could not be".to_owned()),
        _ => Status::Degraded(format!(
            "in a state unknown to this version: {}",
            one_line(word)
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(state: &Value) -> Container {
        container(
            "web".to_owned(),
            &json!({"State": state, "RestartCount": 3}),
        )
    }

    #[test]
    fn each_state_of_a_container_is_a_status() {
        let kind = |state: &Value| of(state).status.as_str();
        assert_eq!(kind(&json!({"Status": "running"})), "up");
        for (health, is) in [
            ("healthy", "up"),
            ("starting", "up"),
            ("unhealthy", "degraded"),
            ("none", "up"),
        ] {
            let state = json!({"Status": "running", "Health": {"Status": health}});
            assert_eq!(kind(&state), is, "{health}");
        }
        assert_eq!(kind(&json!({"Status": "paused"})), "degraded");
        assert_eq!(kind(&json!({"Status": "created"})), "stopped");
        assert_eq!(kind(&json!({"Status": "exited", "ExitCode": 0})), "stopped");
        assert_eq!(
            kind(&json!({"Status": "exited", "ExitCode": 143})),
            "stopped"
        );
        assert_eq!(kind(&json!({"Status": "exited", "ExitCode": 1})), "down");
        assert_eq!(
            kind(&json!({"Status": "exited", "ExitCode": 0, "OOMKilled": true})),
            "down"
        );
        assert_eq!(kind(&json!({"Status": "restarting"})), "down");
        assert_eq!(kind(&json!({"Status": "dead"})), "down");
        assert_eq!(kind(&json!({"Status": "dreaming"})), "degraded");
        assert_eq!(kind(&json!(null)), "degraded");
    }

    #[test]
    fn since_when_is_the_start_of_what_runs_and_the_end_of_what_does_not() {
        let times = |word: &str| json!({"Status": word, "StartedAt": "2024-05-06T07:08:09.123456789Z", "FinishedAt": "2024-05-07T00:00:00Z"});
        let running = of(&times("running"));
        assert_eq!(running.since, "2024-05-06T07:08:09.123456789Z".parse().ok());
        assert_eq!(running.restarts, 3);
        assert_eq!(
            of(&times("exited")).since,
            "2024-05-07T00:00:00Z".parse().ok()
        );
        let never = json!({"Status": "created", "FinishedAt": "0001-01-01T00:00:00Z"});
        assert_eq!(of(&never).since, None);
    }

    #[test]
    fn a_link_is_no_name_and_an_id_is_no_path() {
        let one = listed(&json!({"Id": "ab/../12", "Names": ["/other/alias", "/web"]}));
        assert_eq!((one.name.as_str(), one.id.as_str()), ("web", "ab12"));
        let nameless = listed(&json!({"Id": "0123456789abcdef"}));
        assert_eq!(nameless.name, "0123456789ab");
    }

    #[test]
    fn every_form_of_an_address_is_taken_and_others_are_refused_with_examples() {
        let server = |typed: &str| Place::parse(typed).map(|place| place.server);
        assert_eq!(
            server("tcp://127.0.0.1:2375").as_deref(),
            Ok("http://127.0.0.1:2375")
        );
        assert_eq!(
            server("http://proxy:2375/").as_deref(),
            Ok("http://proxy:2375")
        );
        for typed in ["/run/docker.sock", "unix:///run/docker.sock"] {
            let place = Place::parse(typed).expect("must be taken");
            assert_eq!(place.shown(), "/run/docker.sock");
        }
        for typed in ["", "docker", "ssh://host", "http://", "http://a b"] {
            let said = Place::parse(typed).expect_err(typed);
            assert!(said.contains("/var/run/docker.sock"), "{said}");
        }
    }
}
