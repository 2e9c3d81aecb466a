//! Hands out TCP ports to tests: [`free_port`] returns one that no other process on this host gets
//! while the guard lives.
//!
//! Invariants:
//! - A port has at most one holder among all processes and threads that use this: the holder keeps
//!   a `flock` on the port's file. The kernel releases it when the holder dies, in whatever way, so
//!   a killed test blocks no other.
//! - Ports lie in [`PORTS`], below 32768: the kernel picks the source ports of outgoing connections
//!   from there up, so none of them ever lands on a port between the guard and the server that is
//!   about to bind it.
//! - A port is given out only if it can be bound on every address right now, so ports of servers
//!   that outlived their test, or of unrelated ones, are skipped.
//! - A process does not give the same port twice until it has gone through the whole range, so a
//!   late client of an ended server does not reach the next one.
//!
//! Absent on purpose: removing the lock files (removing a file that another process is opening
//! would break the exclusion; they are empty, and at most one per port) and keeping the socket
//! bound (the server must bind it).

use std::fmt;
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::{Deref, Range};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where all ports come from.
pub const PORTS: Range<u16> = 20_000..32_000;

/// A port that is reserved until this is dropped. Keep it as long as a process listens on the port.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Holds the lock. Closing it gives the port back.
    _lock: File,
}

impl Port {
    /// The port on the loopback address.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

impl Deref for Port {
    type Target = u16;

    fn deref(&self) -> &u16 {
        &self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// A port that is free, and stays reserved while the guard lives.
///
/// # Panics
///
/// When all of [`PORTS`] are taken, or the lock files cannot be made: a test can do nothing about
/// either.
pub fn free_port() -> Port {
    let dir = lock_dir().unwrap_or_else(|error| panic!("cannot make the directory of port locks: {error}"));
    let width = u32::from(PORTS.end - PORTS.start);
    for _ in 0..width {
        let offset = next_offset(width);
        let number = PORTS.start + u16::try_from(offset).expect("the range is narrower than u16");
        match try_port(&dir, number) {
            Ok(Some(port)) => return port,
            Ok(None) => {}
            Err(error) => panic!("cannot lock port {number} in {}: {error}", dir.display()),
        }
    }
    panic!("every port of {PORTS:?} is taken; locks are in {}", dir.display());
}

/// Processes start at different places of the range (otherwise they would all race for the same
/// ports) and wrap around.
fn next_offset(width: u32) -> u32 {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    // Neighbouring process ids land far apart: Knuth's multiplicative hash.
    let start = process::id().wrapping_mul(2_654_435_761) >> 8;
    start.wrapping_add(STEPS.fetch_add(1, Ordering::Relaxed)) % width
}

/// All users of the host share the directory, like the temp dir around it.
fn lock_dir() -> io::Result<PathBuf> {
    let dir = std::env::temp_dir().join("understudy-test-ports");
    match fs::create_dir(&dir) {
        Ok(()) => fs::set_permissions(&dir, Permissions::from_mode(0o1777))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(dir)
}

/// `None`: another process holds the port, or listens on it.
fn try_port(dir: &Path, number: u16) -> io::Result<Option<Port>> {
    let lock = open_lock(&dir.join(format!("{number}.lock")))?;
    match lock.try_lock() {
        Ok(()) => Ok(can_bind(number).then_some(Port { number, _lock: lock })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Opened for reading only, which is enough for a lock, so a file that another user made will do.
fn open_lock(path: &Path) -> io::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::open(path),
        made => made,
    }
}

/// Binding the unspecified address fails if a process listens on any address of that family.
fn can_bind(number: u16) -> bool {
    let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, number));
    // A host without IPv6 has no listener there.
    let v6_taken = v4.is_ok() && is_taken_v6(number);
    v4.is_ok() && !v6_taken
}

fn is_taken_v6(number: u16) -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, number)).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod lib_test;
