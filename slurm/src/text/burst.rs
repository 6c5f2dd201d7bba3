//! `scontrol show burst`: what Slurm counts of its burst buffer, and for which jobs.

use std::time::Duration;

use super::{Line, TextError, lines};

/// Slurm's burst buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its plugin's name.
    pub name: String,
    /// How long setup and teardown may take, where Slurm says it.
    pub other_timeout: Option<Duration>,
    /// The jobs that have a share of it.
    pub jobs: Vec<u32>,
}

impl Buffer {
    /// The whole text, not in one line.
    ///
    /// # Errors
    /// Where it tells of no buffer, or of a job's share whose number cannot be read.
    pub fn read(text: &str) -> Result<Self, TextError> {
        let first = lines(text).next().unwrap_or_default();
        let name = Line::of(first, "Name")?.need("Name")?.to_owned();
        let seconds = |key: &str| {
            let number = lines(text).find_map(|line| Line(line.trim_start()).word(key))?;
            number.parse().ok().map(Duration::from_secs)
        };
        let shares = lines(text).filter_map(|line| {
            let line = line.trim_start();
            Some(job_of(line.strip_prefix("JobID=")?).ok_or_else(|| TextError::new(line, "no job")))
        });
        Ok(Self {
            name,
            other_timeout: seconds("OtherTimeout"),
            jobs: shares.collect::<Result<_, _>>()?,
        })
    }
}

/// `57 ...`, and of an array's task its own number, in `56_1(57) ...`.
fn job_of(rest: &str) -> Option<u32> {
    let word = rest.split_ascii_whitespace().next()?;
    let own = word.split_once('(').and_then(|(_, own)| own.strip_suffix(')'));
    own.unwrap_or(word).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "\
Name=lua DefaultPool=(null) Granularity=1 TotalSpace=0 FreeSpace=0 UsedSpace=0
  PoolName[0]=rampool Granularity=1MiB TotalSpace=879MiB FreeSpace=475MiB UsedSpace=404MiB
  Flags=PrivateData,TeardownFailure
  StageInTimeout=300 StageOutTimeout=200 ValidateTimeout=5 OtherTimeout=100
  GetSysState=(null)
  GetSysStatus=(null)
  Allocated Buffers:
    JobID=4 CreateTime=2026-11-22T23:01:02 Pool=rampool Size=404MiB State=staged-in UserID=eve(1001)
    JobID=56_1(57) CreateTime=2026-11-22T23:01:02 Pool=rampool Size=1MiB State=running UserID=x(1)
  Per User Buffer Use:
    UserID=eve(1001) Used=404MiB

";

    #[test]
    fn shares_and_times_are_read() {
        let buffer = Buffer::read(SAMPLE).unwrap();
        assert_eq!((buffer.name.as_str(), &buffer.jobs[..]), ("lua", &[4, 57][..]));
        assert_eq!(buffer.other_timeout, Some(Duration::from_secs(100)));
    }

    #[test]
    fn another_text_is_no_buffer() {
        for text in ["", "slurm_load_burst_buffer_info error: Unable", "JobID=7 Pool=x"] {
            assert!(Buffer::read(text).is_err(), "{text}");
        }
        assert!(Buffer::read(&SAMPLE.replace("JobID=4 ", "JobID=x ")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(?s).{0,60}", line in "[JobID=0-9_() \\n]{0,40}") {
            let _ = Buffer::read(&text);
            let _ = Buffer::read(&format!("{SAMPLE}{line}"));
        }
    }
}
