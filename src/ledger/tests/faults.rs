//! Cuts, damage, full and failing disks.

#![expect(
    clippy::disallowed_methods,
    reason = "damage is done to the file itself"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use redb::backends::FileBackend;
use redb::{Database, ReadableTable, StorageBackend};

use super::*;

/// Why the ledger can't be used; it opens all the same.
fn open_error(data: &Data) -> String {
    let ledger = Ledger::open(&data.0).unwrap();
    ledger.totals().unwrap_err();
    ledger.degraded().unwrap().reason
}

#[test]
fn a_copy_of_the_file_taken_at_any_time_holds_every_committed_row() {
    let data = Data::new();
    let ledger = data.open();
    for number in 1..=20 {
        file(&ledger, vec![draft(number, format!("IMG_{number}.JPG"))]);
        intend(
            &ledger,
            vec![draft(1000 + number, format!("X_{number}.JPG"))],
        );
        // What a kill leaves: the file as it is, without a clean close.
        let after = Data::new();
        std::fs::copy(data.file(), after.file()).unwrap();
        let survivor = after.open();
        assert_eq!(survivor.totals().unwrap().assets, number);
        assert_eq!(survivor.intents().unwrap().len() as u64, number);
        assert!(survivor.by_hash(&hash(number)).unwrap().is_some());
    }
}

#[test]
fn a_ledger_is_made_only_where_there_never_was_one() {
    let data = Data::new();
    assert!(Ledger::open_existing(&data.0).unwrap().is_none());
    assert_eq!(std::fs::read_dir(&data.0).unwrap().count(), 0);
    std::fs::write(data.0.join(".ledger.redb.new-1"), "cut short").unwrap();
    drop(data.open());
    assert_eq!(data.names(), ["ledger.made", "ledger.redb"]);
    assert!(Ledger::open_existing(&data.0).unwrap().is_some());

    std::fs::write(data.file(), "").unwrap();
    assert!(open_error(&data).contains("has no content"));
    std::fs::write(data.file(), "a letter to my daughter").unwrap();
    assert!(open_error(&data).contains("is no ledger of Photo Factory"));
    let reading = Ledger::open_existing(&data.0).unwrap().unwrap();
    assert!(reading.degraded().is_some());

    std::fs::remove_file(data.file()).unwrap();
    assert!(open_error(&data).contains("photo-factory rebuild"));
    std::os::unix::fs::symlink("gone", data.file()).unwrap();
    assert!(open_error(&data).contains("is missing"));
    assert_eq!(data.names(), ["ledger.made", "ledger.redb"]);

    let missing = Ledger::open(&data.0.join("missing")).unwrap_err();
    assert!(matches!(missing, LedgerError::Create { .. }));
}

#[test]
fn a_database_of_another_program_and_a_newer_format_are_refused() {
    let data = Data::new();
    drop(Database::create(data.file()).unwrap());
    assert!(open_error(&data).contains("is no ledger of Photo Factory"));
    let database = Database::open(data.file()).unwrap();
    let txn = database.begin_write().unwrap();
    tables::set_number(
        &mut txn.open_table(tables::META).unwrap(),
        "format",
        tables::FORMAT + 1,
    )
    .unwrap();
    txn.commit().unwrap();
    drop(database);
    let error = open_error(&data);
    assert!(
        error.contains(&format!("has format {}", tables::FORMAT + 1)),
        "{error}"
    );
}

#[test]
fn a_second_process_is_told_that_the_ledger_is_in_use() {
    let data = Data::new();
    let _ledger = data.open();
    assert!(open_error(&data).contains("another photo-factory has it open"));
}

#[test]
fn damage_gives_errors_and_neither_panics_nor_wrong_rows() {
    let data = Data::new();
    let ledger = data.open();
    for number in 1..=40 {
        file(&ledger, vec![draft(number, format!("IMG_{number}.JPG"))]);
    }
    let whole = ledger.page(AssetId(0), 100).unwrap();
    drop(ledger);
    let sound = std::fs::read(data.file()).unwrap();
    let mut noticed = 0;
    let mut damage = |bytes: &[u8]| {
        std::fs::write(data.file(), bytes).unwrap();
        let Ok(ledger) = Ledger::open(&data.0) else {
            noticed += 1;
            return;
        };
        match ledger.page(AssetId(0), 100) {
            // Rows may be out of reach; those that are read are right.
            Ok(rows) => assert!(rows.iter().all(|row| whole.contains(row))),
            Err(_) => noticed += 1,
        }
        // Whatever comes of them: errors at most.
        drop(ledger.totals());
        drop(ledger.by_hash(&hash(7)));
        drop(ledger.commit(
            &[Change::Intend(shot(vec![draft(99, "new.JPG")]))],
            now(),
            &free,
        ));
        drop(ledger.probe(now()));
    };
    for cut in [1, 100, 320, 4096, 8192, sound.len() / 2, sound.len() - 1] {
        damage(&sound[..cut]);
    }
    for start in (0..sound.len()).step_by(1361) {
        let mut bytes = sound.clone();
        for byte in bytes.iter_mut().skip(start).take(40) {
            *byte ^= 0x5a;
        }
        damage(&bytes);
    }
    assert!(noticed >= 7, "only {noticed} of the damages were noticed");
}

#[test]
fn one_damaged_record_does_not_hide_the_others() {
    let data = Data::new();
    let ledger = data.open();
    for number in 1..=3 {
        file(&ledger, vec![draft(number, format!("IMG_{number}.JPG"))]);
    }
    drop(ledger);
    let database = Database::open(data.file()).unwrap();
    let txn = database.begin_write().unwrap();
    {
        let mut assets = txn.open_table(tables::ASSETS).unwrap();
        let mut bytes = assets
            .get(tables::id_key(2).as_slice())
            .unwrap()
            .unwrap()
            .value()
            .to_vec();
        bytes[10] ^= 1;
        assets
            .insert(tables::id_key(2).as_slice(), bytes.as_slice())
            .unwrap();
    }
    txn.commit().unwrap();
    drop(database);
    let ledger = data.open();
    assert_eq!(ledger.page(AssetId(0), 9).unwrap().len(), 2);
    assert_eq!(ledger.newest(2).unwrap().len(), 2);
    let error = ledger.by_hash(&hash(2)).unwrap_err();
    assert!(error.is_about_one_row(), "{error}");
    assert!(ledger.by_hash(&hash(3)).unwrap().is_some());
}

#[test]
fn what_comes_after_the_ledger_lost_its_name_goes_to_the_journal_and_into_the_ledger_when_it_is_back()
 {
    let data = Data::new();
    let ledger = data.open();
    file(&ledger, vec![draft(1, "IMG_1.JPG")]);
    let aside = data.0.join("aside");
    std::fs::rename(data.file(), &aside).unwrap();
    file(&ledger, vec![draft(2, "IMG_2.JPG")]);
    assert!(ledger.probe(now()).is_err());
    assert!(ledger.degraded().unwrap().reason.contains("is missing"));
    std::fs::rename(&aside, data.file()).unwrap();
    until_back(&ledger);
    file(&ledger, vec![draft(3, "IMG_3.JPG")]);
    assert_eq!(ledger.degraded(), None);
    assert_eq!(ledger.totals().unwrap().assets, 3);
}

/// A disk that fails at the nth write or sync from now, and at every one after it until it is repaired.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    fault: Arc<Fault>,
}

#[derive(Debug, Default)]
struct Fault {
    armed: AtomicBool,
    good_for: AtomicI64,
    fired: AtomicBool,
    full: AtomicBool,
}

impl Fault {
    fn step(&self) -> io::Result<()> {
        if self.armed.load(Ordering::SeqCst) && self.good_for.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.fired.store(true, Ordering::SeqCst);
            return Err(if self.full.load(Ordering::SeqCst) {
                io::ErrorKind::StorageFull.into()
            } else {
                io::Error::from_raw_os_error(5)
            });
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fault.step()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.fault.step()?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fault.step()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn on_faulty_disk(data: &Data) -> (Ledger, Arc<Fault>) {
    drop(data.open());
    let fault = Arc::new(Fault::default());
    let (path, disk_fault) = (data.file(), Arc::clone(&fault));
    let ledger = Ledger::open_with(
        data.file(),
        Box::new(move |doubt| {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path);
            let disk = Disk {
                file: FileBackend::new(file.unwrap())?,
                fault: Arc::clone(&disk_fault),
            };
            let mut builder = redb::Builder::new();
            builder
                .set_cache_size(1 << 20)
                .set_check_integrity_on_open(doubt);
            Ok(Opened::Writing(builder.create_with_backend(disk)?))
        }),
        false,
    );
    (ledger.unwrap(), fault)
}

#[test]
fn after_a_failed_write_the_ledger_opens_again_by_itself_with_every_committed_row() {
    let mut failed = 0;
    for (good_for, full) in (0..40).flat_map(|step| [(step, false), (step, true)]) {
        let data = Data::new();
        let (ledger, fault) = on_faulty_disk(&data);
        file(&ledger, vec![draft(1, "IMG_1.JPG")]);
        let intent = new(&intend(&ledger, vec![draft(2, "IMG_2.JPG")])[0]).clone();

        fault.full.store(full, Ordering::SeqCst);
        fault.good_for.store(good_for, Ordering::SeqCst);
        fault.armed.store(true, Ordering::SeqCst);
        let changes = [
            finish(&intent),
            Change::Intend(shot(vec![draft(3, "IMG_3.JPG")])),
        ];
        let third = match &ledger.commit(&changes, now(), &free).unwrap()[1] {
            Outcome::Intended(verdicts) => new(&verdicts[0]).clone(),
            other => panic!("no verdicts but {other:?}"),
        };
        assert_eq!(name(&third), "IMG_3.JPG");
        let Some(degraded) = ledger.degraded() else {
            assert!(
                !fault.fired.load(Ordering::SeqCst),
                "a fault was passed over"
            );
            continue;
        };
        failed += 1;
        assert!(fault.fired.load(Ordering::SeqCst));
        assert_eq!(
            degraded.reason.contains("disk is full"),
            full,
            "{degraded:?}"
        );
        // While the disk is bad the ledger says so, and the journal knows the second photo.
        assert!(ledger.probe(now()).is_err());
        match &intend(&ledger, vec![draft(2, "again.JPG")])[0] {
            Verdict::Known(asset) => assert_eq!(name(asset), "IMG_2.JPG"),
            other => panic!("not known but {other:?}"),
        }

        fault.armed.store(false, Ordering::SeqCst);
        until_back(&ledger);
        // What was asked for is in the ledger once, whether the commit that failed was there or not; and the third photo,
        // of whose intent in the ledger nobody was told, is finished under the name that was told.
        change(&ledger, &[finish(&third)]);
        assert_eq!(ledger.degraded(), None);
        assert_eq!(ledger.intents().unwrap(), []);
        assert!(!data.0.join("journal.jsonl").exists());
        drop(ledger);
        let ledger = data.open();
        let names: Vec<_> = ledger
            .page(AssetId(0), 9)
            .unwrap()
            .iter()
            .map(name)
            .collect();
        assert_eq!(names, ["IMG_1.JPG", "IMG_2.JPG", "IMG_3.JPG"]);
        assert_eq!(ledger.totals().unwrap().assets, 3);
    }
    assert!(failed > 20, "the fault fired only {failed} times");
}

#[test]
fn a_caller_that_panics_costs_its_own_change_and_no_more() {
    let data = Data::new();
    let ledger = data.open();
    file(&ledger, vec![draft(1, "IMG_1.JPG")]);
    let changes = [Change::Intend(shot(vec![draft(2, "IMG_2.JPG")]))];
    assert!(
        ledger
            .commit(&changes, now(), &|_| panic!("no disk"))
            .is_err()
    );
    assert!(ledger.commit(&changes, now(), &free).is_ok());
    assert_eq!(ledger.totals().unwrap().assets, 1);
}

#[test]
fn a_probe_writes_to_the_disk_once_and_then_spares_the_card() {
    let data = Data::new();
    let ledger = data.open();
    ledger.probe(now()).unwrap();
    let before = std::fs::read(data.file()).unwrap();
    ledger.probe(now()).unwrap();
    assert!(before == std::fs::read(data.file()).unwrap());
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let data = Data::new();
    let ledger = data.open();
    file(&ledger, vec![draft(1, "IMG_1.JPG")]);
    let before = std::fs::read(data.file()).unwrap();
    intend(&ledger, vec![draft(1, "again/IMG_1.JPG")]);
    change(&ledger, &[Change::Forget("never/there".into())]);
    assert!(before == std::fs::read(data.file()).unwrap());
}

#[test]
fn a_file_cut_short_counts_as_damaged_so_that_it_is_made_anew() {
    let data = Data::new();
    drop(data.open());
    let whole = std::fs::read(data.file()).unwrap();
    for length in [9, 10, 64, 100, 319, 320, 4095, 4096] {
        std::fs::write(data.file(), &whole[..length]).unwrap();
        let condition = Ledger::condition(&data.0).unwrap();
        assert!(
            matches!(condition, Condition::Lost(_)),
            "{length}: {condition:?}"
        );
    }
}
