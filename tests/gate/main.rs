//! What the page's gate stands: the real binary under clients that mean no good. Through all of it the process stays the same and
//! small, a well-behaved client is served within a second, and photos are filed.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests make and change files, and fail by panicking"
)]

#[path = "../appliance/factory.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod factory;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod hostile;
mod siege;
mod tls;
