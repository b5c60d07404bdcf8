//! One function per command; the only room that prints.

pub mod export;
pub mod status;
