//! `rebuild`: the ledger made anew from Originals, or what it does not know added to it.

use argh::{ArgsInfo, FromArgs};
use serde_json::json;

use super::Ended;
use super::progress::Bar;
use crate::appliance::now;
use crate::asset::lossy;
use crate::config::Config;
use crate::ledger::Condition;
use crate::rebuild::{RebuildError, Rebuilt, Told};

/// Make the ledger anew from Originals where it is lost; where it is whole, add the files it does not know.
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "rebuild")]
pub struct Rebuild {
    /// one JSON line for each file that was added or left, and one for the summary
    #[argh(switch)]
    json: bool,
}

/// Carries out the command.
pub fn rebuild(asked: &Rebuild, config: &Config) -> Result<Ended, RebuildError> {
    let bar = Bar::new(0);
    let rebuilt = crate::rebuild::rebuild(config, now, &mut |told| match told {
        Told::Begun(bytes) => bar.set_length(bytes),
        Told::Read(bytes) => bar.inc(bytes),
        told => bar.suspend(|| tell(&told, asked.json)),
    })?;
    bar.clear();
    conclude(&rebuilt, asked.json);
    Ok(if rebuilt.same + rebuilt.left == 0 {
        Ended::Well
    } else {
        Ended::WithProblems
    })
}

fn tell(told: &Told<'_>, json: bool) {
    let (path, outcome, detail) = match told {
        Told::Added(asset) if json => (asset.final_path.as_path(), "added", None),
        Told::SameAs(path, kept) => {
            let kept = kept.display();
            let why = format!(
                "it has the bytes of {kept}, which is in the ledger; one of the two may be deleted"
            );
            (*path, "same", Some(why))
        }
        Told::Left(path, why) => (*path, "unknown", Some((*why).to_owned())),
        _ => return,
    };
    let path = lossy(path.as_os_str());
    if json {
        say!(
            "{}",
            json!({"path": path, "outcome": outcome, "reason": detail})
        );
    } else {
        say!("{path}: {}", detail.unwrap_or_default());
    }
}

fn conclude(rebuilt: &Rebuilt, json: bool) {
    let kept = rebuilt.kept.as_ref().map(|kept| lossy(kept.as_os_str()));
    if json {
        let (was, why) = match &rebuilt.was {
            Condition::Whole => ("whole", None),
            Condition::Missing => ("missing", None),
            Condition::Lost(why) => ("lost", Some(why)),
        };
        say!(
            "{}",
            json!({"summary": {
                "ledger_was": was,
                "reason": why,
                "kept_as": kept,
                "known": rebuilt.known,
                "added": rebuilt.added,
                "same": rebuilt.same,
                "left": rebuilt.left,
                "litter": rebuilt.litter,
            }})
        );
        return;
    }
    match &rebuilt.was {
        Condition::Whole => say!("The ledger is whole: only what it did not know was added."),
        Condition::Missing => say!("There was no ledger: it was made anew from Originals."),
        Condition::Lost(why) => {
            say!("{why}\nA new ledger was made from Originals and put in its place.");
        }
    }
    if let Some(kept) = kept {
        say!("What was there is kept as {kept}; delete it when you no longer want it.");
    }
    say!(
        "{} files added, {} known already, {} with the bytes of another, {} left without a row",
        rebuilt.added,
        rebuilt.known,
        rebuilt.same,
        rebuilt.left
    );
    if rebuilt.litter > 0 {
        say!(
            "{} files of other programs (a NAS, a desktop) were passed over",
            rebuilt.litter
        );
    }
}
