//! What the monitor asks of others: containers, and pages of the owner's choosing.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests make and change files, and fail by panicking"
)]

mod docker;
mod pages;
mod server;

use photo_factory::courier::Courier;

fn courier() -> Courier {
    Courier::new(Some(env!("CARGO_BIN_EXE_photo-factory-courier").into()))
}
