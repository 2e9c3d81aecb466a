//! What the primary does of its own accord: the end of what is owed, the expiry of clients, and what
//! its domain has to do besides. Each call of [`State::step`] does one small step of every kind that
//! is due, so no call waits long behind it, and costs what it changes, not what there is.
//!
//! ```text
//!   a silent client ──► expired, by an entry ──► its domain empties what it has, step by step
//!                                                ──► its answers ──► the client is gone
//! ```
//!
//! Only the primary takes steps, and each one is an op: a standby has no clock that could expire
//! anything.

use oplog::ClientId;

use crate::call::{CallRefused, Now};
use crate::domain::{Domain, Emptied, Step, Stepping, Steps};
use crate::ops::{ClientLeftOp, ForgetAnswersOp, LedgerOp};
use crate::settings::InForce;
use crate::state::State;

/// Clients looked at or expired at a time.
const CLIENTS_MAX: usize = 64;
/// Of a client that goes, so many answers are forgotten at a time, and so many bytes of them.
const ANSWERS_MAX: usize = 64;
const ANSWER_BYTES_MAX: usize = 256 << 10;

impl<D: Domain> State<D> {
    /// Refuses on a standby, and when the log is full: nothing is lost by trying again.
    pub fn step(&self, now: Now) -> Result<Steps<D::Steps>, CallRefused> {
        self.step_while(now, || true)
    }

    /// `may_log` is asked under the lock, before anything of each kind is decided: it may have
    /// taken long to get there.
    pub fn step_while(&self, now: Now, may_log: impl Fn() -> bool) -> Result<Steps<D::Steps>, CallRefused> {
        let own: [Step<D>; 3] = [settle, expire_clients, clean_up_after_clients];
        let mut done = Steps::default();
        for kind in own.iter().chain(D::STEPS) {
            let mut writer = self.ledger().write();
            if !writer.is_primary() || !may_log() {
                return Err(CallRefused::NotPrimary);
            }
            let mut step = Stepping { domain: &**self, writer: &mut writer, now, done };
            kind(&mut step)?;
            done = step.done;
            // Steps follow each other: without that those who wait would hardly get the lock in between.
            writer.hand_over();
        }
        Ok(done)
    }
}

/// The settings of the cluster, where it has none yet; and the end of what is owed.
fn settle<D: Domain>(step: &mut Stepping<'_, '_, D>) -> Result<(), CallRefused> {
    let op = match step.writer.accounts.settings.get() {
        // There was no room in the log when this member was promoted.
        None => {
            let own = InForce::started_with(step.writer.config.settings);
            own.change_to(own.settings)
        }
        Some(in_force) => {
            let Some(owed) = in_force.owed else { return Ok(()) };
            if !step.is_over(step.writer.owed_from_ms, owed.promised_for_ms()) {
                return Ok(());
            }
            in_force.settled()
        }
    };
    step.writer.commit_settings(step.domain, op, step.now)
}

fn expire_clients<D: Domain>(step: &mut Stepping<'_, '_, D>) -> Result<(), CallRefused> {
    let ttl_ms = step.in_force().kept().client_ttl_ms;
    let clients = step.writer.accounts.clients.iter();
    let silent = clients.filter(|(_, client)| !client.expired && step.is_over(client.heard_ms, ttl_ms));
    let silent: Vec<ClientId> = silent.map(|(id, _)| id).take(CLIENTS_MAX).collect();
    step.done.more |= silent.len() == CLIENTS_MAX;
    for client in silent {
        step.commit(LedgerOp::ClientExpire, &ClientLeftOp { client: client.0 })?;
        step.done.clients_expired += 1;
    }
    Ok(())
}

/// What expired clients have, then the answers kept for them, then themselves.
fn clean_up_after_clients<D: Domain>(step: &mut Stepping<'_, '_, D>) -> Result<(), CallRefused> {
    let expired: Vec<ClientId> = step.writer.accounts.clients.expired.iter().take(CLIENTS_MAX).copied().collect();
    for id in expired {
        let Some(client) = step.writer.accounts.clients.get(id) else { continue };
        if D::expires(&step.writer.own, id) {
            step.commit(LedgerOp::ClientExpire, &ClientLeftOp { client: id.0 })?;
            step.done.more = true;
            break;
        }
        if D::holds(&step.writer.own, id) {
            if D::empty(step, id)? == Emptied::Waits {
                continue;
            }
            // One client's worth of work, and whatever is left of it comes next.
            step.done.more = true;
            break;
        }
        // Tens of MB, maybe: what gives them back at once holds everybody up.
        if client.answer_bytes > ANSWER_BYTES_MAX {
            let Some(below) = client.oldest_answers(ANSWERS_MAX, ANSWER_BYTES_MAX) else { continue };
            step.commit(LedgerOp::ForgetAnswers, &ForgetAnswersOp { client: id.0, below })?;
            step.done.more = true;
            break;
        }
        step.commit(LedgerOp::ClientGone, &ClientLeftOp { client: id.0 })?;
        step.done.more |= !step.writer.accounts.clients.expired.is_empty();
    }
    Ok(())
}
