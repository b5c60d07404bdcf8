//! A bar on a terminal that tells how far a long command is: bytes, pace, and the time that is left.
//!
//! Forty lines of our own, because the crate for it is a hundredth of the program.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::asset::bytes_text;

/// It is drawn so often at most.
const REDRAWN_EVERY: Duration = Duration::from_millis(200);

/// Places in the bar.
const PLACES: u64 = 30;

/// Back to the line's beginning, and nothing left of it.
const CLEAR: &str = "\r\x1b[2K";

/// The bar; draws nothing where stderr is no terminal.
pub(super) struct Bar {
    is_hidden: bool,
    done: Cell<u64>,
    all: Cell<u64>,
    message: RefCell<String>,
    begun: Instant,
    drawn: Cell<Option<Instant>>,
}

impl Bar {
    pub(super) fn new(all: u64) -> Self {
        Self {
            is_hidden: !super::draws_progress(),
            done: Cell::new(0),
            all: Cell::new(all),
            message: RefCell::default(),
            begun: Instant::now(),
            drawn: Cell::new(None),
        }
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.is_hidden
    }

    /// How many bytes there are in all.
    pub(super) fn set_length(&self, all: u64) {
        self.all.set(all);
        self.draw();
    }

    /// How many are done.
    pub(super) fn set_position(&self, done: u64) {
        self.done.set(done);
        self.draw();
    }

    /// So many more are done.
    pub(super) fn inc(&self, bytes: u64) {
        self.set_position(self.done.get().saturating_add(bytes));
    }

    pub(super) fn set_message(&self, message: String) {
        *self.message.borrow_mut() = message;
    }

    /// Prints something else meanwhile.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        self.clear();
        print();
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        if !self.is_hidden && self.drawn.take().is_some() {
            // Nobody can be told that the terminal is gone.
            io::stderr().write_all(CLEAR.as_bytes()).unwrap_or_default();
        }
    }

    fn draw(&self) {
        let is_fresh = self
            .drawn
            .get()
            .is_some_and(|at| at.elapsed() < REDRAWN_EVERY);
        if self.is_hidden || is_fresh {
            return;
        }
        self.drawn.set(Some(Instant::now()));
        let line = line(self.done.get(), self.all.get(), self.begun.elapsed());
        let message = self.message.borrow();
        let between = if message.is_empty() { "" } else { ": " };
        write!(io::stderr(), "{CLEAR}{line}{between}{message}").unwrap_or_default();
    }
}

fn line(done: u64, all: u64, time: Duration) -> String {
    let all = all.max(done);
    let scaled = |value: u64, by: u64| {
        u64::try_from(u128::from(done) * u128::from(value) / u128::from(by.max(1))).unwrap_or(value)
    };
    let full = scaled(PLACES, all).min(PLACES);
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let pace = scaled(1000, millis);
    let left = (all - done)
        .checked_div(pace)
        .map_or(String::new(), |seconds| {
            format!(
                ", {}:{:02}:{:02} left",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            )
        });
    let drawn: String = (0..PLACES)
        .map(|place| if place < full { '█' } else { '░' })
        .collect();
    format!(
        "{drawn} {}/{} {}/s{left}",
        bytes_text(done),
        bytes_text(all),
        bytes_text(pace)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_far_it_is_how_fast_and_how_long_it_takes() {
        let told = line(25_000_000, 100_000_000, Duration::from_secs(5));
        assert!(told.starts_with("███████░"), "{told}");
        assert!(
            told.ends_with(" 25.0 MB/100 MB 5.0 MB/s, 0:00:15 left"),
            "{told}"
        );
        assert_eq!(
            line(0, 0, Duration::ZERO)
                .chars()
                .filter(|place| *place == '█')
                .count(),
            0
        );
        assert!(line(7, 3, Duration::from_secs(1)).contains(" 7 B/7 B "));
    }
}
