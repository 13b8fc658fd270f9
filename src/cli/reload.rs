//! `logherald reload`: the running agent judges the files on disk; the exit status is its verdict.

use std::io::Write as _;

use crate::agent::control::{self, ControlError};

use super::{Done, Failure, SocketArgs, exit, paths, wait_for};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 when the rules are loaded, 78 when they are refused and the running ones stay."
)]
pub(super) struct Args {
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn reload(args: &Args) -> Done {
    let socket = paths::socket(args.socket.state.as_deref())?;
    let (code, said) =
        wait_for(control::call(&socket, "POST", "/reload"))?.map_err(|e| unreachable_agent(&e))?;
    let said = String::from_utf8_lossy(&said);
    match code {
        200 => Ok(write!(anstream::stdout().lock(), "{said}")?),
        422 => {
            writeln!(anstream::stderr().lock(), "{}\n", said.trim_end())?;
            Err(Failure::new(exit::CONFIG, "the rules are refused, the running ones stay"))
        }
        _ => Err(Failure::new(exit::SERVICE, said.trim_end())),
    }
}

/// The agent could not be asked: in words, with the remedy.
pub(super) fn unreachable_agent(e: &ControlError) -> Failure {
    match e {
        ControlError::NoAgent { .. } => Failure::new(exit::SERVICE, e.to_string())
            .hint("start it (`systemctl start logherald`), or name its state directory with `--state DIR`"),
        ControlError::Denied { .. } => Failure::new(exit::PERMISSION, e.to_string())
            .hint("use sudo, or join the group `logherald`: sudo adduser $USER logherald"),
        ControlError::Broken { .. } => Failure::new(exit::SERVICE, e.to_string()),
    }
}
