//! A state that is made from images of another member.
//!
//! The shards of a domain are captured one after the other while writes go on, so each stands at a
//! seq of its own; the last shard comes last. A rebuild then replays the log from the oldest image
//! on. Up to the seq of the last shard only the others change, each from its own seq on; there what
//! they imply is built at once, and the rest of the log is applied as usual.

use oplog::{ApplyError, Entry, InstallError, Position, Rebuild, Secret, ShardImage};

use crate::accounts::Mode;
use crate::domain::Domain;
use crate::entry::check_next;
use crate::errors::require;
use crate::image::inconsistent;
use crate::last;
use crate::shards::Shards;
use crate::state::State;
use crate::writer::{SEQ_MAX, Writer, WriterGuard};

/// A state in the making.
#[derive(Debug)]
pub struct Rebuilding<D: Domain> {
    state: State<D>,
    /// Of the first image with a record under it.
    secret: Option<Secret>,
    /// By number.
    installed: Vec<bool>,
    newest: Position,
    oldest: Option<Position>,
}

impl<D: Domain> Rebuilding<D> {
    pub(crate) fn new(state: State<D>) -> Rebuilding<D> {
        let installed = vec![false; state.last_shard() as usize + 1];
        Rebuilding { state, secret: None, installed, newest: Position::default(), oldest: None }
    }

    fn missing(&self) -> Option<u32> {
        self.installed.iter().position(|installed| !installed).map(|shard| shard as u32)
    }

    /// In rising order, each once. A hole is found when the whole is counted on.
    fn check_order(&self, image: &ShardImage) -> Result<(), InstallError> {
        let shard = image.shard as usize;
        match self.installed.get(shard) {
            None => Err(inconsistent(format!("there is no shard {shard}"))),
            Some(true) => Err(InstallError::ShardTwice { shard: image.shard }),
            Some(false) if self.installed[shard..].contains(&true) => {
                Err(inconsistent(format!("shard {shard} comes after one that must follow it")))
            }
            Some(false) if image.at < self.newest => {
                let newest = self.newest;
                Err(inconsistent(format!("shard {shard} is of {}, one before of {newest}", image.at)))
            }
            Some(false) => Ok(()),
        }
    }
}

/// From here on the state is live.
fn build_implied<D: Domain>(domain: &D, writer: &mut WriterGuard<'_, D::Own>) -> Result<(), InstallError> {
    let Writer { accounts, own, .. } = &mut **writer;
    accounts.mode = Mode::Live;
    domain.build_implied(accounts, own)
}

impl<D: Domain> Rebuild for Rebuilding<D> {
    type State = State<D>;

    fn install(&mut self, image: &ShardImage) -> Result<(), InstallError> {
        self.check_order(image)?;
        require(image.at.seq <= SEQ_MAX, || format!("seqs end at {SEQ_MAX}")).map_err(inconsistent)?;
        if image.shard == self.state.last_shard() {
            let (accounts, own) = last::read::<D>(&self.state, image)?;
            check_secret(self.secret, Some(accounts.secret))?;
            let mut writer = self.state.ledger().write();
            writer.accounts = accounts;
            D::replace(&mut writer.own, own);
            writer.stand_at(self.oldest.unwrap_or(image.at));
        } else {
            self.secret = self.state.shards().install(image, self.secret)?.or(self.secret);
        }
        self.installed[image.shard as usize] = true;
        self.newest = image.at;
        self.oldest.get_or_insert(image.at);
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        let domain = &*self.state;
        let mut writer = domain.ledger().write();
        let inconsistent = |what: String| ApplyError::Inconsistent { seq: entry.seq, what };
        if let Some(missing) = self.missing() {
            return Err(inconsistent(format!("shard {missing} has not been installed")));
        }
        check_next(writer.applied(), entry)?;
        if writer.accounts.mode == Mode::Rebuilding && entry.seq > self.newest.seq {
            build_implied(domain, &mut writer).map_err(|error| {
                let error = inconsistent(error.to_string());
                writer.lose(error.clone());
                error
            })?;
        }
        writer.apply_entry(domain, entry)
    }

    fn finish(self) -> Result<State<D>, InstallError> {
        if let Some(missing) = self.missing() {
            return Err(InstallError::Incomplete { missing });
        }
        let mut writer = self.state.ledger().write();
        if let Some(lost) = writer.lost() {
            return Err(inconsistent(lost));
        }
        if writer.applied() < self.newest {
            let what = format!("the log ends at {}, the newest image is of {}", writer.applied(), self.newest);
            return Err(inconsistent(what));
        }
        if writer.accounts.mode == Mode::Rebuilding {
            build_implied(&*self.state, &mut writer)?;
        }
        writer.tell(&*self.state);
        drop(writer);
        Ok(self.state)
    }
}

/// What a digest says of keys that are hashed under another secret means nothing.
pub fn check_secret(before: Option<Secret>, now: Option<Secret>) -> Result<(), InstallError> {
    let is_same = before.zip(now).is_none_or(|(before, now)| before == now);
    require(is_same, || "the images are of two secrets".to_owned()).map_err(inconsistent)
}
