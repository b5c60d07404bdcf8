//! The promises, kept by the real binary on real folders.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::cast_possible_truncation,
    reason = "tests make and change files, and fail by panicking"
)]

mod actions;
mod attention;
mod check_ups;
mod clock;
mod corpus;
mod degraded;
mod doctor;
mod factory;
mod filesystems;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod growing_files;
mod hostile;
mod ingest;
mod last_moment;
mod line;
mod looking;
mod lying_ledger;
mod many_rows;
mod monitor;
mod page;
mod promises;
mod rebuild;
mod setup;
mod storage;
mod syncthing;
#[allow(dead_code, reason = "the tests of the watcher use all of it")]
mod syncthing_node;
mod together;
#[path = "../faults/tracer.rs"]
#[allow(dead_code, reason = "the fault tests use all of it")]
mod tracer;
mod verify;
