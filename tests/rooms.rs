//! Holds the code to the table in `src/lib.rs`: who may name whom, and that no import runs in a circle.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a source file this test cannot read is a failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn every_room_names_only_the_rooms_the_map_allows_it() {
    let map = map(&fs::read_to_string(sources().join("lib.rs")).unwrap());
    assert!(map.len() > 5, "the table in src/lib.rs was not understood");
    let mut wrong = Vec::new();
    for (file, text) in rust_files(&sources()) {
        let module = module_path(&file);
        for name in named_rooms(&module, &text) {
            // The binaries wire the rooms together; the crate's own root only lists them.
            let room = module.first().map_or("", String::as_str);
            let allowed = is_binary(&file)
                || room == name
                || map.get(room).is_none_or(|allowed| allowed.contains(&name));
            if !map.contains_key(&name) {
                wrong.push(format!(
                    "{} names `{name}`, no room of the map",
                    file.display()
                ));
            } else if !allowed {
                wrong.push(format!(
                    "{} names `{name}`: the map does not allow `{room}` to",
                    file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_under_src_belongs_to_a_room_of_the_map() {
    let map = map(&fs::read_to_string(sources().join("lib.rs")).unwrap());
    let unknown: Vec<_> = rust_files(&sources())
        .into_keys()
        .filter(|file| !is_binary(file))
        .filter(|file| {
            module_path(file)
                .first()
                .is_some_and(|room| !map.contains_key(room))
        })
        .collect();
    assert!(
        unknown.is_empty(),
        "not in the table of src/lib.rs: {unknown:?}"
    );
}

#[test]
fn no_import_runs_in_a_circle() {
    let mut arrows = Arrows::new();
    for (file, text) in rust_files(&sources()) {
        let module = module_path(&file);
        if let (false, Some(room)) = (is_binary(&file), module.first()) {
            let named = named_rooms(&module, &text);
            arrows
                .entry(room.clone())
                .or_default()
                .extend(named.into_iter().filter(|name| name != room));
        }
    }
    assert_eq!(circle(&arrows), None);
}

#[test]
fn each_outside_thing_is_named_in_its_own_room_only() {
    let homes = [
        ("rexiv2", vec!["bin"]),
        ("ureq", vec!["bin"]),
        ("rustls", vec!["bin"]),
        ("rustls_native_certs", vec!["bin"]),
        ("lettre", vec!["bin"]),
        ("redb", vec!["ledger", "monitor"]),
        ("tiny_http", vec!["dashboard"]),
        ("maud", vec!["dashboard"]),
        ("indicatif", vec!["cli"]),
        ("notify", vec!["librarian"]),
    ];
    let mut wrong = Vec::new();
    for (file, text) in rust_files(&sources()) {
        let words = tokens(&text);
        for (outside, rooms) in &homes {
            let named = words
                .windows(3)
                .any(|at| at[0] == *outside && at[1] == ":" && at[2] == ":");
            let first = file
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_string_lossy()
                .into_owned();
            if named && !rooms.contains(&first.trim_end_matches(".rs")) {
                wrong.push(format!(
                    "{} names {outside}, which belongs to {rooms:?}",
                    file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_this_test_sees_every_way_to_name_a_room() {
    let module = ["librarian".to_owned(), "read".to_owned()];
    let text = r##"
        use crate::{asset::{self, Kind}, disk};
        use super::super::ledger::Ledger; // crate::comment
        const TEXT: &str = "crate::string";
        const RAW: &str = r#"crate::"raw"#;
        fn f<'a>(x: &'a str) -> char { super::own(); crate::config::load(x); '"' }
        mod tests { use super::*; fn g() { super::super::super::monitor::beat(); } }
    "##;
    let expected = ["asset", "config", "disk", "ledger", "monitor"];
    assert_eq!(
        named_rooms(&module, text).into_iter().collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn a_circle_is_found() {
    let arrow = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let straight = Arrows::from([arrow("a", "b"), arrow("b", "c")]);
    assert_eq!(circle(&straight), None);
    let round = Arrows::from([arrow("a", "b"), arrow("b", "c"), arrow("c", "b")]);
    assert_eq!(circle(&round).as_deref(), Some("b -> c -> b"));
}

/// The table of `src/lib.rs`: a room and those it may name.
fn map(text: &str) -> Arrows {
    let mut rooms = Arrows::new();
    for line in text.lines() {
        let cells: Vec<_> = line
            .trim_start_matches("//!")
            .split('|')
            .map(str::trim)
            .collect();
        let [_, room, _, may_name, _] = cells[..] else {
            continue;
        };
        let Some(room) = room
            .strip_prefix("[`")
            .and_then(|room| room.strip_suffix("`]"))
        else {
            continue;
        };
        let may_name = match may_name {
            "nobody" => BTreeSet::new(),
            "all above" => rooms.keys().cloned().collect(),
            list => list
                .split(',')
                .map(|name| name.trim().trim_matches('`').to_owned())
                .collect(),
        };
        rooms.insert(room.to_owned(), may_name);
    }
    let unknown: Vec<_> = rooms
        .values()
        .flatten()
        .filter(|name| !rooms.contains_key(*name))
        .collect();
    assert!(
        unknown.is_empty(),
        "the map allows rooms it does not list: {unknown:?}"
    );
    rooms
}

/// Every Rust file, by its path below `src`, with its text.
fn rust_files(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // A crate of its own is no room; it cannot name any.
                if !path.join("Cargo.toml").exists() {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.insert(path.strip_prefix(root).unwrap().to_owned(), text);
            }
        }
    }
    files
}

fn is_binary(file: &Path) -> bool {
    file == Path::new("main.rs") || file.starts_with("bin")
}

/// `librarian/date.rs` is `librarian::date`; the roots are empty.
fn module_path(file: &Path) -> Vec<String> {
    if is_binary(file) || file == Path::new("lib.rs") {
        return Vec::new();
    }
    let path = file.with_extension("");
    path.iter()
        .map(|part| part.to_string_lossy().into_owned())
        .filter(|part| part != "mod")
        .collect()
}

/// The rooms a file names, as `crate::room`, `photo_factory::room` or through `super`.
fn named_rooms(module: &[String], text: &str) -> BTreeSet<String> {
    let words = tokens(text);
    let mut rooms = BTreeSet::new();
    let mut depth = 0_usize;
    let mut inline = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match words[at].as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.retain(|&opened| opened < depth);
            }
            "mod" if words.get(at + 2).is_some_and(|word| word == "{") => inline.push(depth),
            "crate" | "photo_factory" => at = path(&words, at + 1, &mut rooms),
            "super" => {
                let mut climbed = 0;
                while words[at] == "super" {
                    climbed += 1;
                    at += 3;
                }
                if climbed == module.len() + inline.len() && climbed > 0 {
                    at = path(&words, at - 2, &mut rooms);
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    rooms
}

/// Reads `::room`, `::{room::x, room}` from the crate's root on; gives where to read on.
fn path(words: &[String], from: usize, rooms: &mut BTreeSet<String>) -> usize {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    if word(from) != ":" || word(from + 1) != ":" {
        return from - 1;
    }
    if word(from + 2) != "{" {
        rooms.insert(word(from + 2).to_owned());
        return from + 2;
    }
    let mut depth = 0;
    for at in from + 2..words.len() {
        match word(at) {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if depth == 1 && matches!(word(at - 1), "{" | ",") => {
                rooms.insert(name.to_owned());
            }
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    words.len()
}

/// A Rust text as words and signs, without comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, after)| after);
        } else if let Some(end) = raw_string(rest) {
            rest = rest.split_at(end).1;
        } else if first == '"' {
            rest = after_quoted(rest, '"');
        } else if first == '\'' {
            // A lifetime has no closing quote after its first character.
            let second = rest.chars().nth(1);
            let is_char = second == Some('\\') || rest.chars().nth(2) == Some('\'');
            rest = if is_char {
                after_quoted(rest, '\'')
            } else {
                rest.split_at(1).1
            };
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            tokens.push(word.to_owned());
            rest = after;
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            rest = rest.split_at(first.len_utf8()).1;
        }
    }
    tokens
}

/// The length of the raw string that `text` starts with.
fn raw_string(text: &str) -> Option<usize> {
    let opened = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = opened.len() - opened.trim_start_matches('#').len();
    let content = opened.split_at(hashes).1.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = content.find(&close)? + close.len();
    Some(text.len() - content.len() + end)
}

fn after_quoted(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !escaped && c == quote {
            return text.split_at(at + 1).1;
        }
        escaped = !escaped && c == '\\';
    }
    ""
}

/// A circle of arrows, written out, if there is one.
fn circle(arrows: &Arrows) -> Option<String> {
    fn walk(arrows: &Arrows, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<String> {
        let here = way.last()?.clone();
        for next in arrows.get(&here).into_iter().flatten() {
            if let Some(start) = way.iter().position(|passed| passed == next) {
                let mut found = way.split_off(start);
                found.push(next.clone());
                return Some(found.join(" -> "));
            }
            if !done.contains(next) {
                way.push(next.clone());
                if let Some(found) = walk(arrows, way, done) {
                    return Some(found);
                }
                way.pop();
            }
        }
        done.insert(here);
        None
    }
    let mut done = BTreeSet::new();
    arrows
        .keys()
        .find_map(|room| walk(arrows, &mut vec![room.clone()], &mut done))
}
