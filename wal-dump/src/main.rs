//! The `wal-dump` command; everything it does is in the library.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let code = wal_dump::run(std::env::args_os(), &mut out, &mut io::stderr().lock());
    // What `run` has not flushed it could not write, and has said so.
    let _ = out.flush();
    ExitCode::from(code)
}
