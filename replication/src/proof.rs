//! What two members prove to each other first: that each is the incarnation whose presence the
//! coordinator shows.
//!
//! ```text
//!   standby                              primary
//!     hello: who, epoch, its nonce ───────►   no known secret: refused
//!     ◄─────────── its nonce, its proof       HMAC by the primary's secret, over all terms
//!     its proof, what it holds ───────────►   HMAC by the standby's secret, over the same terms
//! ```
//!
//! Invariants: a proof is valid for one pair of nonces only, so a recorded proof is useless; one
//! side's proof is not valid for the other side; nothing in a hello is believed before its proof;
//! proofs are compared in constant time; no secret and no key is ever printed.
//!
//! Deliberately absent: secrecy of what follows. An attacker who can change the bytes of a
//! connection can send messages after the proof; only certificates protect against that.

use std::fmt;

use bytes::Bytes;
use proto::v1;
use ring::hmac;

use crate::plan::PeerLog;

pub const NONCE_BYTES: usize = 16;
pub const SECRET_BYTES: usize = 16;

/// In a member's presence, for other members only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; SECRET_BYTES]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A nonce is never used twice.
pub type Nonce = [u8; NONCE_BYTES];

/// Why a peer is not admitted, or a primary is not followed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAdmitted {
    #[error("the first message must be a hello, and the second one a proof")]
    Unexpected,
    #[error("a hello says who it is from and brings a nonce of {NONCE_BYTES} bytes")]
    Incomplete,
    #[error("{name:?} is this member itself")]
    Myself { name: String },
    #[error("the coordinator does not show {name:?} in this incarnation ({member}.{number})")]
    NotListed { name: String, member: u64, number: u64 },
    #[error("{name:?} has not proven that it is the member that the coordinator shows")]
    NotProven { name: String },
}

/// The terms that both sides' proofs cover.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Terms {
    cluster_id: Bytes,
    epoch: u64,
    standby: v1::Incarnation,
    primary: v1::Incarnation,
    standby_nonce: Nonce,
    primary_nonce: Nonce,
}

/// What a proof is for, so that one kind is never taken for another.
#[derive(Clone, Copy)]
enum Label {
    Primary = 1,
    Standby = 2,
    Calls = 3,
}

impl Terms {
    /// All lengths but the last are fixed, so different terms never have the same bytes.
    fn bytes(&self, label: Label) -> Vec<u8> {
        let mut bytes = vec![label as u8];
        let numbers = [self.standby.member, self.standby.number, self.primary.member, self.primary.number, self.epoch];
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
        bytes.extend_from_slice(&self.standby_nonce);
        bytes.extend_from_slice(&self.primary_nonce);
        bytes.extend_from_slice(&self.cluster_id);
        bytes
    }

    fn proof(&self, label: Label, secret: &Secret) -> Bytes {
        Bytes::copy_from_slice(hmac::sign(&key(secret), &self.bytes(label)).as_ref())
    }

    fn is_proven(&self, label: Label, secret: &Secret, proof: &[u8]) -> bool {
        hmac::verify(&key(secret), &self.bytes(label), proof).is_ok()
    }
}

fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &secret.0)
}

/// Allows calls beside a proven stream that carry its token. It ends with the stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Pass {
    terms: Terms,
    secret: Secret,
}

impl Pass {
    pub fn token(&self) -> Bytes {
        self.terms.proof(Label::Calls, &self.secret)
    }

    pub fn admits(&self, token: &[u8]) -> bool {
        self.terms.is_proven(Label::Calls, &self.secret, token)
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass(..)")
    }
}

/// The standby's side: a hello that was sent.
#[derive(Clone, Debug)]
pub struct Greeting {
    name: String,
    terms: Terms,
}

impl Greeting {
    /// `primary`: the member that the standby takes the other end for.
    pub fn new(
        name: &str,
        (standby, primary): (v1::Incarnation, v1::Incarnation),
        (cluster_id, epoch): (Bytes, u64),
        nonce: Nonce,
    ) -> Greeting {
        let terms =
            Terms { cluster_id, epoch, standby, primary, standby_nonce: nonce, primary_nonce: [0; NONCE_BYTES] };
        Greeting { name: name.to_owned(), terms }
    }

    pub fn hello(&self) -> v1::Hello {
        v1::Hello {
            who: Some(self.terms.standby),
            name: self.name.clone(),
            cluster_id: self.terms.cluster_id.clone(),
            epoch: self.terms.epoch,
            nonce: Bytes::copy_from_slice(&self.terms.standby_nonce),
        }
    }

    /// Tells what the standby holds only to the member that the coordinator shows as this primary.
    /// `secrets`: the standby's own, and the primary's.
    pub fn on_challenge(
        mut self,
        challenge: &v1::Challenge,
        (mine, primary): (&Secret, &Secret),
        holds: PeerLog,
    ) -> Result<(v1::Proof, Pass), NotAdmitted> {
        self.terms.primary_nonce = nonce(&challenge.nonce)?;
        if !self.terms.is_proven(Label::Primary, primary, &challenge.proof) {
            return Err(NotAdmitted::NotProven { name: "the primary".to_owned() });
        }
        let proof = v1::Proof { proof: self.terms.proof(Label::Standby, mine), ..holds.into() };
        Ok((proof, Pass { terms: self.terms, secret: *mine }))
    }
}

/// The primary's side: a peer that has sent a hello and has yet to prove who it is.
#[derive(Clone, Debug)]
pub struct Challenged {
    name: String,
    terms: Terms,
    secret: Secret,
}

/// A peer that has proven who it is.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub who: v1::Incarnation,
    pub name: String,
    /// The id in the member's record.
    pub cluster_id: Bytes,
    pub epoch: u64,
    pub pass: Pass,
}

impl Challenged {
    /// `me`: the primary. `listed`: the secret of the incarnation in the hello, as the coordinator
    /// shows it, or showed it last.
    pub fn new(
        hello: v1::Hello,
        (me, mine): (v1::Incarnation, &Secret),
        listed: Option<Secret>,
        own_nonce: Nonce,
    ) -> Result<(Challenged, v1::Challenge), NotAdmitted> {
        let v1::Hello { who, mut name, cluster_id, epoch, nonce: their_nonce } = hello;
        let who = who.ok_or(NotAdmitted::Incomplete)?;
        truncate(&mut name);
        if who.member == me.member {
            return Err(NotAdmitted::Myself { name });
        }
        let v1::Incarnation { member, number } = who;
        let Some(secret) = listed else { return Err(NotAdmitted::NotListed { name, member, number }) };
        let standby_nonce = nonce(&their_nonce)?;
        let terms = Terms { cluster_id, epoch, standby: who, primary: me, standby_nonce, primary_nonce: own_nonce };
        let challenge =
            v1::Challenge { nonce: Bytes::copy_from_slice(&own_nonce), proof: terms.proof(Label::Primary, mine) };
        Ok((Challenged { name, terms, secret }, challenge))
    }

    pub fn on_proof(self, proof: &v1::Proof) -> Result<Admitted, NotAdmitted> {
        let Challenged { name, terms, secret } = self;
        if !terms.is_proven(Label::Standby, &secret, &proof.proof) {
            return Err(NotAdmitted::NotProven { name });
        }
        let (who, cluster_id, epoch) = (terms.standby, terms.cluster_id.clone(), terms.epoch);
        Ok(Admitted { who, name, cluster_id, epoch, pass: Pass { terms, secret } })
    }
}

impl Admitted {
    /// It knows of a later epoch than this member. This is only a reason to read the record.
    pub fn knows_later(&self, epoch: u64) -> bool {
        self.epoch > epoch
    }
}

/// The name appears in logs.
fn truncate(name: &mut String) {
    let end = (0..=proto::limits::NAME_BYTES_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    name.truncate(end.unwrap_or(0));
}

fn nonce(wire: &[u8]) -> Result<Nonce, NotAdmitted> {
    wire.try_into().map_err(|_| NotAdmitted::Incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDBY: v1::Incarnation = v1::Incarnation { member: 1, number: 10 };
    const PRIMARY: v1::Incarnation = v1::Incarnation { member: 2, number: 20 };
    const OF_STANDBY: Secret = Secret([201; SECRET_BYTES]);
    const OF_PRIMARY: Secret = Secret([2; SECRET_BYTES]);
    const WRONG: Secret = Secret([3; SECRET_BYTES]);

    fn greeting(nonce: u8) -> Greeting {
        Greeting::new("s", (STANDBY, PRIMARY), (Bytes::from_static(b"cluster"), 7), [nonce; NONCE_BYTES])
    }

    fn challenged(hello: v1::Hello, nonce: u8) -> (Challenged, v1::Challenge) {
        Challenged::new(hello, (PRIMARY, &OF_PRIMARY), Some(OF_STANDBY), [nonce; NONCE_BYTES]).expect("it is listed")
    }

    fn proven(greeting: Greeting, challenge: &v1::Challenge, mine: &Secret) -> Result<(v1::Proof, Pass), NotAdmitted> {
        greeting.on_challenge(challenge, (mine, &OF_PRIMARY), PeerLog::default())
    }

    #[test]
    fn two_that_know_each_others_secret_are_admitted_and_their_pass_is_one() {
        let (challenged, challenge) = challenged(greeting(1).hello(), 2);
        let (proof, theirs) = proven(greeting(1), &challenge, &OF_STANDBY).expect("the primary has proven itself");
        let admitted = challenged.on_proof(&proof).expect("the standby has proven itself");
        assert_eq!((admitted.who, admitted.epoch, &*admitted.name), (STANDBY, 7, "s"));
        assert!(admitted.pass.admits(&theirs.token()));
        assert!(!admitted.pass.admits(&proof.proof), "a proof is no token");
        assert!(!admitted.pass.admits(b""));
    }

    #[test]
    fn member_that_does_not_know_the_secret_is_not_admitted() {
        let (challenged, challenge) = challenged(greeting(1).hello(), 2);
        let (wrong, _) = proven(greeting(1), &challenge, &WRONG).expect("the primary has proven itself");
        for proof in [wrong, v1::Proof::default(), v1::Proof { proof: challenge.proof.clone(), ..v1::Proof::default() }]
        {
            let refused = challenged.clone().on_proof(&proof).expect_err("no proof");
            assert_eq!(refused, NotAdmitted::NotProven { name: "s".to_owned() });
        }
    }

    #[test]
    fn a_recorded_proof_is_good_for_nothing() {
        let (first, challenge) = challenged(greeting(1).hello(), 2);
        let (recorded, pass) = proven(greeting(1), &challenge, &OF_STANDBY).expect("the primary has proven itself");
        first.on_proof(&recorded).expect("once");
        // The same hello again, but the primary draws another nonce.
        let (again, _) = challenged(greeting(1).hello(), 3);
        assert!(again.clone().on_proof(&recorded).is_err());
        assert!(!Pass { terms: again.terms, secret: OF_STANDBY }.admits(&pass.token()));
    }

    #[test]
    fn member_that_the_coordinator_does_not_show_is_not_even_challenged() {
        let refused = Challenged::new(greeting(1).hello(), (PRIMARY, &OF_PRIMARY), None, [0; NONCE_BYTES]);
        let expected = NotAdmitted::NotListed { name: "s".to_owned(), member: 1, number: 10 };
        assert_eq!(refused.expect_err("unlisted"), expected);
        let myself = v1::Hello { who: Some(v1::Incarnation { number: 9, ..PRIMARY }), ..greeting(1).hello() };
        let refused = Challenged::new(myself, (PRIMARY, &OF_PRIMARY), Some(OF_PRIMARY), [0; NONCE_BYTES]);
        assert_eq!(refused.expect_err("itself"), NotAdmitted::Myself { name: "s".to_owned() });
        for hello in [
            v1::Hello { who: None, ..greeting(1).hello() },
            v1::Hello { nonce: Bytes::from_static(b"short"), ..greeting(1).hello() },
        ] {
            let refused = Challenged::new(hello, (PRIMARY, &OF_PRIMARY), Some(OF_STANDBY), [0; NONCE_BYTES]);
            assert_eq!(refused.expect_err("half a hello"), NotAdmitted::Incomplete);
        }
    }

    #[test]
    fn a_standby_tells_nothing_to_one_that_is_not_its_primary() {
        let (_, challenge) = challenged(greeting(1).hello(), 2);
        for (nonce, challenge) in [
            // For another hello than the one that was sent; by another secret; its own proof sent
            // back.
            (9, challenge.clone()),
            (1, v1::Challenge { proof: Bytes::from(vec![0; 32]), ..challenge.clone() }),
            (1, v1::Challenge { nonce: Bytes::new(), ..challenge }),
        ] {
            assert!(proven(greeting(nonce), &challenge, &OF_STANDBY).is_err());
        }
    }

    #[test]
    fn a_name_from_outside_is_cut_and_no_secret_is_printed() {
        let hello = v1::Hello { name: "é".repeat(5000), ..greeting(1).hello() };
        let (challenged, _) = challenged(hello, 2);
        assert_eq!(challenged.name.len(), proto::limits::NAME_BYTES_MAX);
        assert!(!format!("{challenged:?}").contains("201"), "{challenged:?}");
    }
}
