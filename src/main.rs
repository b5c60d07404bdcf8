//! Arguments -> settings -> one call; the only place that turns an outcome into an exit code.

use std::process::ExitCode;

use photo_factory::cli;

fn main() -> ExitCode {
    photo_factory_kernel::memory::share_heaps();
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    match cli::run(&arguments) {
        cli::Ended::Well => ExitCode::SUCCESS,
        cli::Ended::CouldNotRun => ExitCode::from(1),
        cli::Ended::WithProblems => ExitCode::from(2),
    }
}
