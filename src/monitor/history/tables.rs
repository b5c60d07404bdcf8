//! The tables of the history: what one commit writes and prunes, and what is read.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};

use super::super::doubt::Correction;
use super::super::event::{Event, Turn};
use super::super::phones::{Phone, Phones};
use super::super::record::{Said, parsed, parsed_row, record, row_record};
use super::super::rollup::{Accounts, Day, Hour, Rollup, day_of};
use super::super::service::{Beat, BeatClock, Service, ServiceRow, Watched};
use super::{Batch, Fault};

/// Rows pruned or corrected in one commit at most: small steps, so that no commit takes long.
const STEP: usize = 300;

/// Beats kept at most, whatever the dates say: 60 days of twelve services, and some room.
const BEAT_LIMIT: u64 = 400_000;

/// Events kept at most.
const EVENT_LIMIT: u64 = 20_000;

/// Events looked at for incidents without an end.
const INCIDENT_EVENTS: usize = 2_000;

/// How long roll-ups and events are kept: two years.
const KEEP_ROLLUPS: Duration = Duration::from_secs(731 * 86_400);

const FORMAT: u64 = 2;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
// Bytes to bytes, as the ledger has them, too: each further pair of types is 40 KB of program.
const SERVICES: Bytes = TableDefinition::new("services");
const CURRENT: Bytes = TableDefinition::new("current");
const BEATS: Bytes = TableDefinition::new("beats");
const HOURS: Bytes = TableDefinition::new("hours");
const DAYS: Bytes = TableDefinition::new("days");
const EVENTS: Bytes = TableDefinition::new("events");

/// Roll-ups of services at hours or days.
type Rolled = Vec<((i64, Service), Rollup)>;

const PHONES: Bytes = TableDefinition::new("phones");

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

type Rows<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

/// The key of a row: a time or a day, then the number of a service or an event. Its bytes are in the order of the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key(i64, u16);

impl Key {
    fn bytes(self) -> [u8; 10] {
        // With the sign turned round, what is before 1970 comes before.
        let time = self.0.cast_unsigned() ^ (1 << 63);
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&time.to_be_bytes());
        bytes[8..].copy_from_slice(&self.1.to_be_bytes());
        bytes
    }

    fn of(bytes: &[u8]) -> Result<Self, Fault> {
        let parts = bytes
            .split_first_chunk::<8>()
            .and_then(|(time, rest)| Some((time, rest.first_chunk::<2>()?)));
        let (time, number) =
            parts.ok_or_else(|| Fault::Damaged("one of its keys is too short".to_owned()))?;
        let time = u64::from_be_bytes(*time) ^ (1 << 63);
        Ok(Self(time.cast_signed(), u16::from_be_bytes(*number)))
    }

    fn time(self) -> Timestamp {
        Timestamp::from_millisecond(self.0).unwrap_or_default()
    }
}

/// What limits the tables.
pub(super) struct Limits {
    /// The time as far as it can be trusted; `None`: nothing is pruned by age.
    pub(super) trusted: Option<Timestamp>,
    pub(super) keep_beats: Duration,
}

/// Makes every table in a new file.
pub(super) fn make(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    transaction.open_table(SERVICES)?;
    transaction.open_table(CURRENT)?;
    transaction.open_table(PHONES)?;
    for table in [BEATS, HOURS, DAYS, EVENTS] {
        transaction.open_table(table)?;
    }
    Ok(transaction.commit()?)
}

/// Says when the last commit was made.
pub(super) fn check_format(database: &Database) -> Result<Option<Timestamp>, Fault> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let read = |name| -> Result<Option<u64>, Fault> {
        let value = meta.get(name)?;
        Ok(value.map(|value| value.value()))
    };
    let format = read("format")?;
    if format != Some(FORMAT) {
        return Err(Fault::Damaged(format!(
            "its format is {format:?}, this version knows {FORMAT}"
        )));
    }
    transaction.open_table(SERVICES)?;
    transaction.open_table(CURRENT)?;
    transaction.open_table(PHONES)?;
    for table in [BEATS, HOURS, DAYS, EVENTS] {
        transaction.open_table(table)?;
    }
    let committed = read("committed")?.map(u64::cast_signed);
    Ok(committed.and_then(|at| Timestamp::from_millisecond(at).ok()))
}

/// Writes a batch in one commit, and prunes a step. Gives back what of the corrections is still to do.
pub(super) fn write(
    database: &Database,
    batch: &Batch,
    limits: &Limits,
    zone: &TimeZone,
) -> Result<Vec<Correction>, Fault> {
    let transaction = database.begin_write()?;
    let rest = {
        if let Some(trusted) = limits.trusted {
            let committed = trusted.as_millisecond().cast_unsigned();
            transaction
                .open_table(META)?
                .insert("committed", committed)?;
        }
        let mut numbers = Numbers::read(&transaction)?;
        let mut current = transaction.open_table(CURRENT)?;
        for row in &batch.rows {
            if let Some(record) = row_record(row) {
                let number = numbers.of(&row.service)?.to_be_bytes();
                current.insert(number.as_slice(), record.as_slice())?;
            }
        }
        write_phones(&mut transaction.open_table(PHONES)?, &batch.phones)?;
        let mut beats = transaction.open_table(BEATS)?;
        for beat in &batch.beats {
            let record = record(&beat.status, &beat.task, beat.response, beat.clock);
            let key = Key(beat.at.as_millisecond(), numbers.of(&beat.service)?);
            beats.insert(key.bytes().as_slice(), record.as_slice())?;
        }
        let mut events = transaction.open_table(EVENTS)?;
        for event in &batch.events {
            insert_event(&mut events, event)?;
        }
        let mut rollups = Rollups {
            hours: transaction.open_table(HOURS)?,
            days: transaction.open_table(DAYS)?,
            zone,
        };
        rollups.change(&mut numbers, &batch.accounts, Rollup::add)?;
        let mut left = STEP;
        let mut rest = Vec::new();
        for correction in &batch.corrections {
            let from = correct_beats(&mut beats, correction, &mut left)?;
            correct_events(&mut events, correction)?;
            rollups.change(&mut numbers, &correction.accounts, Rollup::subtract)?;
            rollups.change(&mut numbers, &correction.moved_accounts(), Rollup::add)?;
            if let Some(from) = from {
                rest.push(Correction {
                    from,
                    accounts: Accounts::default(),
                    ..correction.clone()
                });
            }
        }
        let oldest = |keep: Duration| {
            let keep = SignedDuration::try_from(keep).ok()?;
            limits.trusted?.checked_sub(keep).ok()
        };
        let (beat_cutoff, other_cutoff) = (oldest(limits.keep_beats), oldest(KEEP_ROLLUPS));
        let millis = |cutoff: Option<Timestamp>| cutoff.map_or(i64::MIN, Timestamp::as_millisecond);
        prune(&mut beats, millis(beat_cutoff), BEAT_LIMIT)?;
        prune(&mut events, millis(other_cutoff), EVENT_LIMIT)?;
        let hour = other_cutoff.map_or(i64::MIN, |at| at.as_second().div_euclid(3600));
        prune(&mut rollups.hours, hour, u64::MAX)?;
        let day = other_cutoff.map_or(i64::MIN, |at| at.as_second().div_euclid(86_400));
        prune(&mut rollups.days, day, u64::MAX)?;
        rest
    };
    transaction.commit()?;
    Ok(rest)
}

/// Only what changed is written.
fn write_phones(table: &mut Rows<'_>, phones: &Phones) -> Result<(), Fault> {
    for (name, phone) in &phones.0 {
        let record = phone.record();
        let is_same = table
            .get(name.as_bytes())?
            .is_some_and(|stored| stored.value() == record);
        if !is_same {
            table.insert(name.as_bytes(), record.as_slice())?;
        }
    }
    Ok(())
}

pub(super) fn phones(database: &Database) -> Result<Phones, Fault> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(PHONES)?;
    let mut phones = Phones::default();
    for row in table.iter()? {
        let (name, record) = row?;
        if let Some(phone) = Phone::parsed(record.value()) {
            phones.0.push((text(name.value()), phone));
        }
    }
    Ok(phones)
}

/// The numbers of the services in the file.
struct Numbers<'txn> {
    table: Rows<'txn>,
    known: Vec<(Service, u16)>,
}

impl<'txn> Numbers<'txn> {
    fn read(transaction: &'txn WriteTransaction) -> Result<Self, Fault> {
        let table = transaction.open_table(SERVICES)?;
        let mut known = Vec::new();
        for row in table.iter()? {
            let (number, name) = row?;
            known.push((
                Service::named(&text(name.value())),
                number_of(number.value())?,
            ));
        }
        Ok(Self { table, known })
    }

    fn of(&mut self, service: &Service) -> Result<u16, Fault> {
        if let Some((_, number)) = self.known.iter().find(|(known, _)| known == service) {
            return Ok(*number);
        }
        let number = u16::try_from(self.known.len()).unwrap_or(u16::MAX);
        let key = number.to_be_bytes();
        self.table
            .insert(key.as_slice(), service.as_str().as_bytes())?;
        self.known.push((service.clone(), number));
        Ok(number)
    }
}

/// Hours and days, changed together.
struct Rollups<'txn, 'zone> {
    hours: Rows<'txn>,
    days: Rows<'txn>,
    zone: &'zone TimeZone,
}

impl Rollups<'_, '_> {
    fn change(
        &mut self,
        numbers: &mut Numbers<'_>,
        accounts: &Accounts,
        change: fn(&mut Rollup, &Rollup),
    ) -> Result<(), Fault> {
        for ((hour, service), rollup) in &accounts.0 {
            let number = numbers.of(service)?;
            change_rollup(&mut self.hours, Key(*hour, number), rollup, change)?;
            let day = day_of(*hour, self.zone);
            change_rollup(&mut self.days, Key(day, number), rollup, change)?;
        }
        Ok(())
    }
}

fn change_rollup(
    table: &mut Rows<'_>,
    key: Key,
    by: &Rollup,
    change: fn(&mut Rollup, &Rollup),
) -> Result<(), Fault> {
    let key = key.bytes();
    let stored = table.get(key.as_slice())?;
    let stored = stored.map(|value| Rollup::parsed(value.value()));
    let mut rollup = stored.flatten().unwrap_or_default();
    change(&mut rollup, by);
    table.insert(key.as_slice(), rollup.record().as_slice())?;
    Ok(())
}

/// Events of one millisecond are numbered.
fn insert_event(table: &mut Rows<'_>, event: &Event) -> Result<(), Fault> {
    let at = event.at.as_millisecond();
    let (first, last) = (Key(at, 0).bytes(), Key(at, u16::MAX).bytes());
    let before = table
        .range(first.as_slice()..=last.as_slice())?
        .next_back()
        .transpose()?
        .map(|(key, _)| Key::of(key.value()))
        .transpose()?;
    let number = before.map_or(0, |before| before.1.saturating_add(1));
    let key = Key(at, number).bytes();
    table.insert(key.as_slice(), event.record().as_slice())?;
    Ok(())
}

/// Moves marked beats to where they belong, a step at a time: gives the time to go on from, if it is not done.
/// The keys between which a correction's rows are.
fn stretch(correction: &Correction) -> ([u8; 10], [u8; 10]) {
    (
        Key(correction.from.as_millisecond(), 0).bytes(),
        Key(correction.to.as_millisecond(), u16::MAX).bytes(),
    )
}

fn correct_beats(
    table: &mut Rows<'_>,
    correction: &Correction,
    left: &mut usize,
) -> Result<Option<Timestamp>, Fault> {
    let mut marked = Vec::new();
    let mut next = None;
    let (first, last) = stretch(correction);
    for row in table.range(first.as_slice()..=last.as_slice())? {
        let (key, value) = row?;
        let Some(said) = parsed(value.value()) else {
            continue;
        };
        if said.clock != BeatClock::Doubtful {
            continue;
        }
        if marked.len() >= *left {
            next = Some(Key::of(key.value())?.time());
            break;
        }
        marked.push((Key::of(key.value())?, said));
    }
    *left -= marked.len();
    for (Key(at, service), said) in marked {
        let shifted = at.saturating_add(i64::try_from(correction.shift.as_millis()).unwrap_or(0));
        let Said {
            status,
            task,
            response,
            ..
        } = said;
        table.remove(Key(at, service).bytes().as_slice())?;
        let corrected = record(&status, &task, response, BeatClock::Corrected);
        let key = Key(shifted, service).bytes();
        table.insert(key.as_slice(), corrected.as_slice())?;
    }
    Ok(next)
}

fn correct_events(table: &mut Rows<'_>, correction: &Correction) -> Result<(), Fault> {
    let (first, last) = stretch(correction);
    let mut marked = Vec::new();
    for row in table.range(first.as_slice()..=last.as_slice())?.take(STEP) {
        let (key, value) = row?;
        let key = Key::of(key.value())?;
        if let Some(event) = Event::parsed(key.time(), value.value())
            && event.clock == BeatClock::Doubtful
        {
            marked.push((key, event));
        }
    }
    for (key, event) in marked {
        table.remove(key.bytes().as_slice())?;
        let at = event
            .at
            .saturating_add(correction.shift)
            .unwrap_or(event.at);
        let clock = BeatClock::Corrected;
        insert_event(table, &Event { at, clock, ..event })?;
    }
    Ok(())
}

/// Drops the oldest rows: those before `cutoff`, and what is too many; a step at most.
fn prune(table: &mut Rows<'_>, cutoff: i64, limit: u64) -> Result<(), Fault> {
    let too_many = usize::try_from(table.len()?.saturating_sub(limit)).unwrap_or(usize::MAX);
    for dropped in 0..STEP {
        let oldest = table.first()?.map(|(key, _)| Key::of(key.value()));
        match oldest.transpose()? {
            Some(key) if key.0 < cutoff || dropped < too_many => {
                table.remove(key.bytes().as_slice())?;
            }
            _ => break,
        }
    }
    Ok(())
}

pub(super) fn beats(
    database: &Database,
    service: &Service,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Beat>, Fault> {
    if from >= to {
        return Ok(Vec::new());
    }
    let transaction = database.begin_read()?;
    let names = names(&transaction)?;
    let Some((number, _)) = names.iter().find(|(_, name)| name == service) else {
        return Ok(Vec::new());
    };
    let table = transaction.open_table(BEATS)?;
    let mut beats = Vec::new();
    let (from, to) = (
        Key(from.as_millisecond(), 0).bytes(),
        Key(to.as_millisecond(), 0).bytes(),
    );
    for row in table.range(from.as_slice()..to.as_slice())? {
        let (key, value) = row?;
        let key = Key::of(key.value())?;
        if key.1 == *number
            && let Some(said) = parsed(value.value())
        {
            beats.push(Beat {
                service: service.clone(),
                at: key.time(),
                status: said.status,
                task: said.task,
                response: said.response,
                clock: said.clock,
            });
        }
    }
    Ok(beats)
}

pub(super) fn hours(database: &Database, from: Hour, to: Hour) -> Result<Rolled, Fault> {
    rollups(database, HOURS, from, to)
}

pub(super) fn days(database: &Database, from: Day, to: Day) -> Result<Rolled, Fault> {
    rollups(database, DAYS, from, to + 1)
}

fn rollups(database: &Database, table: Bytes, from: i64, to: i64) -> Result<Rolled, Fault> {
    if from >= to {
        return Ok(Vec::new());
    }
    let transaction = database.begin_read()?;
    let names = names(&transaction)?;
    let table = transaction.open_table(table)?;
    let mut rows = Vec::new();
    let (from, to) = (Key(from, 0).bytes(), Key(to, 0).bytes());
    for row in table.range(from.as_slice()..to.as_slice())? {
        let (key, value) = row?;
        let Key(number, service) = Key::of(key.value())?;
        if let Some((_, service)) = names.iter().find(|(known, _)| *known == service)
            && let Some(rollup) = Rollup::parsed(value.value())
        {
            rows.push(((number, service.clone()), rollup));
        }
    }
    Ok(rows)
}

pub(super) fn events(
    database: &Database,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<Event>, Fault> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(EVENTS)?;
    let mut events = Vec::new();
    let (first, last) = (
        Key(i64::MIN, 0).bytes(),
        Key(until.as_millisecond(), u16::MAX).bytes(),
    );
    for row in table
        .range(first.as_slice()..=last.as_slice())?
        .rev()
        .take(limit)
    {
        let (key, value) = row?;
        events.extend(Event::parsed(Key::of(key.value())?.time(), value.value()));
    }
    Ok(events)
}

/// The keys of incidents whose last event opened them.
pub(super) fn open_incidents(database: &Database) -> Result<Vec<String>, Fault> {
    let mut last: Vec<(String, Turn)> = Vec::new();
    for event in events(database, Timestamp::MAX, INCIDENT_EVENTS)? {
        if event.turn != Turn::News && last.iter().all(|(key, _)| *key != event.key) {
            last.push((event.key, event.turn));
        }
    }
    let open = last.into_iter().filter(|(_, turn)| *turn == Turn::Opened);
    Ok(open.map(|(key, _)| key).collect())
}

/// The rows of the roster; a service that has none is unheard.
pub(super) fn current(
    database: &impl ReadableDatabase,
    roster: &[Watched],
) -> Result<Vec<ServiceRow>, Fault> {
    let transaction = database.begin_read()?;
    let names = names(&transaction)?;
    let table = transaction.open_table(CURRENT)?;
    let mut rows = Vec::new();
    for watched in roster {
        let number = names.iter().find(|(_, name)| *name == watched.service);
        let stored = match number {
            Some((number, _)) => table.get(number.to_be_bytes().as_slice())?,
            None => None,
        };
        let row = stored.and_then(|value| parsed_row(watched, value.value()));
        rows.push(row.unwrap_or_else(|| ServiceRow::unheard(watched)));
    }
    Ok(rows)
}

fn names(transaction: &ReadTransaction) -> Result<Vec<(u16, Service)>, Fault> {
    let table = transaction.open_table(SERVICES)?;
    let mut names = Vec::new();
    for row in table.iter()? {
        let (number, name) = row?;
        names.push((
            number_of(number.value())?,
            Service::named(&text(name.value())),
        ));
    }
    Ok(names)
}

/// The number of a service, from its stored form: two bytes, the greater one first.
fn number_of(bytes: &[u8]) -> Result<u16, Fault> {
    let bytes = bytes.try_into().map_err(|_length| {
        Fault::Damaged("the number of a service has not two bytes".to_owned())
    })?;
    Ok(u16::from_be_bytes(bytes))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
