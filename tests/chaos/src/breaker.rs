//! How faults begin and end, and which members the cluster may lose.
//!
//! Members keep everything in memory, so what the last holder of an acknowledged write takes with
//! it is rightly gone. A member is killed only while another one holds everything, as the
//! coordinator shows it: it is stopped first, so that it changes nothing any more, then the record
//! is read, and then it is killed or continued.
//!
//! Invariants: at most [`TOGETHER_MAX`] faults at a time; nothing else happens while a member hands
//! over and ends; when [`Breaker::heal_all`] has returned, all members run and every link is whole.

use std::time::Duration;

use harness::proxy::Cut;
use harness::record;
use harness::view::{View, epoch, leader, says_in_sync};
use histories::Moment;
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use crate::plan::{Fault, Kind, Who};
use crate::run::Scene;
use crate::story::Came;

const TOGETHER_MAX: usize = 2;
/// What a stopped member had sent to the coordinator has arrived after this time, or never will.
const IN_FLIGHT: Duration = Duration::from_millis(60);
const TICK: Duration = Duration::from_millis(20);
const TRANSFER_WITHIN: Duration = Duration::from_secs(10);

/// A fault that has not ended.
#[derive(Clone, Debug)]
struct Active {
    kind: Kind,
    name: String,
    upto: Moment,
    /// Its number in the story.
    number: usize,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    active: Vec<Active>,
    etcd_is_up: bool,
    members_max: usize,
    members_min: usize,
    /// How many members there ever were.
    named: usize,
}

impl Breaker {
    pub(crate) fn new(members: usize) -> Breaker {
        let active = Vec::new();
        Breaker {
            active,
            etcd_is_up: true,
            members_max: members + 1,
            members_min: (members - 1).max(2),
            named: members,
        }
    }

    /// Waits, and ends faults that are due meanwhile.
    pub(crate) async fn rest(&mut self, scene: &mut Scene, lasting: Duration) {
        let upto = scene.board.now() + lasting;
        while scene.board.now() < upto {
            let now = scene.board.now();
            let (due, others) = self.active.drain(..).partition(|active| active.upto <= now);
            self.active = others;
            for active in due {
                self.end(scene, active).await;
            }
            sleep(TICK).await;
        }
    }

    /// Does nothing if the fault would cost too much, or if there is no victim.
    pub(crate) async fn begin(&mut self, scene: &mut Scene, fault: Fault) {
        if !self.try_begin(scene, fault).await.unwrap_or(false) {
            scene.board.story.lock().skipped += 1;
        }
    }

    async fn try_begin(&mut self, scene: &mut Scene, fault: Fault) -> Option<bool> {
        if self.active.len() >= TOGETHER_MAX {
            return None;
        }
        let view = scene.linked.cluster.view().await;
        let (primary, known) = leader(&view).map(|(name, status)| (name.to_owned(), epoch(status)))?;
        let name = self.victim(&view, fault, &primary)?;
        let who = if name == primary { Who::Primary } else { Who::Standby };
        let (from, alone) = (scene.board.now(), self.active.is_empty());
        let lasting = match self.act(scene, fault, &name, &primary).await? {
            Acted::Lasts => fault.lasting,
            Acted::IsOver => Duration::ZERO,
        };
        let upto = from + lasting;
        let mut story = scene.board.story.lock();
        let number = story.faults.len();
        let came = Came { kind: fault.kind, who, name: name.clone(), from, upto: None, epoch: known, alone };
        story.faults.push(came);
        drop(story);
        self.active.push(Active { kind: fault.kind, name, upto, number });
        Some(true)
    }

    /// A member that runs and has no fault yet.
    fn victim(&self, view: &View, fault: Fault, primary: &str) -> Option<String> {
        let is_free = |name: &str| self.active.iter().all(|active| active.name != name);
        if fault.who == Who::Primary
            || matches!(fault.kind, Kind::StopEtcd | Kind::EmptyEtcd | Kind::RollBackEtcd | Kind::Transfer)
        {
            return Some(primary.to_owned()).filter(|name| is_free(name));
        }
        let runs = view.iter().filter(|(_, status)| status.is_some()).map(|(name, _)| name.as_str());
        let standbys: Vec<&str> = runs.filter(|name| *name != primary && is_free(name)).collect();
        let at = (fault.strength >> 32) as usize % standbys.len().max(1);
        standbys.get(at).map(|name| (*name).to_owned())
    }

    async fn act(&mut self, scene: &mut Scene, fault: Fault, name: &str, primary: &str) -> Option<Acted> {
        match fault.kind {
            Kind::Kill => return self.kill(scene, name).await.then_some(Acted::Lasts),
            Kind::Term => return self.end_politely(scene, name).await.then_some(Acted::Lasts),
            Kind::Pause => scene.linked.cluster.signal(name, Signal::STOP),
            Kind::CutPeers => self.isolate(scene, name),
            Kind::CutRequests => scene.linked.peer(name).cut(Cut::Requests),
            Kind::CutAnswers => scene.linked.peer(name).cut(Cut::Answers),
            Kind::CutEtcd => scene.linked.way_to_etcd(name).cut(Cut::Both),
            Kind::CutOff => {
                self.isolate(scene, name);
                scene.linked.way_to_etcd(name).cut(Cut::Both);
            }
            Kind::Narrow => scene.linked.peer(name).narrow(20_000 + fault.strength % 500_000),
            Kind::Lengthen => scene.linked.peer(name).lengthen(Duration::from_millis(2 + fault.strength % 120)),
            Kind::Reset => {
                scene.linked.peer(name).reset();
                return Some(Acted::IsOver);
            }
            Kind::StopEtcd => {
                scene.linked.etcd.as_mut().filter(|_| self.etcd_is_up)?.kill();
                self.etcd_is_up = false;
            }
            Kind::EmptyEtcd | Kind::RollBackEtcd => return self.lose_data(scene, fault.kind).await,
            Kind::Transfer => return self.transfer(scene, primary).await,
            Kind::Join => return self.join(scene).await,
            Kind::Leave => return self.leave(scene, name, primary).await,
        }
        Some(Acted::Lasts)
    }

    fn isolate(&self, scene: &Scene, name: &str) {
        for other in scene.linked.cluster.names_but(name) {
            scene.linked.cut_between(name, &other);
        }
    }

    async fn kill(&mut self, scene: &mut Scene, name: &str) -> bool {
        // A cut link to the coordinator holds messages back, which would arrive later.
        let is_cut_off = |active: &Active| active.name == name || matches!(active.kind, Kind::CutEtcd | Kind::CutOff);
        if !self.etcd_is_up || self.active.iter().any(is_cut_off) {
            return false;
        }
        scene.linked.cluster.signal(name, Signal::STOP);
        sleep(IN_FLIGHT).await;
        let may = self.others_hold_everything(scene, name);
        if may {
            scene.linked.cluster.kill(name);
        } else {
            scene.linked.cluster.signal(name, Signal::CONT);
        }
        may
    }

    /// By the record, another running process is in the set.
    fn others_hold_everything(&self, scene: &Scene, name: &str) -> bool {
        let cluster = &scene.linked.cluster;
        let Some(record) = record::read(scene.linked.etcd.as_ref(), cluster.dir()) else { return false };
        let others = cluster.names_but(name).into_iter().filter_map(|other| cluster.pid(&other));
        others.into_iter().any(|pid| record.insync.contains(&pid))
    }

    /// The member hands over and ends. Only without other faults, so that its heir is still there
    /// then.
    async fn end_politely(&mut self, scene: &mut Scene, name: &str) -> bool {
        if !self.active.is_empty() || !self.others_hold_everything(scene, name) {
            return false;
        }
        scene.linked.cluster.signal(name, Signal::TERM);
        scene.linked.cluster.ended(name).await;
        true
    }

    /// Only while the cluster is whole, and until it is whole again: a primary that dies with its
    /// record leaves the rest to an operator, which another test shows. The backup is from the last
    /// time that etcd was away or emptied.
    async fn lose_data(&mut self, scene: &mut Scene, kind: Kind) -> Option<Acted> {
        let view = scene.linked.cluster.view().await;
        let is_well = self.active.is_empty() && self.etcd_is_up && view.keys().all(|name| says_in_sync(&view, name));
        let etcd =
            scene.linked.etcd.as_mut().filter(|etcd| is_well && (kind == Kind::EmptyEtcd || etcd.has_backup()))?;
        etcd.kill();
        match kind {
            Kind::RollBackEtcd => etcd.restore(),
            _ => {
                etcd.back_up();
                etcd.forget_all();
            }
        }
        etcd.restart().await;
        scene.linked.cluster.in_sync().await;
        Some(Acted::IsOver)
    }

    async fn transfer(&mut self, scene: &mut Scene, primary: &str) -> Option<Acted> {
        // To any member that is in sync. If there is none, it is refused, which is an answer, too.
        let transfer = scene.linked.cluster.transfer(primary, "");
        let answer = timeout(TRANSFER_WITHIN, transfer).await.ok()?;
        answer.ok().map(|_| Acted::IsOver)
    }

    async fn join(&mut self, scene: &mut Scene) -> Option<Acted> {
        if scene.linked.cluster.names().len() >= self.members_max || !self.etcd_is_up {
            return None;
        }
        self.named += 1;
        scene.add(&format!("m{}", self.named)).await;
        Some(Acted::IsOver)
    }

    /// For good. Never the primary: it would hand over, for which there is [`Kind::Term`].
    async fn leave(&mut self, scene: &mut Scene, name: &str, primary: &str) -> Option<Acted> {
        let few = scene.linked.cluster.names().len() <= self.members_min;
        if few || name == primary || !self.end_politely(scene, name).await {
            return None;
        }
        scene.linked.cluster.forget(name);
        Some(Acted::IsOver)
    }

    async fn end(&mut self, scene: &mut Scene, Active { kind, name, number, .. }: Active) {
        match kind {
            Kind::Kill | Kind::Term => scene.linked.cluster.restart(&name),
            Kind::Pause => scene.linked.cluster.signal(&name, Signal::CONT),
            Kind::StopEtcd => {
                if let Some(etcd) = &mut scene.linked.etcd {
                    etcd.back_up();
                    etcd.restart().await;
                }
                self.etcd_is_up = true;
            }
            Kind::CutPeers | Kind::CutOff => {
                scene.linked.cluster.names_but(&name).iter().for_each(|other| scene.linked.join_between(&name, other));
                self.heal_ways(scene, &name);
            }
            Kind::CutRequests | Kind::CutAnswers | Kind::CutEtcd | Kind::Narrow | Kind::Lengthen => {
                self.heal_ways(scene, &name);
            }
            Kind::Reset | Kind::EmptyEtcd | Kind::RollBackEtcd => {}
            Kind::Transfer | Kind::Join | Kind::Leave => {}
        }
        let now = scene.board.now();
        scene.board.story.lock().faults[number].upto = Some(now);
    }

    /// Heals the links of this member, which has one fault at a time.
    fn heal_ways(&self, scene: &Scene, name: &str) {
        scene.linked.heal_ways(name);
    }

    pub(crate) async fn heal_all(&mut self, scene: &mut Scene) {
        for active in std::mem::take(&mut self.active) {
            self.end(scene, active).await;
        }
        scene.linked.heal();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Acted {
    Lasts,
    IsOver,
}
