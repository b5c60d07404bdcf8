//! The metadata worker: the only user of Exiv2, in a process of its own.
fn main() {}
