//! One pass over the inbox: everything that goes in comes out, once.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use crate::factory::{Factory, hash, json_lines, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::Load;
use crate::fixtures::raster::{dng, landscape};
use crate::fixtures::video::{Movie, mov};
use crate::fixtures::{Random, jpeg, sidecar};

/// The files of a load, with a tenth that are copies of earlier ones, as name and content.
fn load(count: usize) -> Vec<(String, Vec<u8>)> {
    let mut random = Random(7);
    let mut pictures = Load::new(7);
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for number in 0..count {
        let content = if number > 10 && random.below(10) == 0 {
            files[random.below(number as u64) as usize].1.clone()
        } else {
            let (month, day) = (1 + random.below(12), 1 + random.below(28));
            let taken = format!(
                "2021:{month:02}:{day:02} 12:{:02}:{:02}",
                number / 60 % 60,
                number % 60
            );
            pictures.next(
                &Exif::taken(&taken).camera("Test", "T-1"),
                20_000 + random.below(4000) as usize,
            )
        };
        files.push((
            format!("DCIM/{:03}/IMG_{number:05}.JPG", number / 100),
            content,
        ));
    }
    files
}

#[test]
fn p5_every_photo_given_is_filed_once_and_a_second_and_a_third_run_change_nothing() {
    let factory = Factory::new("load");
    let files = load(600);
    let given: BTreeSet<String> = files.iter().map(|(_, content)| hash(content)).collect();
    let lay = || {
        for (name, content) in &files {
            factory.put(name, content);
        }
    };

    lay();
    let first = factory.ingest();
    assert_eq!(first.code, 0, "{}", first.summary);
    assert_eq!(first.count("files"), 600);
    assert_eq!(first.count("filed"), given.len() as u64);
    assert_eq!(first.count("duplicates"), 600 - given.len() as u64);
    let filed = factory.filed();
    assert_eq!(filed.values().cloned().collect::<BTreeSet<_>>(), given);
    assert_eq!(filed.len(), given.len(), "each content stands once");
    factory.assert_ledger_and_originals_agree();
    assert!(factory.waiting().is_empty());

    lay();
    let second = factory.ingest();
    assert_eq!(
        (
            second.code,
            second.count("filed"),
            second.count("duplicates")
        ),
        (0, 0, 600)
    );
    assert_eq!(factory.filed(), filed);
    assert!(factory.waiting().is_empty());

    let third = factory.ingest();
    assert_eq!((third.code, third.count("files")), (0, 0));
    assert_eq!(factory.filed(), filed);
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p3_250_photos_of_one_name_and_one_second_are_250_files() {
    let factory = Factory::new("same-second");
    let exif = Exif::taken("2023:06:01 10:00:00");
    let mut pictures = Load::new(1);
    for folder in 0..250 {
        factory.put(
            format!("phone-{folder:03}/IMG_0001.JPG"),
            &pictures.next(&exif, 9000),
        );
    }
    let run = factory.ingest();
    assert_eq!((run.code, run.count("filed")), (0, 250));
    let filed = factory.filed();
    assert_eq!(filed.values().collect::<BTreeSet<_>>().len(), 250);
    assert!(
        filed
            .keys()
            .all(|path| path.starts_with("Originals/2023/2023-06-01"))
    );
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn a_photo_is_filed_by_its_own_wall_clock_and_keeps_its_name_and_modification_time() {
    let factory = Factory::new("wall-clock");
    // On Kiritimati the new year has come; in UTC it is still the old day, at ten in the morning.
    let exif = Exif::taken("2020:01:01 00:04:31")
        .offset("+14:00")
        .at(1.872, -157.43);
    let mtime = SystemTime::UNIX_EPOCH + Duration::from_millis(1_577_786_671_123);
    let content = jpeg::small(1, &exif);
    factory.put_at("DCIM/New Year.JPG", &content, mtime);
    factory.ingest();
    let path = factory.originals().join("2020/2020-01-01/New Year.JPG");
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), mtime);

    let row = &factory.rows()[0];
    assert_eq!(text(row, "captured_at"), "2020-01-01T00:04:31");
    assert_eq!(text(row, "captured_offset"), "+14:00");
    assert_eq!(text(row, "captured_from"), "EXIF DateTimeOriginal");
    assert_eq!(text(row, "inbox_path"), "DCIM/New Year.JPG");
    assert!(
        (row["latitude"].as_f64().unwrap() - 1.872).abs() < 0.0005,
        "{row}"
    );
    assert!(
        (row["longitude"].as_f64().unwrap() + 157.43).abs() < 0.0005,
        "{row}"
    );
}

#[test]
fn what_belongs_together_stands_together_under_one_name() {
    let factory = Factory::new("together");
    let id = "0F3C9A52-77C1-4B1E-8A53-6D2B1A9F4E11";
    let still = Exif::taken("2022:09:03 23:59:59")
        .offset("+02:00")
        .content_id(id);
    // The video's clock runs into the next day; it goes to the still's.
    let movie = Movie {
        created: Some(1_662_242_401),
        creation_date: Some("2022-09-04T00:00:01+0200".to_owned()),
        content_id: Some(id.to_owned()),
        ..Movie::default()
    };
    let frame = jpeg::encode(&landscape(5, 64, 48), None, None);
    let raw = Exif::taken("2018:10:21 08:02:30").camera("PENTAX", "PENTAX K-1");
    factory.put("IMG_4242.JPG", &jpeg::small(4, &still));
    factory.put("IMG_4242.MOV", &mov(&movie, &[frame], 64, 48));
    factory.put("IMG_4242.AAE", sidecar::aae().as_bytes());
    factory.put("PK1_0815.DNG", &dng(&landscape(8, 64, 48), &raw));
    factory.put("PK1_0815.JPG", &jpeg::small(8, &raw));
    factory.put("scan.jpg", &jpeg::bare(9));
    factory.put("scan.xmp", sidecar::xmp("1987-08-02T15:00:00").as_bytes());
    factory.put("beach.jpg", &jpeg::bare(10));
    factory.put(
        "beach.jpg.json",
        sidecar::takeout("beach.jpg", 1_502_717_400, (-33.8908, 151.2743)).as_bytes(),
    );
    let run = factory.ingest();
    assert_eq!(run.code, 0, "{}", run.summary);
    let filed: Vec<_> = factory
        .filed()
        .into_keys()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(
        filed,
        [
            "Originals/1987/1987-08-02/scan.jpg",
            "Originals/1987/1987-08-02/scan.xmp",
            "Originals/2017/2017-08-14/beach.jpg",
            "Originals/2017/2017-08-14/beach.jpg.json",
            "Originals/2018/2018-10-21/PK1_0815.DNG",
            "Originals/2018/2018-10-21/PK1_0815.JPG",
            "Originals/2022/2022-09-03/IMG_4242.AAE",
            "Originals/2022/2022-09-03/IMG_4242.JPG",
            "Originals/2022/2022-09-03/IMG_4242.MOV",
        ]
    );
    let rows = factory.rows();
    let row = |name: &str| {
        rows.iter()
            .find(|row| text(row, "original_name") == name)
            .unwrap()
    };
    assert_eq!(
        row("IMG_4242.MOV")["paired_with"],
        row("IMG_4242.JPG")["id"]
    );
    assert_eq!(
        row("IMG_4242.JPG")["paired_with"],
        row("IMG_4242.MOV")["id"]
    );
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let factory = Factory::new("dry-run");
    factory.put(
        "a.jpg",
        &jpeg::small(1, &Exif::taken("2021:02:03 04:05:06")),
    );
    let output = factory.run(&["ingest", "--json", "--dry-run"]);
    assert_eq!(output.status.code(), Some(0));
    let told = &json_lines(&output)[0];
    assert_eq!(text(told, "decision"), "new");
    assert_eq!(text(told, "destination"), "Originals/2021/2021-02-03/a.jpg");
    assert!(factory.filed().is_empty());
    assert_eq!(factory.waiting().len(), 1);
    assert!(factory.run(&["export"]).stdout.is_empty());
}

#[test]
fn a_copy_from_a_card_leaves_the_card_as_it_was() {
    let factory = Factory::new("card");
    let card = factory.root().join("card/DCIM");
    fs::create_dir_all(&card).unwrap();
    let content = jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"));
    fs::write(card.join("DSC_0001.JPG"), &content).unwrap();
    let card = card.to_str().unwrap();
    let run = factory.ingest_with(&["--copy", card]);
    assert_eq!((run.code, run.count("filed")), (0, 1), "{}", run.summary);
    assert_eq!(fs::read(format!("{card}/DSC_0001.JPG")).unwrap(), content);
    let original = factory.originals().join("2021/2021-02-03/DSC_0001.JPG");
    assert_eq!(fs::read(&original).unwrap(), content);
    let again = factory.ingest_with(&["--copy", card]);
    assert_eq!(
        (again.code, again.count("filed"), again.count("duplicates")),
        (0, 0, 1)
    );
}

#[test]
fn the_exit_code_tells_done_from_problems_from_not_run() {
    let factory = Factory::new("exit-codes");
    factory.put(
        "good.jpg",
        &jpeg::small(1, &Exif::taken("2021:02:03 04:05:06")),
    );
    assert_eq!(factory.ingest().code, 0);
    factory.put("letter.txt", b"no photo");
    assert_eq!(
        factory.ingest().code,
        2,
        "a file that stays is a problem to be named"
    );
    factory.configure("settle_secs = 3\n");
    let output = factory.run(&["ingest"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("settle_seconds"),
        "it names the nearest key: {message}"
    );
}
