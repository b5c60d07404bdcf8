//! Sound files and texts, changed at random, against every parser: what the fuzz targets do at length, for a moment.
//!
//! The changes follow from a number each, so that a failure comes again; the input that failed is kept as a file, which the
//! fuzz target of that name takes too.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::format_collect,
    reason = "tests fail by panicking, and keep the input that failed"
)]

mod fixtures;
#[path = "fuzz/properties.rs"]
mod properties;
#[path = "fuzz/seeds.rs"]
mod seeds;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use fixtures::Random;
use properties::{ALL, LONGEST, Property};
use rustix::time::{ClockId, clock_gettime};

/// Processor time that each parser is given.
const TIME: Duration = Duration::from_secs(1);

/// Processor time that one input may take in a build without optimisation, far above what any takes.
const TIME_OF_ONE: Duration = Duration::from_secs(5);

/// Memory that the whole test takes at most, all parsers beside each other.
const PEAK: usize = properties::MEMORY;

thread_local! {
    /// Readers catch panics, so that a file costs nothing but its metadata; here each counts.
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

macro_rules! every_parser {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            withstands(stringify!($target));
        })*

        #[test]
        fn every_parser_is_here_and_has_a_fuzz_target() {
            let tested = [$(stringify!($target)),*];
            assert_eq!(tested, ALL.map(|(name, _)| name));
            let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
            let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
            for name in tested {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
                let target = std::fs::read_to_string(fuzz.join(format!("targets/{name}.rs"))).unwrap();
                assert!(target.contains(&format!("properties::{name}")), "{name}");
            }
        }
    };
}

every_parser!(
    kind metadata xmp takeout worker_reply date_stamps file_name shots settings ledger_rows journal_line storage_marker heartbeats page_request
);

#[test]
fn the_seeds_get_past_the_first_check_of_every_reader() {
    let undated: Vec<String> = seeds::of("metadata")
        .iter()
        .filter(|seed| properties::read(seed).dates.is_empty())
        .map(|seed| {
            String::from_utf8_lossy(seed)
                .lines()
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    // These formats have no date, or we read none in them.
    let expected = [
        "IMG_13.jp2",
        "IMG_16.bmp",
        "IMG_17.psd",
        "IMG_30.aae",
        "notes.txt",
    ];
    assert_eq!(undated, expected);
    for seed in seeds::of("ledger_rows") {
        assert_eq!(properties::count_rows(&seed), 1);
    }
    for seed in seeds::of("journal_line") {
        assert_eq!(properties::count_lines(&seed), 1);
    }
}

/// What grows with the square of the input shows only in the longest that a reader takes: 2 MiB.
#[test]
fn the_longest_inputs_take_no_more_time_or_memory() {
    let fill = |head: &str, part: &dyn Fn(usize) -> String, tail: &str| {
        let mut text = head.to_owned();
        for number in 0.. {
            text += &part(number);
            if text.len() + tail.len() + 100 > 2 << 20 {
                break;
            }
        }
        (text + tail).into_bytes()
    };
    let namespace = "http://ns.adobe.com/exif/1.0/";
    let prefixes = fill(
        "<rdf:RDF><rdf:Description ",
        &|number| format!("xmlns:p{number}='{namespace}' p{number}:a='' "),
        "/></rdf:RDF>",
    );
    let elements = fill("<rdf:RDF>", &|_| "<a/>".to_owned(), "");
    check("xmp", properties::xmp, &prefixes);
    check("xmp", properties::xmp, &elements);
    let numbers = fill("{\"people\":[0", &|_| ",0".to_owned(), "]}");
    let nested = fill("{\"people\":", &|_| "[".to_owned(), "");
    check("takeout", properties::takeout, &numbers);
    check("takeout", properties::takeout, &nested);
    check("metadata", properties::metadata, &packets_in_a_profile());
    assert!(peak_memory() < PEAK, "{} bytes", peak_memory());
}

/// A PNG with EXIF as text, whose thousand entries all lead to one long XMP packet.
fn packets_in_a_profile() -> Vec<u8> {
    let (entries, length) = (1000_u32, 1_000_000_u32);
    let mut tiff = b"II*\0\x08\0\0\0\xe8\x03".to_vec();
    for _ in 0..entries {
        tiff.extend(b"\xbc\x02\x07\0");
        tiff.extend(length.to_le_bytes());
        tiff.extend((10 + entries * 12).to_le_bytes());
    }
    let element = format!("<a b=\"{}\"/>", "x".repeat(90));
    tiff.extend(element.bytes().cycle().take(1_000_000));
    let hex: String = tiff.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("\nexif\n{}\n457869660000{hex}", tiff.len() + 6);
    let raster = fixtures::raster::landscape(1, 8, 6);
    let png = fixtures::raster::png(&raster, &[("Raw profile type exif", &text)], None);
    [b"a.png\n", &png[..]].concat()
}

/// The panic that a test is about.
const EXPECTED: &str = "an expected panic";

#[test]
fn a_panic_that_is_caught_counts() {
    let caught: Property = |_| {
        let panicked = catch_unwind(|| std::panic::panic_any(EXPECTED));
        assert!(panicked.is_err());
    };
    assert!(attempt(caught, b"").is_err());
}

/// Tries the seeds, then seeds with changes, until the time is up.
fn withstands(target: &str) {
    let (_, property) = ALL.iter().find(|(name, _)| *name == target).unwrap();
    let seeds = seeds::of(target);
    for (number, seed) in seeds.iter().enumerate() {
        assert!(seed.len() <= LONGEST, "seed {number} is too long");
        check(target, *property, seed);
    }
    let started = thread_time();
    let mut count = 0_u64;
    while thread_time().saturating_sub(started) < TIME {
        let input = changed(&seeds, &mut Random(count));
        check(target, *property, &input);
        count += 1;
    }
    let peak = peak_memory();
    println!("{target}: {count} inputs, peak {} KiB", peak >> 10);
    assert!(count > 0);
    assert!(peak < PEAK, "{peak} bytes of memory were taken");
}

fn check(target: &str, property: Property, input: &[u8]) {
    let started = thread_time();
    let outcome = attempt(property, input);
    let took = thread_time().saturating_sub(started);
    let is_late = took > TIME_OF_ONE;
    if outcome.is_err() || is_late {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}.input"));
        std::fs::write(&path, input).unwrap();
        panic!(
            "{target} failed on {} (after {took:?}): {outcome:?}",
            path.display()
        );
    }
}

/// Runs a property; a panic that was caught on the way counts too.
fn attempt(property: Property, input: &[u8]) -> Result<(), &'static str> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.set(true);
            // The one that is expected: a backtrace would take more memory than any parser may.
            if panic.payload().downcast_ref::<&str>() != Some(&EXPECTED) {
                shown(panic);
            }
        }));
    });
    PANICKED.set(false);
    let outcome = catch_unwind(AssertUnwindSafe(|| property(input)));
    if outcome.is_err() {
        return Err("a property does not hold, or it panicked");
    }
    if PANICKED.get() {
        return Err("it panicked, and the panic was caught");
    }
    Ok(())
}

/// One of the seeds, with a few changes.
fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random| seeds[below(random, seeds.len())].clone();
    let mut input = pick(random);
    for _ in 0..=random.below(6) {
        let at = below(random, input.len() + 1);
        let end = (at + below(random, 64)).min(input.len());
        match random.below(10) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            3 => {
                let other = pick(random);
                let from = below(random, other.len() + 1);
                input.splice(at..end, other[from..].iter().copied());
            }
            4 => {
                let length = below(random, 16);
                let bytes = random.bytes(length);
                input.splice(at..end, bytes);
            }
            5 => {
                let sign = b"\0\n\r /.:-+<>\"'=&;{}[](),%*?\xff\x7f09Z"[below(random, 31)];
                input.insert(at, sign);
            }
            6 | 7 => {
                // Lengths and places are numbers of four bytes.
                let edges = [
                    0,
                    1,
                    2,
                    7,
                    8,
                    9,
                    0x7fff_ffff,
                    0x8000_0000,
                    0xffff_fff8,
                    u32::MAX,
                ];
                let number = edges[below(random, edges.len())];
                let bytes = if random.below(2) == 0 {
                    number.to_be_bytes()
                } else {
                    number.to_le_bytes()
                };
                for (byte, new) in input[at..].iter_mut().zip(bytes) {
                    *byte = new;
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    input.truncate(LONGEST);
    input
}

fn below(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap()
}

/// What this thread has taken of a processor: a busy machine makes no input slow.
fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: usize = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib << 10
}
