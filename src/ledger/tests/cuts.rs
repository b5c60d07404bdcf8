//! Power cuts: of what was written since the last sync, any part may have reached the disk.

#![expect(
    clippy::disallowed_methods,
    reason = "what survived is put where a ledger is opened"
)]

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::recount::Dice;
use super::*;

/// A disk in memory that knows what a cut would leave of it.
#[derive(Debug)]
struct Disk(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    since_sync: Vec<Step>,
    dice: Dice,
    /// What cuts left, with the number of rows that had been committed by then.
    survivors: Vec<(Vec<u8>, u64)>,
    committed: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Length(u64),
    Write(u64, Vec<u8>),
}

impl Step {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(usize::try_from(*length).unwrap(), 0),
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                let end = start + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(data);
            }
        }
    }
}

impl Content {
    fn step(&mut self, step: Step) {
        step.apply(&mut self.now);
        self.since_sync.push(step);
        if self.dice.roll(16) == 0 {
            self.cut();
        }
    }

    /// Each step since the last sync happened, or not, or a write happened up to some sector.
    fn cut(&mut self) {
        let mut left = self.synced.clone();
        for step in self.since_sync.clone() {
            match (step, self.dice.roll(3)) {
                (_, 0) => {}
                (Step::Write(offset, mut data), 1) => {
                    data.truncate(data.len() / 2 / 512 * 512);
                    Step::Write(offset, data).apply(&mut left);
                }
                (step, _) => step.apply(&mut left),
            }
        }
        self.survivors.push((left, self.committed));
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).now.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        out.copy_from_slice(&lock(&self.0).now[start..start + out.len()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        lock(&self.0).step(Step::Length(len));
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut content = lock(&self.0);
        content.cut();
        content.synced = content.now.clone();
        content.since_sync.clear();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        lock(&self.0).step(Step::Write(offset, data.to_vec()));
        Ok(())
    }
}

#[test]
fn a_power_cut_at_any_instant_loses_no_committed_row() {
    let data = Data::new();
    drop(data.open());
    let fresh = std::fs::read(data.file()).unwrap();
    let content = Arc::new(Mutex::new(Content {
        now: fresh.clone(),
        synced: fresh,
        since_sync: Vec::new(),
        dice: Dice(0x2545_f491_4f6c_dd1d),
        survivors: Vec::new(),
        committed: 0,
    }));
    let disk = Arc::clone(&content);
    let ledger = Ledger::open_with(
        data.file(),
        Box::new(move |_| {
            let mut builder = redb::Builder::new();
            let disk = Disk(Arc::clone(&disk));
            let builder = builder.set_cache_size(1 << 20);
            Ok(Opened::Writing(builder.create_with_backend(disk)?))
        }),
        false,
    )
    .unwrap();
    for number in 1..=10 {
        let members = vec![
            draft(number, format!("IMG_{number}.HEIC")),
            follower(500 + number, &format!("IMG_{number}.MOV")),
        ];
        file(&ledger, members);
        lock(&content).committed = 2 * number;
    }
    let survivors = std::mem::take(&mut lock(&content).survivors);
    drop(ledger);
    assert!(survivors.len() > 50, "only {} cuts", survivors.len());
    for (left, committed) in survivors {
        let after = Data::new();
        std::fs::write(after.file(), left).unwrap();
        let ledger = after.open();
        let rows = ledger.page(AssetId(0), 1000).unwrap().len() as u64;
        assert!(
            rows == committed || rows == committed + 2,
            "{rows} of {committed}"
        );
        assert_eq!(ledger.totals().unwrap().assets, rows);
        for number in 1..=committed / 2 {
            assert!(ledger.by_hash(&hash(number)).unwrap().is_some());
        }
        file(&ledger, vec![draft(900, "next.JPG")]);
    }
}
