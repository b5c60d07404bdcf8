//! Arguments -> settings -> one call.

use std::process::ExitCode;

use photo_factory::cli;

fn main() -> ExitCode {
    photo_factory_kernel::memory::share_heaps();
    cli::run(&cli::arguments()).into()
}
