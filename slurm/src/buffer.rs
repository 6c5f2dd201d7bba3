//! Slurm's burst buffer, by which jobs wait for the memory of donors outside: whether it is
//! configured so that it can be waited for. Pure.

use std::time::Duration;

use rampool_proto::v1::{Finding, Severity};

use crate::text::burst::Buffer;
use crate::text::config::Config;

/// The plugin that runs `burst_buffer.lua`.
const PLUGIN: &str = "burst_buffer/lua";

/// Whether slurm.conf names the plugin: without it nobody waits, and no job can be submitted that
/// would.
#[must_use]
pub fn is_configured(config: &Config) -> bool {
    config.get("BurstBufferType") == Some(PLUGIN)
}

/// What jobs that wait by a burst buffer find: none at all.
#[must_use]
pub fn missing() -> Finding {
    finding(
        format!("Slurm: jobs shall wait by {PLUGIN}, which is not configured: they are refused"),
        format!(
            "slurm.conf: BurstBufferType={PLUGIN}; restart slurmctld; or wait_by: licence in \
             controller.yaml"
        ),
    )
}

/// What is wrong with the times that Slurm lets setup and teardown take, if anything is: it kills
/// them at the end of it. `start` is how long the hooks wait, where that is known.
#[must_use]
pub fn examine(buffer: &Buffer, start: Option<Duration>) -> Option<Finding> {
    let (limit, start) = (buffer.other_timeout?, start?);
    (start >= limit).then(|| {
        finding(
            format!(
                "Slurm: OtherTimeout of its burst buffer is {} s, and the hooks' deadline {} s: \
                 Slurm would kill setup and teardown before they end",
                limit.as_secs(),
                start.as_secs()
            ),
            format!(
                "burst_buffer.conf: OtherTimeout={}; scontrol reconfigure; or a shorter deadline \
                 in slurm.yaml",
                start.as_secs() + MARGIN.as_secs()
            ),
        )
    })
}

/// Beside the hook's own deadline: a shell, and Slurm's answer to what the job wants.
const MARGIN: Duration = Duration::from_secs(30);

/// Of a job that is over, and of which Slurm still counts a share.
#[must_use]
pub fn forgotten(job: u32) -> Finding {
    let severity = Severity::Warning.into();
    let text = format!(
        "Slurm: the burst buffer still counts the share of job {job}, which is over and has no \
         memory: others wait for it in vain"
    );
    let fix = "systemctl restart slurmctld: it tears down what it forgot".to_owned();
    Finding { severity, text, fix, ..Finding::default() }
}

fn finding(text: String, fix: String) -> Finding {
    Finding { severity: Severity::Error.into(), text, fix, ..Finding::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_ends_before_slurm_kills_it() {
        let buffer = |seconds| Buffer {
            name: "lua".to_owned(),
            other_timeout: Some(Duration::from_secs(seconds)),
            jobs: Vec::new(),
        };
        let start = Some(Duration::from_secs(120));
        assert_eq!(examine(&buffer(121), start), None);
        assert_eq!(examine(&buffer(1), None), None);
        let short = examine(&buffer(120), start).unwrap();
        assert!(short.text.contains("OtherTimeout of its burst buffer is 120 s"), "{short:?}");
        assert!(short.fix.contains("OtherTimeout=150"), "{short:?}");
    }

    #[test]
    fn the_plugin_is_named_in_slurm_conf() {
        let config = |line: &str| Config::read(&format!("ClusterName = x\n{line}\n")).unwrap();
        assert!(is_configured(&config("BurstBufferType = burst_buffer/lua")));
        assert!(!is_configured(&config("BurstBufferType = (null)")) && !is_configured(&config("")));
    }
}
