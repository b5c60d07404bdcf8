//! Random operations against a model: what owners, phones, disks and power do to a factory, in any order, for as long as
//! wanted. The model knows which contents must exist; the real binary works on real folders.
//!
//! `PHOTO_FACTORY_MODEL_SECONDS` says how long (default 60), `PHOTO_FACTORY_MODEL_SEED` repeats what an episode did: each
//! episode names its seed, and with that seed it is the first and only one. What the daemon does meanwhile is its own
//! affair, so a repeated episode has the same operations and not always the same end: repeat it a few times.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "tests make and change files, and fail by panicking"
)]

mod counts;
mod deeds;
#[allow(dead_code, reason = "the appliance's tests take the other parts")]
#[path = "../appliance/factory.rs"]
mod factory;
mod faults;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod ground;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use counts::Counts;
use fixtures::Random;
use ground::Ground;
use world::World;

/// How long, in seconds.
const SECONDS: &str = "PHOTO_FACTORY_MODEL_SECONDS";

/// The seed of one episode that is to be repeated.
const SEED: &str = "PHOTO_FACTORY_MODEL_SEED";

/// Factories at work at once: while one waits for its disk or to settle, another works.
const LANES: u64 = 3;

/// After this an episode ends, and another begins in an empty folder.
const EPISODE: Duration = Duration::from_secs(25);

/// Operations between two moments at which everything must be filed.
const BETWEEN_QUIET: u64 = 60;

#[test]
fn p1_to_p6_random_operations_never_lose_change_or_double_a_photo() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|error| panic!("{name}: {error}")),
        )
    };
    let until = Instant::now() + Duration::from_secs(number(SECONDS).unwrap_or(60));
    let repeated = number(SEED);
    let first = repeated.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Random(since.as_nanos() as u64).below(1_000_000_000)
    });
    println!("first seed {first}; to repeat an episode: {SEED}=its seed");
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Counts::default());
    std::thread::scope(|scope| {
        let lanes = if repeated.is_some() { 1 } else { LANES };
        for lane in 0..lanes {
            let (failed, total) = (&failed, &total);
            scope.spawn(move || {
                for number in 0.. {
                    let seed = first + lane + number * LANES;
                    if failed.load(Ordering::Relaxed) || Instant::now() >= until {
                        break;
                    }
                    let end = until.min(Instant::now() + EPISODE);
                    match episode(seed, end) {
                        Some(counts) => total.lock().unwrap().add(&counts),
                        None => failed.store(true, Ordering::Relaxed),
                    }
                    if repeated.is_some() {
                        break;
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!("{total}");
    assert!(
        !failed.into_inner(),
        "an episode failed: its seed, its last operations and what was found wrong are above"
    );
    total.assert_that_everything_happened(repeated.is_some());
}

/// One factory's life from an empty folder to the last look. `None`: it failed, and said how.
fn episode(seed: u64, end: Instant) -> Option<Counts> {
    let ground = Ground::choose(seed);
    println!("seed {seed}: {ground:?}");
    let mut world = World::new(seed, ground);
    let lived = catch_unwind(AssertUnwindSafe(|| {
        world.begin();
        while (world.number == 0 || Instant::now() < end) && world.has_room() {
            for _ in 0..BETWEEN_QUIET {
                world.step();
                // On a busy machine too it does something.
                if Instant::now() >= end && world.number >= BETWEEN_QUIET {
                    break;
                }
            }
            world.come_to_rest();
        }
        world.do_what_is_missing();
        world.end();
    }));
    let Err(payload) = lived else {
        return Some(world.leave());
    };
    let found = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words");
    println!(
        "{}\nseed {seed} FAILED: {found}\nrepeat it with {SEED}={seed}",
        world.story()
    );
    world.leave_as_it_is();
    None
}
