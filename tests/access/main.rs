//! Who may see what on the page, on every route that there is: the real binary, asked over real connections.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests make and change files, and fail by panicking"
)]

mod browser;
#[path = "../appliance/factory.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod factory;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod password;
mod sign_in;
mod strangers;
