//! What Photo Factory asks of Linux and its C library that no crate of ours wraps safely.
//!
//! Photo Factory itself forbids unsafe code; the few calls that need it stand here, each behind a safe function.

pub mod clock;
pub mod lease;
pub mod memory;
