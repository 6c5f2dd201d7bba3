//! From what a user asks for to what he may have, or why not. Pure.

use rampool_proto::hostlist::HostList;
use rampool_proto::pool_name::{OF_JOB, PoolName};
use rampool_proto::v1::{AtExpiry, Failure, FailureKind, FilesystemKind, PoolSpec};

use super::quota::{self, Use};
use super::rules::{Account, Rule, UsersConfig};
use crate::person::Person;
use crate::pool::record::PoolRecord;

/// What one user may have.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    person: &'a Person,
    rule: &'a Rule,
    account: Option<(&'a str, &'a Account)>,
}

fn denied(said: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Denied, "ask for a pool").saying(said)
}

impl<'a> Grant<'a> {
    /// What the rules give to a user who asks for `account` (empty: for none in particular).
    pub fn of(config: &'a UsersConfig, person: &'a Person, account: &str) -> Result<Self, Failure> {
        let rule = config.rule_of(person).ok_or_else(|| {
            denied(format!("no rule lets {person} have pools"))
                .advising("the cluster's operators make the rules (`users` in controller.yaml)")
        })?;
        let account = config.account_of(person, account).map_err(denied)?;
        let account = account.map(|name| (name, &config.accounts[name]));
        Ok(Self { person, rule, account })
    }

    /// The spec with all that is not the user's to say: whose it is, who may look into it, where it
    /// is mounted, who lends, and what happens at its end.
    pub fn tailor(&self, asked: PoolSpec) -> Result<PoolSpec, Failure> {
        // `PoolName::job` knows a job's pools by their names.
        if asked.name.starts_with(OF_JOB) {
            return Err(denied(format!(
                "names that begin with `{OF_JOB}` are for the pools of jobs"
            )));
        }
        if !asked.mount_point.is_empty() {
            return Err(denied("the mount point of a user's pool is not to be chosen"));
        }
        // A profile may name another: that is looked at with the whole pool.
        if !asked.head.is_empty() && !self.rule.heads.contains(&asked.head) {
            return Err(self.not_on(&asked.head));
        }
        let longest = self.rule.longest.as_secs();
        if asked.lease_seconds > longest {
            let [may, wanted] = [longest, asked.lease_seconds].map(spoken);
            return Err(denied(format!(
                "a pool of yours may live {may} at most: {wanted} is more"
            )));
        }
        let lease = if asked.lease_seconds == 0 { longest } else { asked.lease_seconds };
        let only = (self.rule.heads.len() == 1).then(|| self.rule.heads.to_string());
        Ok(PoolSpec {
            owner: self.person.name.clone(),
            uid: self.person.uid,
            gid: self.person.gid,
            private: true,
            by_user: true,
            account: self.account.map(|(name, _)| name.to_owned()).unwrap_or_default(),
            head: if asked.head.is_empty() { only.unwrap_or_default() } else { asked.head },
            among: self.rule.donors.as_ref().map(ToString::to_string).unwrap_or_default(),
            lease_seconds: lease,
            at_expiry: AtExpiry::Release.into(),
            job: None,
            ..asked
        })
    }

    /// Whether the user may have this very pool, beside those that there are.
    pub fn allows(&self, new: &PoolRecord, is: &[Use]) -> Result<(), Failure> {
        self.allows_nodes(new)?;
        if new.spec.filesystem() == FilesystemKind::None {
            return Err(denied(
                "a user's pool has a file system: nobody but root uses a bare device",
            ));
        }
        let new = Use::of(new).ok_or_else(|| denied("it is no user's pool"))?;
        quota::fits(&new, is, self.rule, self.account).map_err(|said| {
            denied(said).advising("take a pool down (`rampool list` shows yours), or ask for less")
        })
    }

    fn not_on(&self, node: &str) -> Failure {
        denied(format!("you may have a pool mounted on {}, and not on {node}", self.rule.heads))
    }

    /// Those that mount it, and those that lend.
    fn allows_nodes(&self, new: &PoolRecord) -> Result<(), Failure> {
        let read = |list: &str| list.parse::<HostList>().map_err(denied);
        let (heads, head) = (&self.rule.heads, &new.placement.head);
        let clients = if new.spec.clients.is_empty() {
            HostList::default()
        } else {
            read(&new.spec.clients)?
        };
        if let Some(node) = clients.iter().chain([&**head]).find(|node| !heads.contains(node)) {
            return Err(self.not_on(node));
        }
        let Some(donors) = &self.rule.donors else { return Ok(()) };
        let lent = new.placement.pieces.iter().chain(&new.placement.spares);
        match lent.map(|piece| &piece.donor).find(|donor| !donors.contains(donor)) {
            Some(node) => Err(denied(format!("{donors} may lend to your pools, and not {node}"))),
            None => Ok(()),
        }
    }
}

/// Whether a pool is this user's: one that he asked for, one that an operator made for him, or his
/// job's. The name is free for others once it is released and was taken anew.
#[must_use]
pub fn is_own(record: &PoolRecord, person: &Person) -> bool {
    person.uid != 0 && record.spec.uid == person.uid
}

/// Whether somebody else's pool has the name now.
#[must_use]
pub fn is_taken(name: &str, record: Option<&PoolRecord>, person: &Person) -> Option<Failure> {
    let other = record.is_some_and(|record| !record.is_released() && !is_own(record, person));
    let valid = name.parse::<PoolName>().is_ok();
    (other && valid).then(|| {
        Failure::new(FailureKind::NotNow, "ask for a pool")
            .saying(format!("the name {name} is in use"))
            .advising("use another name")
    })
}

fn spoken(seconds: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}
