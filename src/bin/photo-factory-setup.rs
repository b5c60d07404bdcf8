//! `photo-factory setup`: what is done once in years is no part of the program that runs all the time, which starts this one.

use std::process::ExitCode;

use photo_factory::cli;

fn main() -> ExitCode {
    cli::run_setup(&cli::arguments()).into()
}
