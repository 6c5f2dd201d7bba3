//! A node that runs jobs of Slurm too, and what it lends to jobs elsewhere. Slurm is played by a
//! script in scontrol's place: its own is in the suite that runs Slurm.

use rampool_lab::Node;
use rampool_proto::v1::{self, Backend, FailureKind};

use crate::cluster::{Cluster, MIB, assert_as_before, export_request_of, pool, traces};

const COMMANDS: &str = "/run/slurm-commands";

fn slurm_says(node: &Node, script: &str) {
    node.sh(&format!("mkdir -p {COMMANDS}; rm -f {COMMANDS}/scontrol")).unwrap();
    let script = format!("#!/bin/sh\n{script}\n");
    node.write_file(&format!("{COMMANDS}/scontrol"), 0o755, script).unwrap();
}

/// A piece of `mib` for the pool of a job that runs on other nodes.
fn outside(name: &str, mib: u64) -> v1::CreateExportRequest {
    v1::CreateExportRequest {
        for_job_elsewhere: true,
        ..export_request_of((name, 1), Backend::RdMcp, mib)
    }
}

fn destroy(name: &str) -> v1::DestroyExportRequest {
    v1::DestroyExportRequest { pool: pool(name, 1), ..Default::default() }
}

pub(crate) fn a_node_under_slurm_lends_to_jobs_elsewhere_what_slurm_gives_to_nobody(
    cluster: &Cluster,
) {
    let before = traces(&cluster.agent("n1").node);
    let yaml = "/etc/rampool/agent.yaml";
    let agent = restarted_after(
        cluster,
        &format!("cp {yaml} /run/agent.yaml; echo 'slurm_commands: {COMMANDS}' >>{yaml}"),
    );
    assert!(agent.inventory().unwrap().asks_slurm);
    slurm_says(&agent.node, "echo NodeName=n1 State=IDLE RealMemory=900 MemSpecLimit=100");
    let refused = agent.create_export(outside("job-7-1", 101)).unwrap_err();
    assert_eq!((refused.kind(), refused.node.as_str()), (FailureKind::NotNow, "n1"), "{refused}");
    assert!(refused.said.contains("101 MiB more") && refused.said.contains("100 MiB of"));
    assert_as_before(&agent.node, &before);

    assert_eq!(agent.create_export(outside("job-7-1", 60)).unwrap().bytes, 60 * MIB);
    assert!(agent.create_export(outside("job-8-1", 41)).unwrap_err().said.contains("60 MiB are"));
    agent.create_export(outside("job-8-1", 40)).unwrap();
    // Admins are not kept from more, and what they have counts.
    agent.export(Backend::RdMcp, 16).unwrap();
    agent.destroy_export(destroy("job-8-1")).unwrap();
    assert!(agent.create_export(outside("job-8-1", 25)).unwrap_err().said.contains("76 MiB are"));
    agent.create_export(outside("job-8-1", 24)).unwrap();

    for (script, words) in [
        ("echo 'slurm_load_node error: Unable to contact slurm' >&2; exit 1", "Unable to contact"),
        ("exit 0", "no node"),
        ("echo NodeName=n9 State=IDLE MemSpecLimit=500", "another node"),
    ] {
        slurm_says(&agent.node, script);
        let refused = agent.create_export(outside("job-9-1", 1)).unwrap_err();
        assert!(refused.said.contains(words) && refused.node == "n1", "{refused}");
        assert!(refused.program.ends_with("/scontrol"), "{refused}");
    }
    // What is there is there, whatever Slurm says.
    assert!(agent.create_export(outside("job-7-1", 60)).unwrap().already);
    agent.destroy().unwrap();
    for name in ["job-7-1", "job-8-1"] {
        agent.destroy_export(destroy(name)).unwrap();
    }
    restarted_after(cluster, &format!("mv /run/agent.yaml {yaml}; rm -r {COMMANDS}"));
}

fn restarted_after(cluster: &Cluster, change: &str) -> crate::cluster::Agent {
    cluster.lab.node("n1").unwrap().sh(change).unwrap();
    cluster.kill_agent("n1");
    cluster.start_agent("n1")
}
