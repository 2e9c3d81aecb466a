//! Takes as many ports as its argument says (default: one), prints one per line, and holds them
//! until its standard input ends: for scripts that start servers, and for the test of several
//! processes.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let count: usize = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 1,
        Some(Ok(count)) => count,
        Some(Err(_)) => return Err(io::Error::other("usage: hold-ports [COUNT]")),
    };
    let ports: Vec<_> = (0..count).map(|_| test_ports::free_port()).collect();
    let mut out = io::stdout().lock();
    for port in &ports {
        writeln!(out, "{port}")?;
    }
    out.flush()?;
    // Without reading, it would not notice that the holder's parent has gone.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    drop(ports);
    Ok(())
}
