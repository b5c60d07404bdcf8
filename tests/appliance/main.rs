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

mod corpus;
mod factory;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod growing_files;
mod ingest;
mod line;
mod page;
mod promises;
mod syncthing;
