//! A coordinator for the processes of one host: a directory that they share. The default of `dev`.
//!
//! Invariants:
//! - Every call works on a thread that may block, and ends within the time limit even if that
//!   thread does not.
//! - A member is here for as long as its [`Presence`] is held, and the kernel knows when that ends,
//!   however it ends. So a member must drop its presence last: from then on another one may call it
//!   dead, and take over.
//!
//! Deliberately absent: other hosts. Locks of a network file system don't prove that a process has
//! ended, so a directory on one is refused.

mod dir;
mod disk;
mod hint;
mod lock;
mod numbered;
mod own;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use election::{ConfigRecord, Incarnation, Seen, Versioned};
use tokio::sync::watch;

use self::dir::Dir;
use self::hint::Hint;
use self::lock::Locked;
use crate::contract::{Answer, Coordinator, Error, MemberInfo, Presence, Stored, Swap};

/// A directory that is restored from a backup brings its stored name along, so it has none.
const UNNAMED: u64 = 0;
/// How often a presence checks that it is still the one that other processes see.
const CHECK_PRESENCE_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct FileCoordinator {
    calls: Calls,
    hint: Hint,
}

impl FileCoordinator {
    /// Creates the directory if there is none. `timeout` is the limit of every call.
    pub fn open(dir: &Path, timeout: Duration) -> Result<FileCoordinator, Error> {
        let place: Arc<str> = dir.display().to_string().into();
        let dir = Arc::new(Dir::make(dir)?);
        let hint = Hint::start(Arc::clone(&dir))?;
        Ok(FileCoordinator { calls: Calls { dir, place, timeout }, hint })
    }
}

#[derive(Clone, Debug)]
struct Calls {
    dir: Arc<Dir>,
    place: Arc<str>,
    timeout: Duration,
}

impl Calls {
    fn run<T, F>(&self, what: &'static str, work: F) -> Answer<'static, T>
    where
        T: Send + 'static,
        F: FnOnce(&Dir) -> Result<T, Error> + Send + 'static,
    {
        let Calls { dir, place, timeout } = self.clone();
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || work(&dir));
            let why = match tokio::time::timeout(timeout, work).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Ok(Err(_)) => "this process is stopping".to_owned(),
                Err(_) => format!("the disk did not answer within {} ms", timeout.as_millis()),
            };
            Err(Error::Unavailable { what, place: place.to_string(), why })
        })
    }
}

impl Coordinator for FileCoordinator {
    fn read(&self) -> Answer<'_, Stored> {
        self.calls.run("read", |dir| Ok(Stored { record: dir.read()?, store: UNNAMED }))
    }

    fn swap(&self, expect: Option<Versioned>, to: ConfigRecord) -> Answer<'_, Swap> {
        self.calls.run("swap", move |dir| dir.swap(expect.as_ref(), &to))
    }

    fn join(&self, me: MemberInfo) -> Answer<'_, Box<dyn Presence>> {
        let calls = self.calls.clone();
        self.calls.run("join", move |dir| {
            let locked = dir.join(&me)?;
            Ok(Box::new(FilePresence { calls, held: Arc::new((me, locked)) }) as Box<dyn Presence>)
        })
    }

    fn members(&self) -> Answer<'_, Vec<MemberInfo>> {
        self.calls.run("members", Dir::members)
    }

    fn is_dead(&self, who: Incarnation) -> Answer<'_, bool> {
        self.calls.run("is_dead", move |dir| dir.is_dead(who))
    }

    /// The kernel has freed the lock, which all can see.
    fn report_dead(&self, _who: Incarnation) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn announced(&self) -> Answer<'_, Option<(u64, MemberInfo)>> {
        self.calls.run("announced", Dir::announced)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.hint.receiver()
    }
}

#[derive(Debug)]
struct FilePresence {
    calls: Calls,
    /// Shared with pending checks, each of which takes no longer than a look at two files.
    held: Arc<(MemberInfo, Locked)>,
}

impl Presence for FilePresence {
    fn lost(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                tokio::time::sleep(CHECK_PRESENCE_EVERY).await;
                let held = Arc::clone(&self.held);
                let check = self.calls.run("presence", move |dir| Ok(dir.is_here(&held.0, &held.1)));
                // A disk that does not answer does not mean that the presence is lost.
                if let Ok(false) = check.await {
                    return;
                }
            }
        })
    }

    fn announce(&self, epoch: u64) -> Answer<'_, ()> {
        let held = Arc::clone(&self.held);
        self.calls.run("announce", move |dir| {
            if !dir.is_here(&held.0, &held.1) {
                let place = dir.places()[2].display().to_string();
                return Err(Error::Unavailable { what: "announce", place, why: "the presence is lost".to_owned() });
            }
            dir.announce(epoch, &held.0)
        })
    }

    fn tell(&self, seen: Option<Seen>) -> Answer<'_, ()> {
        let held = Arc::clone(&self.held);
        self.calls.run("tell", move |dir| {
            if !dir.is_here(&held.0, &held.1) {
                let place = dir.places()[2].display().to_string();
                return Err(Error::Unavailable { what: "tell", place, why: "the presence is lost".to_owned() });
            }
            dir.tell(&MemberInfo { seen, ..held.0.clone() })
        })
    }
}
