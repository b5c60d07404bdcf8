//! What the monitor asks of others: containers, pages of the owner's choosing, and a Syncthing in states that a real one is not
//! easily brought into.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests make and change files, and fail by panicking"
)]

mod docker;
mod pages;
#[path = "../fixtures/programs.rs"]
mod programs;
mod server;
mod syncthing;

use photo_factory::courier::Courier;

fn courier() -> Courier {
    Courier::new(Some(programs::worker(env!(
        "CARGO_BIN_EXE_photo-factory-courier"
    ))))
}
