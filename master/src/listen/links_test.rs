//! Tests of which connection is admitted, which one makes room for it, and which one is cut off.

use super::*;

const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn links(connections_max: usize, per_address_max: usize) -> Arc<Links> {
    let unproven_max = Duration::from_secs(5);
    Links::new(
        Port::Client,
        Limits {
            connections_max,
            per_address_max,
            unproven_max,
            proven_by_bytes: None,
            unproven_bytes_max: usize::MAX,
        },
    )
}

fn ended(links: &Links, why: Why) -> u64 {
    links.ended.0[why as usize].load(Ordering::Relaxed)
}

#[test]
fn oldest_unproven_connection_makes_room_and_a_proven_one_never_does() {
    let links = links(3, 3);
    let [proven, second, third] = [A, A, B].map(|address| links.open(address).expect("there is room"));
    let held = proven.prove();
    let fourth = links.open(A).expect("the second one goes");
    assert_eq!([&proven, &second, &third, &fourth].map(|link| link.is_cut()), [false, true, false, false]);
    let all = [third.prove(), fourth.prove()];
    assert_eq!(links.open(B).expect_err("all are proven"), Why::Full);
    assert_eq!((ended(&links, Why::MadeRoom), ended(&links, Why::Full)), (1, 1));
    drop(held);
    let _fifth = links.open(B).expect("one is no longer proven");
    assert!(proven.is_cut());
    drop(all);
}

#[test]
fn one_address_never_takes_the_places_of_another() {
    let links = links(4, 2);
    let other = links.open(B).expect("there is room");
    let of_a = [links.open(A), links.open(A)].map(|link| link.expect("there is room"));
    let third = links.open(A).expect("the oldest of this address goes");
    assert_eq!([&other, &of_a[0], &of_a[1], &third].map(|link| link.is_cut()), [false, true, false, false]);
    let _held = [of_a[1].prove(), third.prove()];
    assert_eq!(links.open(A).expect_err("both are proven"), Why::FullOfAddress);
    assert_eq!(links.counts().open, 3);
    links.close(&third);
    links.close(&third);
    assert_eq!(links.counts().open, 2);
    let _fourth = links.open(A).expect("one has gone");
}

#[test]
fn what_is_not_proven_in_time_is_cut_off_and_has_as_long_again_after_its_proof() {
    let unproven_max = Duration::from_millis(200);
    let limits = Limits {
        connections_max: 9,
        per_address_max: 9,
        unproven_max,
        proven_by_bytes: None,
        unproven_bytes_max: usize::MAX,
    };
    let links = Links::new(Port::Peer, limits);
    let (silent, member) = (links.open(A).expect("there is room"), links.open(A).expect("there is room"));
    let proof = member.prove();
    std::thread::sleep(unproven_max);
    links.cut_late();
    assert_eq!((silent.is_cut(), member.is_cut(), links.counts().open), (true, false, 1));
    drop(proof);
    assert!(member.began.lock().elapsed() < unproven_max / 2, "it has as long again");
    std::thread::sleep(unproven_max);
    links.cut_late();
    assert_eq!((member.is_cut(), ended(&links, Why::Silent)), (true, 2));
}

#[test]
fn addresses_of_one_owner_are_one() {
    let origin = |text: &str| Origin::of(text.parse().expect("it is an address"));
    assert_eq!(origin("::ffff:10.0.0.1"), Origin(A));
    assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:2"));
    assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
    assert_ne!(origin("::1"), origin("::2"));
}
