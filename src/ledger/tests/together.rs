//! The desk: many journeys, few commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;

fn desk(ledger: &Arc<Ledger>) -> Desk {
    Desk::start(Arc::clone(ledger), now, Arc::new(free))
}

#[test]
fn two_hundred_and_fifty_shots_of_one_name_at_once_get_as_many_names() {
    static COMMITS: AtomicU32 = AtomicU32::new(0);
    // It is asked once for each commit.
    fn counted() -> Timestamp {
        COMMITS.fetch_add(1, Ordering::Relaxed);
        now()
    }
    let data = Data::new();
    let ledger = Arc::new(data.open());
    let desk = Desk::start(Arc::clone(&ledger), counted, Arc::new(free));
    let executor = smol::Executor::new();
    let journeys: Vec<_> = (0..250)
        .map(|number| {
            let desk = desk.clone();
            let journey = desk.begin();
            executor.spawn(async move {
                let shot = shot(vec![draft(number, format!("p{number}/IMG_1.JPG"))]);
                let asset = match desk.ask(Change::Intend(shot)).await.unwrap() {
                    Outcome::Intended(verdicts) => new(&verdicts[0]).clone(),
                    other => panic!("no verdicts but {other:?}"),
                };
                desk.ask(finish(&asset)).await.unwrap();
                drop(journey);
                name(&asset)
            })
        })
        .collect();
    let mut names = std::collections::BTreeSet::new();
    smol::block_on(executor.run(async {
        for journey in journeys {
            names.insert(journey.await);
        }
    }));
    assert_eq!(names.len(), 250);
    assert!(names.contains("IMG_1.JPG") && names.contains("IMG_1-249.JPG"));
    assert_eq!(ledger.totals().unwrap().assets, 250);
    let commits = COMMITS.load(Ordering::Relaxed);
    assert!(
        (2..250).contains(&commits),
        "500 changes in {commits} commits: they did not share"
    );
}

#[test]
fn one_journey_alone_does_not_wait_for_company() {
    let data = Data::new();
    let ledger = Arc::new(data.open());
    let desk = desk(&ledger);
    let _journey = desk.begin();
    // With the wait for others each turn would take a quarter of a second; on a slow disk any one may take longer still.
    let until = Instant::now() + Duration::from_secs(120);
    let is_soon = std::iter::repeat_with(|| {
        let asked = Instant::now();
        smol::block_on(desk.ask(Change::Forget(PathBuf::from("never")))).unwrap();
        asked.elapsed() < Duration::from_millis(240)
    })
    .take_while(|_| Instant::now() < until)
    .any(|is_soon| is_soon);
    assert!(is_soon, "it waited each time");
}

#[test]
fn one_that_asks_is_answered_though_the_other_journey_takes_long() {
    let data = Data::new();
    let ledger = Arc::new(data.open());
    let desk = desk(&ledger);
    let (_one, _long) = (desk.begin(), desk.begin());
    let change = Change::Intend(shot(vec![draft(1, "IMG_1.JPG")]));
    smol::block_on(desk.ask(change)).unwrap();
}

#[test]
fn a_bad_change_is_refused_alone() {
    let data = Data::new();
    let ledger = Arc::new(data.open());
    let desk = desk(&ledger);
    let (_one, _two) = (desk.begin(), desk.begin());
    let good = desk.ask(Change::Intend(shot(vec![draft(1, "IMG_1.JPG")])));
    let bad = desk.ask(of_no_row());
    let (good, bad) = smol::block_on(smol::future::zip(good, bad));
    assert!(matches!(good.unwrap(), Outcome::Intended(_)));
    assert!(matches!(*bad.unwrap_err(), LedgerError::NoSuchRow { .. }));
    assert_eq!(ledger.intents().unwrap().len(), 1);
}

#[test]
fn closing_commits_what_waits_and_refuses_what_comes_later() {
    let data = Data::new();
    let ledger = Arc::new(data.open());
    let desk = desk(&ledger);
    let other = desk.clone();
    let _others = [desk.begin(), desk.begin(), desk.begin()];
    let mut asked = Box::pin(other.ask(Change::Intend(shot(vec![draft(1, "IMG_1.JPG")]))));
    // From the first look on, the desk has it.
    let at_once = smol::block_on(smol::future::poll_once(&mut asked));
    desk.close();
    assert!(at_once.unwrap_or_else(|| smol::block_on(asked)).is_ok());
    assert_eq!(ledger.intents().unwrap().len(), 1);
    let late = smol::block_on(other.ask(Change::Forget(PathBuf::from("x"))));
    assert!(matches!(*late.unwrap_err(), LedgerError::DeskClosed));
}

#[test]
fn who_reads_while_the_ledger_rests_waits_that_moment_and_hears_no_error() {
    let data = Data::new();
    let ledger = data.open();
    file(&ledger, vec![draft(1, "a.jpg")]);
    let read = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            (0..1000).all(|_| {
                let heard = ledger.totals().is_ok() && ledger.left(Path::new("a")).is_ok();
                read.fetch_add(1, Ordering::Relaxed);
                heard
            })
        });
        while !reader.is_finished() {
            let before = read.load(Ordering::Relaxed);
            ledger.rest();
            // One rest after another would never let the reader in.
            while read.load(Ordering::Relaxed) == before && !reader.is_finished() {
                std::thread::yield_now();
            }
        }
        assert!(reader.join().unwrap(), "a rest was taken for a failure");
    });
}
