//! One setting changed in the text of the settings file: every other line, and every comment, stays as it is.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// The text with this setting in it: changed where it is set, else uncommented below the header of its section, else put there; the
/// section is added at the end where there is none. `None` as the value: commented out, so that the default is in force.
///
/// Not every text can be changed so (a section of dotted keys can't): who writes the result reads it first.
pub fn edited(text: &str, section: &str, key: &str, value: Option<&str>) -> String {
    let Ok(table) = DeTable::parse(text) else {
        return text.to_owned();
    };
    let root = table.get_ref();
    let found = entry(root, section).map(|(_, table)| table);
    let settings = found.and_then(|table| table.get_ref().as_table());
    if let Some((name, set)) = settings.and_then(|table| entry(table, key)) {
        return match value {
            Some(value) => spliced(text, set.span(), &literal(value)),
            None => commented(text, name.span().start, set.span()),
        };
    }
    let Some(value) = value else {
        return text.to_owned();
    };
    let setting = format!("{key} = {}", literal(value));
    if let (Some(found), Some(settings)) = (found, settings)
        && text
            .get(found.span())
            .is_some_and(|typed| typed.starts_with('{'))
    {
        let after = found.span().start + 1;
        let end = if settings.iter().next().is_some() {
            ","
        } else {
            " "
        };
        return spliced(text, after..after, &format!(" {setting}{end}"));
    }
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut values = Vec::new();
    spans(root, &mut values);
    let mut below = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        // A line in the middle of a value is no header and no comment, whatever it looks like.
        if values
            .iter()
            .any(|value| value.start < start && start < value.end)
        {
            continue;
        }
        let typed = line.trim();
        if typed.starts_with('[') {
            if below.is_some() {
                break;
            }
            if is_header(typed, section) {
                below = Some(at);
            }
        } else if let (Some(_), Some(comment)) = (below, typed.strip_prefix('#'))
            && let Some(uncommented) = uncommented(comment.trim_start(), key, value)
        {
            let indent = line.len() - line.trim_start().len();
            return spliced(
                text,
                start + indent..start + line.trim_end().len(),
                &uncommented,
            );
        }
    }
    match below {
        Some(at) if text.get(..at).is_some_and(|before| before.ends_with('\n')) => {
            spliced(text, at..at, &format!("{setting}{end}"))
        }
        Some(at) => spliced(text, at..at, &format!("{end}{setting}{end}")),
        None => {
            let gap = match text {
                "" => "",
                text if text.ends_with('\n') => end,
                _ => &end.repeat(2),
            };
            format!("{text}{gap}[{section}]{end}{setting}{end}")
        }
    }
}

type Entry<'a> = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>);

fn entry<'a>(table: &'a DeTable<'a>, key: &str) -> Option<Entry<'a>> {
    table
        .iter()
        .find(|(name, _)| name.get_ref().as_ref() == key)
}

/// Where the values are that may be longer than a line.
fn spans(table: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
    for (_, value) in table {
        match value.get_ref().as_table() {
            Some(table) => spans(table, found),
            None => found.push(value.span()),
        }
    }
}

/// `[section]`, however it is written, and not `[section.more]`.
fn is_header(line: &str, section: &str) -> bool {
    DeTable::parse(line).is_ok_and(|table| {
        entry(table.get_ref(), section).is_some_and(|(_, table)| {
            let settings = table.get_ref().as_table();
            settings.is_some_and(|table| table.iter().next().is_none())
        })
    })
}

/// A commented line that would set the key, as one that sets it to this value; what stands behind it stays.
fn uncommented(comment: &str, key: &str, value: &str) -> Option<String> {
    let table = DeTable::parse(comment).ok()?;
    let (_, set) = entry(table.get_ref(), key)?;
    Some(spliced(comment, set.span(), &literal(value)))
}

/// The line of a setting commented out; its value, which may be a secret, is left out.
fn commented(text: &str, key: usize, value: Range<usize>) -> String {
    let before = text.get(..key).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let emptied = spliced(text, value, "\"\"");
    spliced(&emptied, start..start, "# ")
}

fn spliced(text: &str, at: Range<usize>, with: &str) -> String {
    let before = text.get(..at.start).unwrap_or_default();
    let after = text.get(at.end..).unwrap_or_default();
    format!("{before}{with}{after}")
}

/// A text as TOML writes it.
fn literal(value: &str) -> String {
    let mut typed = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => typed.extend(['\\', letter]),
            letter if letter.is_control() => {
                typed.extend([format!("\\u{:04X}", u32::from(letter))]);
            }
            letter => typed.push(letter),
        }
    }
    typed.push('"');
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(text: &str) -> String {
        edited(text, "storage", "path", Some("/mnt/photos"))
    }

    #[test]
    fn a_setting_is_changed_where_it_is_and_all_else_stays() {
        let before = "# mine\n[inbox]\npath = \"In\" # here\n\n[storage] # disk\n  path   =   'Old'   # the old one\nreserve = \"1%\"\n";
        assert_eq!(
            storage(before),
            "# mine\n[inbox]\npath = \"In\" # here\n\n[storage] # disk\n  path   =   \"/mnt/photos\"   # the old one\nreserve = \"1%\"\n"
        );
    }

    #[test]
    fn a_commented_setting_is_uncommented_in_its_own_section_only() {
        let before = "\
[inbox]
# path = \"Photos_Inbox\"

[storage]
# Where photos are kept; path = is explained here.
# path = \"Storage\"  # below the root
# path = \"/mnt/disk\"
# reserve = \"2%\"

[verify]
# path = \"nothing\"
";
        assert_eq!(
            storage(before),
            before.replace(
                "# path = \"Storage\"  # below",
                "path = \"/mnt/photos\"  # below"
            )
        );
        let indented = "[storage]\n  #path = \"Storage\"\n";
        assert_eq!(storage(indented), "[storage]\n  path = \"/mnt/photos\"\n");
    }

    #[test]
    fn a_setting_that_is_nowhere_stands_below_its_header_or_in_a_section_of_its_own() {
        assert_eq!(
            storage("[storage]\nreserve = \"1%\"\n"),
            "[storage]\npath = \"/mnt/photos\"\nreserve = \"1%\"\n"
        );
        assert_eq!(storage("[storage]"), "[storage]\npath = \"/mnt/photos\"\n");
        assert_eq!(
            storage("[ \"storage\" ] # disk\n# path to where they are\n"),
            "[ \"storage\" ] # disk\npath = \"/mnt/photos\"\n# path to where they are\n"
        );
        assert_eq!(storage(""), "[storage]\npath = \"/mnt/photos\"\n");
        assert_eq!(
            storage("[inbox]\npath = \"In\""),
            "[inbox]\npath = \"In\"\n\n[storage]\npath = \"/mnt/photos\"\n"
        );
        assert_eq!(
            storage("# [storage]\n# path = \"Storage\"\n"),
            "# [storage]\n# path = \"Storage\"\n\n[storage]\npath = \"/mnt/photos\"\n"
        );
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        assert_eq!(
            storage("[storage]\r\n# path = \"Storage\"\r\n[inbox]\r\n"),
            "[storage]\r\npath = \"/mnt/photos\"\r\n[inbox]\r\n"
        );
        assert_eq!(
            storage("[storage]\r\nreserve = 1\r\n"),
            "[storage]\r\npath = \"/mnt/photos\"\r\nreserve = 1\r\n"
        );
        assert_eq!(
            storage("[inbox]\r\n"),
            "[inbox]\r\n\r\n[storage]\r\npath = \"/mnt/photos\"\r\n"
        );
    }

    #[test]
    fn a_section_in_one_line_is_changed_there() {
        assert_eq!(
            storage("storage = { path = \"Old\", reserve = 1 } # both\n"),
            "storage = { path = \"/mnt/photos\", reserve = 1 } # both\n"
        );
        assert_eq!(
            storage("storage = { reserve = 1 }\n"),
            "storage = { path = \"/mnt/photos\", reserve = 1 }\n"
        );
        assert_eq!(
            storage("storage = {}\n"),
            "storage = { path = \"/mnt/photos\" }\n"
        );
        assert_eq!(
            storage("storage.path = \"Old\"\n[inbox]\n"),
            "storage.path = \"/mnt/photos\"\n[inbox]\n"
        );
    }

    #[test]
    fn what_only_looks_like_a_line_of_the_file_is_none() {
        let before = "[alerts.a]\nfrom = \"\"\"\n[storage]\n# path = \"Storage\"\n\"\"\"\nto = [\n[\"storage\"],\n]\n";
        assert_eq!(
            storage(before),
            format!("{before}\n[storage]\npath = \"/mnt/photos\"\n")
        );
        assert_eq!(
            storage("[storage.more]\n# path = \"x\"\n"),
            "[storage.more]\n# path = \"x\"\n\n[storage]\npath = \"/mnt/photos\"\n"
        );
        assert_eq!(storage("[storage\n"), "[storage\n", "what can't be read");
    }

    #[test]
    fn a_value_is_read_back_as_it_was_given_whatever_stood_there() {
        for value in [
            "/mnt/a \"b\" \\c",
            "/mnt/grün\u{7f}\u{1}\n",
            "'",
            "",
            "C:\\n",
        ] {
            for before in [
                "[storage]\npath = \"a \\\" # \\\\\" # kept\n",
                "[storage]\npath = '''\nx'''\n",
                "",
            ] {
                let text = edited(before, "storage", "path", Some(value));
                let table = DeTable::parse(&text).expect("readable");
                let (_, section) = entry(table.get_ref(), "storage").expect("there");
                let (_, set) =
                    entry(section.get_ref().as_table().expect("a table"), "path").expect("there");
                assert_eq!(set.get_ref().as_str(), Some(value), "{text}");
                assert_eq!(text.contains("# kept"), before.contains("# kept"));
            }
        }
    }

    #[test]
    fn a_setting_is_commented_out_without_its_value() {
        assert_eq!(
            edited(
                "[syncthing]\napi_key = \"s3cret\" # mine\nurl = \"x\"\n",
                "syncthing",
                "api_key",
                None
            ),
            "[syncthing]\n# api_key = \"\" # mine\nurl = \"x\"\n"
        );
        assert_eq!(
            edited("[inbox]\n", "syncthing", "api_key", None),
            "[inbox]\n"
        );
    }
}
