//! The monitor's look at a real Syncthing: every type of folder, and everything that may be wrong with it.
//!
//! Where time must pass between two looks, the test says that it has: time is a parameter.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests make and change files, and fail by panicking"
)]

mod copies;
#[path = "../appliance/factory.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod factory;
mod scene;
mod states;
#[path = "../appliance/syncthing_node.rs"]
mod syncthing_node;
