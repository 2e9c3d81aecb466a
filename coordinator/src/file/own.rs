//! Who may use the directory, and where it may lie: it belongs only to the user that the members
//! run as, and lies on a file system of this host.
//!
//! Invariants: another user can neither read the files (a presence carries a secret) nor open a
//! lock file, so it can hold no lock; nothing is created or used on a file system that several
//! hosts share, where locks prove nothing.
//!
//! Deliberately absent: who may write to the directories above. A user who can rename one of them
//! is trusted.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sys::statfs::statfs;

use super::disk::fault;
use crate::contract::Error;

pub(super) const MAKING: &str = "making the directory";
pub(super) const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// All permissions of users other than the owner.
const OTHERS: u32 = 0o077;

/// By the number that the kernel gives for a file system, as listed in statfs(2) and linux/magic.h.
const OF_SEVERAL_HOSTS: [(u32, &str); 20] = [
    (0x0000_6969, "NFS"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE or virtiofs"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0000_517b, "SMB"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0xaad7_aaea, "PanFS"),
    (0x786f_4256, "VirtualBox shared folders"),
    (0xbacb_acbc, "VMware shared folders"),
    (0x0000_564c, "NCP"),
];

/// Creates what is missing, and makes sure that only this user has access.
pub(super) fn make_dir(path: &Path) -> Result<(), Error> {
    let failed = |error| fault(MAKING, path, &error);
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(path).map_err(failed)?;
    check_host(path)?;
    let found = fs::metadata(path).map_err(failed)?;
    let me = rustix::process::geteuid().as_raw();
    if found.uid() != me {
        let why =
            format!("it belongs to user {}, and this process runs as user {me}: run it as the same user", found.uid());
        return Err(Error::Denied { what: "its use", place: path.display().to_string(), why });
    }
    if found.mode() & OTHERS != 0 {
        tracing::info!(dir = %path.display(), "the directory was open to other users: only this user can read it now");
        fs::set_permissions(path, Permissions::from_mode(DIR_MODE)).map_err(failed)?;
    }
    Ok(())
}

fn check_host(path: &Path) -> Result<(), Error> {
    let found = statfs(path).map_err(|errno| fault(MAKING, path, &errno.into()))?;
    let Some(name) = shared_by_hosts(found.filesystem_type().0 as u32) else { return Ok(()) };
    let why = format!(
        "it lies on {name}, which several hosts may share: a lock there does not prove that a process lives. Use a directory on \
         a disk of this host, or etcd"
    );
    Err(Error::Denied { what: "its use as file:", place: path.display().to_string(), why })
}

fn shared_by_hosts(kind: u32) -> Option<&'static str> {
    OF_SEVERAL_HOSTS.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o777
    }

    #[test]
    fn what_is_made_is_this_users_alone_and_what_was_open_is_closed() {
        let temporary = tempfile::tempdir().expect("a directory");
        let (made, found) = (temporary.path().join("a/b"), temporary.path().join("c"));
        make_dir(&made).expect("made");
        assert_eq!((mode(&made), mode(&temporary.path().join("a"))), (0o700, 0o700));
        fs::create_dir(&found).expect("made");
        fs::set_permissions(&found, Permissions::from_mode(0o777)).expect("set");
        make_dir(&found).expect("it is this user's");
        assert_eq!(mode(&found), 0o700);
    }

    #[test]
    fn file_systems_of_several_hosts_are_known_and_those_of_one_host_are_not_refused() {
        for (kind, name) in [(0x6969, "NFS"), (0x0102_1997, "9p"), (0x6573_5546, "FUSE or virtiofs")] {
            assert_eq!(shared_by_hosts(kind), Some(name));
        }
        // ext4, XFS, Btrfs, tmpfs, overlayfs, ZFS.
        for kind in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert_eq!(shared_by_hosts(kind), None, "{kind:x}");
        }
    }

    /// Every system has files of another user.
    #[test]
    fn what_belongs_to_another_user_is_refused() {
        let found = fs::metadata("/proc/self").expect("it is there");
        let temporary = tempfile::tempdir().expect("a directory");
        if found.uid() != 0 || std::os::unix::fs::chown(temporary.path(), Some(1), None).is_err() {
            // Not root: the root directory belongs to another user.
            let error = make_dir(Path::new("/")).expect_err("it is root's").to_string();
            return assert!(error.contains("belongs to user 0"), "{error}");
        }
        let error = make_dir(temporary.path()).expect_err("it is another user's").to_string();
        assert!(error.contains("belongs to user 1") && error.contains("runs as user 0"), "{error}");
    }
}
