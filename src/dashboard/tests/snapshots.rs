//! Pages held against the files in `tests/data/pages`, so that a change of what they say is seen where it is made.

use std::path::Path;

/// Holds a page, without its style and its script, against `tests/data/pages/NAME.html`; with `PHOTO_FACTORY_SNAPSHOTS` set the file is
/// written instead.
pub(super) fn assert_snapshot(name: &str, html: &str) {
    let mut page = html.to_owned();
    for element in ["style", "script"] {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        if let Some((before, rest)) = page.split_once(&open)
            && let Some((_, after)) = rest.split_once(&close)
        {
            page = format!("{before}{open}{close}{after}");
        }
    }
    // A difference is found by line.
    let page = page.replace("><", ">\n<") + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/pages/{name}.html"));
    if std::env::var_os("PHOTO_FACTORY_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &page).unwrap();
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        page,
        known,
        "{} says something else; with PHOTO_FACTORY_SNAPSHOTS=1 it is written anew",
        file.display()
    );
}
