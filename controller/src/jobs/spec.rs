//! From what a job said to what its pool shall be. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rampool_proto::hostlist::HostList;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{
    AtExpiry, Failure, FailureKind, Job, JobId, JobWish, PoolSpec, Redundancy, ReserveJobRequest,
    StartJobRequest,
};
use rampool_slurm::constraint;
use rampool_slurm::facts::Lend;
use rampool_slurm::text::ask::Ask;
use rampool_slurm::wish::Wish;

use super::JobsConfig;
use crate::planner;
use crate::profile::Profile;

/// What the site says of a job's pool.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Of jobs.
    pub config: &'a JobsConfig,
    /// Of pools of the profile that the job asks for.
    pub profile: &'a Profile,
}

/// Whose job it is.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Which.
    pub id: Option<JobId>,
    /// Its user's name.
    pub user: String,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl From<StartJobRequest> for Asker {
    fn from(StartJobRequest { id, user, uid, gid, .. }: StartJobRequest) -> Self {
        Self { id, user, uid, gid }
    }
}

impl From<ReserveJobRequest> for Asker {
    fn from(ReserveJobRequest { id, user, uid, gid, .. }: ReserveJobRequest) -> Self {
        Self { id, user, uid, gid }
    }
}

impl Asker {
    /// As Slurm says it.
    pub fn of(id: JobId, Ask { user, uid, gid, .. }: Ask) -> Self {
        Self { id: Some(id), user, uid, gid }
    }
}

/// What a job wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The profile that its constraint names.
    pub profile: String,
    /// Whose memory that profile's pools are made of.
    pub lend: Lend,
    /// What it asks for beyond it.
    pub wish: Wish,
}

fn invalid(said: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Invalid, "read what the job wants").saying(said)
}

/// What a job wants; `None` if nothing.
pub fn wanted(
    said: &JobWish,
    profiles: &BTreeMap<String, Profile>,
) -> Result<Option<Wanted>, Failure> {
    let lends = |name: &str| profiles.get(name).and_then(|profile| profile.lend);
    let asked = constraint::asked(&said.constraints, |name| lends(name).is_some());
    let wish = Wish::of_comment(&said.comment).map_err(invalid)?;
    let wish = wish.with_licences(&said.licenses).map_err(invalid)?;
    let Some(profile) = asked.map_err(invalid)? else {
        return if wish == Wish::default() {
            Ok(None)
        } else {
            Err(invalid("the job gives options of a pool, but its --constraint names no profile"))
        };
    };
    let lend = lends(profile).expect("only profiles that lend to jobs are asked for");
    Ok(Some(Wanted { profile: profile.to_owned(), lend, wish }))
}

/// The spec of a job's pool of this name: of its own nodes' memory, or of donors' outside, but for
/// those to `avoid`.
pub fn pool(
    asker: &Asker,
    nodes: &HostList,
    wanted: &Wanted,
    name: &PoolName,
    site: Site<'_>,
    avoid: &BTreeSet<String>,
) -> Result<PoolSpec, Failure> {
    let own = wanted.lend == Lend::Own;
    let spec = match own {
        true => PoolSpec {
            donors: nodes.to_string(),
            head_may_lend: true,
            among: nodes.to_string(),
            ..bare(asker, wanted, name, site)?
        },
        false => PoolSpec {
            among: outside(nodes, site.profile, avoid)?.to_string(),
            ..bare(asker, wanted, name, site)?
        },
    };
    given(&spec, nodes, site)
}

/// The spec of the same, of donors outside of the job, while its nodes are not known.
pub fn reserved(
    asker: &Asker,
    wanted: &Wanted,
    name: &PoolName,
    site: Site<'_>,
    avoid: &BTreeSet<String>,
) -> Result<PoolSpec, Failure> {
    let among = outside(&HostList::default(), site.profile, avoid)?.to_string();
    Ok(PoolSpec { among, ..bare(asker, wanted, name, site)? })
}

/// The spec of a job's pool, now that its nodes are known. The head is the first node, or outside
/// of the job the one that the profile names; all other nodes of the job are its clients.
pub fn given(spec: &PoolSpec, nodes: &HostList, site: Site<'_>) -> Result<PoolSpec, Failure> {
    let first = nodes.iter().next().ok_or_else(|| invalid("the job has no nodes"))?;
    let job = spec.job.clone().unwrap_or_default();
    let head = site.profile.head.as_deref().filter(|_| job.outside).unwrap_or(first);
    let clients = nodes.iter().filter(|node| *node != head);
    Ok(PoolSpec {
        head: head.to_owned(),
        clients: HostList::from_names(clients).map_err(invalid)?.to_string(),
        job: Some(Job { nodes: nodes.to_string(), ..job }),
        ..spec.clone()
    })
}

/// All of it that does not depend on the job's nodes.
fn bare(
    asker: &Asker,
    wanted: &Wanted,
    name: &PoolName,
    Site { config, .. }: Site<'_>,
) -> Result<PoolSpec, Failure> {
    let (job, run) = name.job().ok_or_else(|| invalid(format!("{name} is no job's pool")))?;
    let outside = wanted.lend == Lend::Pool;
    Ok(PoolSpec {
        name: name.to_string(),
        profile: wanted.profile.clone(),
        capacity: wanted.wish.size.map(|size| Capacity::SizeBytes(size.0)),
        redundancy: wanted.wish.redundancy.unwrap_or(Redundancy::Unspecified).into(),
        mount_point: config.mount_root.join(job.to_string()).display().to_string(),
        owner: asker.user.clone(),
        uid: asker.uid,
        gid: asker.gid,
        private: true,
        at_expiry: AtExpiry::Release.into(),
        job: Some(Job { id: asker.id.clone(), run, outside, ..Job::default() }),
        ..PoolSpec::default()
    })
}

/// The donors that may lend to a job of these nodes, which run it.
fn outside(
    nodes: &HostList,
    profile: &Profile,
    avoid: &BTreeSet<String>,
) -> Result<HostList, Failure> {
    let of_job: BTreeSet<&str> = nodes.iter().collect();
    let donors = profile.donors.iter().flat_map(HostList::iter);
    let able = donors.filter(|donor| !of_job.contains(donor) && !avoid.contains(*donor));
    let able = HostList::from_names(able).map_err(invalid)?;
    if able.is_empty() {
        let said = "all donors are nodes of the job, or its last try failed there";
        return Err(planner::refused(FailureKind::NotNow, said)
            .advising("`donors` of the profile in controller.yaml names them"));
    }
    Ok(able)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rampool_proto::size::Size;

    fn profiles() -> BTreeMap<String, Profile> {
        let lending = |lend| Profile { lend: Some(lend), ..Profile::default() };
        let outside = Profile { donors: "n[4-6]".parse().ok(), ..lending(Lend::Pool) };
        let lake = Profile { head: Some("mds1".to_owned()), ..outside.clone() };
        BTreeMap::from([
            // A head of its own is for donors outside.
            (
                "moreIOPS".to_owned(),
                Profile { head: Some("mds1".to_owned()), ..lending(Lend::Own) },
            ),
            ("bigIOPS".to_owned(), outside),
            ("lake".to_owned(), lake),
            ("people".to_owned(), Profile::default()),
        ])
    }

    fn said(constraints: &str, comment: &str, licenses: &str) -> JobWish {
        let [constraints, comment, licenses] = [constraints, comment, licenses].map(str::to_owned);
        JobWish { constraints, comment, licenses }
    }

    fn config() -> JobsConfig {
        serde_yaml::from_str("cluster: spike").unwrap()
    }

    fn pool_of(
        nodes: &HostList,
        wanted: &Wanted,
        name: &PoolName,
        avoid: &[&str],
    ) -> Result<PoolSpec, Failure> {
        let (config, profiles) = (config(), profiles());
        let site = Site { config: &config, profile: &profiles[&wanted.profile] };
        let avoid = avoid.iter().map(|node| (*node).to_owned()).collect();
        pool(&asker(), nodes, wanted, name, site, &avoid)
    }

    fn asker() -> Asker {
        let id = Some(JobId { cluster: "spike".into(), job: 17 });
        Asker { id, user: "alice".into(), uid: 1001, gid: 1001 }
    }

    #[test]
    fn only_a_profile_that_lends_to_jobs_is_a_wish() {
        let wanted = |constraints| wanted(&said(constraints, "", ""), &profiles());
        assert_eq!(wanted("hsw&moreIOPS").unwrap().unwrap().profile, "moreIOPS");
        assert_eq!(wanted("people").unwrap(), None);
        assert_eq!(wanted("").unwrap(), None);
        assert!(wanted("moreIOPS|hsw").unwrap_err().said.contains("moreIOPS"));
    }

    #[test]
    fn a_size_comes_from_the_comment_or_the_licence() {
        let size = |comment, licenses| {
            let wanted = wanted(&said("moreIOPS", comment, licenses), &profiles());
            wanted.map(|wanted| wanted.unwrap().wish.size)
        };
        assert_eq!(size("rampool:size=2G", "rampool:2").unwrap(), Some(Size(2 << 30)));
        assert_eq!(size("", "matlab:1,rampool:3").unwrap(), Some(Size(3 << 30)));
        assert_eq!(size("a comment", "matlab").unwrap(), None);
        assert!(wanted(&said("", "rampool:size=2G", ""), &profiles()).is_err());
    }

    #[test]
    fn own_nodes_lend_and_the_first_is_the_head() {
        let nodes: HostList = "n[2-4]".parse().unwrap();
        let wanted = wanted(&said("moreIOPS", "", ""), &profiles()).unwrap().unwrap();
        let name = PoolName::of_job(17, 2).unwrap();
        let spec = pool_of(&nodes, &wanted, &name, &[]).unwrap();
        assert_eq!((spec.head.as_str(), spec.clients.as_str()), ("n2", "n[3-4]"));
        assert_eq!((spec.donors.as_str(), spec.head_may_lend), ("n[2-4]", true));
        assert_eq!(spec.among, "n[2-4]", "no other node takes a lost one's place");
        assert_eq!((spec.mount_point.as_str(), spec.private), ("/rampool/17", true));
        let job = spec.job.unwrap();
        assert_eq!((job.run, job.outside), (2, false));
    }

    #[test]
    fn donors_outside_lend_but_for_nodes_of_the_job_and_where_it_failed_last() {
        let wanted = wanted(&said("bigIOPS", "", ""), &profiles()).unwrap().unwrap();
        let name = PoolName::of_job(17, 1).unwrap();
        let spec =
            |nodes: &str, avoid: &[&str]| pool_of(&nodes.parse().unwrap(), &wanted, &name, avoid);
        let one = spec("n2", &[]).unwrap();
        assert_eq!((one.head.as_str(), one.clients.as_str()), ("n2", ""));
        assert_eq!((one.donors.as_str(), one.among.as_str()), ("", "n[4-6]"));
        assert!(!one.head_may_lend && one.job.unwrap().outside);
        assert_eq!(spec("n[3-4]", &["n6"]).unwrap().among, "n5");
        let told = spec("n[4-5]", &["n6"]).unwrap_err();
        assert!(planner::is_lack_of_memory(&told), "{told}");
    }

    #[test]
    fn a_service_node_may_be_the_head_of_donors_outside() {
        let wanted = wanted(&said("lake", "", ""), &profiles()).unwrap().unwrap();
        let name = PoolName::of_job(17, 1).unwrap();
        let spec = pool_of(&"n[2-3]".parse().unwrap(), &wanted, &name, &[]).unwrap();
        assert_eq!((spec.head.as_str(), spec.clients.as_str()), ("mds1", "n[2-3]"));
        let spec = pool_of(&"mds1,n2".parse().unwrap(), &wanted, &name, &[]).unwrap();
        assert_eq!((spec.head.as_str(), spec.clients.as_str()), ("mds1", "n2"));
    }

    #[test]
    fn what_is_reserved_becomes_the_pool_that_would_be_made_with_the_nodes_known() {
        let name = PoolName::of_job(17, 1).unwrap();
        for constraint in ["bigIOPS", "lake"] {
            let wanted = wanted(&said(constraint, "rampool:size=2G", ""), &profiles());
            let wanted = wanted.unwrap().unwrap();
            let (config, profiles) = (config(), profiles());
            let site = Site { config: &config, profile: &profiles[constraint] };
            let reserved = reserved(&asker(), &wanted, &name, site, &BTreeSet::new()).unwrap();
            assert_eq!((reserved.head.as_str(), reserved.among.as_str()), ("", "n[4-6]"));
            assert!(reserved.job.as_ref().unwrap().nodes.is_empty());
            let nodes = "n[2-3]".parse().unwrap();
            let made = pool_of(&nodes, &wanted, &name, &[]).unwrap();
            assert_eq!(given(&reserved, &nodes, site).unwrap(), made);
        }
    }
}
