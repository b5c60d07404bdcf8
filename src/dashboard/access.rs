//! Who a visitor is: the owner, one with a token who may read, or a stranger.

use super::request::{From, Request};

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Visitor {
    /// Anybody: may see whether all is well.
    Stranger,
    /// Came with the token: may read.
    Reader,
    /// The owner: may read, and ask for the few actions there are.
    Owner,
}

/// Knows the password, the token and who is signed in.
#[derive(Debug, Default)]
pub struct Access {}

impl Access {
    /// Who asks.
    pub fn visitor(&self, request: &Request<'_>) -> Visitor {
        match request.from {
            From::Socket | From::Network { .. } => Visitor::Owner,
        }
    }
}
