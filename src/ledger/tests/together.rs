//! The desk: many journeys, few commits.

use std::sync::Arc;
use std::time::Instant;

use super::*;

fn desk(ledger: &Arc<Ledger>) -> Desk {
    Desk::start(Arc::clone(ledger), now, Arc::new(free))
}

#[test]
fn two_hundred_and_fifty_shots_of_one_name_at_once_get_as_many_names() {
    let data = Data::new();
    let ledger = Arc::new(data.open());
    let desk = desk(&ledger);
    let executor = smol::Executor::new();
    let journeys: Vec<_> = (0..250)
        .map(|number| {
            let desk = desk.clone();
            let journey = desk.begin();
            executor.spawn(async move {
                let shot = shot(vec![draft(number, format!("p{number}/IMG_1.JPG"))]);
                let asset = match desk.ask(Change::Intend(shot)).await.unwrap() {
                    Outcome::Intended(verdicts) => new(&verdicts[0]).clone(),
                    Outcome::Done => panic!("no verdicts"),
                };
                desk.ask(Change::Finish(asset.id)).await.unwrap();
                drop(journey);
                name(&asset)
            })
        })
        .collect();
    let started = Instant::now();
    let mut names = std::collections::BTreeSet::new();
    smol::block_on(executor.run(async {
        for journey in journeys {
            names.insert(journey.await);
        }
    }));
    assert_eq!(names.len(), 250);
    assert!(names.contains("IMG_1.JPG") && names.contains("IMG_1-249.JPG"));
    assert_eq!(ledger.totals().unwrap().assets, 250);
    assert!(
        started.elapsed().as_secs() < 20,
        "journeys did not share commits"
    );
}

#[test]
fn one_journey_alone_does_not_wait_for_company() {
    let data = Data::new();
    let ledger = Arc::new(data.open());
    let desk = desk(&ledger);
    let _journey = desk.begin();
    let started = Instant::now();
    let mut turns = 0;
    while started.elapsed().as_millis() < 1000 {
        let left = Change::Forget(PathBuf::from("never"));
        smol::block_on(desk.ask(left)).unwrap();
        turns += 1;
    }
    // With the wait of a quarter of a second there would be four.
    assert!(turns > 8, "{turns} turns in a second");
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
    let bad = desk.ask(Change::Finish(AssetId(99)));
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
    let asked = {
        let desk = desk.clone();
        std::thread::spawn(move || {
            smol::block_on(desk.ask(Change::Intend(shot(vec![draft(1, "IMG_1.JPG")]))))
        })
    };
    std::thread::sleep(std::time::Duration::from_millis(50));
    desk.close();
    assert!(asked.join().unwrap().is_ok());
    assert_eq!(ledger.intents().unwrap().len(), 1);
    let late = smol::block_on(other.ask(Change::Forget(PathBuf::from("x"))));
    assert!(matches!(*late.unwrap_err(), LedgerError::DeskClosed));
}
