//! The form of addresses: `HOST:PORT` for members, a URL for etcd. Whether a process listens there
//! shows later.

use std::net::Ipv6Addr;

/// `Err`: what is wrong with it, and what it must be.
pub fn check_host_port(text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{text:?} {why}, must be HOST:PORT, as 10.0.0.7:7400"));
    if text.contains("://") {
        return wrong("is a URL");
    }
    let Some((host, port)) = text.rsplit_once(':') else { return wrong("has no port") };
    if !is_port(port) {
        return wrong(&format!("has the port {port:?}, which is not one of 1 to 65535"));
    }
    if is_host(host) { Ok(()) } else { wrong(&format!("has {host:?} in the place of a host")) }
}

/// A URL may contain a password, so it is not repeated in an error.
pub(crate) fn check_no_user(text: &str) -> Result<(), String> {
    match text.contains('@') {
        true => Err("a URL has a user in it: give the user by its own setting, and its password by a file".to_owned()),
        false => Ok(()),
    }
}

/// As [`check_host_port`], but the port may be missing.
pub fn check_url(text: &str) -> Result<(), String> {
    check_no_user(text)?;
    let wrong = |why: &str| Err(format!("{text:?} {why}, must be http://HOST:PORT or https://HOST:PORT"));
    let Some(bare) = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme)) else {
        return wrong("has no http:// or https:// in front");
    };
    let bare = bare.trim_end_matches('/');
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (bare, None),
    };
    match port {
        Some(port) if !is_port(port) => wrong(&format!("has the port {port:?}, which is not one of 1 to 65535")),
        _ if !is_host(host) => wrong(&format!("has {host:?} in the place of a host")),
        _ => Ok(()),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_host(text: &str) -> bool {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match inside {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.chars().all(is_letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for right in ["a:1", "10.0.0.7:65535", "[::1]:7400", "my-host.example_1:80"] {
            assert_eq!(check_host_port(right), Ok(()));
        }
        for wrong in ["foo", ":1", "h:", "h:99999", "h:0", "h:+1", "http://h:1", "::1:7400", "[x]:1", "a b:1", "u@h:1"]
        {
            assert!(check_host_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn urls_have_a_scheme_and_a_host() {
        for right in
            ["http://a:1", "https://10.0.0.7:2379/", "http://[::1]:2379", "https://etcd.example", "http://[::1]"]
        {
            assert_eq!(check_url(right), Ok(()));
        }
        for wrong in
            ["a:1", "http://", "http://:1", "http://h:99999", "http://h:x", "http://u@h:1", "ftp://h", "http://h:1/p"]
        {
            assert!(check_url(wrong).is_err(), "{wrong}");
        }
    }
}
