//! Photo Factory: files the photos that phones drop into an inbox, and never loses one.
//!
//! # The way of a photo
//!
//! ```text
//! phone ──Syncthing──▶ Photos_Inbox/
//!                          │ inbox: events are hints, the periodic rescan is the truth
//!                          ▼
//!   librarian   settle ─▶ read (hash + metadata) ─▶ decide ──────────┐
//!                          │ new                                     │ same bytes are kept already
//!                 intent in the ledger                       compare with the kept copy
//!                 place in Originals (disk)                  clear the inbox name (disk)
//!                 finish in the ledger
//!                 clear the inbox name (disk)
//! ```
//!
//! # The rooms, and whom each may name
//!
//! | room | does | may name |
//! |---|---|---|
//! | [`asset`] | the vocabulary: hash, kinds, capture time, flags. No I/O | nobody |
//! | [`disk`] | the only room that changes files in Inbox and Storage | asset |
//! | [`ledger`] | the memory: what stands in Originals (redb) | asset |
//! | [`blocking`] | work that waits for disks, off the thread on which everything else takes turns | nobody |
//! | [`courier`] | messages to others and their answers, by a process of its own | nobody |
//! | [`config`] | what was typed, made usable | courier |
//! | [`librarian`] | the photo line | asset, blocking, disk, ledger, config |
//! | [`verify`] | originals read again and held against their rows, by command and by itself | asset, disk, ledger, config |
//! | [`monitor`] | heartbeats and their history (redb); Syncthing, containers and pages looked at; alerts | asset, ledger, courier, config |
//! | [`dashboard`] | the status page and its JSON | asset, ledger, verify, monitor, config, `log_file` |
//! | [`factory`] | the root behind a lock, interrupted work put right: what `run` and `ingest` begin with | asset, disk, ledger, config, librarian |
//! | [`rebuild`] | the ledger made anew from Originals | asset, disk, ledger, config, librarian, factory, verify |
//! | [`doctor`] | looks at all that the appliance needs, and says what to do. Changes nothing | asset, disk, ledger, courier, config, verify, monitor, dashboard |
//! | [`log_file`] | the rotating log in Logs/, written and read | nobody |
//! | [`appliance`] | wires the services; channels, start and stop | all above |
//! | [`cli`] | one function per command; the only room that prints | all above |
//!
//! `tests/rooms.rs` holds the code to this table. Beside the rooms stand two workers, in processes of their own: for metadata
//! `src/bin/photo-factory-exif.rs`, the only user of Exiv2, and `src/bin/photo-factory-courier`, the only user of TLS (also towards browsers) and of
//! HTTP and SMTP as a client; `src/bin/photo-factory-setup.rs`, which carries out the command `setup`; and `src/kernel`, a crate of its own for the few calls that no crate
//! of ours wraps safely.
//!
//! # Deliberately absent
//!
//! A Clock/Fs/Store trait zoo (tests use real folders; time is a parameter, `now`), a central errors file, a utils file,
//! global state.

pub mod appliance;
pub mod asset;
pub mod blocking;
pub mod cli;
pub mod config;
pub mod courier;
pub mod dashboard;
pub mod disk;
pub mod doctor;
pub mod factory;
pub mod ledger;
pub mod librarian;
pub mod log_file;
pub mod monitor;
pub mod rebuild;
pub mod verify;
