//! Writes what the fuzz targets begin with: `fuzz-seeds FOLDER` makes one folder below it for each target.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it makes files for tests, it is no part of the appliance"
)]

#[path = "../fixtures/mod.rs"]
mod fixtures;
#[expect(dead_code, reason = "only the names of the targets are wanted")]
mod properties;
mod seeds;

use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        println!("usage: fuzz-seeds FOLDER");
        return ExitCode::FAILURE;
    };
    match write_all(Path::new(&folder)) {
        Ok(count) => {
            println!("{count} seeds are in {}", folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cannot write the seeds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for (target, _) in properties::ALL {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds::of(target).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
            count += 1;
        }
    }
    Ok(count)
}
