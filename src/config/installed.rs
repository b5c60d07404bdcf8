//! The factory that the package installs: where it is, and when a command is about it.

use std::path::Path;

/// Its root.
pub const ROOT: &str = "/var/lib/photo-factory";

/// Its settings file: where that is, the package is installed.
pub const SETTINGS: &str = "/etc/photo-factory/photo-factory.toml";

/// Whether a command typed in the folder `here`, without a root or a settings file named, is about it. In another factory's folder
/// a command is about that one.
pub fn is_meant(here: &Path, exists: impl Fn(&Path) -> bool) -> bool {
    let marks = [super::FILE_NAME, "Data", "Photos_Inbox"];
    exists(Path::new(SETTINGS))
        && (here == Path::new(ROOT) || !marks.iter().any(|name| exists(&here.join(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_factory_is_meant_unless_the_current_folder_is_another() {
        let meant = |here: &str, there: &[&str]| {
            is_meant(Path::new(here), |path| {
                there.iter().any(|known| path == Path::new(known))
            })
        };
        assert!(!meant("/home/anna", &[]), "nothing is installed");
        assert!(meant("/home/anna", &[SETTINGS]));
        for mark in ["photo-factory.toml", "Data", "Photos_Inbox"] {
            let mark = format!("/srv/photos/{mark}");
            assert!(!meant("/srv/photos", &[SETTINGS, &mark]), "{mark}");
            assert!(meant("/srv", &[SETTINGS, &mark]));
        }
        let inbox = "/var/lib/photo-factory/Photos_Inbox";
        assert!(meant(ROOT, &[SETTINGS, inbox]), "its own root");
    }
}
