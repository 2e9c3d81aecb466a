//! Tests of single ports: what is held, what is given back, what is skipped.
//!
//! Absent on purpose: several processes, which `tests/processes.rs` has.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Barrier;
use std::thread;

use super::{PORTS, can_bind, free_port, try_port};

#[test]
fn a_held_port_is_refused_and_a_dropped_one_is_given_again() {
    let dir = tempfile::tempdir().unwrap();
    // Held in the common directory, too, so that no other process binds it meanwhile.
    let reserved = free_port();
    let number = *reserved;
    let port = try_port(dir.path(), number).unwrap().expect("nobody has it");
    assert_eq!((*port, port.addr().port(), port.to_string()), (number, number, number.to_string()));
    assert!(try_port(dir.path(), number).unwrap().is_none(), "held by this very process");
    drop(port);
    assert!(try_port(dir.path(), number).unwrap().is_some(), "given back by the drop");
}

#[test]
fn a_port_with_a_listener_on_any_address_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for host in ["127.0.0.1", "0.0.0.0"] {
        let port = free_port();
        let stranger = TcpListener::bind((host, *port)).unwrap();
        assert!(try_port(dir.path(), *port).unwrap().is_none(), "a listener on {host} is there");
        drop(stranger);
        assert!(try_port(dir.path(), *port).unwrap().is_some(), "the listener on {host} has gone");
    }
}

#[test]
fn a_port_with_a_listener_over_ipv6_is_refused() {
    let port = free_port();
    // A host without IPv6 cannot bind there. Then the port must be free.
    let stranger = TcpListener::bind(("::1", *port));
    assert_eq!(can_bind(*port), stranger.is_err());
}

#[test]
fn many_threads_at_once_get_distinct_ports_that_they_can_bind() {
    const THREADS: usize = 16;
    const EACH: usize = 25;
    let start = Barrier::new(THREADS);
    let ports: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    (0..EACH).map(|_| free_port()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let numbers: HashSet<u16> = ports.iter().map(|port| **port).collect();
    assert_eq!(numbers.len(), THREADS * EACH, "a port was given twice");
    for port in &ports {
        assert!(PORTS.contains(port), "{port} is outside of {PORTS:?}");
        TcpListener::bind(port.addr()).unwrap();
    }
}

#[test]
fn a_port_is_not_given_again_right_after_its_drop() {
    let first = *free_port();
    let next: HashSet<u16> = (0..100).map(|_| *free_port()).collect();
    assert!(!next.contains(&first));
}
