//! Where `dev` listens: where it was told to, or else on the default port, or else on the next one that is free.
//!
//! Invariant: it never listens elsewhere without saying so; ports from 32768 on are left to outgoing connections.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::bail;
use client::{Client, Heartbeat, Options, Transport};
use master::BindError;

use crate::words;

const DEFAULT_PORT: u16 = 7400;
const ETCD_PORT: u16 = 12_379;
const PORT_MAX: u16 = 32_767;
/// How long the process that has the port may take to say what it is.
const ASK: Duration = Duration::from_millis(300);
/// Listening, in /proc/net/tcp.
const LISTEN: &str = "0A";

/// An address for each of so many members, and what is to be said if the first one is not the usual.
pub(super) async fn choose(wanted: &[SocketAddr], count: u16) -> anyhow::Result<(Vec<SocketAddr>, Option<String>)> {
    wanted.iter().try_for_each(|address| is_free(*address))?;
    let (mut addresses, mut line) = (wanted.to_vec(), None);
    if addresses.is_empty() {
        match first_free(DEFAULT_PORT..=PORT_MAX).await {
            Some((address, said)) => (addresses, line) = (vec![address], said),
            None => {
                bail!("no port from {DEFAULT_PORT} to {PORT_MAX} can be listened on; name an address with --listen")
            }
        }
    }
    addresses.truncate(count.into());
    let last = addresses[addresses.len() - 1];
    let rest = (last.port()..PORT_MAX).map(|port| SocketAddr::new(last.ip(), port + 1));
    let missing = usize::from(count) - addresses.len();
    addresses.extend(rest.filter(|address| is_free(*address).is_ok()).take(missing));
    if addresses.len() < usize::from(count) {
        bail!("there are not {count} free ports from {} to {PORT_MAX}", last.port());
    }
    Ok((addresses, line))
}

/// Where to look for those of an etcd: away from those that etcds usually have, and from our own.
pub(super) fn first_of_etcd() -> Option<SocketAddr> {
    let mut ports = (ETCD_PORT..PORT_MAX).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    ports.find(|address| is_free(*address).is_ok())
}

/// The first port that can be listened on, with what is to be said if it is not the first one of all.
async fn first_free(ports: impl IntoIterator<Item = u16>) -> Option<(SocketAddr, Option<String>)> {
    let mut taken = None;
    for port in ports {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match (is_free(address), taken) {
            (Err(_), _) => taken = Some(taken.unwrap_or(address)),
            (Ok(()), None) => return Some((address, None)),
            (Ok(()), Some(taken)) => {
                let holder = holder(taken).await;
                let line = format!("port {} is taken by {holder}; listening on {port} instead", taken.port());
                return Some((address, Some(line)));
            }
        }
    }
    None
}

fn is_free(address: SocketAddr) -> Result<(), BindError> {
    TcpListener::bind(address).map(drop).map_err(|why| BindError::of(address, why))
}

/// Who has the port, as far as it can be told.
async fn holder(address: SocketAddr) -> String {
    let process = process_at(address.port());
    match (node_at(address).await, process) {
        (Some(node), Some(process)) => format!("{node} ({process})"),
        (Some(node), None) => node,
        (None, Some(process)) => process,
        (None, None) => "another process (`ss -ltnp` as root tells which)".to_owned(),
    }
}

/// One of ours.
async fn node_at(address: SocketAddr) -> Option<String> {
    let mut options = Options::new([address.to_string()]);
    options.heartbeat = Heartbeat::Off;
    options.transport = Transport::Unary;
    options.deadline = ASK;
    options.connect_deadline = Duration::ZERO;
    let client = Client::connect(options).await.ok()?;
    let status = client.status().await.ok()?;
    Some(format!("an understudy node, {}, up {}", words::plain(&status.node), words::time(status.uptime)))
}

/// A process of this user, or of any user where we are root.
fn process_at(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        listener(&table, port).map(str::to_owned)
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, entry.path()))
    });
    for (pid, path) in processes {
        let Ok(files) = fs::read_dir(path.join("fd")) else { continue };
        let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        if targets.any(|target| target.as_os_str() == socket.as_str()) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            return Some(format!("{}, pid {pid}", words::plain(name.trim())));
        }
    }
    None
}

/// The inode of the socket that listens on a port, from a table of the kernel.
fn listener(table: &str, port: u16) -> Option<&str> {
    let port = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = fields.len() > 9 && fields[1].ends_with(&port) && fields[3] == LISTEN;
        is_it.then(|| fields[9])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_is_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1CE8 0100007F:9999 01 0:0 0:0 0 0 0 111 1 0 100 0 0 10 0\n   \
                     1: 0100007F:1CE8 00000000:0000 0A 0:0 0:0 0 0 0 222 1 0 100 0 0 10 0\n";
        assert_eq!(listener(table, 7400), Some("222"));
        assert_eq!(listener(table, 7401), None);
    }

    #[tokio::test]
    async fn next_port_is_taken_when_the_first_is_not_free_and_it_says_so() {
        let ports = [test_ports::free_port(), test_ports::free_port()];
        let numbers = || ports.iter().map(|port| **port);
        assert_eq!(first_free(numbers()).await, Some((ports[0].addr(), None)));

        let listening = TcpListener::bind(ports[0].addr()).expect("the port is ours");
        let (address, line) = first_free(numbers()).await.expect("it is free");
        assert_eq!(address, ports[1].addr());
        let line = line.expect("it is not the first");
        assert!(
            line.contains(&ports[0].to_string()) && line.contains(&format!("pid {}", std::process::id())),
            "{line}"
        );
        let _both = (listening, TcpListener::bind(ports[1].addr()).expect("the port is ours"));
        assert_eq!(first_free(numbers()).await, None);
        let refused = choose(&[ports[0].addr()], 1).await.expect_err("it is taken");
        assert!(refused.to_string().contains("taken by another process"), "{refused}");
    }

    #[tokio::test]
    async fn members_get_ports_of_their_own() {
        let port = test_ports::free_port();
        let (addresses, line) = choose(&[port.addr()], 3).await.expect("there are free ports");
        assert_eq!((addresses.len(), addresses[0], line), (3, port.addr(), None));
        assert!(addresses[0] < addresses[1] && addresses[1] < addresses[2]);
    }

    #[tokio::test]
    async fn node_that_has_a_port_is_named() {
        let port = test_ports::free_port();
        let mut config = master::config::Config::default();
        config.serving.listen = port.addr();
        let server = master::Server::bind(master::Node::alone(config)).await.expect("the port is ours");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(async {
            drop(stopped.await);
            tokio::time::Instant::now()
        }));
        let holder = holder(port.addr()).await;
        assert!(holder.starts_with("an understudy node, "), "{holder}");
        drop(stop);
        serving.await.expect("no fault");
    }

    #[tokio::test]
    async fn holder_of_a_port_of_this_process_is_named() {
        let port = test_ports::free_port();
        let listening = TcpListener::bind(port.addr()).expect("the port is ours");
        let holder = holder(port.addr()).await;
        assert!(holder.contains(&format!("pid {}", std::process::id())), "{holder}");
        drop(listening);
    }
}
