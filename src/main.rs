//! Arguments and exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    logherald::cli::main(std::env::args_os())
}
