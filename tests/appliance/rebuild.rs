//! `rebuild`: the ledger comes back from Originals as it was, whatever became of it, and however often it is asked for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::factory::{
    Factory, files_below, installed, json_lines, output_of, program, text, was_killed,
};
use crate::fixtures::exif::Exif;
use crate::fixtures::raster::{dng, landscape, png};
use crate::fixtures::video::{Movie, mov, mp4};
use crate::fixtures::{jpeg, sidecar};
use crate::tracer::{self, Calls, Fault};

fn frames(seed: u64) -> Vec<Vec<u8>> {
    (0..2)
        .map(|step| jpeg::encode(&landscape(seed + step, 64, 48), None, None))
        .collect()
}

/// Every sort of file, with the pairs, the sidecars and the names that collide.
fn lay_every_sort(factory: &Factory) {
    let live = Exif::taken("2022:09:03 16:20:11")
        .camera("Apple", "iPhone 12")
        .offset("+02:00")
        .at(52.5163, 13.3777)
        .content_id("5B2C3E0A-6F4D-4C7B-9A21-0D8E7F61A2B3");
    let live_video = Movie {
        created: Some(1_662_214_811),
        creation_date: Some("2022-09-03T16:20:11+0200".to_owned()),
        location: Some("+52.5163+013.3777/".to_owned()),
        content_id: live.content_id.clone(),
        camera: live.make.clone().zip(live.model.clone()),
    };
    let raw = Exif::taken("2018:10:21 08:02:30").camera("PENTAX", "PENTAX K-1");
    let day =
        |day: u32| Exif::taken(&format!("2016:07:14 09:12:{day:02}")).camera("Google", "Pixel");
    let walk = Movie {
        created: Some(1_692_548_100),
        ..Movie::default()
    };
    factory.put("IMG_0001.JPG", &jpeg::photo(1, &day(1)));
    factory.put("other/IMG_0001.JPG", &jpeg::photo(2, &day(2)));
    factory.put("third/IMG_0001.JPG", &jpeg::photo(3, &day(3)));
    factory.put(
        "third/IMG_0001.JPG.xmp",
        sidecar::xmp("1999-08-02T15:00:00").as_bytes(),
    );
    factory.put("edits/IMG_0002.JPG", &jpeg::photo(4, &day(4)));
    factory.put("edits/IMG_E0002.aae", sidecar::aae().as_bytes());
    factory.put("more/IMG_0002.JPG", &jpeg::photo(5, &day(5)));
    factory.put("more/IMG_O0002.AAE", sidecar::aae().as_bytes());
    factory.put("IMG_4242.JPG", &jpeg::photo(6, &live));
    factory.put("IMG_4242.MOV", &mov(&live_video, &frames(7), 64, 48));
    factory.put("PK1_0815.DNG", &dng(&landscape(8, 64, 48), &raw));
    factory.put("PK1_0815.JPG", &jpeg::photo(9, &raw));
    factory.put("VID_20230820_181500.mp4", &mp4(&walk, &frames(10), 64, 48));
    factory.put("IMG-20240131-WA0007.jpg", &jpeg::bare(11));
    factory.put("shot.png", &png(&landscape(12, 60, 40), &[], None));
    factory.put("beach(1).jpg", &jpeg::bare(13));
    let taken = sidecar::takeout("beach.jpg", 1_502_717_400, (-33.8908, 151.2743));
    factory.put("beach.jpg(1).json", taken.as_bytes());
    factory.put("scan 1987.jpg", &jpeg::bare(14));
    factory.put(
        "scan 1987.xmp",
        sidecar::xmp("1987-08-02T15:00:00").as_bytes(),
    );
    let broken = jpeg::photo(15, &day(15));
    factory.put("broken.JPG", &jpeg::truncated(&broken));
    factory.put_at(
        "only a time.jpg",
        &jpeg::bare(16),
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890),
    );
}

/// What must come back, by final path; pairs by the final path of the other.
fn rows(factory: &Factory) -> BTreeMap<String, Value> {
    let rows = factory.rows();
    let path_of: BTreeMap<u64, String> = rows
        .iter()
        .map(|row| {
            (
                row["id"].as_u64().unwrap(),
                text(row, "final_path").to_owned(),
            )
        })
        .collect();
    let what_stays = |row: &Value| {
        let fields = [
            "file_hash",
            "size",
            "captured_at",
            "captured_offset",
            "captured_from",
            "kind",
            "latitude",
            "longitude",
            "make",
            "model",
            "width",
            "height",
            "errors",
        ];
        let mut kept: BTreeMap<String, Value> = fields
            .iter()
            .map(|field| ((*field).to_owned(), row[*field].clone()))
            .collect();
        let paired = row["paired_with"].as_u64().map(|id| path_of[&id].clone());
        kept.insert("paired_with".to_owned(), serde_json::json!(paired));
        serde_json::json!(kept)
    };
    rows.iter()
        .map(|row| (text(row, "final_path").to_owned(), what_stays(row)))
        .collect()
}

struct Rebuilt {
    code: i32,
    files: Vec<Value>,
    summary: Value,
}

fn rebuild(factory: &Factory) -> Rebuilt {
    let output = factory.run(&["rebuild", "--json"]);
    let mut files = json_lines(&output);
    let summary = files
        .pop()
        .map_or(Value::Null, |last| last["summary"].clone());
    assert!(summary.is_object(), "{output:?}");
    Rebuilt {
        code: output.status.code().unwrap(),
        files,
        summary,
    }
}

fn ledger(factory: &Factory) -> PathBuf {
    factory.root().join("Data/ledger.redb")
}

fn kept(factory: &Factory) -> Vec<PathBuf> {
    let all = files_below(&factory.root().join("Data"));
    all.into_iter()
        .filter(|path| path.to_string_lossy().contains(".damaged-"))
        .collect()
}

#[test]
fn a_ledger_that_is_lost_comes_back_from_originals_row_by_row() {
    let factory = Factory::new("rebuild");
    lay_every_sort(&factory);
    let laid = factory.ingest();
    assert_eq!(
        (laid.code, laid.count("filed")),
        (2, 21),
        "{:?}",
        laid.files
    );
    let before = rows(&factory);
    let stood = factory.filed();
    let whole = fs::read(ledger(&factory)).unwrap();

    let ways: [(&str, Option<Vec<u8>>); 5] = [
        ("deleted", None),
        ("empty", Some(Vec::new())),
        (
            "foreign",
            Some(b"a shopping list, for the most part".to_vec()),
        ),
        ("cut", Some(whole[..whole.len() / 3].to_vec())),
        ("overwritten", {
            let mut spoilt = whole.clone();
            let middle = spoilt.len() / 8..spoilt.len() / 2;
            spoilt[middle].fill(0xA5);
            Some(spoilt)
        }),
    ];
    for (way, content) in ways {
        match &content {
            None => fs::remove_file(ledger(&factory)).unwrap(),
            Some(content) => fs::write(ledger(&factory), content).unwrap(),
        }
        let kept_before = kept(&factory).len();
        let rebuilt = rebuild(&factory);
        assert_eq!(rebuilt.code, 0, "{way}: {:?}", rebuilt.files);
        assert_eq!(rebuilt.summary["added"], 21, "{way}: {}", rebuilt.summary);
        let now = rows(&factory);
        for (path, row) in &before {
            assert_eq!(now.get(path), Some(row), "{way}: {path}");
        }
        assert_eq!(now.len(), before.len(), "{way}");
        assert_eq!(factory.filed(), stood, "{way}: no file is moved or changed");
        let kept = kept(&factory);
        assert_eq!(
            kept.len() - kept_before,
            usize::from(content.is_some()),
            "{way}: {kept:?}"
        );
        if let Some(content) = &content {
            assert!(
                kept.iter().any(|path| fs::read(path).unwrap() == *content),
                "{way}"
            );
        }

        let again = rebuild(&factory);
        assert_eq!(again.code, 0, "{way}");
        assert_eq!(
            (&again.summary["ledger_was"], &again.summary["added"]),
            (&"whole".into(), &0.into())
        );
        assert_eq!(rows(&factory), now, "{way}: a second run changes nothing");
    }
    // It is a ledger like any other: what comes again is known.
    lay_every_sort(&factory);
    let again = factory.ingest();
    assert_eq!(again.count("filed"), 0, "{:?}", again.files);
    assert_eq!(factory.filed(), stood);
}

#[test]
fn a_ledger_that_is_whole_only_gets_what_it_did_not_know() {
    let factory = Factory::new("rebuild-add");
    lay_every_sort(&factory);
    factory.ingest();
    let before = rows(&factory);
    let raw_rows = factory.rows();
    let day = factory.originals().join("2016/2016-07-14");
    let put = |name: &str, content: &[u8]| fs::write(day.join(name), content).unwrap();
    let photo = Exif::taken("2016:07:14 23:00:00");
    put("came by hand.jpg", &jpeg::photo(40, &photo));
    put(
        "came by hand.xmp",
        sidecar::xmp("2016-07-14T23:00:00").as_bytes(),
    );
    put("notes.txt", b"Milk, bread, batteries");
    put(
        "copy of the first.jpg",
        &fs::read(day.join("IMG_0001.JPG")).unwrap(),
    );
    put(".photo-factory-99-0.part", b"half");
    // The other half of a photo that is known.
    let clip = Movie {
        creation_date: Some("2016-07-14T09:12:01+0000".to_owned()),
        ..Movie::default()
    };
    put("IMG_0001.MOV", &mov(&clip, &frames(41), 64, 48));

    let rebuilt = rebuild(&factory);
    assert_eq!(rebuilt.code, 2, "{:?}", rebuilt.files);
    let said: BTreeMap<&str, &str> = rebuilt
        .files
        .iter()
        .map(|line| {
            let path = Path::new(text(line, "path")).file_name().unwrap();
            (path.to_str().unwrap(), text(line, "outcome"))
        })
        .collect();
    assert_eq!(
        said,
        BTreeMap::from([
            (".photo-factory-99-0.part", "unknown"),
            ("IMG_0001.MOV", "added"),
            ("came by hand.jpg", "added"),
            ("came by hand.xmp", "added"),
            ("copy of the first.jpg", "same"),
            ("notes.txt", "unknown"),
        ])
    );
    let now = rows(&factory);
    let at = |name: &str| format!("Originals/2016/2016-07-14/{name}");
    assert_eq!(
        now[&at("came by hand.xmp")]["paired_with"],
        at("came by hand.jpg").as_str()
    );
    assert_eq!(
        now[&at("IMG_0001.MOV")]["paired_with"],
        at("IMG_0001.JPG").as_str()
    );
    assert_eq!(now.len(), before.len() + 3);
    for row in &raw_rows {
        // Only the still that found its video says so now.
        let is_leader = text(row, "final_path") == at("IMG_0001.JPG");
        assert!(is_leader || factory.rows().contains(row), "{row}");
    }

    let again = rebuild(&factory);
    assert_eq!((again.code, &again.summary["added"]), (2, &0.into()));
    assert_eq!(rows(&factory), now);
}

#[test]
fn where_only_the_files_time_is_left_the_folders_day_counts() {
    let factory = Factory::new("rebuild-day");
    factory.put_at(
        "plain.jpg",
        &jpeg::bare(1),
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890),
    );
    factory.ingest();
    let path = factory.filed().into_keys().next().unwrap();
    assert!(path.starts_with("Originals/2009/2009-02-13"), "{path:?}");
    // A backup that was played back without times.
    let file = fs::File::open(factory.storage().join(&path)).unwrap();
    file.set_modified(SystemTime::now()).unwrap();
    fs::remove_file(ledger(&factory)).unwrap();
    assert_eq!(rebuild(&factory).code, 0);
    let row = factory.rows().remove(0);
    assert_eq!(text(&row, "captured_at"), "2009-02-13T00:00:00");
    assert_eq!(text(&row, "captured_from"), "mtime");
}

#[test]
fn what_was_filed_while_the_ledger_was_down_is_rebuilt_with_the_rest() {
    let mut factory = Factory::new("rebuild-journal");
    factory.put(
        "phone/IMG_1.JPG",
        &jpeg::photo(1, &Exif::taken("2024:01:01 10:00:00")),
    );
    factory.ingest();
    fs::write(ledger(&factory), b"a shopping list, for the most part").unwrap();
    factory.start();
    factory.put(
        "phone/IMG_2.JPG",
        &jpeg::photo(2, &Exif::taken("2024:01:02 10:00:00")),
    );
    factory.wait_until_the_inbox_is_empty();
    factory.stop();
    let journal = factory.root().join("Data/journal.jsonl");
    assert!(journal.exists(), "the photo was filed without the journal");

    let rebuilt = rebuild(&factory);
    assert_eq!((rebuilt.code, &rebuilt.summary["added"]), (0, &1.into()));
    assert!(!journal.exists(), "it is folded in");
    factory.assert_ledger_and_originals_agree();
    // The journal still knew where it came from.
    let rows = factory.rows();
    let came: Vec<&str> = rows.iter().map(|row| text(row, "inbox_path")).collect();
    assert!(came.contains(&"phone/IMG_2.JPG"), "{came:?}");
    assert_eq!(rebuild(&factory).summary["added"], 0);
}

#[test]
fn p5_what_was_under_way_when_the_ledger_was_down_gets_no_row_that_is_then_taken_back() {
    let laid = || {
        let factory = Factory::new("under-way");
        factory.put(
            "first.jpg",
            &jpeg::small(1, &Exif::taken("2021:02:03 04:05:06")),
        );
        assert_eq!(factory.ingest().code, 0);
        fs::write(ledger(&factory), "no ledger").unwrap();
        factory.put(
            "second.jpg",
            &jpeg::small(2, &Exif::taken("2021:02:03 04:05:07")),
        );
        let mut command = factory.command();
        command.args(["ingest", "--json"]);
        command.env("BLOCKING_MAX_THREADS", "1");
        (factory, command)
    };
    let linked = |calls: &[String]| {
        let is_link = |call: &String| call.starts_with("link") && call.contains("Originals");
        calls.iter().position(is_link)
    };
    let (factory, command) = laid();
    let counted = tracer::run(&command, factory.root(), Calls::Changes, Fault::None);
    let after_the_link = linked(&counted.calls).expect("it is linked") + 2;
    // Threads take turns as they like: in one of a few runs it is the same moment again.
    let fired = (0..50).any(|_| {
        let (factory, command) = laid();
        let fault = Fault::Kill(after_the_link);
        let traced = tracer::run(&command, factory.root(), Calls::Changes, fault);
        let was_it = linked(&traced.calls).is_some_and(|link| link + 2 == after_the_link);
        if was_it {
            assert_eq!(
                (traced.code, factory.filed().len()),
                (None, 2),
                "{traced:?}"
            );
            rebuild(&factory);
            factory.assert_ledger_and_originals_agree();
            let run = factory.ingest();
            assert_eq!((run.code, run.count("filed")), (0, 1), "{:?}", run.files);
            factory.assert_ledger_and_originals_agree();
        }
        was_it
    });
    assert!(fired, "the kill did not come: {:#?}", counted.calls);
}

#[test]
fn while_the_appliance_runs_a_rebuild_is_refused_and_without_originals_it_could_not_run() {
    let mut factory = Factory::new("rebuild-refused");
    factory.put(
        "IMG_1.JPG",
        &jpeg::photo(1, &Exif::taken("2024:01:01 10:00:00")),
    );
    factory.ingest();
    factory.start();
    let refused = factory.run(&["rebuild"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("stop it"), "{said}");
    factory.stop();

    let before = fs::read(ledger(&factory)).unwrap();
    fs::rename(factory.originals(), factory.root().join("unplugged")).unwrap();
    let refused = factory.run(&["rebuild"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("mounted"), "{said}");
    assert!(
        fs::read(ledger(&factory)).unwrap() == before,
        "the ledger is left alone"
    );
}

#[test]
fn p5_a_rebuild_killed_at_any_call_is_finished_by_the_next_one() {
    if !installed("strace", "the rebuild that is killed") {
        return;
    }
    let mut fired = 0;
    let calls = [
        "fsync",
        "fdatasync",
        "syncfs",
        "rename",
        "renameat2",
        "pwrite64",
        "unlink",
        "ftruncate",
    ];
    for spoilt in [false, true] {
        let factory = Factory::new("rebuild-killed");
        let taken = |day: u32| Exif::taken(&format!("2024:01:0{day} 10:00:00"));
        let id = taken(1).content_id("5B2C3E0A");
        let clip = Movie {
            content_id: id.content_id.clone(),
            ..Movie::default()
        };
        factory.put("IMG_1.JPG", &jpeg::photo(1, &id));
        factory.put("IMG_1.MOV", &mov(&clip, &frames(1), 64, 48));
        factory.put("IMG_2.JPG", &jpeg::photo(2, &taken(2)));
        factory.put(
            "IMG_2.JPG.xmp",
            sidecar::xmp("2024-01-02T10:00:00").as_bytes(),
        );
        factory.put("other/IMG_2.JPG", &jpeg::photo(3, &taken(2)));
        assert_eq!(factory.ingest().count("filed"), 5);
        let before = rows(&factory);
        let stood = factory.filed();
        for call in calls {
            for when in (1..9).chain([12, 17, 25, 40, 70, 120]) {
                if spoilt {
                    fs::write(ledger(&factory), b"a shopping list, for the most part").unwrap();
                } else {
                    fs::remove_file(ledger(&factory)).unwrap();
                }
                let trace = factory.root().join("strace.txt");
                let mut command = Command::new("strace");
                command
                    .args(["-f", "-qq", "-o"])
                    .arg(&trace)
                    .args(["-e", &format!("trace={call}")])
                    .args(["-e", &format!("inject={call}:signal=SIGKILL:when={when}")])
                    .arg(program())
                    .arg("--root")
                    .arg(factory.root())
                    .args(["rebuild", "--json"])
                    .env("TZ", "UTC");
                let output = output_of(&mut command);
                let killed = was_killed(&output);
                let instant = format!("when killed at {call} number {when}");
                assert!(killed || output.status.success(), "{instant}: {output:?}");
                let rebuilt = rebuild(&factory);
                assert_eq!(rebuilt.code, 0, "{instant}: {:?}", rebuilt.files);
                assert_eq!(rows(&factory), before, "{instant}");
                assert_eq!(factory.filed(), stood, "{instant}");
                let unfinished = factory.root().join("Data/rebuilding");
                assert!(!unfinished.exists(), "{instant}");
                if !killed {
                    break;
                }
                assert!(
                    fs::read_to_string(&trace).unwrap().contains("SIGKILL"),
                    "{instant}"
                );
                fired += 1;
            }
        }
    }
    println!("{fired} kills");
    assert!(
        fired >= 30,
        "only {fired} kills came: this test has lost its grip on the program"
    );
}
