//! The status page: what stands on it ([`overview`]), how it looks ([`pages`], [`text`]), how it is served ([`http`], behind [`gate`]).
//!
//! It reads the ledger and the monitor, and changes nothing; what a page may ask for ([`site::Action`]) the appliance does.
//!
//! ```text
//! browser ──TLS──▶ front (a process of its own) ──▶ Data/photo-factory-tls.sock ──╮
//! browser ──TCP──▶ gate ◀──────────────────────────────────────────────────────────╯
//!                  gate ──▶ Data/photo-factory.sock ──▶ http ──▶ routes ──▶ overview ──▶ pages · JSON
//!                  whole, small,        ▲
//!                  well-formed          │
//!                  requests only     client (`status`, `export`): the only way to /export
//! ```

pub mod access;
mod beside;
mod charts;
pub mod client;
pub mod door;
pub mod export;
pub mod front;
pub mod gate;
mod health;
pub mod http;
mod json;
pub mod metrics;
pub mod overview;
pub mod pages;
pub mod reply;
pub mod request;
pub mod routes;
mod settings;
pub mod site;
pub mod text;

#[cfg(test)]
mod tests;
