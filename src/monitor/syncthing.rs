//! Syncthing, which brings the photos: how it is, and whether the phones keep their copies of what leaves the inbox.

pub mod folder;
pub mod settings_file;
pub mod verdict;
