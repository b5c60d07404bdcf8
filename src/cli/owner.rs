//! Root may write everywhere, and what it makes in another user's factory locks that user out of it.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::asset::quoted;
use crate::config::Config;
use crate::doctor::user_name;

/// Root was asked to write into a factory of another user.
#[derive(Debug)]
pub(super) struct AnothersFactory {
    data: PathBuf,
    owner: u32,
    typed: String,
}

impl fmt::Display for AnothersFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = user_name(self.owner).unwrap_or_else(|| format!("#{}", self.owner));
        write!(
            f,
            "you are root, and {data} belongs to user {name}: files that root makes there would lock that user's Photo Factory \
             out, so nothing was changed. Type: sudo -u {user} {typed}\nIf root is to run it from now on, give it the folders of \
             the factory first, Data last: sudo chown -R root INBOX STORAGE LOGS && sudo chown -R root {shown}",
            data = self.data.display(),
            user = quoted(&name),
            typed = self.typed,
            shown = quoted(&self.data.to_string_lossy()),
        )
    }
}

impl std::error::Error for AnothersFactory {}

/// Whether who types this may write here without taking the factory from its owner. `typed`: the program and its arguments.
pub(super) fn is_respected(config: &Config, typed: &[String]) -> Result<(), AnothersFactory> {
    let owner = std::fs::metadata(&config.data).map_or(0, |data| data.uid());
    if owner == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let words: Vec<String> = typed.iter().map(|word| quoted(word)).collect();
    Err(AnothersFactory {
        data: config.data.clone(),
        owner,
        typed: words.join(" "),
    })
}
