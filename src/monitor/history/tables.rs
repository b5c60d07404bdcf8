//! The tables of the history: what one commit writes and prunes, and what is read.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};

use super::super::doubt::Correction;
use super::super::event::{Event, Turn};
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
const SERVICES: TableDefinition<u16, &str> = TableDefinition::new("services");
const CURRENT: TableDefinition<u16, &[u8]> = TableDefinition::new("current");
const BEATS: TableDefinition<(i64, u16), &[u8]> = TableDefinition::new("beats");
const HOURS: TableDefinition<(i64, u16), &[u8]> = TableDefinition::new("hours");
const DAYS: TableDefinition<(i64, u16), &[u8]> = TableDefinition::new("days");
const EVENTS: TableDefinition<(i64, u16), &[u8]> = TableDefinition::new("events");

/// Roll-ups of services at hours or days.
type Rolled<Key> = Vec<((Key, Service), Rollup)>;

type Rows<'txn> = Table<'txn, (i64, u16), &'static [u8]>;

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
                current.insert(numbers.of(&row.service)?, record.as_slice())?;
            }
        }
        let mut beats = transaction.open_table(BEATS)?;
        for beat in &batch.beats {
            let record = record(&beat.status, &beat.task, beat.response, beat.clock);
            let key = (beat.at.as_millisecond(), numbers.of(&beat.service)?);
            beats.insert(key, record.as_slice())?;
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

/// The numbers of the services in the file.
struct Numbers<'txn> {
    table: Table<'txn, u16, &'static str>,
    known: BTreeMap<Service, u16>,
}

impl<'txn> Numbers<'txn> {
    fn read(transaction: &'txn WriteTransaction) -> Result<Self, Fault> {
        let table = transaction.open_table(SERVICES)?;
        let mut known = BTreeMap::new();
        for row in table.iter()? {
            let (number, name) = row?;
            known.insert(Service::named(name.value()), number.value());
        }
        Ok(Self { table, known })
    }

    fn of(&mut self, service: &Service) -> Result<u16, Fault> {
        if let Some(number) = self.known.get(service) {
            return Ok(*number);
        }
        let number = u16::try_from(self.known.len()).unwrap_or(u16::MAX);
        self.table.insert(number, service.as_str())?;
        self.known.insert(service.clone(), number);
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
            change_rollup(&mut self.hours, (*hour, number), rollup, change)?;
            let day = i64::from(day_of(*hour, self.zone));
            change_rollup(&mut self.days, (day, number), rollup, change)?;
        }
        Ok(())
    }
}

fn change_rollup(
    table: &mut Rows<'_>,
    key: (i64, u16),
    by: &Rollup,
    change: fn(&mut Rollup, &Rollup),
) -> Result<(), Fault> {
    let stored = table.get(key)?.map(|value| Rollup::parsed(value.value()));
    let mut rollup = stored.flatten().unwrap_or_default();
    change(&mut rollup, by);
    table.insert(key, rollup.record().as_slice())?;
    Ok(())
}

/// Events of one millisecond are numbered.
fn insert_event(table: &mut Rows<'_>, event: &Event) -> Result<(), Fault> {
    let at = event.at.as_millisecond();
    let last = table.range((at, 0)..=(at, u16::MAX))?.next_back();
    let number = match last.transpose()? {
        Some((key, _)) => key.value().1.saturating_add(1),
        None => 0,
    };
    table.insert((at, number), event.record().as_slice())?;
    Ok(())
}

/// Moves marked beats to where they belong, a step at a time: gives the time to go on from, if it is not done.
fn correct_beats(
    table: &mut Rows<'_>,
    correction: &Correction,
    left: &mut usize,
) -> Result<Option<Timestamp>, Fault> {
    let mut marked = Vec::new();
    let mut next = None;
    let range = (correction.from.as_millisecond(), 0)..=(correction.to.as_millisecond(), u16::MAX);
    for row in table.range(range)? {
        let (key, value) = row?;
        let Some(said) = parsed(value.value()) else {
            continue;
        };
        if said.clock != BeatClock::Doubtful {
            continue;
        }
        if marked.len() >= *left {
            next = Timestamp::from_millisecond(key.value().0).ok();
            break;
        }
        marked.push((key.value(), said));
    }
    *left -= marked.len();
    for ((at, service), said) in marked {
        let shifted = at.saturating_add(i64::try_from(correction.shift.as_millis()).unwrap_or(0));
        let Said {
            status,
            task,
            response,
            ..
        } = said;
        table.remove((at, service))?;
        let corrected = record(&status, &task, response, BeatClock::Corrected);
        table.insert((shifted, service), corrected.as_slice())?;
    }
    Ok(next)
}

fn correct_events(table: &mut Rows<'_>, correction: &Correction) -> Result<(), Fault> {
    let range = (correction.from.as_millisecond(), 0)..=(correction.to.as_millisecond(), u16::MAX);
    let mut marked = Vec::new();
    for row in table.range(range)?.take(STEP) {
        let (key, value) = row?;
        let at = Timestamp::from_millisecond(key.value().0).unwrap_or_default();
        if let Some(event) = Event::parsed(at, value.value())
            && event.clock == BeatClock::Doubtful
        {
            marked.push((key.value(), event));
        }
    }
    for (key, event) in marked {
        table.remove(key)?;
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
        let oldest = table.first()?.map(|(key, _)| key.value());
        match oldest {
            Some(key) if key.0 < cutoff || dropped < too_many => {
                table.remove(key)?;
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
    let Some(number) = names.iter().find(|(_, name)| *name == service) else {
        return Ok(Vec::new());
    };
    let table = transaction.open_table(BEATS)?;
    let mut beats = Vec::new();
    let range = (from.as_millisecond(), 0)..(to.as_millisecond(), 0);
    for row in table.range(range)? {
        let (key, value) = row?;
        let (at, of) = key.value();
        if of == *number.0
            && let Ok(at) = Timestamp::from_millisecond(at)
            && let Some(said) = parsed(value.value())
        {
            beats.push(Beat {
                service: service.clone(),
                at,
                status: said.status,
                task: said.task,
                response: said.response,
                clock: said.clock,
            });
        }
    }
    Ok(beats)
}

pub(super) fn hours(database: &Database, from: Hour, to: Hour) -> Result<Rolled<Hour>, Fault> {
    rollups(database, HOURS, from, to)
}

pub(super) fn days(database: &Database, from: Day, to: Day) -> Result<Rolled<Day>, Fault> {
    let rows = rollups(database, DAYS, i64::from(from), i64::from(to) + 1)?.into_iter();
    let day = |number| Day::try_from(number).unwrap_or_default();
    Ok(rows
        .map(|((number, service), rollup)| ((day(number), service), rollup))
        .collect())
}

fn rollups(
    database: &Database,
    table: TableDefinition<(i64, u16), &[u8]>,
    from: i64,
    to: i64,
) -> Result<Rolled<i64>, Fault> {
    if from >= to {
        return Ok(Vec::new());
    }
    let transaction = database.begin_read()?;
    let names = names(&transaction)?;
    let table = transaction.open_table(table)?;
    let mut rows = Vec::new();
    for row in table.range((from, 0)..(to, 0))? {
        let (key, value) = row?;
        let (number, service) = key.value();
        if let Some(service) = names.get(&service)
            && let Some(rollup) = Rollup::parsed(value.value())
        {
            rows.push(((number, service.clone()), rollup));
        }
    }
    Ok(rows)
}

pub(super) fn events(database: &Database, limit: usize) -> Result<Vec<Event>, Fault> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(EVENTS)?;
    let mut events = Vec::new();
    for row in table.iter()?.rev().take(limit) {
        let (key, value) = row?;
        let at = Timestamp::from_millisecond(key.value().0).unwrap_or_default();
        events.extend(Event::parsed(at, value.value()));
    }
    Ok(events)
}

/// The keys of incidents whose last event opened them.
pub(super) fn open_incidents(database: &Database) -> Result<Vec<String>, Fault> {
    let mut last: BTreeMap<String, Turn> = BTreeMap::new();
    for event in events(database, INCIDENT_EVENTS)? {
        if event.turn != Turn::News {
            last.entry(event.key).or_insert(event.turn);
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
        let number = names.iter().find(|(_, name)| **name == watched.service);
        let stored = match number {
            Some((number, _)) => table.get(*number)?,
            None => None,
        };
        let row = stored.and_then(|value| parsed_row(watched, value.value()));
        rows.push(row.unwrap_or_else(|| ServiceRow::unheard(watched)));
    }
    Ok(rows)
}

fn names(transaction: &ReadTransaction) -> Result<BTreeMap<u16, Service>, Fault> {
    let table = transaction.open_table(SERVICES)?;
    let mut names = BTreeMap::new();
    for row in table.iter()? {
        let (number, name) = row?;
        names.insert(number.value(), Service::named(name.value()));
    }
    Ok(names)
}
