//! From what a job said to what its pool shall be. Pure.

use std::collections::BTreeMap;

use rampool_proto::hostlist::HostList;
use rampool_proto::pool_name::PoolName;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{
    AtExpiry, Failure, FailureKind, Job, JobWish, PoolSpec, Redundancy, StartJobRequest,
};
use rampool_slurm::constraint;
use rampool_slurm::facts::Lend;
use rampool_slurm::wish::Wish;

use super::JobsConfig;
use crate::profile::Profile;

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

/// The spec of a job's pool of this name: of its own nodes' memory, or of donors' outside. The
/// first node is the head, the others are its clients.
pub fn pool(
    request: &StartJobRequest,
    nodes: &HostList,
    wanted: &Wanted,
    name: &PoolName,
    config: &JobsConfig,
) -> Result<PoolSpec, Failure> {
    let mut clients = nodes.iter();
    let head = clients.next().ok_or_else(|| invalid("the job has no nodes"))?;
    let clients = HostList::from_names(clients).map_err(invalid)?.to_string();
    let (job, run) = name.job().ok_or_else(|| invalid(format!("{name} is no job's pool")))?;
    let own = wanted.lend == Lend::Own;
    Ok(PoolSpec {
        name: name.to_string(),
        profile: wanted.profile.clone(),
        capacity: wanted.wish.size.map(|size| Capacity::SizeBytes(size.0)),
        redundancy: wanted.wish.redundancy.unwrap_or(Redundancy::Unspecified).into(),
        head: head.to_owned(),
        donors: if own { nodes.to_string() } else { String::new() },
        head_may_lend: own,
        clients,
        mount_point: config.mount_root.join(job.to_string()).display().to_string(),
        owner: request.user.clone(),
        uid: request.uid,
        gid: request.gid,
        private: true,
        at_expiry: AtExpiry::Release.into(),
        job: Some(Job { id: request.id.clone(), run, nodes: nodes.to_string() }),
        ..PoolSpec::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rampool_proto::size::Size;
    use rampool_proto::v1::JobId;

    fn profiles() -> BTreeMap<String, Profile> {
        let lending = |lend| Profile { lend: Some(lend), ..Profile::default() };
        BTreeMap::from([
            ("moreIOPS".to_owned(), lending(Lend::Own)),
            ("bigIOPS".to_owned(), lending(Lend::Pool)),
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

    fn request() -> StartJobRequest {
        StartJobRequest {
            id: Some(JobId { cluster: "spike".into(), job: 17 }),
            user: "alice".into(),
            uid: 1001,
            gid: 1001,
            ..StartJobRequest::default()
        }
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
        let spec = pool(&request(), &nodes, &wanted, &name, &config()).unwrap();
        assert_eq!((spec.head.as_str(), spec.clients.as_str()), ("n2", "n[3-4]"));
        assert_eq!((spec.donors.as_str(), spec.head_may_lend), ("n[2-4]", true));
        assert_eq!((spec.mount_point.as_str(), spec.private), ("/rampool/17", true));
        assert_eq!(spec.job.unwrap().run, 2);
    }

    #[test]
    fn a_job_of_one_node_has_no_clients_and_a_pool_of_donors_outside_names_none_of_its_own() {
        let nodes: HostList = "n2".parse().unwrap();
        let wanted = wanted(&said("bigIOPS", "", ""), &profiles()).unwrap().unwrap();
        let name = PoolName::of_job(17, 1).unwrap();
        let spec = pool(&request(), &nodes, &wanted, &name, &config()).unwrap();
        assert_eq!((spec.clients.as_str(), spec.donors.as_str()), ("", ""));
        assert!(!spec.head_may_lend);
    }
}
