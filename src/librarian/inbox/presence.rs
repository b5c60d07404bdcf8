//! Whether the inbox is there, and the watch on it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::wanted::Hint;
use super::{Inbox, POLL};
use crate::blocking::unblock;
use crate::config::Poll;
use crate::disk::{self, DiskError};

/// How the inbox is found before everything is looked through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// Where it was.
    There,
    /// There, and another than before, or there again: what watched the earlier one watches nothing.
    Anew,
    /// It can't be looked at.
    Away,
}

/// Why nothing comes from the inbox, and what to do: whole sentences for the owner.
pub(crate) fn away(inbox: &Path, error: &DiskError) -> String {
    let path = inbox.display();
    let goes_on =
        "Nothing can be filed meanwhile; what is kept is safe, and work goes on by itself";
    match error.source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => format!(
            "The inbox {path} is not there: was it moved, or is its disk not mounted? {goes_on} when it is back. If you moved it, set [inbox] path; if you removed it, make the folder again."
        ),
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            format!(
                "The inbox {path} may not be read by Photo Factory (user id {user}). {goes_on} when it may: type `sudo chown -R {user} {path}`."
            )
        }
        _ => format!(
            "The inbox can't be used: {error}. {goes_on} when it can: check its disk and cable (`dmesg`)."
        ),
    }
}

impl Inbox {
    /// Whether the inbox is there; told where that is news. Another folder that stands in its place (made anew, or a disk
    /// mounted over it) is taken instead.
    pub(super) async fn presence(&self) -> Presence {
        let source = Arc::clone(&self.line.source);
        let found = unblock(move || source.reopen_if_replaced()).await;
        let path = self.line.source.path();
        match found {
            Err(error) if error.is_shortage() => Presence::There,
            Err(error) => {
                let said = away(path, &error);
                if self.line.note_source_away(Some(said.clone())) {
                    log::warn!("{said}");
                }
                Presence::Away
            }
            Ok(is_replaced) => {
                let was_away = self.line.note_source_away(None);
                if was_away {
                    log::info!("the inbox {} is there again", path.display());
                }
                if is_replaced || was_away {
                    Presence::Anew
                } else {
                    Presence::There
                }
            }
        }
    }

    /// Starts watching, or says why the inbox is polled instead.
    pub(super) fn start_watcher(&self) -> Option<RecommendedWatcher> {
        let inbox = self.line.source.path();
        let poll = match self.line.config.poll {
            Poll::Set(poll) => poll,
            Poll::Auto => disk::is_network(inbox),
        };
        if poll {
            log::info!("{} is polled every {} s", inbox.display(), POLL.as_secs());
            return None;
        }
        let hint = Hint {
            inbox: inbox.to_owned(),
            wanted: Arc::clone(&self.wanted),
            ignore: self.line.config.ignore.clone(),
        };
        // A link in the inbox may lead anywhere, back to our own log too (P8).
        let settings = notify::Config::default().with_follow_symlinks(false);
        let started = RecommendedWatcher::new(move |event| hint.take(event), settings).and_then(
            |mut watcher| {
                watcher
                    .watch(inbox, RecursiveMode::Recursive)
                    .map(|()| watcher)
            },
        );
        match started {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                log::warn!(
                    "{} can't be watched ({error}), so it is polled every {} s; where watches ran out, raise fs.inotify.max_user_watches",
                    inbox.display(),
                    POLL.as_secs()
                );
                None
            }
        }
    }
}
