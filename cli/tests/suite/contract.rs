//! The documented contract of `-o json`: what the README shows is what is printed, key by key.

use rampool::args::Format;
use rampool::output::{
    CertificateReport, Certificates, Events, Failed, Findings, Jobs, MadeFiles, Moment, Nodes,
    PlanReport, PoolReport, Pools, ReapReport, RecoverReport, Report, written,
};
use rampool::render::look::Look;
use rampool_proto::v1::{
    DoctorResponse, Job, JobId, ListEventsResponse, ListJobsResponse, ListNodesResponse,
    ReapResponse, RecoverResponse,
};

use crate::samples;

const README: &str = include_str!("../../README.md");

/// The first JSON block under `heading`.
fn documented(heading: &str) -> &'static str {
    let (_, section) = README.split_once(&format!("\n### {heading}\n")).expect(heading);
    let (_, block) = section.split_once("```json\n").unwrap();
    block.split_once("```").unwrap().0
}

fn printed(report: &impl Report, format: Format) -> String {
    written(report, format, &Look { width: None, colour: false, now: samples::now() }).unwrap()
}

fn assert_documented(heading: &str, report: &impl Report) {
    let json = printed(report, Format::Json);
    assert_eq!(json, documented(heading), "the README says otherwise under {heading:?}:\n{json}");
    let yaml: serde_json::Value = serde_yaml::from_str(&printed(report, Format::Yaml)).unwrap();
    assert_eq!(yaml, serde_json::from_str::<serde_json::Value>(&json).unwrap());
}

#[test]
fn a_pool_is_as_documented() {
    assert_documented("A pool", &PoolReport::from(samples::pool()));
}

#[test]
fn lists_of_pools_are_as_documented() {
    let pools = Pools::from(vec![samples::pool()]);
    let json: serde_json::Value = serde_json::from_str(&printed(&pools, Format::Json)).unwrap();
    let pool = printed(&PoolReport::from(samples::pool()), Format::Json);
    assert_eq!(json["pools"][0], serde_json::from_str::<serde_json::Value>(&pool).unwrap());
    assert_documented("No pools", &Pools::from(vec![]));
}

#[test]
fn a_pool_of_a_job_names_it() {
    let mut pool = samples::pool();
    let id = Some(JobId { cluster: "lab".into(), job: 18 });
    pool.spec.as_mut().unwrap().job = Some(Job { id, ..Job::default() });
    let json: serde_json::Value =
        serde_json::from_str(&printed(&PoolReport::from(pool), Format::Json)).unwrap();
    assert_eq!(json["job"], 18);
}

#[test]
fn jobs_are_as_documented() {
    assert_documented("Jobs", &Jobs::from(samples::jobs()));
    let silence = Some(samples::failure());
    let silent = Jobs::from(ListJobsResponse { silence, ..samples::jobs() });
    let json: serde_json::Value = serde_json::from_str(&printed(&silent, Format::Json)).unwrap();
    let failure = printed(&Failed { error: samples::failure().into() }, Format::Json);
    let failure: serde_json::Value = serde_json::from_str(&failure).unwrap();
    assert_eq!(json["slurm"], failure["error"]);
}

#[test]
fn nodes_are_as_documented() {
    assert_documented("Nodes", &Nodes::from(ListNodesResponse { nodes: samples::nodes() }));
}

#[test]
fn a_plan_is_as_documented() {
    assert_documented("A plan", &PlanReport::new("demo".into(), samples::placement()));
}

#[test]
fn events_are_as_documented() {
    assert_documented("Events", &Events::from(ListEventsResponse { events: samples::events() }));
}

#[test]
fn findings_are_as_documented() {
    let findings = Findings::from(DoctorResponse { findings: samples::findings() });
    assert_documented("Findings", &findings);
}

#[test]
fn what_reap_found_is_as_documented() {
    let answer = ReapResponse { holdings: samples::unknown_holdings() };
    assert_documented("What nobody knows", &ReapReport::new("n1".into(), false, answer));
}

#[test]
fn what_recover_found_is_as_documented() {
    let answer = RecoverResponse { pools: vec![], ..samples::recovery() };
    assert_documented("A recovery", &RecoverReport::new(false, answer));
    let one = printed(&RecoverReport::new(true, samples::recovery()), Format::Json);
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    let pool = printed(&PoolReport::from(samples::pool()), Format::Json);
    assert_eq!(one["pools"][0], serde_json::from_str::<serde_json::Value>(&pool).unwrap());
}

#[test]
fn a_failure_is_as_documented() {
    assert_documented("A failure", &Failed { error: samples::failure().into() });
}

#[test]
fn made_files_are_as_documented() {
    let files = vec!["/root/pki/agent-n1.pem".into(), "/root/pki/agent-n1.key".into()];
    assert_documented("Files that `pki` made", &MadeFiles { files });
}

#[test]
fn certificates_are_as_documented() {
    let certificate = CertificateReport {
        file: "/root/pki/agent-n1.pem".into(),
        roles: vec!["agent".into()],
        names: vec!["n1".into()],
        addresses: vec!["10.0.0.1".parse().unwrap()],
        ends_at: Moment::known(1_826_884_800_000),
        days_left: 364,
    };
    let certificates = Certificates { certificates: vec![certificate] };
    assert_documented("Certificates that `pki` shows", &certificates);
    let shown = printed(&certificates, Format::Table);
    for word in ["/root/pki/agent-n1.pem", "10.0.0.1", "2027-11-22T12:00:00Z", "364"] {
        assert!(shown.contains(word), "{shown}");
    }
}

#[test]
fn the_readme_tells_every_exit_code() {
    for code in ["| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 4 |", "| 5 |", "| 130 |"] {
        assert!(README.contains(code), "{code}");
    }
}
