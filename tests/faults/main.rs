//! The promises under faults: the real binary on real folders, killed, refused, filled up and cut off.
//!
//! `PHOTO_FACTORY_UNDER_TEST` names another binary to be tested. By default long lists of cases are sampled evenly, which is
//! printed; `PHOTO_FACTORY_FAULTS=all` goes through all of them.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::cast_possible_truncation,
    reason = "tests make and change files, and fail by panicking"
)]

mod cases;
mod daemon;
mod errors;
#[path = "../appliance/factory.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod factory;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod full_disk;
mod kill;
mod mounts;
mod scene;
mod shutdown;
mod tracer;
