//! Which address is asked next. Pure.
//!
//! Invariants: all listed addresses are tried in turn, without a pause within a round; a redirect
//! is followed unless its epoch is lower than the highest one seen, and an announcement of a
//! directory always; a report about an earlier turn changes nothing, so that many calls that fail
//! at once move on once.
//!
//! A redirect is an excursion: until that member answers, the list continues where it was left.
//! Members that are cut off together name each other, in an epoch that they do not know to be over.
//! A client that continued the list from such a member would never reach the others.
//!
//! Deliberately absent: connections and time.

use crate::options::normalised;

/// The most addresses that are tried, however many members are named.
const LISTED_MAX: usize = 32;

/// One address, and the turn in which it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address of the member.
    pub address: String,
    /// Rises with each move.
    pub turn: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Route {
    listed: Vec<String>,
    at: usize,
    /// The member that a redirect named, until it answers and is listed.
    guest: Option<String>,
    turn: u64,
    /// Moves since the last answer.
    moves: usize,
}

/// What became of a redirect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Redirect {
    /// Its member is next.
    Followed,
    /// It names no usable address, or the member that sent it: the next listed one is next.
    Useless,
    /// Its epoch is over: the next listed one is next.
    Stale,
    /// The client has moved on since that attempt began.
    Late,
}

impl Route {
    pub(crate) fn new(listed: Vec<String>) -> Route {
        assert!(!listed.is_empty(), "options without an address are refused");
        Route { listed, at: 0, guest: None, turn: 0, moves: 0 }
    }

    pub(crate) fn target(&self) -> Target {
        Target { address: self.address().to_owned(), turn: self.turn }
    }

    /// All addresses that are asked in a round.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().chain(&self.guest).map(String::as_str)
    }

    /// All listed addresses except the one that is asked now.
    pub(crate) fn others(&self) -> Vec<String> {
        self.listed.iter().filter(|listed| *listed != self.address()).cloned().collect()
    }

    /// Members that an answer names are asked, too, from now on, after those that were listed
    /// before.
    pub(crate) fn learn(&mut self, addresses: impl IntoIterator<Item = String>) {
        for address in addresses {
            let Ok(address) = normalised(&address) else { continue };
            if self.listed.len() < LISTED_MAX && !self.listed.contains(&address) {
                self.listed.push(address);
            }
        }
    }

    /// True: that was still the current turn.
    pub(crate) fn on_failure(&mut self, turn: u64) -> bool {
        if turn != self.turn {
            return false;
        }
        self.at = self.next_at();
        self.guest = None;
        self.moved();
        true
    }

    pub(crate) fn on_redirect(&mut self, turn: u64, address: &str, epoch: u64, epoch_seen: u64) -> Redirect {
        if turn != self.turn {
            return Redirect::Late;
        }
        let stale = epoch < epoch_seen;
        match normalised(address) {
            Ok(address) if !stale && address != self.address() => {
                self.go_to(address);
                Redirect::Followed
            }
            _ => {
                self.on_failure(turn);
                if stale { Redirect::Stale } else { Redirect::Useless }
            }
        }
    }

    /// A directory announces this member as the primary. True: it is next.
    pub(crate) fn on_announced(&mut self, address: &str) -> bool {
        match normalised(address) {
            Ok(address) if address != self.address() => {
                self.go_to(address);
                true
            }
            _ => false,
        }
    }

    /// The address that is asked after a failure: a connection to it may be made beforehand.
    pub(crate) fn next_up(&self) -> Option<String> {
        let next = &self.listed[self.next_at()];
        (next != self.address()).then(|| next.clone())
    }

    /// The target of this turn serves.
    pub(crate) fn on_answer(&mut self, turn: u64) {
        if turn != self.turn {
            return;
        }
        self.moves = 0;
        if let Some(at) = self.guest.as_ref().and_then(|guest| self.listed.iter().position(|listed| listed == guest)) {
            (self.at, self.guest) = (at, None);
        }
    }

    /// True at the end of a round without an answer: time to pause.
    pub(crate) fn round_is_over(&self) -> bool {
        self.moves > 0 && self.moves.is_multiple_of(self.listed.len())
    }

    fn address(&self) -> &str {
        self.guest.as_ref().unwrap_or(&self.listed[self.at])
    }

    /// Never the one that is asked now, unless there is no other.
    fn next_at(&self) -> usize {
        let after = |steps: usize| (self.at + steps) % self.listed.len();
        if self.listed[after(1)] == self.address() { after(2) } else { after(1) }
    }

    fn go_to(&mut self, address: String) {
        self.guest = Some(address);
        self.moved();
    }

    fn moved(&mut self) {
        self.turn += 1;
        self.moves += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(addresses: &[&str]) -> Route {
        Route::new(addresses.iter().map(|&address| address.to_owned()).collect())
    }

    fn fail(route: &mut Route) {
        assert!(route.on_failure(route.target().turn));
    }

    #[test]
    fn listed_addresses_are_tried_in_turn() {
        let mut route = route(&["a:1", "b:1", "c:1"]);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(route.target().address);
            assert_eq!(route.round_is_over(), seen.len() > 3);
            fail(&mut route);
        }
        assert_eq!(seen, ["a:1", "b:1", "c:1", "a:1"]);
    }

    #[test]
    fn members_that_an_answer_names_are_tried_too() {
        let mut route = route(&["a:1"]);
        route.learn(["b:1", "a:1", "no port", "c:1", "b:1"].map(str::to_owned));
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(route.target().address);
            fail(&mut route);
        }
        assert_eq!(seen, ["a:1", "b:1", "c:1", "a:1"]);
        route.learn((0..100).map(|n| format!("x{n}:1")));
        assert_eq!(route.listed.len(), LISTED_MAX);
    }

    #[test]
    fn many_failures_of_one_turn_move_once() {
        let mut route = route(&["a:1", "b:1", "c:1"]);
        assert!(route.on_failure(0));
        assert!(!route.on_failure(0));
        assert_eq!(route.target(), Target { address: "b:1".into(), turn: 1 });
        assert_eq!(route.on_redirect(0, "c:1", 9, 0), Redirect::Late);
        assert_eq!(route.target().address, "b:1");
    }

    #[test]
    fn redirect_to_an_unlisted_member_is_followed_and_left_when_it_fails() {
        let mut route = route(&["a:1", "b:1"]);
        assert_eq!(route.on_redirect(0, "http://z:9", 3, 3), Redirect::Followed);
        assert_eq!(route.target().address, "z:9");
        fail(&mut route);
        assert_eq!(route.target().address, "b:1");
    }

    #[test]
    fn redirect_to_a_listed_member_moves_within_the_list_once_that_has_answered() {
        let mut route = route(&["a:1", "b:1", "c:1", "d:1"]);
        assert_eq!(route.on_redirect(0, "c:1", 3, 3), Redirect::Followed);
        assert_eq!(route.target().address, "c:1");
        fail(&mut route);
        assert_eq!(route.target().address, "b:1");
        assert_eq!(route.on_redirect(2, "c:1", 3, 3), Redirect::Followed);
        fail(&mut route);
        assert_eq!(route.target().address, "d:1", "that one has failed just now");
        assert_eq!(route.on_redirect(4, "b:1", 3, 3), Redirect::Followed);
        route.on_answer(5);
        fail(&mut route);
        assert_eq!(route.target().address, "c:1");
    }

    /// The old primary, whose tenure is over, and a standby on its side of a partition, which still
    /// believes in it.
    #[test]
    fn members_that_name_each_other_do_not_hide_the_others() {
        let mut route = route(&["a:1", "b:1", "c:1", "d:1"]);
        let mut asked = Vec::new();
        for _ in 0..5 {
            let Target { address, turn } = route.target();
            match address.as_str() {
                "a:1" => assert_eq!(route.on_redirect(turn, "a:1", 1, 1), Redirect::Useless),
                "b:1" => assert_eq!(route.on_redirect(turn, "a:1", 1, 1), Redirect::Followed),
                _ => fail(&mut route),
            }
            asked.push(address);
        }
        assert_eq!(asked, ["a:1", "b:1", "a:1", "c:1", "d:1"]);
    }

    #[test]
    fn redirect_of_a_lower_epoch_is_not_followed() {
        let mut route = route(&["a:1", "b:1"]);
        assert_eq!(route.on_redirect(0, "z:9", 4, 5), Redirect::Stale);
        assert_eq!(route.target().address, "b:1");
    }

    #[test]
    fn announced_primary_is_followed() {
        let mut route = route(&["a:1", "b:1"]);
        assert!(!route.on_announced("no port"));
        assert_eq!(route.target().address, "a:1");
        assert!(route.on_announced("http://z:9"));
        assert_eq!(route.target(), Target { address: "z:9".into(), turn: 1 });
        assert!(!route.on_announced("z:9"), "it is asked already");
    }

    #[test]
    fn next_one_up_is_where_a_failure_leads_to() {
        let mut route = route(&["a:1", "b:1", "c:1"]);
        for _ in 0..4 {
            let next = route.next_up();
            fail(&mut route);
            assert_eq!(next, Some(route.target().address));
        }
        assert_eq!(self::route(&["a:1"]).next_up(), None);
    }

    #[test]
    fn useless_redirects_move_on() {
        for address in ["", "a:1", "no port", "https://x:1"] {
            let mut route = route(&["a:1", "b:1"]);
            assert_eq!(route.on_redirect(0, address, 5, 5), Redirect::Useless, "{address}");
            assert_eq!(route.target().address, "b:1", "{address}");
        }
    }

    #[test]
    fn answer_ends_the_search() {
        let mut route = route(&["a:1"]);
        fail(&mut route);
        assert!(route.round_is_over());
        route.on_answer(0);
        assert!(route.round_is_over(), "an answer of an earlier turn says nothing");
        route.on_answer(1);
        assert!(!route.round_is_over());
    }
}
