//! Man pages (man(7)) from what the program and its settings file say.

use std::fmt::Write;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality, PositionalInfo};

/// What a line may not begin with, and what troff would take for its own.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.chars().next() {
        Some('.' | '\'') => format!("\\&{text}"),
        _ => text,
    }
}

fn head(title: &str, section: u8) -> String {
    format!(
        ".TH {title} {section} \"\" \"Photo Factory {}\"\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// The page of the command and all its subcommands.
pub(super) fn of_command(command: &CommandInfoWithArgs) -> String {
    let mut page = head("PHOTO\\-FACTORY", 1);
    let (first, rest) = command.description.split_once(" Exit codes:").unwrap();
    writeln!(
        page,
        ".SH NAME\nphoto\\-factory \\- {}",
        plain(lower(first).trim_end_matches('.'))
    )
    .unwrap();
    writeln!(
        page,
        ".SH SYNOPSIS\n.B photo\\-factory\n[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]..."
    )
    .unwrap();
    writeln!(
        page,
        ".SH DESCRIPTION\nPhones sync their pictures into an inbox; each is filed by the day it was taken, and leaves the inbox only when \
         the copy that is kept is proven and durable.\n.PP\nOn a system with the package, and in a folder that is no factory of its own, all \
         commands but \\fBrun\\fR are about the factory of the system service in\n.IR /var/lib/photo\\-factory ."
    )
    .unwrap();
    writeln!(page, ".SH OPTIONS").unwrap();
    flags(&mut page, command.flags);
    writeln!(page, ".SH COMMANDS").unwrap();
    for subcommand in &command.commands {
        let about = &subcommand.command;
        write!(page, ".SS {}", plain(subcommand.name)).unwrap();
        for positional in about.positionals {
            write!(page, " {}", argument(positional)).unwrap();
        }
        writeln!(page, "\n{}", plain(about.description)).unwrap();
        for positional in about.positionals {
            writeln!(
                page,
                ".TP\n{}\n{}",
                argument(positional),
                plain(positional.description)
            )
            .unwrap();
        }
        flags(&mut page, about.flags);
    }
    writeln!(page, ".SH EXIT STATUS").unwrap();
    for code in rest.split(';') {
        let (number, meaning) = code.trim().trim_end_matches('.').split_once(' ').unwrap();
        writeln!(page, ".TP\n.B {number}\n{}", plain(meaning)).unwrap();
    }
    writeln!(
        page,
        ".SH FILES\n.TP\n.I /etc/photo\\-factory/photo\\-factory.toml\nThe settings of the system service; see\n.BR photo\\-factory.toml (5).\n.TP\n\
         .I /var/lib/photo\\-factory\nIts root: Photos_Inbox, Storage, Data, Logs.\n.SH SEE ALSO\n.BR photo\\-factory.toml (5),\n\
         .IR /usr/share/doc/photo\\-factory/README.Debian"
    )
    .unwrap();
    page
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

fn argument(positional: &PositionalInfo<'_>) -> String {
    let name = plain(&positional.name.to_uppercase());
    match positional.optionality {
        Optionality::Required => format!("\\fI{name}\\fR"),
        Optionality::Optional => format!("[\\fI{name}\\fR]"),
        Optionality::Repeating | Optionality::Greedy => format!("[\\fI{name}\\fR]..."),
    }
}

fn flags(page: &mut String, flags: &[FlagInfo<'_>]) {
    for flag in flags.iter().filter(|flag| !flag.hidden) {
        writeln!(page, ".TP").unwrap();
        if let Some(short) = flag.short {
            write!(page, "\\fB\\-{short}\\fR, ").unwrap();
        }
        write!(page, "\\fB{}\\fR", plain(flag.long)).unwrap();
        if let FlagInfoKind::Option { arg_name } = flag.kind {
            write!(page, " \\fI{}\\fR", plain(&arg_name.to_uppercase())).unwrap();
        }
        writeln!(page, "\n{}", plain(flag.description)).unwrap();
    }
}

/// The page of the settings: comments become text, settings become terms.
pub(super) fn of_settings(settings: &str) -> String {
    let mut page = head("PHOTO\\-FACTORY.TOML", 5);
    page.push_str(
        ".SH NAME\nphoto\\-factory.toml \\- the settings of Photo Factory\n.SH DESCRIPTION\n",
    );
    let mut words: Vec<&str> = Vec::new();
    for line in settings.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_comment = line.starts_with('#');
        if let Some(name) = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            // What stands before a section that is an example explains it.
            let before = std::mem::take(&mut words).join("\n");
            writeln!(page, ".SH [{}]", plain(name)).unwrap();
            if !before.is_empty() {
                writeln!(page, "{before}").unwrap();
            }
        } else if let Some((key, value)) = super::settings::assignment(bare) {
            let is = if is_comment { "" } else { " (set)" };
            writeln!(page, ".TP\n\\fB{}\\fR = {}{is}", plain(key), plain(value)).unwrap();
            for text in words.drain(..) {
                writeln!(page, "{}", plain(text)).unwrap();
            }
        } else if line.is_empty() {
            for text in words.drain(..) {
                writeln!(page, "{}", plain(text)).unwrap();
            }
        } else if is_comment {
            words.push(bare);
        }
    }
    page.push_str(".SH SEE ALSO\n.BR photo\\-factory (1)\n");
    page
}
